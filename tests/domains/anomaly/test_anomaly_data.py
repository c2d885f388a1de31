"""UCF-Crime on the disk: splits, items, batches, and the message for each thing that can be missing."""

import shutil

import numpy as np
import pytest
import torch

from zoo.domains.anomaly import UCFCrime, segment_features, synthesize
from zoo.domains.anomaly.bags import BagOrder, collate_bags, interleaved
from zoo.domains.anomaly.listed import held_out
from zoo.errors import InputError
from zoo.training import DataError


def data(root, **more):
    return UCFCrime(**{"root": str(root), "batch_size": 4, "steps_per_epoch": 3, "val_fraction": 0.25, **more})


def ids(made, split):
    items = made.items(split)
    return [items[(0, index)]["id"] for index in range(len(items))]


def test_splits_share_no_video_and_keep_both_classes(crime):
    made = data(crime)
    train, val, test = (ids(made, split) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (18, 6, 8)
    assert not set(train) & set(val)
    assert not (set(train) | set(val)) & set(test)
    labels = [made.items("val")[(0, index)]["label"] for index in range(6)]
    assert labels == [1, 0, 1, 0, 1, 0]
    assert ids(data(crime, split_seed=1), "val") != val
    assert ids(data(crime, val_fraction=0.001), "val")[1].startswith("Training_Normal")


def test_items_hold_what_the_files_hold(crime):
    made = data(crime)
    item = made.items("train")[(0, 0)]
    rows = np.loadtxt(crime / f"{item['id']}.txt")
    np.testing.assert_allclose(item["features"], rows, atol=1e-7)
    assert item["frames"] is None
    assert item["events"] is None
    test = made.items("test")[(0, 0)]
    line = (crime / "Test_Annotation.txt").read_text().splitlines()[0].split()
    assert test["id"] == line[0].removesuffix(".mp4")
    assert test["frames"] == int(line[1])
    assert [number for event in test["events"] for number in event] == [int(word) for word in line[3:] if word != "-1"]


@pytest.mark.parametrize("mode", ["matlab", "numpy", "truncate"])
@pytest.mark.parametrize("shape", [(50, 16), (50, 3, 16)])
def test_snippets_are_segmented_for_training_and_stay_for_the_test(own_crime, mode, shape):
    rng = np.random.default_rng(0)
    made = data(own_crime)
    for video in (made.items("train")[(0, 0)]["id"], made.items("test")[(0, 0)]["id"]):
        (own_crime / f"{video}.txt").unlink()
        np.save(own_crime / f"{video}.npy", rows := rng.random(shape).astype(np.float32))
    made = data(own_crime, segmenting=mode, frame_counts="none.txt" if shape == (50, 3, 16) else "Test_Annotation.txt")
    item = made.items("train")[(0, 0)]
    assert item["features"].shape == (32, *shape[1:])
    np.testing.assert_array_equal(
        item["features"], segment_features(np.load(own_crime / f"{item['id']}.npy"), 32, mode)
    )
    (own_crime / "Temporal_Anomaly_Annotation.txt").write_text(f"{video.split('/')[1]}.mp4 Abuse 5 700 -1 -1\n")
    item = data(own_crime, frame_counts="none.txt").items("test")[(0, 0)]
    assert item["frames"] == 800
    np.testing.assert_array_equal(item["features"], rows)


def test_file_endings_and_the_other_lists(own_crime):
    made = data(own_crime)
    video, other = ids(made, "train")[:2]
    frames = made.items("test")[(0, 0)]["frames"]
    (own_crime / f"{video}.txt").rename(own_crime / f"{video}_C.txt")
    np.savez(own_crime / f"{other}.npz", np.loadtxt(own_crime / f"{other}.txt"))
    (own_crime / f"{other}.txt").unlink()
    (own_crime / "Temporal_Anomaly_Annotation.txt").unlink()
    again = data(own_crime, train_list="Train_Annotation.txt", test_list="Test_Annotation.txt")
    assert ids(again, "train") == ids(made, "train")
    assert again.items("test")[(0, 0)]["frames"] == frames


def test_batches_hold_the_anomalous_half_first(crime):
    made = data(crime, batch_size=6)
    batches = list(made.train_dataloader())
    assert len(batches) == 3
    for batch in batches:
        assert batch["features"].shape == (6, 32, 16)
        assert batch["label"].tolist() == [1, 1, 1, 0, 0, 0]
        assert len(set(batch["id"])) == 6
        assert all(("Normal" in name) == (label == 0) for name, label in zip(batch["id"], batch["label"], strict=True))
    again = [batch["id"] for batch in data(crime, batch_size=6).train_dataloader()]
    assert again == [batch["id"] for batch in batches]
    workers = data(crime, batch_size=6, workers=2)
    for got, expected in zip(workers.train_dataloader(), batches, strict=True):
        assert torch.equal(got["features"], expected["features"])


def test_order_draws_without_replacement_and_gives_processes_equal_halves():
    labels = np.array([1] * 7 + [0] * 11)
    order = BagOrder(labels, batch_size=4, steps_per_epoch=50, seed=5)
    assert len(order) == 50
    drawn = order.global_batches(0)
    for batch in drawn:
        assert labels[batch].tolist() == [1, 1, 0, 0]
        assert len(set(batch.tolist())) == 4
    assert {int(index) for batch in drawn for index in batch} == set(range(18))
    assert any((a != b).any() for a, b in zip(drawn, order.global_batches(1), strict=True))
    assert all((a == b).all() for a, b in zip(drawn, order.global_batches(0), strict=True))

    whole = BagOrder(labels, batch_size=6, steps_per_epoch=4, seed=5).global_batches(2)
    shares = []
    for rank in range(3):
        share = BagOrder(labels, batch_size=2, steps_per_epoch=4, seed=5, rank=rank, world_size=3)
        share.set_epoch(2)
        shares.append([[position for _, position in batch] for batch in share])
    for step, batch in enumerate(whole):
        for rank in range(3):
            assert shares[rank][step] == batch[rank::3].tolist()
            assert labels[shares[rank][step]].tolist() == [1, 0]


def test_order_with_replacement_and_with_few_bags():
    labels = np.array([1, 1, 0, 0, 0])
    repeated = BagOrder(labels, 40, 3, replacement=True).global_batches(0)
    assert all(len(batch) == 40 for batch in repeated)
    assert len({np.bincount(batch, minlength=5)[0] for batch in repeated}) > 1
    few = BagOrder(labels, 10, 3).global_batches(0)
    for batch in few:  # 5 of 2 anomalous bags: each twice, one three times; 5 of 3 normal ones
        assert sorted(np.bincount(batch, minlength=5)[:2].tolist()) == [2, 3]
        assert sorted(np.bincount(batch, minlength=5)[2:].tolist()) == [1, 2, 2]


def test_order_goes_on_inside_an_epoch():
    order = BagOrder(np.array([1] * 4 + [0] * 4), 4, 6, seed=1)
    order.set_epoch(3)
    whole = list(order)
    order.resume(3, 4)
    assert list(order) == whole[4:]
    order.set_epoch(3)
    assert list(order) == whole[4:]


def test_ragged_videos_are_padded():
    make = lambda name, rows: {"id": name, "label": 1, "features": np.full((rows, 2), rows, dtype=np.float32),  # noqa: E731
                               "frames": rows * 16, "events": [(1, 2)]}  # fmt: skip
    batch = collate_bags([make("a", 3), make("b", 5)])
    assert batch["features"].shape == (2, 5, 2)
    assert batch["length"].tolist() == [3, 5]
    assert not batch["features"][0, 3:].any()
    assert (batch["frames"], batch["events"]) == ([48, 80], [[(1, 2)], [(1, 2)]])
    wide = {**make("c", 3), "features": np.zeros((3, 4), dtype=np.float32)}
    with pytest.raises(DataError, match=r"c: has rows of shape \(4,\), a of shape \(2,\)"):
        collate_bags([make("a", 3), wide])


def test_held_out_and_interleaved():
    labels = np.array([True] * 30 + [False] * 10)
    held = held_out(labels, 0.1, 0)
    assert held[:30].sum() == 3
    assert held[30:].sum() == 1
    assert held_out(labels, 0.001, 0).sum() == 2
    assert (held == held_out(labels, 0.1, 0)).all()
    order = interleaved([0, 0, 0, 1, 1])
    assert order.tolist() == [3, 0, 4, 1, 2]


def test_limit_keeps_both_classes(crime):
    made = data(crime, limit=4)
    assert [len(made.items(split)) for split in ("train", "val", "test")] == [4, 4, 4]
    assert {batch["label"].sum().item() for batch in made.train_dataloader()} == {2}
    with pytest.raises(DataError, match="training needs anomalous and normal videos, the train split has 1 anom"):
        data(crime, limit=1).train_dataloader()


def test_synthesized_data_is_a_function_of_the_seed(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        synthesize(tmp_path / name, seed=seed, width=8, train=4, test=4)
    files = {name: sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.txt"))
             for name in "abc"}  # fmt: skip
    assert files["a"] == files["b"] == files["c"]
    assert len(files["a"]) == 4 + 8 + 8
    texts = {name: [(tmp_path / name / file).read_bytes() for file in files[name]] for name in "abc"}
    assert texts["a"] == texts["b"]
    assert texts["a"] != texts["c"]
    lines = (tmp_path / "a/Abuse/Abuse001_x264.txt").read_text().splitlines()
    assert len(lines) == 32
    assert all(line.endswith(" ") and len(line.split(" ")) == 9 for line in lines)


def test_synthesized_data_is_made_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    made = UCFCrime(synthesize=True, batch_size=4)
    assert made.items("train")[(0, 0)]["features"].shape == (32, 64)
    assert made.folder().is_relative_to(tmp_path)
    assert made.class_names == ["normal", "anomalous"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 5}, "data.batch_size must be even, half anomalous and half normal bags, got 5"),
        ({"steps_per_epoch": 0}, "data.steps_per_epoch must be at least 1, got 0"),
        ({"val_fraction": 0.0}, "data.val_fraction must be in (0, 1), got 0.0"),
        ({"val_fraction": 1.0}, "data.val_fraction must be in (0, 1), got 1.0"),
        ({"segmenting": "matlap"}, "data.segmenting must be one of matlab, numpy, truncate, got 'matlap'; did you mean "
                                   "'matlab'?"),
        ({"workers": -1}, "data.workers must be at least 0, got -1"),
    ],
)  # fmt: skip
def test_wrong_arguments(wrong, message):
    with pytest.raises(InputError) as caught:
        UCFCrime(**wrong)
    assert str(caught.value) == message


