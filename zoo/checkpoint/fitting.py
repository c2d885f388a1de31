"""Which tensors of a file go into which of a module: every one that does not is named, with both shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from zoo.errors import InputError

_SHOWN, _LONGEST = 10, 200


@dataclass(frozen=True)
class Misfit:
    """A tensor that cannot be loaded.

    Attributes:
        name: Its name, in the module, the file or both.
        reason: What is wrong, e.g. ``"(5, 8) in the file, (10, 8) in the model"``.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        odd = not self.name.isprintable() or len(self.name) > _LONGEST  # a file may call a tensor anything
        return f"{repr(self.name[:_LONGEST]) if odd else self.name}: {self.reason}"


def misfits(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[Misfit]:
    """Compares the tensors of a module with those of a file.

    Args:
        expected: The module's state dict.
        given: The file's.

    Returns:
        Missing and misshapen tensors in the module's order, then those the module has no place for. A different
        precision fits: half in the file becomes float in the module.
    """
    found = []
    for name, tensor in expected.items():
        if name not in given:
            found.append(Misfit(name, f"missing in the file, {_shape(tensor)} in the model"))
        elif given[name].shape != tensor.shape:
            found.append(Misfit(name, f"{_shape(given[name])} in the file, {_shape(tensor)} in the model"))
        elif _family(given[name]) != _family(tensor):
            found.append(Misfit(name, f"{_dtype(given[name])} in the file, {_dtype(tensor)} in the model"))
    extra = (name for name in given if name not in expected)
    return found + [Misfit(name, f"{_shape(given[name])} in the file, not in the model") for name in extra]


def listing(found: list[Misfit]) -> str:
    """The first ten and how many more, one line each."""
    lines = [f"  {misfit}" for misfit in found[:_SHOWN]]
    rest = [f"  and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "\n".join(lines + rest)


def copy(module: nn.Module, state: Mapping[str, Tensor], left_out: set[str], origin: str) -> int:
    """Copies tensors into a module.

    Args:
        module: Its tensors keep their dtype and device.
        state: Tensors by name.
        left_out: Names to leave as they are in the module.
        origin: The file, for messages.

    Returns:
        How many were copied.

    Raises:
        InputError: None is left to copy, or one is not finite.
    """
    fitting = {name: state[name] for name in module.state_dict() if name in state and name not in left_out}
    if not fitting:
        raise InputError(f"{origin}: none of its {len(state)} tensors fits into the model")
    weights = {name for name, _ in module.named_parameters()}
    for name, tensor in fitting.items():
        # buffers may mask by infinities
        if bool(tensor.isnan().any()) or (name in weights and bool(tensor.isinf().any())):
            raise InputError(f"{origin}: tensor {name} holds values that are not finite")
    module.load_state_dict(fitting, strict=False)
    return len(fitting)


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _family(tensor: Tensor) -> str:
    dtype = tensor.dtype
    if dtype.is_floating_point or dtype.is_complex:
        return "complex" if dtype.is_complex else "float"
    return "bool" if "bool" in str(dtype) else "integer"
