import os

import numpy as np
import pytest

from zoo.errors import InputError
from zoo.training import FeatureStore


@pytest.fixture
def files(tmp_path):
    made = []
    for index in range(5):
        made.append(tmp_path / f"{index}.bin")
        made[-1].write_bytes(bytes([index] * 3))
    return made


class Counting:
    def __init__(self):
        self.seen = []

    def __call__(self, files):
        self.seen += [file.name for file in files]
        return [np.array([float(file.read_bytes()[0]), 1.0]) for file in files]


def test_computed_once_then_reused(files, tmp_path):
    work, store = Counting(), FeatureStore("t", {"net": "a"}, tmp_path / "kept")
    first = store.get(files, work, batch=2)
    assert [array[0] for array in first] == [0, 1, 2, 3, 4]
    assert (store.computed, store.reused, store.changed) == (5, 0, 0)
    again = FeatureStore("t", {"net": "a"}, tmp_path / "kept")
    np.testing.assert_array_equal(again.get(files[::-1], work), first[::-1])
    assert (again.computed, again.reused) == (0, 5)
    assert len(work.seen) == 5


def test_a_changed_file_is_computed_anew_and_told(files, tmp_path, capsys):
    work, store = Counting(), FeatureStore("t", {"net": "a"}, tmp_path / "kept")
    store.get(files, work)
    files[3].write_bytes(b"\x09")
    assert store.get(files, work)[3][0] == 9
    assert (store.computed, store.reused, store.changed) == (1, 4, 1)
    assert "1 files changed since their features were made" in capsys.readouterr().err


def test_an_interrupted_run_goes_on(files, tmp_path):
    work, store = Counting(), FeatureStore("t", {"net": "a"}, tmp_path / "kept")

    def failing(chosen):
        if files[2] in chosen:
            raise KeyboardInterrupt
        return work(chosen)

    with pytest.raises(KeyboardInterrupt):
        store.get(files, failing, batch=1)
    assert [array[0] for array in store.get(files, work, batch=1)] == [0, 1, 2, 3, 4]
    assert sorted(work.seen) == sorted(file.name for file in files)
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if name.endswith(".part")]


def test_another_way_of_making_has_features_of_its_own(files, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    one, other = FeatureStore("t", {"net": "a"}), FeatureStore("t", {"net": "b"})
    assert one.folder != other.folder
    one.get(files, Counting())
    work = Counting()
    other.get(files, work)
    assert len(work.seen) == 5
    with pytest.raises(InputError, match="were made by"):
        FeatureStore("t", {"net": "b"}, one.folder).get(files, work)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none.bin: cannot be read"):
        FeatureStore("t", {}, tmp_path / "kept").get([tmp_path / "none.bin"], Counting())
