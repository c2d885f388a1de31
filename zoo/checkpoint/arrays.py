"""Rebuilds numpy arrays, dtypes and scalars from arguments that are checked first.

In a pickle an array or dtype first comes empty and is then given its state. numpy's own ``__setstate__`` is not used:
it trusts its arguments (a dtype of dates with an older state crashes the process, numpy 2.4). So the empty one is a
record that waits, and the real one takes its place when the state has come.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from zoo.checkpoint.budget import Budget
from zoo.checkpoint.records import Global, Malformed, Record
from zoo.checkpoint.tensors import naturals

_CODE = re.compile(r"(?:[biufc?]\d{0,2}|[SU]\d{0,9}|O8?)")


class Waiting(Record):
    """An array or dtype that has not been given its state yet."""

    __slots__ = ()


class Arrays:
    """The numpy part of the table in ``rebuild.py``.

    Args:
        budget: Bounds the memory.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def empty(self, kind: Any, *_: Any) -> Record:
        """``numpy.core.multiarray._reconstruct``: waits for its contents; subclasses of arrays stay records."""
        plain = isinstance(kind, Global) and kind.path == "numpy.ndarray"
        return Waiting("numpy.ndarray") if plain else Record(getattr(kind, "path", "numpy.ndarray"))

    def dtype(self, code: Any, *_: Any) -> Record:
        """``numpy.dtype``: waits for its byte order; dtypes of fields and of dates stay records."""
        plain = isinstance(code, str) and _CODE.fullmatch(code) is not None
        return Waiting("numpy.dtype", (code,)) if plain else Record("numpy.dtype", (code,))

    def scalar(self, dtype: Any, raw: Any = b"") -> Any:
        """``numpy.core.multiarray.scalar``: one number or text; of another dtype it stays a record."""
        if not isinstance(dtype, np.dtype) or dtype.hasobject:
            return Record("numpy.scalar", (dtype, raw))
        return self._values(dtype, raw, 1)[0]

    def from_buffer(self, buffer: Any, dtype: Any, shape: Any, order: Any = "C") -> Any:
        """``numpy.core.numeric._frombuffer``: a contiguous array."""
        if not isinstance(dtype, np.dtype) or dtype.hasobject:
            return Record("numpy.ndarray", (buffer, dtype, shape, order))
        if order not in ("C", "F"):
            raise Malformed("an array is stored in no known order")
        return self._shaped(dtype, naturals((shape,) if isinstance(shape, int) else shape), buffer, order == "F")

    def finish(self, target: Waiting, state: Any) -> Any:
        """The array or dtype that a waiting one becomes.

        Args:
            target: The waiting one.
            state: What numpy would have been given.

        Returns:
            The array or dtype; the record itself, with its state, where it is of a kind that is not rebuilt.

        Raises:
            Malformed: The contents do not fit the shape.
        """
        target.state = state
        if not isinstance(state, tuple) or len(state) < 5:
            raise Malformed(f"a {target.path} is given a state of another form")
        if target.path == "numpy.dtype":
            if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
                return target
            return np.dtype(f"{state[1]}{target.args[0]}")
        _, shape, dtype, fortran, contents = state[:5]
        if not isinstance(dtype, np.dtype):
            return target
        return self._shaped(dtype, naturals(shape), contents, bool(fortran))

    def _shaped(self, dtype: np.dtype[Any], shape: tuple[int, ...], contents: Any, fortran: bool) -> np.ndarray:
        count = math.prod(shape)
        flat = self._objects(contents, count) if dtype.hasobject else self._values(dtype, contents, count)
        return flat.reshape(shape, order="F" if fortran else "C")

    def _objects(self, contents: Any, count: int) -> np.ndarray:
        if not isinstance(contents, list) or len(contents) != count:
            raise Malformed("an array of objects has another number of them")
        self._budget.copy(8 * count)
        flat = np.empty(count, dtype=object)
        for place, item in enumerate(contents):  # one by one, or numpy would unpack nested lists
            flat[place] = item
        return flat

    def _values(self, dtype: np.dtype[Any], contents: Any, count: int) -> np.ndarray:
        if isinstance(contents, str):  # Python 2 wrote bytes as text
            contents = contents.encode("latin-1")
        if not isinstance(contents, bytes | bytearray):
            raise Malformed(f"an array's contents are a {type(contents).__name__}")
        if len(contents) != count * dtype.itemsize:
            raise Malformed(f"an array of {count} x {dtype} has {len(contents)} bytes")
        self._budget.copy(len(contents) if dtype.itemsize else 64 * count)
        return np.frombuffer(contents, dtype).copy() if contents else np.zeros(count, dtype)
