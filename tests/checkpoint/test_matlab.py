"""Matlab files are read as scipy reads them, and hostile ones are refused where scipy crashes."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from zoo.checkpoint.matlab import read_matlab
from zoo.checkpoint.records import Malformed, Record

CELLS = np.empty((2, 3), dtype=object)
for place in range(6):
    CELLS.flat[place] = np.arange(2.0 * place).reshape(place, 2)
VARIABLES: dict[str, Any] = {
    "double": np.arange(12.0).reshape(3, 4),
    "single": np.ones((2, 2), np.float32),
    "row": np.arange(5),
    "small": np.arange(3, dtype=np.uint8),
    "cube": np.arange(24.0).reshape(2, 3, 4),
    "complex": np.array([1 + 2j, 3j]),
    "scalar": 3.5,
    "text": "hello",
    "texts": np.array(["ab", "cde"]),
    "wide": "äö漢",
    "nothing": np.zeros((0, 0)),
    "silence": "",
    "cells": CELLS,
    "no_cells": np.empty((0, 0), dtype=object),
    "nested": np.array([CELLS, None], dtype=object)[:1],
    "table": {"a": 1.0, "b": "x", "c": np.ones((2, 2))},
}


def same(first: Any, second: Any) -> bool:
    if type(first) is not type(second) or first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.dtype == object:
        return all(same(a, b) for a, b in zip(first.ravel(), second.ravel(), strict=True))
    if first.dtype.names:
        return all(same(first[name], second[name]) for name in first.dtype.names)
    return bool(np.array_equal(first, second))


@pytest.mark.parametrize("compressed", [False, True])
def test_as_scipy_reads_it(tmp_path: Path, compressed: bool) -> None:
    scipy.io.savemat(tmp_path / "x.mat", VARIABLES, do_compression=compressed)
    expected = {name: value for name, value in scipy.io.loadmat(tmp_path / "x.mat").items() if name[0] != "_"}
    found = read_matlab(tmp_path / "x.mat")
    assert list(found) == list(expected)
    assert [name for name in expected if not same(found[name], expected[name])] == []


def test_logical_arrays_and_matlabs_narrow_storage(tmp_path: Path) -> None:
    """Matlab stores doubles of small whole numbers in one byte each; the class says what they are."""
    scipy.io.savemat(tmp_path / "x.mat", {"flags": np.array([True, False])})
    assert read_matlab(tmp_path / "x.mat")["flags"].tolist() == [[True, False]]
    path = matlab(tmp_path / "y.mat", array(6, [1, 3], element(2, bytes([1, 2, 3]))))
    value = read_matlab(path)["x"]
    assert value.dtype == np.float64
    assert value.tolist() == [[1, 2, 3]]


def test_big_endian(tmp_path: Path) -> None:
    parts = [(6, struct.pack(">2I", 7, 0)), (5, struct.pack(">2i", 1, 2)), (1, b"x"), (7, struct.pack(">2f", 1.5, -2))]
    body = b"".join(struct.pack(">2I", kind, len(data)) + data + bytes(-len(data) % 8) for kind, data in parts)
    path = tmp_path / "x.mat"
    path.write_bytes(bytes(124) + b"\x01\x00MI" + struct.pack(">2I", 14, len(body)) + body)
    assert read_matlab(path)["x"].tolist() == [[1.5, -2]]


def test_other_classes_are_records(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "x.mat", {"sparse": scipy.sparse.eye(3).tocsc(), "a": 1.0})
    found = read_matlab(tmp_path / "x.mat")
    assert isinstance(found["sparse"], Record)
    assert found["sparse"].path == "matlab.sparse"
    assert found["a"].tolist() == [[1]]


# -- hostile and damaged files


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<2I", kind, len(data)) + data + bytes(-len(data) % 8)


def array(kind: int, shape: list[int], data: bytes, name: bytes = b"x") -> bytes:
    sizes = struct.pack(f"<{len(shape)}i", *shape)
    return element(14, element(6, struct.pack("<2I", kind, 0)) + element(5, sizes) + element(1, name) + data)


def matlab(path: Path, *variables: bytes) -> Path:
    path.write_bytes(bytes(124) + b"\x00\x01IM" + b"".join(variables))
    return path


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ([array(6, [2**30, 2**30], element(9, bytes(8)))], "has 1 values"),
        ([array(6, [-1, 1], element(9, bytes(8)))], "has the shape"),
        ([array(6, [1], element(9, bytes(8)))], "has the shape"),
        ([array(6, [1, 1], element(9, bytes(7)))], "expected numbers"),
        ([array(6, [1, 1], element(16, bytes(8)))], "expected numbers"),
        ([array(99, [1, 1], element(9, bytes(8)))], "unknown class"),
        ([array(1, [2**30, 2], b"")], "is cut off: 2147483648 cells"),
        ([array(1, [1, 1], element(9, bytes(8)))], "a cell is an element of type 9"),
        ([array(2, [1, 1], element(5, struct.pack("<i", 0)) + element(1, b"a"))], "field names are cut off"),
        ([array(2, [2**30, 1], element(5, struct.pack("<i", 2)) + element(1, b"a\0"))], "is cut off"),
        ([array(4, [1, 9], element(16, b"abc"))], "has 3 letters"),
        ([array(6, [1, 1], element(9, bytes(8)))] * 2, "stands twice"),
        ([element(9, bytes(8))], "a variable is an element of type 9"),
        ([struct.pack("<2I", 14, 2**31)], "is cut off"),
        ([struct.pack("<2I", (9 << 16) | 1, 0)], "more than four bytes"),
        ([b"\x0e\0\0"], "is cut off"),
    ],
)
def test_malformed_files_say_what_is_wrong(tmp_path: Path, variables: list[bytes], says: str) -> None:
    with pytest.raises(Malformed, match=says):
        read_matlab(matlab(tmp_path / "x.mat", *variables))


def test_cells_nested_too_deeply(tmp_path: Path) -> None:
    value = array(6, [1, 1], element(9, bytes(8)))
    for _ in range(100):
        value = array(1, [1, 1], value)
    with pytest.raises(Malformed, match="nested too deeply"):
        read_matlab(matlab(tmp_path / "x.mat", value))


def test_a_compressed_bomb(tmp_path: Path) -> None:
    body = zlib.compress(bytes(300 << 20), 9)
    with pytest.raises(Malformed, match="far larger than the file"):
        read_matlab(matlab(tmp_path / "x.mat", struct.pack("<2I", 15, len(body)) + body))


def test_another_version(tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_bytes(b"short")
    with pytest.raises(Malformed, match="no Matlab file of version 5 to 7"):
        read_matlab(tmp_path / "x.mat")


def test_changed_bytes_never_escape(tmp_path: Path) -> None:
    """The same changes make scipy's reader crash the process."""
    scipy.io.savemat(tmp_path / "x.mat", VARIABLES)
    whole = (tmp_path / "x.mat").read_bytes()
    rng = random.Random(0)
    outcomes = set()
    for _ in range(1500):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "y.mat").write_bytes(damaged)
        try:
            read_matlab(tmp_path / "y.mat")
            outcomes.add("read")
        except (Malformed, ValueError, TypeError):
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
