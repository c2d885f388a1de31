"""Any csv of video, label, intervals: what each cell may say, splits, and the message for each that is wrong."""

import numpy as np
import pytest

import zoo
from zoo.domains.anomaly import VideoTable
from zoo.domains.anomaly.synthesis_lists import synthesize_table
from zoo.domains.anomaly.video_table import read_table
from zoo.errors import InputError
from zoo.training import DataError


def table(path, *lines, head="video,label,intervals,split"):
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


@pytest.fixture
def made(tmp_path):
    root = tmp_path / "made"
    root.mkdir()
    synthesize_table(root, seed=0, width=8, count=8)
    return root


def test_what_cells_may_say(tmp_path):
    path = table(
        tmp_path / "videos.csv",
        "hall/a.mp4,normal,,train",
        "hall/b,0,,test",
        "hall/c_i3d.npy,fight,165-240; 780 - 840,test",
        'd.txt,1,"[[5, 9], [20, 30]]",test',
        "e,Anomaly,,train",
        "hall/f.v2.MKV,1,,train",
    )
    rows = [(split, video.id, video.anomalous, video.kind, video.events) for split, video in read_table(path)]
    assert rows == [
        ("train", "hall/a", False, "Normal", ()),
        ("test", "hall/b", False, "Normal", ()),
        ("test", "hall/c", True, "fight", ((165, 240), (780, 840))),
        ("test", "d", True, "Anomaly", ((5, 9), (20, 30))),
        ("train", "e", True, "Anomaly", None),
        ("train", "hall/f.v2", True, "Anomaly", None),
    ]
    assert read_table(path)[2][1].place == f"{path}:4"


def test_tables_as_spreadsheets_write_them(tmp_path):
    path = tmp_path / "videos.csv"
    path.write_bytes("\ufeffvideo, label ,intervals\r\nhaus/k\u00e4mera 1, 1, 5-9\r\n".encode())
    ((split, video),) = read_table(path)
    assert (split, video.id, video.anomalous, video.events) == (None, "haus/k\u00e4mera 1", True, ((5, 9),))


def test_intervals_in_seconds_and_frames_of_a_video(tmp_path):
    path = table(tmp_path / "v.csv", "a,1,1.5-2; 10-12.2,test,900", head="video,label,intervals,split,frames")
    ((_, video),) = read_table(path, fps=30.0)
    assert video.events == ((46, 60), (301, 366))
    assert video.frames == 900


def test_own_splits_and_shared_out_ones(made):
    data = VideoTable(root=str(made), batch_size=4, steps_per_epoch=1)
    sizes = {split: len(data.items(split)) for split in ("train", "val", "test")}
    assert sizes == {"train": 16, "val": 4, "test": 8}
    assert data.items("val")[(0, 0)]["features"].shape == (32, 8)
    item = data.items("test")[(0, 0)]
    assert item["kind"] == "fight"
    assert item["frames"] == 16 * len(item["features"])
    text = (made / "videos.csv").read_text().splitlines()
    (made / "videos.csv").write_text("\n".join(line.rpartition(",")[0] for line in text))
    shared = VideoTable(root=str(made), batch_size=4, val_fraction=0.2)
    found = {split: [shared.items(split)[(0, i)] for i in range(len(shared.items(split)))] for split in sizes}
    assert {split: len(items) for split, items in found.items()} == {"train": 16, "val": 4, "test": 8}
    names = [item["id"] for items in found.values() for item in items]
    assert len(set(names)) == 28
    assert [sum(item["label"] for item in items) for items in found.values()] == [8, 2, 4]