def read_all(made):
    for split in ("train", "val", "test"):
        ids(made, split)


def test_missing_things(own_crime):
    (own_crime / "Anomaly_Train.txt").rename(own_crime / "Anomaly_train.txt")
    with pytest.raises(DataError) as caught:
        data(own_crime).items("train")
    assert str(caught.value) == (
        f"{own_crime}/Anomaly_Train.txt: there is no such list of videos; did you mean 'Anomaly_train.txt'?"
    )
    (own_crime / "Anomaly_train.txt").rename(own_crime / "Anomaly_Train.txt")

    (own_crime / "Robbery").rename(own_crime / "Robery")
    with pytest.raises(DataError) as caught:
        data(own_crime).items("test")
    assert str(caught.value) == (
        f"{own_crime}/Robbery: there is no such folder (a class folder with feature files); did you mean 'Robery'?"
    )
    (own_crime / "Robery").rename(own_crime / "Robbery")

    (own_crime / "Abuse/Abuse002_x264.txt").unlink()
    with pytest.raises(DataError) as caught:
        read_all(data(own_crime))
    assert str(caught.value) == (
        f"{own_crime}/Anomaly_Train.txt:5: Abuse/Abuse002_x264 has no feature file; looked for "
        f"{own_crime}/Abuse/Abuse002_x264.txt (.npy, .npz, _C.txt, _i3d.npy, __0.npy)"
    )
    skipping = data(own_crime, on_error="skip")
    read_all(skipping)
    assert sum(skipping.skipped.values()) == 1
    shutil.rmtree(own_crime)
    own_crime.mkdir()
    with pytest.raises(InputError, match="is empty"):
        data(own_crime).items("train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1 0.2 \n" * 32, "has rows of 2 numbers, "),
        ("0.1 " * 16 + "\n", "has 1 lines, expected a line for each of 32 segments"),
        (("0.1 " * 16 + "\n") * 31 + "0.1 " * 15 + "nan\n", ":32: number 16 is 'nan', not a finite number"),
    ],
)
def test_damaged_feature_files_are_named(own_crime, text, message):
    path = own_crime / "Stealing/Stealing002_x264.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_all(data(own_crime))
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_segments_need_a_frame_count_and_events_a_place_in_the_video(own_crime):
    with pytest.raises(DataError) as caught:
        ids(data(own_crime, frame_counts="none.txt"), "test")
    assert str(caught.value) == (
        f"{own_crime}/Temporal_Anomaly_Annotation.txt:1: Abuse/Abuse101_x264 has 32 segments, and no list says how "
        "many frames it has; add Test_Annotation.txt, which does (data.frame_counts)"
    )
    annotations = own_crime / "Temporal_Anomaly_Annotation.txt"
    lines = annotations.read_text().splitlines()
    annotations.write_text("\n".join(["Abuse101_x264.mp4  Abuse  10  90000  -1  -1", *lines[1:]]))
    with pytest.raises(
        DataError, match=r"Temporal_Anomaly_Annotation\.txt:1: the event 10 to 90000 lies beyond the vid"
    ):
        ids(data(own_crime), "test")
