"""A corpus of hostile files at the doors that users have: each is refused by one clear line, and nothing runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo.cli import main
from zoo.errors import InputError
from zoo.recipe import read, text

from .conftest import row_of

Make = Callable[[Path, Path], Path]


class Reduce:
    """Is pickled as a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def bomb(folder: Path, flag: Path) -> Path:
    file = folder / "bomb.ckpt"
    file.write_bytes(pickle.dumps({"state_dict": Reduce(os.system, f"touch {flag}")}))
    return file


def zipped_bomb(folder: Path, flag: Path) -> Path:
    file = folder / "zipped.ckpt"
    torch.save(
        {"state_dict": {"w": torch.zeros(1)}, "zoo_recipe": Reduce(subprocess.Popen, ["touch", str(flag)])}, file
    )
    return file


def traversal(folder: Path, flag: Path) -> Path:
    """A zip whose entries lead out of it; the pickle inside is harmless."""
    file = folder / "traversal.ckpt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": {}}, protocol=2))
        archive.writestr("archive/version", "3\n")
        archive.writestr(f"archive/../../{flag.name}", "out")
        archive.writestr(str(flag), "out")
    return file


def safetensors(file: Path, table: dict[str, Any], data: bytes = b"", length: int | None = None) -> Path:
    head = json.dumps(table).encode()
    file.write_bytes(struct.pack("<Q", len(head) if length is None else length) + head + data)
    return file


def entry(shape: list[int], stop: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [0, stop]}


def lying_length(folder: Path, flag: Path) -> Path:
    return safetensors(folder / "length.safetensors", {"w": entry([1], 4)}, bytes(4), length=1 << 32)


def lying_offsets(folder: Path, flag: Path) -> Path:
    return safetensors(folder / "offsets.safetensors", {"w": entry([4], 8)}, bytes(8))


def ten_gibibytes(folder: Path, flag: Path) -> Path:
    size = 10 * 2**30
    return safetensors(folder / "ten.safetensors", {"w": entry([size // 4], size)}, bytes(64))


def ten_gibibytes_zipped(folder: Path, flag: Path) -> Path:
    """A torch file of a few bytes whose tensor claims ten gibibytes by its strides."""
    file = folder / "ten.ckpt"
    buffer = io.BytesIO()
    torch.save({"state_dict": {"w": torch.zeros(1)}}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):  # the size (1,) becomes (2684354560,): BININT1 1 -> LONG1 of five bytes
                number = (10 * 2**28).to_bytes(5, "little")
                content = content.replace(b"K\x00K\x01\x85", b"K\x00\x8a\x05" + number + b"\x85", 1)
            target.writestr(name, content)
    return file


def named(path: str) -> Make:
    """A file whose recipe names a class that would run something."""

    def make(folder: Path, flag: Path) -> Path:
        recipe = text(read("ltr/demo")).replace("zoo.domains.ltr.MLPRanker", path)
        meta = {"zoo_recipe": recipe, "zoo_version": "0.1.0"}
        return safetensors(folder / "named.safetensors", {"__metadata__": meta, "w": entry([1], 4)}, bytes(4))

    return make


def tagged(folder: Path, flag: Path) -> Path:
    recipe = f"model: !!python/object/apply:os.system ['touch {flag}']\ndata: {{}}\n"
    meta = {"zoo_recipe": recipe, "zoo_version": "0.1.0"}
    return safetensors(folder / "tagged.safetensors", {"__metadata__": meta, "w": entry([1], 4)}, bytes(4))


CORPUS: dict[str, tuple[Make, str]] = {
    "pickle bomb": (bomb, "asks for more than tensors and plain values (posix.system)"),
    "bomb in a zip": (zipped_bomb, "asks for more than tensors and plain values (commands.Popen)"),
    "zip traversal": (traversal, "file in archive is not in a subdirectory"),
    "length of the header": (lying_length, "it claims a header of 4294967296 bytes"),
    "offsets of a tensor": (lying_offsets, "F32 of shape [4] takes 16 bytes, the header gives [0, 8]"),
    "ten GiB": (ten_gibibytes, "tensor 'w' ends at byte 10737418240 of the data, the file has 64"),
    "ten GiB in a zip": (ten_gibibytes_zipped, "is damaged or cut off"),
    "os.system": (named("os.system"), "--trust os"),
    "subprocess.Popen": (named("subprocess.Popen"), "--trust subprocess"),
    "python tag": (tagged, "python/object/apply"),
}


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return tmp_path / "ran"


def one_line(capsys: pytest.CaptureFixture[str], argv: list[str]) -> str:
    assert main(argv) == 2, argv
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("case", CORPUS)
def test_every_door_refuses_in_one_line(case: str, trap: Path, capsys: pytest.CaptureFixture[str]):
    make, says = CORPUS[case]
    file = make(trap.parent / "work", trap)
    before = set(trap.parent.rglob("*"))
    for argv in (["eval"], ["predict"], ["export"], ["publish"]):
        more = ["input.txt"] if argv == ["predict"] else []
        said = one_line(capsys, [*argv, file.name, *more])
        assert says in said
        assert file.name in said
    with pytest.raises(InputError) as caught:
        zoo.load(file)
    assert says in str(caught.value)
    assert not trap.exists()
    assert set(trap.parent.rglob("*")) == before


@pytest.mark.parametrize("case", ["pickle bomb", "bomb in a zip", "zip traversal", "ten GiB", "ten GiB in a zip"])
def test_convert_reads_them_as_data_and_finds_no_network(case: str, trap: Path, capsys):
    file = CORPUS[case][0](trap.parent / "work", trap)
    assert main(["convert", "anomaly/milranking_ucfcrime_c3d", file.name, "out.safetensors"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert not trap.exists()
    assert not Path("out.safetensors").exists()


@pytest.mark.parametrize("case", ["pickle bomb", "os.system", "python tag"])
def test_a_hostile_file_with_the_right_hash_is_refused_all_the_same(case: str, trap: Path, index, capsys):
    file = CORPUS[case][0](trap.parent / "work", trap)
    renamed = file.with_suffix(".safetensors")
    file.rename(renamed)
    index(row_of(renamed, "evil", [f"file://{renamed}"]))
    assert CORPUS[case][1] in one_line(capsys, ["eval", "evil"])
    assert not trap.exists()


@pytest.mark.parametrize("verb", ["check", "train", "show"])
def test_python_tags_in_a_recipe_file_make_nothing(verb: str, trap: Path, capsys: pytest.CaptureFixture[str]):
    Path("evil.yaml").write_text(f"model: !!python/object/apply:os.system ['touch {trap}']\n")
    assert main([verb, "evil.yaml"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("evil.yaml:1: ")
    assert "Traceback" not in err
    assert not trap.exists()
    assert not Path("runs").exists()
