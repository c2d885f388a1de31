"""Every data set of the zoo: made-up data is whole, and a function of its seed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.cli.catalogue import Catalogue, DataSet
from zoo.cli.data_files import MARK
from zoo.training import ZooData


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != MARK
    }


@pytest.mark.parametrize("dataset", Catalogue().data(), ids=lambda dataset: dataset.name)
def test_make_and_verify(dataset: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture):
    cls = getattr(import_module(dataset.definition.module), dataset.name)
    if cls.make is ZooData.make:  # features of raw files alone
        assert cls.prepare is not ZooData.prepare
        assert main(["data", "make", dataset.name, "--out", str(tmp_path / "one")]) == 2
        assert "cannot be synthesized" in capsys.readouterr().err
        return
    for folder, seed in (("one", "1"), ("again", "1"), ("two", "2")):
        assert main(["data", "make", dataset.name, "--out", str(tmp_path / folder), "--seed", seed]) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    assert contents(tmp_path / "one") != contents(tmp_path / "two")
    assert main(["data", "verify", dataset.name, "--root", str(tmp_path / "one")]) == 0
    words = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    counts = {name: int(count) for name, count, *rest in words if rest == ["items"]}
    assert tuple(counts) == cls.splits
    assert all(counts.values())
