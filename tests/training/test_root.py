"""Where data is looked up, and the cache of synthesized sets."""

import threading
from pathlib import Path

import pytest

from zoo.errors import InputError
from zoo.training.root import cache_dir, resolve_root, synthesized


def filled(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "file").write_text("x")
    return folder


def test_order_of_the_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "zd"))
    here = filled(tmp_path / "data/anomaly/ucf")
    assert resolve_root(None, "anomaly", "ucf", "ucf").resolve() == here
    there = filled(tmp_path / "zd/anomaly/ucf")
    assert resolve_root(None, "anomaly", "ucf", "ucf") == there
    own = filled(tmp_path / "own")
    assert resolve_root("own", "anomaly", "ucf", "ucf").resolve() == own
    under = filled(tmp_path / "zd/own")
    assert resolve_root("own", "anomaly", "ucf", "ucf") == under
    assert resolve_root(str(own), "anomaly", "ucf", "ucf") == own


def test_errors_name_every_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "zd"))
    with pytest.raises(InputError) as caught:
        resolve_root(None, "anomaly", "ucf", "ucf")
    assert str(tmp_path / "zd/anomaly/ucf") in str(caught.value)
    assert "data/anomaly/ucf" in str(caught.value)
    assert "zoo data show ucf" in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is empty"):
        resolve_root("empty", "anomaly", "ucf", "ucf")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="must be a folder"):
        resolve_root("file", "anomaly", "ucf", "ucf")


def test_synthesized_is_made_once_and_keyed_by_its_arguments(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "x").write_text("x")

    first = synthesized("A", {"n": 1}, make)
    assert synthesized("A", {"n": 1}, make) == first
    assert len(made) == 1
    assert synthesized("A", {"n": 2}, make) != first
    assert synthesized("B", {"n": 1}, make) != first
    assert first.is_relative_to(cache_dir())


def test_synthesized_by_several_at_once_and_never_half(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    barrier = threading.Barrier(4)
    found = []

    def make(folder: Path) -> None:
        barrier.wait()
        (folder / "x").write_text("x")

    threads = [threading.Thread(target=lambda: found.append(synthesized("A", {}, make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert (found[0] / "x").read_text() == "x"

    def broken(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        synthesized("C", {}, broken)
    assert not list((tmp_path / "synthesized").glob("C-*"))
