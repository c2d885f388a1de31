"""Rebuilds tensors from a storage, with every size, stride and offset checked against its bounds."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoint.budget import Budget
from zoo.checkpoint.records import Global, Malformed

DTYPES: dict[str, torch.dtype] = {
    f"torch.{name}": getattr(torch, name)
    for name in (
        "float16", "float32", "float64", "bfloat16", "complex32", "complex64", "complex128", "bool",
        "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64",
        "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
    )
}  # fmt: skip

_STORAGES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128, "Untyped": torch.uint8,
}  # fmt: skip

_DIMENSIONS = 64


def storage_dtype(kind: Any) -> torch.dtype:
    """The dtype of a storage class by its name, e.g. ``torch.FloatStorage``.

    Raises:
        Malformed: It is no storage class of numbers.
    """
    match = (
        re.fullmatch(r"torch\.(?:cuda\.|storage\.)?_?([A-Z]\w+)Storage", kind.path)
        if isinstance(kind, Global)
        else None
    )
    if match is None or match.group(1) not in _STORAGES:
        raise Malformed(f"unknown kind of storage {kind!r}")
    return _STORAGES[match.group(1)]


class Storage:
    """Bytes that one or more tensors look at.

    Args:
        data: uint8 ``(bytes,)``.
        dtype: What the elements are.
    """

    def __init__(self, data: Tensor, dtype: torch.dtype) -> None:
        self.data, self.dtype = data, dtype
        self._views: dict[torch.dtype, Tensor] = {}

    def elements(self, dtype: torch.dtype) -> Tensor:
        """The storage as a flat tensor of a dtype; always the same memory, so that tensors that share stay so."""
        if dtype not in self._views:
            if self.data.numel() % dtype.itemsize:
                raise Malformed(f"a storage of {self.data.numel()} bytes holds no whole number of {dtype}")
            self._views[dtype] = self.data.view(dtype)
        return self._views[dtype]

    def settle(self) -> None:
        """Called when the bytes are read: a bool must be 0 or 1, and nothing else vouches for the file's."""
        if torch.bool in self._views:
            self.data.ne_(0)


def tensor(
    budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, dtype: torch.dtype | None = None
) -> Tensor:
    """Looks at a storage as a tensor.

    Args:
        budget: Bounds tensors that are larger than their storage.
        storage: The :class:`Storage`.
        offset: First element.
        size: The shape.
        stride: Steps between neighbours along each dimension, in elements.
        dtype: The dtype, where it is not the storage's own.

    Returns:
        A view of the storage.

    Raises:
        Malformed: An argument has the wrong type, or an element would lie outside the storage.
    """
    if not isinstance(storage, Storage):
        raise Malformed(f"a tensor lies on a {type(storage).__name__}, not on a storage")
    shape, steps = naturals(size), naturals(stride)
    (first,) = naturals((offset,))
    if len(shape) != len(steps):
        raise Malformed(f"a tensor of shape {shape} has strides {steps}")
    elements = storage.elements(dtype or storage.dtype)
    count = math.prod(shape)
    last = first + sum((extent - 1) * step for extent, step in zip(shape, steps, strict=True)) if count else first
    if (count and last >= elements.numel()) or last > elements.numel():
        raise Malformed(f"a tensor of shape {shape} reaches element {last} of a storage of {elements.numel()}")
    budget.expand((count - elements.numel()) * elements.itemsize)
    return torch.as_strided(elements, shape, steps, elements.storage_offset() + first)


def naturals(value: Any) -> tuple[int, ...]:
    """Sizes: a short list or tuple of numbers from 0.

    Raises:
        Malformed: It is something else.
    """
    if not isinstance(value, tuple | list) or len(value) > _DIMENSIONS:
        raise Malformed("a shape is no short tuple")
    if not all(type(item) is int and 0 <= item < 2**62 for item in value):
        raise Malformed("a shape, stride or offset is no number from 0")
    return tuple(value)
