"""Finds the weights in what an authors' file held: under a key, in a whole module, behind ``module.``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.checkpoint.records import Record
from zoo.errors import InputError

# Averaged weights first: where a file has both, these are the ones the authors evaluate.
_AVERAGED = ("ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema")
_WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "net_state_dict", "network", "module", "weights",
    "params",
)  # fmt: skip
_DEPTH, _MODULES = 8, 100_000
_PARALLEL = "module."


def state_dict(released: Any) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by name in what :func:`~zoo.checkpoint.released.read_released` gave.

    A state dict under a usual key (``state_dict``, ``model``, ``net``, ``ema``, ...) is taken out, a whole pickled
    module is walked as ``Module.state_dict`` would, and DataParallel's ``module.`` before every name is removed; any
    other prefix is the domain's affair.

    Args:
        released: The contents of the file.

    Returns:
        The tensors by name (numpy arrays of numbers become tensors), and what was set aside, one line each.

    Raises:
        InputError: There are no tensors by name in it.
    """
    notes: list[str] = []
    for _ in range(_DEPTH):
        inner = _open(released, notes)
        if inner is None:
            break
        released = inner
    if not isinstance(released, dict):
        raise InputError(f"the file holds no weights by name but {_what(released)}")
    return _strip(_tensors(released, notes), notes), notes


def _open(value: Any, notes: list[str]) -> Any:
    """What lies one wrapper further in; None where this is the state dict, or nothing we know."""
    if isinstance(value, Record):
        if _is_module(value):
            notes.append(f"took the tensors of a whole pickled {value.path[:80]}")
            return _walk(value, notes)
        return value.entries or None
    if not isinstance(value, dict):
        return None
    for key in (*_AVERAGED, *_WRAPPERS):
        if key in value and _holds_tensors(value[key]):
            rest = ", ".join(str(name)[:40] for name in list(value)[:12] if name != key)
            notes.append(f"took {key!r}" + (f", set aside: {rest}" if rest else ""))
            return value[key]
    return None


def _holds_tensors(value: Any) -> bool:
    """Whether a value is a state dict, a module, or wraps one."""
    for _ in range(_DEPTH):
        if isinstance(value, Record):
            if _is_module(value):
                return True
            value = value.entries
        if not isinstance(value, dict):
            return False
        if any(_is_tensor(item) for item in value.values()):
            return True
        value = next((value[key] for key in (*_AVERAGED, *_WRAPPERS) if key in value), None)
    return False


def _is_module(value: Record) -> bool:
    attributes = value.attributes
    return isinstance(attributes.get("_modules"), dict) and isinstance(attributes.get("_parameters"), dict)


def _walk(top: Record, notes: list[str]) -> dict[str, Any]:
    """Names and tensors of a module in the order of ``Module.state_dict``: its own, then its children's."""
    result: dict[str, Any] = {}
    pending: list[tuple[str, int, Any]] = [("", 0, top)]
    seen = 0
    while pending:
        prefix, depth, module = pending.pop()
        seen += 1
        if seen > _MODULES or depth > 200:
            raise InputError("the pickled module has too many parts, or contains itself")
        if not isinstance(module, Record):
            if module is not None:
                notes.append(f"dropped {prefix.rstrip('.')}: {_what(module)}, not a module")
            continue
        attributes = module.attributes
        passing = attributes.get("_non_persistent_buffers_set")
        for group in ("_parameters", "_buffers"):
            tensors = attributes.get(group)
            for name, value in tensors.items() if isinstance(tensors, dict) else ():
                if value is not None and not (isinstance(passing, set) and group == "_buffers" and name in passing):
                    result[f"{prefix}{name}"] = value
        children = attributes.get("_modules")
        if isinstance(children, dict):
            pending.extend((f"{prefix}{name}.", depth + 1, child) for name, child in reversed(children.items()))
    return result


def _tensors(values: dict[Any, Any], notes: list[str]) -> dict[str, Tensor]:
    result = {name: _as_tensor(value) for name, value in values.items() if isinstance(name, str) and _is_tensor(value)}
    others = [(name, value) for name, value in values.items() if name not in result]
    if not result:
        keys = ", ".join(repr(name)[:40] for name in list(values)[:10])
        raise InputError(f"the file holds no weights by name; it has the keys {keys or '(none)'}")
    if others:
        names = ", ".join(f"{str(name)[:60]} ({_what(value)})" for name, value in others[:10])
        notes.append(f"dropped {len(others)} that are no tensors by name: {names}" + (", ..." if others[10:] else ""))
    return result


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "biufc")


def _as_tensor(value: Tensor | np.ndarray) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))


def _strip(state: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    if not all(name.startswith(_PARALLEL) for name in state):
        return state
    notes.append(f"removed {_PARALLEL!r} (DataParallel) before every name")
    return {name.removeprefix(_PARALLEL): tensor for name, tensor in state.items()}


def _what(value: Any) -> str:
    if isinstance(value, Record):
        return f"an object of {value.path[:80]}"
    return f"a {type(value).__name__}"
