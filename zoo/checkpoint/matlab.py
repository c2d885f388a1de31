"""Reads Matlab files of versions 5 to 7: numbers, cells, texts and structures.

Written anew because scipy's reader trusts the sizes in the file: single changed bytes crash the process (scipy 1.17).
Arrays come as ``scipy.io.loadmat`` gives them: at least two dimensions, cells and structures as arrays of objects.
Source of the format: MathWorks, "MAT-File Format", chapter "MAT-File Level 5".
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from zoo.checkpoint.records import Malformed, Record

_HEADER = 128
_DEPTH = 32
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_OTHER = {3: "object", 5: "sparse", 16: "function", 17: "opaque"}
_COMPLEX, _LOGICAL = 0x0800, 0x0200


def read_matlab(path: Path) -> dict[str, Any]:
    """Reads all variables of a file.

    Args:
        path: The file.

    Returns:
        Variables by name. Objects of Matlab classes, functions and sparse matrices are records.

    Raises:
        Malformed: The file is of another version, damaged, or breaks the rules of the format.
    """
    data = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[_HEADER - 2 : _HEADER]))
    if len(data) < _HEADER or order is None:
        raise Malformed("is no Matlab file of version 5 to 7; save it as version 7 or as .npz")
    variables: dict[str, Any] = {}
    top = _Elements(data[_HEADER:], order)
    room = 32 * len(data) + (64 << 20)  # weights hardly shrink; more than this is no honest file
    while top.left:
        kind, body = top.take()
        if kind == _COMPRESSED:
            unpacked = _unpack(body, room)
            room -= len(unpacked)
            kind, body = _Elements(unpacked, order).take()
        if kind != _MATRIX:
            raise Malformed(f"a variable is an element of type {kind}")
        name, value = _matrix(body, order, 0)
        if name in variables:
            raise Malformed(f"variable {name[:60]!r} stands twice")
        if name:  # without a name it is the workspace of functions
            variables[name] = value
    return variables


def _unpack(body: memoryview, room: int) -> memoryview:
    machine = zlib.decompressobj()
    data = machine.decompress(body, max(1, room))
    if not machine.eof:
        raise Malformed("a compressed variable is cut off, or far larger than the file")
    return memoryview(data)


class _Elements:
    """Cuts a stretch of bytes into tagged elements."""

    def __init__(self, data: memoryview, order: str) -> None:
        self._data, self._order = data, order

    @property
    def left(self) -> int:
        return len(self._data)

    def take(self) -> tuple[int, memoryview]:
        """Type and contents of the next element."""
        if len(self._data) < 8:
            raise Malformed("is cut off")
        first = self._number(0)
        if first >> 16:  # up to four bytes lie within the tag
            kind, size, start, after = first & 0xFFFF, first >> 16, 4, 8
            if size > 4:
                raise Malformed("a small element has more than four bytes")
        else:
            kind, size, start = first, self._number(4), 8
            after = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if start + size > len(self._data):
            raise Malformed(f"is cut off: an element should have {size} bytes, {len(self._data) - start} are left")
        body = self._data[start : start + size]
        self._data = self._data[after:]
        return kind, body

    def _number(self, start: int) -> int:
        return int.from_bytes(self._data[start : start + 4], "little" if self._order == "<" else "big")

    def array(self, *codes: str) -> np.ndarray:
        """The next element as flat numbers; of one of the dtypes if any are named."""
        kind, body = self.take()
        code = _STORED.get(kind)
        if code is None or (codes and code not in codes) or len(body) % int(code[1]):
            raise Malformed(f"expected numbers, found {len(body)} bytes of type {kind}")
        return np.frombuffer(body, np.dtype(self._order + code))

    def text(self, encoding: str) -> str:
        """The next element as text."""
        _, body = self.take()
        return bytes(body).decode(encoding)


def _matrix(body: memoryview, order: str, depth: int) -> tuple[str, Any]:
    """Name and value of a matrix element."""
    if depth > _DEPTH:
        raise Malformed("its cells are nested too deeply")
    if not len(body):
        return "", np.zeros((0, 0))
    parts = _Elements(body, order)
    flags = parts.array("u4")
    if len(flags) != 2:
        raise Malformed("a matrix has no flags")
    kind, marks = int(flags[0]) & 0xFF, int(flags[0])
    if kind in _OTHER:
        return _name_of_other(parts, kind)
    shape = tuple(int(size) for size in parts.array("i4", "u4"))
    name = parts.text("latin-1")
    if len(shape) < 2 or len(shape) > 32 or any(size < 0 for size in shape):
        raise Malformed(f"{name[:60]!r} has the shape {shape[:8]}")
    if kind == _CELL:
        return name, _cell(parts, order, shape, depth)
    if kind == _STRUCT:
        return name, _struct(parts, order, shape, depth)
    if kind == _CHAR:
        return name, _chars(parts, order, shape)
    if kind not in _NUMBERS:
        raise Malformed(f"{name[:60]!r} is of the unknown class {kind}")
    values = _plain(parts, shape).astype(_NUMBERS[kind])
    if marks & _COMPLEX:
        values = values + 1j * _plain(parts, shape).astype(_NUMBERS[kind])
    return name, values.astype(bool) if marks & _LOGICAL else values


def _name_of_other(parts: _Elements, kind: int) -> tuple[str, Record]:
    """Objects name themselves after their shape, opaque ones at once."""
    if _OTHER[kind] != "opaque":
        parts.array("i4", "u4")
    return parts.text("latin-1"), Record(f"matlab.{_OTHER[kind]}")


def _plain(parts: _Elements, shape: tuple[int, ...]) -> np.ndarray:
    values = parts.array()
    if len(values) != math.prod(shape):
        raise Malformed(f"an array of shape {shape} has {len(values)} values")
    return values.reshape(shape, order="F")


def _objects(parts: _Elements, shape: tuple[int, ...], each: int) -> int:
    """The number of cells; each takes at least a tag."""
    count = math.prod(shape)
    if count * max(1, each) * 8 > parts.left + 8:
        raise Malformed(f"is cut off: {count} cells in {parts.left} bytes")
    return count


def _next(parts: _Elements, order: str, depth: int) -> Any:
    kind, body = parts.take()
    if kind != _MATRIX:
        raise Malformed(f"a cell is an element of type {kind}")
    return _matrix(body, order, depth + 1)[1]


def _cell(parts: _Elements, order: str, shape: tuple[int, ...], depth: int) -> np.ndarray:
    cells = np.empty(_objects(parts, shape, 1), dtype=object)
    for place in range(len(cells)):
        cells[place] = _next(parts, order, depth)
    return cells.reshape(shape, order="F")


def _struct(parts: _Elements, order: str, shape: tuple[int, ...], depth: int) -> np.ndarray:
    (length,) = parts.array("i4", "u4")
    block = parts.text("latin-1")
    if length < 1 or len(block) % int(length):
        raise Malformed("a structure's field names are cut off")
    starts = range(0, len(block), int(length))
    names = [block[start : start + int(length)].partition("\0")[0] for start in starts]
    count = _objects(parts, shape, len(names))
    table = np.empty(count, dtype=[(name, object) for name in names])
    for place in range(count):
        for name in names:
            table[name][place] = _next(parts, order, depth)
    return table.reshape(shape, order="F")


def _chars(parts: _Elements, order: str, shape: tuple[int, ...]) -> np.ndarray:
    """Texts, one per row."""
    kind, body = parts.take()
    if kind not in _TEXT or len(shape) != 2:
        raise Malformed(f"a text is an element of type {kind} and shape {shape}")
    wide = _TEXT[kind].startswith(("utf-16", "utf-32"))
    text = bytes(body).decode(_TEXT[kind] + ("-le" if order == "<" else "-be") * wide)
    if len(text) != math.prod(shape):
        raise Malformed(f"a text of shape {shape} has {len(text)} letters")
    return np.array([text[row :: shape[0]] for row in range(shape[0])] if text else [], dtype=str)
