"""The header of a safetensors file, without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from zoo.checkpoint import card, header
from zoo.errors import InputError

METADATA = {"zoo_recipe": "model: {}\n", "zoo_version": "0.1.0", "zoo_classes": '["cat"]', "zoo_metrics": '{"a": 1}'}


def write(path: Path, table: Any, data: bytes = b"", length: int | None = None) -> Path:
    raw = table if isinstance(table, bytes) else json.dumps(table).encode()
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        header(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def entry(dtype: str = "F32", shape: Any = (2,), start: Any = 0, stop: Any = 8) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_the_table_is_what_was_written(tmp_path: Path) -> None:
    tensors = {
        "a": torch.zeros(2, 3),
        "half": torch.zeros(5, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 4),
        "count": torch.tensor(3),
        "c": torch.zeros(2, dtype=torch.complex64),
        "f8": torch.zeros(3).to(torch.float8_e4m3fn),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata=METADATA)
    found = header(tmp_path / "x.safetensors")
    assert found["metadata"] == METADATA
    assert {name: value["shape"] for name, value in found["tensors"].items()} == {
        name: list(tensor.shape) for name, tensor in tensors.items()
    }
    assert found["tensors"]["half"]["dtype"] == "BF16"


def test_the_card(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2)}, path, metadata={**METADATA, "zoo_source": "w.mat", "other": "x"})
    assert card(path) == {
        "recipe": "model: {}\n",
        "version": "0.1.0",
        "classes": ["cat"],
        "metrics": {"a": 1.0},
        "preprocess": {},
        "source": "w.mat",
        "file": str(path),
    }


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({}, "carries no recipe (zoo_recipe), so it was not written by zoo; an authors' file"),
        ({**METADATA, "zoo_recipe": " "}, "zoo_recipe must be the recipe as text"),
        (
            {k: v for k, v in METADATA.items() if k != "zoo_version"},
            "zoo_version must be a version as text, it is miss",
        ),
        ({**METADATA, "zoo_version": "99.1.0"}, "was written by zoo 99.1.0, newer than this one"),
        ({**METADATA, "zoo_classes": "[1]"}, "zoo_classes must be a list of names"),
        ({**METADATA, "zoo_classes": "[cat"}, "zoo_classes is no JSON"),
        ({**METADATA, "zoo_metrics": '{"a": "high"}'}, "zoo_metrics must be numbers by name"),
        ({**METADATA, "zoo_preprocess": "[]"}, "zoo_preprocess must be values by name"),
        ({**METADATA, "zoo_preprocess": "[" * 100_000}, "zoo_preprocess is no JSON"),
    ],
)
def test_a_card_with_mistakes(tmp_path: Path, metadata: dict[str, str], says: str) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(InputError, match=r"x\.safetensors") as caught:
        card(path)
    assert says in str(caught.value)


def test_a_claimed_header_of_two_gigabytes_is_refused_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", b'{"a": 1', length=2 << 30)
    start = time.perf_counter()
    assert "claims a header of 2147483648 bytes" in refusal(path)
    assert time.perf_counter() - start < 0.1


@pytest.mark.parametrize(
    ("table", "data", "says"),
    [
        (b"{not json", b"", "is no JSON"),
        (b"[]", b"", "must be a JSON object"),
        (b"\xff\xfe{}", b"", "is no JSON"),
        (b"[" * 200_000, b"", "is no JSON"),
        (b'{"a": %d}' % 1 + b" " * 5, b"", "must give dtype, shape and data_offsets"),
        (b'{"a": ' + b"9" * 5000 + b"}", b"", "is no JSON"),
        (b'{"a": {}, "b": {}, "a": {}}', b"", "names 'a' twice"),
        ({"__metadata__": {"k": 1}}, b"", "must be text by name"),
        ({"__metadata__": ["k"]}, b"", "must be text by name"),
        ({"a": entry(dtype="F31")}, bytes(8), "unknown dtype 'F31'"),
        ({"a": entry(shape=[-2])}, bytes(8), "list of numbers from 0"),
        ({"a": entry(shape=[2.0])}, bytes(8), "list of numbers from 0"),
        ({"a": entry(shape=[True])}, bytes(8), "list of numbers from 0"),
        ({"a": entry(shape=[1] * 65)}, bytes(8), "list of numbers from 0"),
        ({"a": entry(start=8, stop=0)}, bytes(8), "a begin and an end"),
        ({"a": entry(start=-8, stop=0)}, bytes(8), "a begin and an end"),
        ({"a": entry(shape=[3])}, bytes(8), "F32 of shape [3] takes 12 bytes"),
        ({"a": entry(stop=16, shape=[4])}, bytes(8), "is cut off: tensor 'a' ends at byte 16 of the data"),
        ({"a": entry(start=4, stop=12)}, bytes(12), "begins at byte 4, expected 0"),
        ({"a": entry(), "b": entry(start=4, stop=12)}, bytes(12), "tensor 'b' begins at byte 4, expected 8"),
        ({"a": entry(), "b": entry()}, bytes(8), "begins at byte 0, expected 8"),
        ({"a": entry()}, bytes(9), "has 1 bytes after the last tensor"),
    ],
)
def test_a_broken_header_says_what_is_wrong(tmp_path: Path, table: Any, data: bytes, says: str) -> None:
    assert says in refusal(write(tmp_path / "x.safetensors", table, data))


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(3), "b": torch.ones(2, 2)}, path, metadata=METADATA)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refusal(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "x.safetensors")


def test_no_torch_is_imported(tmp_path: Path) -> None:
    """`zoo show FILE.safetensors` must answer at once."""
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(3)}, path, metadata=METADATA)
    code = (
        "import sys\n"
        "from zoo.checkpoint import card, header, locate\n"
        "path = locate(sys.argv[1])\n"
        "assert card(path)['classes'] == ['cat'] and 'a' in header(path)['tensors']\n"
        "heavy = {'torch', 'lightning', 'numpy', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=os.environ, timeout=300)
