"""UCSD Ped2: folds over clips, windows as weak bags, whole clips for the test; the real files; messages."""

import numpy as np
import pytest

import zoo
from zoo.domains.anomaly import UCSDPed2
from zoo.domains.anomaly.synthesis_clips import synthesize_ped2
from zoo.domains.anomaly.ucsd_ped2 import FEATURES, FOLDS, LABELS, folds, read_clips
from zoo.errors import InputError
from zoo.training import DataError


@pytest.fixture
def walkway(tmp_path):
    root = tmp_path / "walkway"
    root.mkdir()
    synthesize_ped2(root, seed=2, width=8)
    return root


def items(data, split):
    found = data.items(split)
    return [found[(0, index)] for index in range(len(found))]


def clip(item):
    return item["id"].partition(":")[0]


def test_every_clip_is_tested_once_and_no_clip_is_in_two_splits(walkway):
    tested = []
    for fold in range(1, FOLDS + 1):
        data = UCSDPed2(root=str(walkway), fold=fold)
        train, val, test = ({clip(item) for item in items(data, split)} for split in ("train", "val", "test"))
        assert not train & val
        assert not (train | val) & test
        assert len(train | val | test) == 28
        labels = {item["id"]: item["label"] for item in items(data, "test")}
        assert {0, 1} == set(labels.values())
        tested += labels
        next_test = {item["id"] for item in items(UCSDPed2(root=str(walkway), fold=fold % FOLDS + 1), "test")}
        assert val == next_test
    assert len(tested) == len(set(tested)) == 28


def test_a_window_is_anomalous_where_any_of_its_frames_is(walkway):
    with np.load(walkway / FEATURES) as features, np.load(walkway / LABELS) as labels:
        rows, marks = dict(features), dict(labels)
    data = UCSDPed2(root=str(walkway), window=3)
    windows = items(data, "train")
    for item in windows:
        name, _, place = item["id"].partition(":")
        first, last = (int(number) for number in place.split("-"))
        assert last - first + 1 == 48
        assert item["label"] == int(marks[name][first - 1 : last].any())
        means = rows[name].astype(np.float32)[(first - 1) // 4 : last // 4].reshape(3, 4, -1).mean(axis=1)
        np.testing.assert_allclose(item["features"], means, rtol=1e-6)
        assert (item["events"], item["frames"]) == (None, None)
    count = sum(len(marks[name]) // 16 - 2 for name in {clip(item) for item in windows})
    assert len(windows) == count
    for item in items(data, "test"):
        used = 16 * len(item["features"])
        assert used == len(marks[item["id"]]) // 16 * 16 == item["frames"]
        marked = np.zeros(used)
        for first, last in item["events"]:
            marked[first - 1 : last] = 1
        np.testing.assert_array_equal(marked, marks[item["id"]][:used])


def test_classes_are_shared_out_evenly():
    of = folds([True] * 12 + [False] * 16, 0)
    assert np.bincount(of[:12]).tolist() == [2] * 6
    assert sorted(np.bincount(of[12:]).tolist()) == [2, 2, 3, 3, 3, 3]
    assert (of == folds([True] * 12 + [False] * 16, 0)).all()
    assert (of != folds([True] * 12 + [False] * 16, 1)).any()


def test_wrong_files_and_arguments(walkway):
    def message():
        with pytest.raises(DataError) as caught:
            read_clips(walkway)
        return str(caught.value)

    with np.load(walkway / FEATURES) as features, np.load(walkway / LABELS) as labels:
        rows, marks = dict(features), dict(labels)
    place = walkway / FEATURES
    np.savez(walkway / LABELS, **{**marks, "test13": np.zeros(20, dtype=np.uint8)})
    assert message() == f"{place}: has no features of test13, which labels.npz labels"
    np.savez(walkway / LABELS, **{name: mark for name, mark in marks.items() if name != "test02"})
    assert message() == f"{walkway / LABELS}: has no labels of test02"
    np.savez(walkway / LABELS, **{**marks, "test02": np.full(120, 2)})
    assert message() == f"{walkway / LABELS}[test02]: expected a label 0 or 1 per frame, found int64 (120,)"
    np.savez(walkway / LABELS, **{**marks, "test02": marks["test02"][:-8]})
    rest = len(marks["test02"]) - 8
    assert message() == (
        f"{place}[test02]: has shape {rows['test02'].shape}, expected ({rest // 4 + (rest % 4 > 0)}, D), a row for "
        f"every fourth of {rest} frames"
    )
    (walkway / LABELS).write_bytes(b"PK")
    assert message().startswith(f"{walkway / LABELS}: cannot be read as a numpy file, it is damaged or cut off")
    (walkway / LABELS).unlink()
    assert message() == f"{walkway / LABELS}: there is no such file of arrays"
    for wrong, text in (({"fold": 7}, "data.fold must be from 1 to 6, got 7"), ({"window": 0}, "data.window must be")):
        with pytest.raises(InputError, match=text):
            UCSDPed2(**wrong)


def test_made_up_clips_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    overrides = {"data.synthesize": True, "data.root": None, "model.features": 64, "trainer.max_epochs": 3}
    metrics = zoo.evaluate(zoo.train("anomaly/ucsd_ped2", overrides))
    assert metrics["auc"] > 0.8


@pytest.mark.realdata
def test_the_real_clips(real_data):
    names, snippets, marks = read_clips(real_data / "anomaly/ucsd_ped2")
    assert len(names) == 28
    assert sum(mark.any() for mark in marks) == 12
    assert {len(rows) for rows in snippets} == {7, 9, 11}
    assert sum(len(mark) for mark in marks) == 4416
    data = UCSDPed2(root=str(real_data / "anomaly/ucsd_ped2"))
    assert len(data.items("train")) == 118
    assert next(iter(data.train_dataloader()))["features"].shape == (30, 5, 1280)
