"""Surveillance Camera Fight: clips into timelines, cameras into splits; and what can be wrong with the files."""

import json

import numpy as np
import pytest
import torch

from zoo.domains.anomaly import SurvCameraFight, clip_snippets, frame_scores, frame_truth
from zoo.domains.anomaly.surv_camera_fight import read_clips
from zoo.domains.anomaly.synthesis import synthesize_clips
from zoo.domains.anomaly.timelines import compose, same_camera, split_of
from zoo.errors import InputError
from zoo.metrics import VideoDetection
from zoo.training import DataError


@pytest.fixture
def clips(tmp_path):
    root = tmp_path / "clips"
    root.mkdir()
    synthesize_clips(root, seed=1, width=16, clips=60)
    return root


def data(root, **more):
    return SurvCameraFight(**{"root": str(root), "batch_size": 4, "steps_per_epoch": 2, "timelines": 10, **more})


def timelines(root, split, **more):
    return data(root, **more).items(split).items.timelines


def check_splits(root):
    labels, clips = read_clips(root)
    cameras = same_camera(np.stack([frames.mean(axis=0) for frames in clips]))
    used = {
        split: {clip for line in timelines(root, split) for clip in line.clips} for split in ("train", "val", "test")
    }
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not used[one] & used[other]
        assert not {cameras[clip] for clip in used[one]} & {cameras[clip] for clip in used[other]}
    for split in used:
        for line in timelines(root, split):
            truth = np.zeros(len(line.clips) * 64, dtype=bool)
            for first, last in line.events:
                truth[first - 1 : last] = True
            np.testing.assert_array_equal(truth, np.repeat(labels[list(line.clips)] == 1, 64))


def test_splits_share_no_clip_and_no_camera_and_the_truth_is_where_the_fights_are(clips):
    check_splits(clips)


@pytest.mark.realdata
def test_the_real_clips(real_data):
    root = real_data / "anomaly/surv_camera_fight"
    check_splits(root)
    labels, clips = read_clips(root)
    assert (len(labels), int(labels.sum())) == (300, 150)
    means = np.stack([frames.mean(axis=0) for frames in clips])
    split = split_of(same_camera(means), 0)
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    across = (unit @ unit.T)[split[:, None] != split]
    assert across.max() <= 0.8 + 1e-6
    item = data(root).items("test")[(0, 0)]
    assert item["label"] == 1
    assert item["features"].shape[0] * 16 == item["frames"]


@pytest.mark.realdata
@pytest.mark.parametrize(("size", "auc"), [("norm", 0.8048), ("mean", 0.8200)])
def test_what_the_size_of_the_change_alone_gives(real_data, size, auc):
    """The baseline of the card: no learning, the larger the change the more of a fight."""
    found = SurvCameraFight(root=str(real_data / "anomaly/surv_camera_fight")).items("test")
    metric = VideoDetection()
    for index in range(len(found)):
        item = found[(0, index)]
        sizes = np.linalg.norm(item["features"], axis=1) if size == "norm" else item["features"].mean(axis=1)
        scores = frame_scores(sizes, item["frames"], "snippet16")
        truth = frame_truth(item["events"], item["frames"], "snippet16", len(scores))
        metric.update(sizes.max(), item["label"], torch.from_numpy(scores), torch.from_numpy(truth))
    assert metric.compute()["auc"].item() == pytest.approx(auc, abs=2e-4)


def test_items_of_training_are_segments_and_of_evaluation_snippets(clips):
    made = data(clips)
    train, test = made.items("train")[(0, 0)], made.items("test")[(0, 0)]
    assert train["features"].shape[0] == 32
    assert train["events"] is None
    assert test["features"].shape[0] * 16 == test["frames"]
    assert test["events"]
    assert not made.items("test")[(0, 1)]["events"]
    assert (len(made.items("train")), len(made.items("val")), len(made.items("test"))) == (20, 10, 10)


def test_composition_is_a_function_of_the_seed_and_not_of_the_split_read_first(clips):
    assert timelines(clips, "test") == timelines(clips, "test")
    assert timelines(clips, "test") != timelines(clips, "test", split_seed=1)
    made = data(clips)
    made.items("train")
    assert made.items("test").items.timelines == timelines(clips, "test")


def test_lengths_of_timelines_and_runs():
    rng = np.random.default_rng(0)
    for _ in range(200):
        line = compose("x", rng, np.arange(100, 130), np.arange(10), 5, 9)
        normal = [clip for clip in line.clips if clip >= 100]
        assert 5 <= len(normal) <= 9
        assert len(set(normal)) == len(normal)
        assert len(line.events) in (1, 2)
        for first, last in line.events:
            run = line.clips[(first - 1) // 64 : last // 64]
            assert 1 <= len(run) <= 3
            assert list(run) == list(range(run[0], run[0] + len(run)))
    assert compose("x", rng, np.arange(3), None, 5, 5).events == ()


def test_cameras_are_linked_through_clips_between_them():
    angle = np.array([0.0, 0.5, 1.0, 2.5])  # cosine of 0.5 is 0.88, of 1.0 0.54
    assert same_camera(np.stack([np.cos(angle), np.sin(angle)], axis=1)).tolist() == [0, 0, 0, 1]
    assert set(split_of(np.arange(100), 0).tolist()) == {"train", "val", "test"}
    assert (split_of(np.arange(100), 0) == "train").sum() == 50


def test_snippets_are_the_relative_change_from_frame_to_frame():
    frames = np.random.default_rng(0).random((12, 5)).astype(np.float16)
    wide = frames.astype(np.float64)
    for index, snippet in enumerate(clip_snippets(frames)):
        inside = [t for t in range(3 * index, 3 * index + 3) if t + 1 < 12]
        change = sum(np.abs(wide[t + 1] - wide[t]) for t in inside) / len(inside)
        mean = sum(wide[3 * index + step] for step in range(3)) / 3
        np.testing.assert_allclose(snippet, change / np.sqrt((mean**2).sum()), rtol=1e-5)
    assert not clip_snippets(np.zeros((12, 5))).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"timelines": 1}, "data.timelines"),
        ({"shortest": 9, "longest": 5}, "data.shortest"),
        ({"shortest": 0}, "data.sho"),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(InputError, match=message):
        SurvCameraFight(**wrong)


def test_wrong_files(clips):
    table = clips / "clips.json"
    entries = json.loads(table.read_text())

    def message():
        with pytest.raises(DataError) as caught:
            data(clips).items("train")
        return str(caught.value)

    table.write_text(json.dumps([*entries, {"clip": "fight_999", "label": 1}]))
    features = clips / "features_efflite0_12f_fp16.npz"
    assert message() == f"{features}: has no features of fight_999 (clip 121 of clips.json)"
    table.write_text(json.dumps([{"clip": "fight_001", "label": 2}]))
    assert message().startswith(f"{table}: clip 1: expected a name `clip` and a `label` 0 or 1, got ")
    table.write_text("[")
    assert message().startswith(f"{table}: is no JSON")
    table.write_text("[]")
    assert message() == f"{table}: expected a list of clips"
    table.write_text(json.dumps(entries[:60]))
    assert "the train split has " in message()
    assert "0 others" in message()
    table.unlink()
    assert message() == f"{table}: there is no such list of clips"
    table.write_text(json.dumps(entries))
    arrays = dict(np.load(features))
    np.savez(features, **{**arrays, "fight_002": np.ones((7, 16))})
    assert message() == f"{features}[fight_002]: has shape (7, 16), expected (12, D), 12 frames of a clip"
    features.write_bytes(features.read_bytes()[:1000])
    assert "is damaged or cut off" in message()
