"""Every data set of the zoo: made-up data is whole, and a function of its seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.cli import main
from zoo.cli.catalogue import Catalogue, DataSet
from zoo.cli.data_files import MARK


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != MARK
    }


@pytest.mark.parametrize("dataset", Catalogue().data(), ids=lambda dataset: dataset.name)
def test_make_and_verify(dataset: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture):
    for folder, seed in (("one", "1"), ("again", "1"), ("two", "2")):
        assert main(["data", "make", dataset.name, "--out", str(tmp_path / folder), "--seed", seed]) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    assert contents(tmp_path / "one") != contents(tmp_path / "two")
    assert main(["data", "verify", dataset.name, "--root", str(tmp_path / "one")]) == 0
    lines = capsys.readouterr().out.splitlines()[-3:]
    for split, line in zip(("train", "val", "test"), lines, strict=True):
        name, count, items = line.split()
        assert (name, items) == (split, "items")
        assert int(count) > 0
