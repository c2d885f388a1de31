"""ShanghaiTech, XD-Violence and RTFM's lists: the official files whole, tiny sets through every split, and messages."""

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

from zoo.domains.anomaly import MILRanking, ShanghaiTech, UCFCrime, XDViolence, segment_features
from zoo.domains.anomaly.annotations import read_train_list
from zoo.domains.anomaly.bags import collate_bags
from zoo.domains.anomaly.shanghaitech import events_of, read_names
from zoo.domains.anomaly.synthesis_lists import synthesize_shanghaitech, synthesize_xd
from zoo.domains.anomaly.xd_violence import codes_of, read_annotations
from zoo.training import DataError


@pytest.fixture
def lists(real_data):
    return real_data / "anomaly/ucf_crime_c3d_samples/lists"


@pytest.fixture
def campus(tmp_path):
    root = tmp_path / "campus"
    root.mkdir()
    synthesize_shanghaitech(root, seed=1, width=8, train=8, test=4)
    return root


@pytest.fixture
def films(tmp_path):
    root = tmp_path / "films"
    root.mkdir()
    synthesize_xd(root, seed=1, width=8, train=8, test=4)
    return root


def items(data, split):
    found = data.items(split)
    return [found[(0, index)] for index in range(len(found))]


def message(call, *arguments):
    with pytest.raises(DataError) as caught:
        call(*arguments)
    return str(caught.value)


# -- the official files


@pytest.mark.realdata
def test_official_lists_of_shanghaitech(lists):
    train, test = (read_names(lists / f"RTFM_SH_{split}.txt") for split in ("Train", "Test"))
    assert (len(train), len(test)) == (238, 199)
    assert (sum(video.anomalous for video in train), sum(video.anomalous for video in test)) == (63, 44)
    assert not {video.id for video in train} & {video.id for video in test}
    assert [(video.id, video.anomalous, video.kind) for video in train[:3]] == [
        ("01_0014", True, "Anomaly"), ("01_0016", True, "Anomaly"), ("01_002", False, "Normal"),
    ]  # fmt: skip


@pytest.mark.realdata
def test_official_annotations_of_xd_violence(lists):
    found = read_annotations(lists / "XD_Annotation.txt")
    assert len(found) == 500
    assert sum(len(events) for _, events in found.values()) == 1238
    assert found["v=S-7rRLrxnVQ__#1_label_B4-0-0"][1] == ((0, 1517), (1970, 3038))
    kinds = Counter(codes_of(name) for name in found)
    assert kinds[("B1",)] == 107
    assert kinds[("B4",)] == 99
    assert kinds[("B2", "B6", "G")] == 2
    assert kinds[("G", "B2", "B6")] == 1
    assert sum(kinds.values()) == 500


# -- RTFM's list of UCF-Crime


def test_rtfm_list_of_feature_files(tmp_path):
    path = tmp_path / "ucf-i3d.list"
    path.write_text("/data/UCF_Train_ten_crop_i3d/Abuse001_x264_i3d.npy\nx/RoadAccidents002_x264_i3d.npy\n"
                    "UCF_Train_ten_crop_i3d/Normal_Videos001_x264_i3d.npy\n")  # fmt: skip
    assert [(video.id, video.anomalous, video.kind) for video in read_train_list(path)] == [
        ("Abuse/Abuse001_x264", True, "Abuse"),
        ("RoadAccidents/RoadAccidents002_x264", True, "RoadAccidents"),
        ("Training_Normal_Videos_Anomaly/Normal_Videos001_x264", False, "Normal"),
    ]
    path.write_text("01_0014_i3d.npy\n")
    assert message(read_train_list, path) == (
        f"{path}:1: '01_0014_i3d.npy' does not begin with a class and a number, as Abuse001_x264_i3d.npy does"
    )