def test_a_csv_of_three_columns_is_enough(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = (made / "videos.csv").read_text().splitlines()
    (made / "videos.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines))
    data = {"data": "zoo.domains.anomaly.VideoTable", "data.root": str(made), "data.batch_size": 8,
            "data.steps_per_epoch": 5}  # fmt: skip
    folder = zoo.train(
        "anomaly/demo", {**data, "model.features": 8, "model.protocol": "snippet16", "trainer.max_epochs": 1}
    )
    metrics = zoo.evaluate(folder, predictions=tmp_path / "rows.csv")
    assert set(metrics) == {"video_auc"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,2,,train", "2: label is '2', expected 0 or normal, 1 or anomaly, or the name of a class"),
        ("a,-1,,train", "2: label is '-1', expected 0 or normal, 1 or anomaly, or the name of a class"),
        ("a,,,train", "2: label is '', expected 0 or normal, 1 or anomaly, or the name of a class"),
        ("a,norml,,train", "2: label is 'norml', expected 0 or normal, 1 or anomaly, or the name of a class; did you "
                           "mean 'normal'?"),
        ("a,0,5-9,test", "2: the video is normal but has intervals"),
        ("a,1,5 to 9,test", "2: intervals are '5 to 9', expected e.g. '165-240; 780-840'"),
        ("a,1,9-5,test", "2: 9 to 5 is no interval (first <= last)"),
        ("a,1,1.5-2.5,test", "2: 1.5 to 2.5 are no frame numbers (data.unit: second takes seconds)"),
        ("a,1,,trian", "2: split is 'trian', expected one of train, val, test; did you mean 'train'?"),
        ("a,1", "2: has 2 cells, the head has 4"),
        ("a,1,,test,7", "2: has 5 cells, the head has 4"),
        (",1,,test", "2: video is '', expected a path below the root"),
        ("../a,1,,test", "2: video is '../a', expected a path below the root"),
        ("a,1,,test\na.npy,0,,test", "3: a stands already at {path}:2"),
    ],
)  # fmt: skip
def test_wrong_rows(tmp_path, line, message):
    path = table(tmp_path / "videos.csv", line)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value) == f"{path}:{message.format(path=path)}"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("video,labels", "column 'labels' is unknown; there are video, label, intervals, split, frames; "
                         "did you mean 'label'?"),
        ("video,intervals,split", "has no column 'label' (columns: video, intervals, split)"),
        ("video,label,label", "column 'label' comes twice"),
    ],
)  # fmt: skip
def test_wrong_heads(tmp_path, head, message):
    path = table(tmp_path / "videos.csv", "a,1,", head=head)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value) == f"{path}: {message}"


def test_missing_things(made):
    table(made / "videos.csv", "train/cam000,1,,train", "train/cam001,0,,train", "nowhere/cam9,1,5-9,test")
    with pytest.raises(DataError) as caught:
        VideoTable(root=str(made)).items("test")
    assert str(caught.value) == f"{made}/nowhere: there is no such folder (a class folder with feature files)"
    table(made / "videos.csv", "train/cam999,1,5-9,test")
    with pytest.raises(DataError, match=r"videos\.csv:2: train/cam999 has no feature file; looked for "):
        VideoTable(root=str(made)).items("test")
    table(made / "videos.csv", "segments,1,5-9,test")
    np.savetxt(made / "segments.txt", np.ones((32, 8)))
    with pytest.raises(DataError) as caught:
        VideoTable(root=str(made)).items("test")[(0, 0)]
    assert str(caught.value) == (
        f"{made}/videos.csv:2: segments has 32 segments, and no list says how many frames it has; "
        "give the table a column frames"
    )
    with pytest.raises(DataError, match=r"vidoes\.csv: there is no such list of videos; did you mean 'videos\.csv'"):
        VideoTable(root=str(made), table="vidoes.csv").items("test")
    with pytest.raises(InputError, match=r"data\.fps must be above 0, got 0\.0"):
        VideoTable(fps=0.0)
    with pytest.raises(InputError, match="one of frame, second, got 'seconds'; did you mean 'second'"):
        VideoTable(unit="seconds")


def test_a_video_of_the_same_name_in_another_folder_is_another_video(made):
    """Its features were taken where those of the listed video were missing."""
    (made / "train" / "cam005.npy").rename(made / "test" / "cam005.npy")
    with pytest.raises(DataError, match=r"videos\.csv:\d+: train/cam005 has no feature file"):
        VideoTable(root=str(made)).items("train")
