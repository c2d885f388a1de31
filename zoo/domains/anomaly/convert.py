"""The released weights' layouts to ours: the Keras file of the authors, the PyTorch port's, and RTFM's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from zoo.domains.anomaly.network import HIDDEN
from zoo.domains.anomaly.rtfm_network import RTFMNetwork
from zoo.errors import InputError

# Keras numbers its layers, dropout included
KERAS = {"0": "fc1", "1": None, "2": "fc2", "3": None, "4": "fc3"}
PREFIXES = ("module.", "model.")
NAMES = tuple(f"{layer}.{kind}" for layer in ("fc1", "fc2", "fc3") for kind in ("weight", "bias"))


def convert(released: Mapping[str, object]) -> tuple[dict[str, Tensor], list[str]]:
    """Maps a released network onto ours, strictly.

    Args:
        released: The variables of ``weights_L1L2.mat`` as scipy reads them, ``"0"`` to ``"4"``, each dense layer an
            object array of weight (in, out) and bias; or a state dict ``fc1 fc2 fc3`` ``.weight .bias``, or that of
            RTFM, which has ``Aggregate.`` tensors too; both with ``module.`` or ``model.`` before every name or not.

    Returns:
        Our tensors, ``network.fc1.weight`` and so on, float32 (RTFM's counters int64); and what was done or dropped,
        one line each.

    Raises:
        InputError: A tensor is missing, unexpected, misshapen or not finite; names it.
    """
    notes: list[str] = []
    values = {name: value for name, value in released.items() if not name.startswith("__")}
    if not set(values) & set(KERAS):
        values = _unprefixed(values, notes)
    if any(name.startswith("Aggregate.") for name in values):
        return convert_rtfm(values, notes), notes
    state = _keras(values, notes) if set(values) & set(KERAS) else _port(values)
    _check(state)
    halves = [name for name, tensor in state.items() if tensor.dtype != torch.float32]
    if halves:
        notes.append(f"turned {len(halves)} tensors from {state[halves[0]].dtype} to float32")
    return {f"network.{name}": state[name].to(torch.float32).contiguous() for name in NAMES}, notes


def _keras(values: Mapping[str, object], notes: list[str]) -> dict[str, Tensor]:
    _same_names(values, KERAS, "layer")
    state: dict[str, Tensor] = {}
    for index, layer in KERAS.items():
        cells = [np.asarray(cell) for cell in _cells(values[index])]
        if layer is None:
            if cells:
                raise InputError(f"layer {index!r}: a dropout layer has no weights, found {len(cells)} arrays")
            continue
        if len(cells) != 2 or any(cell.dtype.kind != "f" for cell in cells):
            kinds = ", ".join(f"{cell.dtype} {cell.shape}" for cell in cells[:4]) or "nothing"
            raise InputError(f"layer {index!r}: expected two arrays of numbers, weight and bias, found {kinds}")
        weight, bias = cells
        state[f"{layer}.weight"] = _tensor(weight.T)
        state[f"{layer}.bias"] = _tensor(bias.reshape(-1) if 1 in bias.shape else bias)
    notes.append("transposed the weights of layers '0', '2', '4': Keras keeps (in, out), torch (out, in)")
    notes.append("dropped layers '1', '3': dropout, without weights")
    return state


def _cells(value: object) -> list[object]:
    """The entries of a Matlab cell array, whatever its shape."""
    if isinstance(value, np.ndarray):
        return list(value.reshape(-1)) if value.dtype == object else [value] if value.size else []
    return list(value) if isinstance(value, list | tuple) else [value]


def _unprefixed(values: dict[str, object], notes: list[str]) -> dict[str, object]:
    for prefix in _prefixes(values):
        values = {name.removeprefix(prefix): value for name, value in values.items()}
        notes.append(f"removed {prefix!r} before every name")
    return values


def _port(values: Mapping[str, object]) -> dict[str, Tensor]:
    _same_names(values, NAMES, "tensor")
    return {name: _numbers(name, values[name]) for name in NAMES}


def _numbers(name: str, value: object) -> Tensor:
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = _tensor(value)
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise InputError(f"{name}: expected a tensor of numbers, found a {type(value).__name__}")
    return value.detach()


def _prefixes(values: Mapping[str, object]) -> Iterable[str]:
    """The known prefixes that stand before every name, outermost first."""
    names = list(values)
    while names:
        found = next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in names)), None)
        if found is None:
            return
        yield found
        names = [name.removeprefix(found) for name in names]


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))


def _same_names(values: Mapping[str, object], expected: Iterable[str], what: str) -> None:
    wanted = list(expected)
    missing = [name for name in wanted if name not in values]
    unexpected = [name for name in values if name not in wanted]
    if not missing and not unexpected:
        return
    told = [f"{label} {', '.join(map(repr, names[:10]))}" for label, names in
            (("missing", missing), ("unexpected", unexpected)) if names]  # fmt: skip
    raise InputError(f"this is no released detector: {what} names differ: {'; '.join(told)}")


def _check(state: Mapping[str, Tensor]) -> None:
    weight = state["fc1.weight"]
    if weight.ndim != 2:
        raise InputError(f"fc1.weight: has shape {tuple(weight.shape)}, expected ({HIDDEN[0]}, features)")
    shapes = {"fc1": (HIDDEN[0], weight.shape[1]), "fc2": (HIDDEN[1], HIDDEN[0]), "fc3": (1, HIDDEN[1])}
    for layer, shape in shapes.items():
        for name, wanted in ((f"{layer}.weight", shape), (f"{layer}.bias", shape[:1])):
            if tuple(state[name].shape) != wanted:
                raise InputError(f"{name}: has shape {tuple(state[name].shape)}, expected {wanted}")
            if not torch.isfinite(state[name]).all():
                raise InputError(f"{name}: holds values that are not finite")


def convert_rtfm(values: Mapping[str, object], notes: list[str]) -> dict[str, Tensor]:
    """Maps RTFM's released state dict, whose names are ours.

    Args:
        values: ``Aggregate.conv_1.0.weight`` and so on.
        notes: What was done is added here.

    Returns:
        The same with ``network.`` before the names, float32.

    Raises:
        InputError: A tensor is missing, unexpected, misshapen or not finite; names it.
    """
    head = values.get("fc1.weight")
    width = int(head.shape[1]) if isinstance(head, Tensor | np.ndarray) and head.ndim == 2 else 0
    if width < 4 or width % 4:
        raise InputError("fc1.weight: expected a tensor of shape (512, features), features a multiple of 4")
    with torch.device("meta"):
        expected = RTFMNetwork(width).state_dict()
    _same_names(values, expected, "tensor")
    state: dict[str, Tensor] = {}
    for name, wanted in expected.items():
        value = values[name]
        if not wanted.is_floating_point():
            state[f"network.{name}"] = torch.as_tensor(value).long().reshape(())
            continue
        tensor = _numbers(name, value)
        if tensor.shape != wanted.shape:
            raise InputError(f"{name}: has shape {tuple(tensor.shape)}, expected {tuple(wanted.shape)}")
        if not torch.isfinite(tensor).all():
            raise InputError(f"{name}: holds values that are not finite")
        state[f"network.{name}"] = tensor.to(torch.float32).contiguous()
    if isinstance(head, Tensor) and head.dtype != torch.float32:
        notes.append(f"turned the tensors from {head.dtype} to float32")
    return state