def test_ten_crop_files_of_ucf_crime_in_one_folder(own_crime):
    crops = own_crime / "UCF_ten_crop_i3d"
    crops.mkdir()
    rng = np.random.default_rng(0)
    for file in sorted(own_crime.glob("*/*_x264.txt")):
        rows = 32 if file.name[:3] in ("Abu", "Exp") else 40
        np.save(crops / f"{file.stem}_i3d.npy", rng.random((rows, 10, 16)).astype(np.float32))
        file.unlink()
    for folder in own_crime.iterdir():
        if folder.is_dir() and folder != crops:
            folder.rmdir()
    data = UCFCrime(root=str(own_crime), batch_size=4, val_fraction=0.25, segmenting="matlab", frame_counts="none.txt")
    first = next(item for item in items(data, "train") if "Abuse" in item["id"])
    stored = np.load(crops / f"{first['id'].split('/')[1]}_i3d.npy")
    # 32 clips are no segments: they are normalised as any others
    np.testing.assert_array_equal(first["features"], segment_features(stored, 32, "matlab"))
    assert first["segmented"]
    (own_crime / "Temporal_Anomaly_Annotation.txt").write_text("Abuse101_x264.mp4 Abuse 30 400 -1 -1\n")
    test = items(data, "test")[0]
    assert (test["frames"], test["segmented"], test["features"].shape) == (512, False, (32, 10, 16))
    # an array of 32 rows holds segments only where the video has another length by the list
    (own_crime / "Test.txt").write_text("Abuse/Abuse101_x264.mp4 527 Abuse 30 400 -1 -1\n"
                                        "Explosion/Explosion101_x264.mp4 2000 Explosion 30 400 -1 -1\n")  # fmt: skip
    listed = UCFCrime(root=str(own_crime), test_list="Test.txt")
    assert [(item["segmented"], item["frames"]) for item in items(listed, "test")] == [(False, 527), (True, 2000)]
    shutil.copy(crops / "Abuse101_x264_i3d.npy", own_crime)
    again = UCFCrime(root=str(own_crime), frame_counts="none.txt")
    assert message(again.items, "test").startswith("Abuse101_x264: has several feature files, ")


# -- ShanghaiTech


