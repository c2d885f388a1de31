"""zoo data make --from videos: what it writes, that it goes on where it was stopped, and what it does not overlook."""

import json
import shutil

import numpy as np
import pytest
import torch

from zoo.domains.anomaly import (
    ImageFeatures,
    SurvCameraFight,
    UCFCrime,
    VideoTable,
    open_frames,
    segment_features,
    stream_rows,
)
from zoo.domains.anomaly.prepare import make_features
from zoo.errors import InputError
from zoo.training import DataError


def tiny(**options):
    return ImageFeatures("test_resnet", **{"pretrained": False, "size": 32, "frames": 2, **options})


@pytest.fixture
def videos(film, tmp_path):
    """Two videos, a folder of frames, and a list."""
    source = tmp_path / "videos"
    (source / "Abuse").mkdir(parents=True)
    film.write(source / "Abuse" / "Abuse001_x264.mp4", film.pictures(70, seed=1))
    film.write(source / "Abuse" / "Abuse002_x264.avi", film.pictures(40, seed=2), 25, "mpeg4")
    film.folder(source / "01_001", film.pictures(33, seed=3))
    (source / "list.txt").write_text("Abuse/Abuse001_x264.mp4\n")
    return source


def test_features_of_every_video_and_a_note_beside_each(videos, tmp_path):
    out = tmp_path / "features"
    assert make_features(tiny(), videos, out) == {"made": 3, "kept": 0, "changed": 0, "skipped": 0, "orphaned": 0}
    for name, frames in (("Abuse/Abuse001_x264", 70), ("Abuse/Abuse002_x264", 48), ("01_001", 33)):
        features = np.load(out / f"{name}.npy", allow_pickle=False)
        source = next(
            place for place in (videos / f"{name}.mp4", videos / f"{name}.avi", videos / name) if place.exists()
        )
        expected = torch.cat(list(stream_rows(tiny(), open_frames(source, 30))))
        np.testing.assert_array_equal(features, expected)
        note = json.loads((out / f"{name}.npy.json").read_text())
        assert (note["frames"], note["rows"], note["fps"]) == (frames, frames // 16, 30)
    assert (out / "list.txt").read_text() == "Abuse/Abuse001_x264.mp4\n"
    assert json.loads((out / "made_by.json").read_text()) == tiny().made_by()
    assert not list(out.rglob("*.part"))


def test_it_goes_on_where_it_was_stopped(videos, tmp_path, monkeypatch):
    out = tmp_path / "features"
    seen = []

    def counted(extractor, frames, *rest):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(frames.path.name)
        return stream_rows(extractor, frames, *rest)

    monkeypatch.setattr("zoo.domains.anomaly.prepare.stream_rows", counted)
    with pytest.raises(KeyboardInterrupt):
        make_features(tiny(), videos, out)
    assert len(list(out.rglob("*.npy"))) == 2
    (out / "Abuse" / ".Abuse002_x264.npy.part").write_bytes(b"left by a kill")
    seen.clear()
    assert make_features(tiny(), videos, out)["made"] == 1
    assert seen == ["Abuse002_x264.avi"]
    assert not list(out.rglob("*.part"))
    seen.clear()
    assert make_features(tiny(), videos, out)["kept"] == 3
    assert seen == []


def test_a_changed_video_is_made_anew(film, videos, tmp_path, capsys):
    out = tmp_path / "features"
    make_features(tiny(), videos, out)
    before = np.load(out / "Abuse/Abuse001_x264.npy")
    film.write(videos / "Abuse" / "Abuse001_x264.mp4", film.pictures(70, seed=9))
    film.folder(tmp_path / "other", film.pictures(1, seed=8))
    shutil.copy(tmp_path / "other" / "0.png", videos / "01_001" / "7.png")  # one frame of a folder
    counts = make_features(tiny(), videos, out)
    assert (counts["changed"], counts["made"], counts["kept"]) == (2, 2, 1)
    assert "Abuse001_x264.mp4 (changed)" in capsys.readouterr().err
    assert not np.array_equal(np.load(out / "Abuse/Abuse001_x264.npy"), before)


def test_a_damaged_cache_is_made_anew_and_leftovers_are_told(videos, tmp_path, capsys):
    out = tmp_path / "features"
    make_features(tiny(), videos, out)
    whole = (out / "01_001.npy").read_bytes()
    (out / "01_001.npy").write_bytes(whole[:-8])
    (out / "Abuse/Abuse001_x264.npy.json").write_text("{")
    assert make_features(tiny(), videos, out)["made"] == 2
    assert (out / "01_001.npy").read_bytes() == whole
    (videos / "Abuse" / "Abuse002_x264.avi").unlink()
    capsys.readouterr()
    assert make_features(tiny(), videos, out)["orphaned"] == 1
    assert f"{out / 'Abuse/Abuse002_x264.npy'}: belongs to no video below {videos}" in capsys.readouterr().err


def test_features_made_in_another_way_are_refused(videos, tmp_path):
    out = tmp_path / "features"
    make_features(tiny(), videos, out)
    with pytest.raises(InputError, match=r"features: holds features made in another way \(frames was 2, now 4\); name"):
        make_features(tiny(frames=4), videos, out)
    mine = tmp_path / "mine"
    (mine / "Abuse").mkdir(parents=True)
    np.save(mine / "Abuse" / "Abuse001_x264.npy", np.zeros((3, 4)))
    with pytest.raises(InputError, match=r"Abuse001_x264\.npy: zoo data make did not make this file"):
        make_features(tiny(), videos, mine)


def test_videos_that_cannot_be_read(film, videos, tmp_path, capsys):
    (videos / "Abuse" / "Abuse001_x264.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"Abuse001_x264\.mp4: is no video"):
        make_features(tiny(), videos, tmp_path / "one")
    counts = make_features(tiny(), videos, tmp_path / "two", on_error="skip")
    assert (counts["made"], counts["skipped"]) == (2, 1)
    told = capsys.readouterr().err
    assert f"skipped: {videos / 'Abuse/Abuse001_x264.mp4'}: is no video" in told
    assert "features of 3 videos: 2 made, 0 kept, 1 skipped" in told


def test_folders_that_do_not_fit(film, videos, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"none: holds no video \(\.mp4"):
        make_features(tiny(), tmp_path / "none", tmp_path / "out")
    with pytest.raises(InputError, match="gone: there is no such folder of videos"):
        make_features(tiny(), tmp_path / "gone", tmp_path / "out")
    with pytest.raises(InputError, match="videos: the features need a folder of their own"):
        make_features(tiny(), videos, videos)
    film.write(videos / "Abuse" / "Abuse001_x264.mkv", film.pictures(20))
    with pytest.raises(InputError, match=r"Abuse001_x264\.mp4: has the features' name of .*Abuse001_x264\.mkv"):
        make_features(tiny(), videos, tmp_path / "out")


def test_the_data_sets_make_themselves(film, tmp_path):
    source, out = tmp_path / "videos", tmp_path / "features"
    source.mkdir()
    lines = ["video,label,intervals,split"]
    for number in range(8):
        film.write(source / f"cam{number}.mp4", film.pictures(16 * 32 if number == 7 else 50, seed=number))
        split = "train" if number < 6 else "test"
        lines.append(f"cam{number},{number % 2},{'5-20' if number == 7 else ''},{split}")
    (source / "videos.csv").write_text("\n".join(lines) + "\n")
    data = VideoTable(root=str(out), extractor=tiny(), val_fraction=0.3)
    data.prepare(source, out)
    test = data.items("test")
    items = {test[(0, index)]["id"]: test[(0, index)] for index in range(len(test))}
    assert items["cam6"]["frames"] == 50  # as in the video; the rows cover 48
    assert items["cam7"]["segmented"] is False  # 32 clips, no segments
    train = data.items("train")
    rows = np.load(out / "cam0.npy")
    found = next(train[(0, index)] for index in range(len(train)) if train[(0, index)]["id"] == "cam0")
    np.testing.assert_allclose(found["features"], segment_features(rows, 32, "truncate"))


def test_data_sets_without_an_extractor_say_so(tmp_path):
    with pytest.raises(InputError, match=r"UCFCrime needs an extractor .* --data\.extractor .*C3DFeat"):
        UCFCrime().prepare(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="SurvCameraFight is not made from raw files"):
        SurvCameraFight().prepare(tmp_path, tmp_path / "out")


def test_the_command(film, videos, tmp_path, zoo):
    options = ["--data.extractor", "ImageFeatures", "--data.extractor.name", "test_resnet",
               "--data.extractor.pretrained", "false", "--data.extractor.size", "32"]  # fmt: skip
    first = zoo("data", "make", "ucf_crime", "--from", videos, "--out", tmp_path / "out", *options, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "3 made, 0 kept" in first.stderr
    assert len(list((tmp_path / "out").rglob("*.npy"))) == 3
