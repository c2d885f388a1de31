"""Argument checks of the ranking core: names, numbers, shapes and dtypes, never a look at a tensor's values.

Nothing here waits for a GPU, so the checks can run in every step of a training loop.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal, Protocol

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]
Pairs = Literal["mean", "sum"]
Gain = Literal["exp2", "linear"]
TiedLists = Literal["skip", "keep"]

REDUCTIONS = ("mean", "sum", "none")
PAIRS = ("mean", "sum")
GAINS = ("exp2", "linear")
TIED_LISTS = ("skip", "keep")


def check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a string that is not one of `allowed`.

    Raises:
        ValueError: naming the argument, what was given, what is allowed and the nearest allowed word.
    """
    if value in allowed:
        return
    words = ", ".join(repr(word) for word in allowed)
    near = get_close_matches(str(value), allowed, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{name}: {value!r} given, expected one of {words}{hint}")


def check_positive(name: str, value: float) -> None:
    """Refuse a number that is not above 0.

    Raises:
        ValueError: naming the argument and what was given.
    """
    if not value > 0:
        raise ValueError(f"{name}: {value!r} given, expected a number above 0")


def check_depth(k: int | None) -> None:
    """Refuse a cut-off rank that is neither None nor a whole number of at least 1.

    Raises:
        ValueError: naming what was given.
    """
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
        raise ValueError(f"k: {k!r} given, expected None or a whole number of at least 1")


def check_real(name: str, tensor: Tensor) -> None:
    """Refuse what is not a floating-point tensor.

    Raises:
        TypeError: if `tensor` is no tensor.
        ValueError: if its dtype is not floating point.
    """
    _check_tensor(name, tensor)
    if not tensor.is_floating_point():
        raise ValueError(f"{name}: dtype {tensor.dtype} given, expected a floating-point dtype")


def check_like(name: str, tensor: Tensor | None, shape: torch.Size, device: torch.device, kind: str, of: str) -> None:
    """Refuse a tensor whose shape, device or dtype does not fit.

    Args:
        name: The argument's name.
        tensor: What was given.
        shape: The shape it must have.
        device: The device it must lie on.
        kind: The dtypes allowed: "bool", "integer" (bool not counted), "bool or real", or "number" (all but complex).
        of: Where `shape` comes from, for the message.

    Raises:
        TypeError: if `tensor` is no tensor.
        ValueError: naming the argument, what was given and what is expected.
    """
    tensor = _check_tensor(name, tensor)
    if tensor.shape != shape:
        raise ValueError(f"{name}: shape {tuple(tensor.shape)} given, expected {tuple(shape)}, {of}")
    if not _fits(tensor, kind):
        raise ValueError(f"{name}: dtype {tensor.dtype} given, expected {_KINDS[kind]}")
    if tensor.device != device:
        raise ValueError(f"{name}: lies on {tensor.device}, expected {device}")


_KINDS = {
    "bool": "torch.bool",
    "bool or real": "torch.bool or a floating-point dtype",
    "integer": "an integer dtype",
    "number": "a floating-point, integer or bool dtype",
}


def _fits(tensor: Tensor, kind: str) -> bool:
    truth, real = tensor.dtype == torch.bool, tensor.is_floating_point()
    if kind == "bool":
        return truth
    if kind == "bool or real":
        return truth or real
    if kind == "integer":
        return not (truth or real or tensor.is_complex())
    return not tensor.is_complex()


def _check_tensor(name: str, tensor: Tensor | None) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: {type(tensor).__name__} given, expected a torch.Tensor")
    return tensor


class _Typed(Protocol):
    """What has a dtype."""

    @property
    def dtype(self) -> torch.dtype: ...


def accumulation_dtype(tensor: _Typed) -> torch.dtype:
    """The dtype a loss is computed and returned in: float64 for float64 input, float32 for all others."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def wide(tensor: Tensor) -> Tensor:
    """The same numbers in the dtype a loss is computed and returned in."""
    return tensor.to(accumulation_dtype(tensor))