def test_shanghaitech_through_every_split(campus):
    data = ShanghaiTech(root=str(campus), batch_size=4, steps_per_epoch=2, val_fraction=0.25)
    train, val, test = (items(data, split) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (12, 4, 8)
    assert all(item["features"].shape == (32, 3, 8) for item in (*train, *val))
    assert {item["kind"] for item in test} == {"Anomaly", "Normal"}
    for item in test:
        mask = campus / "test_frame_mask" / f"{item['id']}.npy"
        assert item["label"] == int(mask.is_file())
        assert item["frames"] == 16 * len(item["features"])
        marked = np.zeros(item["frames"])
        for first, last in item["events"]:
            marked[first - 1 : last] = 1
        np.testing.assert_array_equal(marked, np.load(mask) if mask.is_file() else np.zeros(item["frames"]))


def test_marks_of_all_videos_in_one_file(campus):
    apart = items(ShanghaiTech(root=str(campus)), "test")
    marks = []
    for item in apart:
        mask = campus / "test_frame_mask" / f"{item['id']}.npy"
        marks.append(np.load(mask) if mask.is_file() else np.zeros(item["frames"]))
    shutil.rmtree(campus / "test_frame_mask")
    assert message(ShanghaiTech(root=str(campus)).items, "test") == (
        f"{campus}: has neither a folder test_frame_mask nor gt-sh.npy, which tell when anomalies happen"
    )
    np.save(campus / "gt-sh.npy", np.concatenate(marks))
    together = items(ShanghaiTech(root=str(campus)), "test")
    assert [item["events"] for item in together] == [item["events"] for item in apart]
    np.save(campus / "gt-sh.npy", np.concatenate(marks)[:-16])
    total = sum(len(mark) for mark in marks)
    assert message(ShanghaiTech(root=str(campus)).items, "test") == (
        f"{campus}/gt-sh.npy: has {total - 16} marks, the 8 videos have {total} frames (16 per row)"
    )


def test_wrong_files_of_shanghaitech(campus):
    path = campus / "RTFM_SH_Test.txt"
    names = path.read_text().split()
    path.write_text("01_12\n")
    assert message(read_names, path) == f"{path}:1: '01_12' is no name of a video, as 01_0014 or 01_001"
    path.write_text("01_0012\n01_0012.npy\n")
    assert message(read_names, path) == f"{path}:2: 01_0012 stands already at {path}:1"
    path.write_text("\n".join([*names, "09_9999"]))
    read = ShanghaiTech(root=str(campus)).items
    mask = campus / "test_frame_mask/09_9999.npy"
    assert message(read, "test") == f"{path}:9: 09_9999 is anomalous, but {mask} does not say when"
    np.save(mask, np.zeros(160))
    assert message(read, "test") == (f"{mask}: marks 0 frames of 09_9999, which is anomalous (four digits) by its name")
    np.save(mask, np.full(160, 0.5))
    assert message(read, "test") == f"{mask}: expected a mark 0 or 1 per frame, found float64 of shape (160,)"
    np.save(mask, np.ones(160))
    assert message(read, "test").startswith(f"{path}:9: 09_9999 has no feature file; looked for {campus}/09_9999.txt")


def test_runs_of_marks():
    assert events_of(np.array([1, 1, 0, 0, 1, 0, 1])) == ((1, 2), (5, 5), (7, 7))
    assert events_of(np.zeros(4)) == ()


# -- XD-Violence


def test_xd_violence_through_every_split(films):
    data = XDViolence(root=str(films), batch_size=4, steps_per_epoch=2, val_fraction=0.25)
    train, val, test = (items(data, split) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (12, 4, 8)
    assert all(item["features"].shape == (32, 2, 8) for item in (*train, *val))
    annotated = read_annotations(films / "XD_Annotation.txt")
    for item in test:
        stored = np.stack([np.load(films / "test" / f"{item['id']}__{crop}.npy") for crop in (0, 1)], axis=1)
        np.testing.assert_array_equal(item["features"], stored)
        assert item["events"] == list(annotated[item["id"]][1] if item["label"] else ())
        assert item["frames"] == 16 * len(stored)
    kinds = {item["kind"] for item in test}
    assert kinds == {"Normal", "Fighting", "Shooting+CarAccident", "Riot", "Explosion"}


def test_lists_of_xd_violence_take_the_place_of_folders(films):
    names = sorted({file.name.rpartition("__")[0] for file in (films / "train").glob("*.npy")})
    kept = [name for name in names if name.endswith("A")][:3] + [name for name in names if not name.endswith("A")][:3]
    (films / "XD_Train.txt").write_text("\n".join(f"i3d/RGB/{name}__0.npy" for name in kept))
    data = XDViolence(root=str(films), val_fraction=0.3)
    assert {item["id"] for split in ("train", "val") for item in items(data, split)} == set(kept)


def test_wrong_files_of_xd_violence(films):
    path = films / "XD_Annotation.txt"
    text = path.read_text()
    lines = [
        ("a_label_B1-0-0 5", "expected a name and first and last frame of each event, got 2 words"),
        ("a_label_B1-0-0", "expected a name and first and last frame of each event, got 1 words"),
        ("a_label_B1-0-0 5 x", "'x' is not a frame number"),
        ("a_label_B1-0-0 9 5", "9 to 5 is no event (first <= last)"),
        ("a_label_A 5 9", "a_label_A is normal by its name (label A) but has events"),
        ("a_label_B3-0-0 5 9", "'a_label_B3-0-0' does not end in _label_ and its codes, as _label_A or _label_B1-0-0"),
    ]
    for line, expected in lines:
        path.write_text(f"{text}\n{line}\n")
        assert message(read_annotations, path) == f"{path}:5: {expected}"
    read = XDViolence(root=str(films)).items
    path.write_text(f"{text}\nv=test00__#1_label_B1-0-0 5 9\n")
    assert message(read, "test") == (
        f"{path}:5: there is no test video v=test00__#1_label_B1-0-0; did you mean 'v=test000__#1_label_B1-0-0'?"
    )
    path.write_text("\n".join(text.splitlines()[1:]))
    assert message(read, "test").endswith(
        "_label_B1-0-0 is violent by its name, but XD_Annotation.txt does not say when"
    )
    path.write_text(text)
    victim = sorted((films / "test").glob("*__1.npy"))[0]
    np.save(victim, np.zeros((3, 8)))
    stem = victim.name.removesuffix("__1.npy")
    shape = np.load(films / "test" / f"{stem}__0.npy").shape
    assert message(items, XDViolence(root=str(films)), "test") == (
        f"{victim}: has shape (3, 8), expected that of {stem}__0.npy, {shape}"
    )
    shutil.rmtree(films / "test")
    assert message(read, "test") == f"{films}: has neither a list XD_Test.txt nor feature files in test/"


@pytest.mark.parametrize("make", [ShanghaiTech, XDViolence])
def test_they_train_and_are_evaluated_as_made_up_data(make, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    data = make(synthesize=True, batch_size=8, steps_per_epoch=2)
    batch = next(iter(data.train_dataloader()))
    model = MILRanking(features=64, protocol="snippet16")
    assert sum(model.terms(batch).values()).isfinite()
    assert batch["label"].tolist() == [1] * 4 + [0] * 4
    metrics = MetricCollection(model.build_metrics(), compute_groups=False)
    with torch.no_grad():
        rows = model.eval().evaluate_batch(collate_bags(items(data, "test")), metrics)
    assert len(rows) == 20
    assert set(metrics.compute()) == {"auc", "ap", "false_alarms", "video_auc"}
