"""Raw C3D blobs: a file, a folder of them, a video of UCF-Crime made of them, and each way to be wrong."""

import struct

import numpy as np
import pytest

from zoo.domains.anomaly import UCFCrime, segment_features
from zoo.domains.anomaly.feature_files import read_video
from zoo.domains.anomaly.features import read_blob, read_blobs
from zoo.training import DataError


def write(path, values, shape=None):
    header = shape or (1, len(values), 1, 1, 1)
    path.write_bytes(struct.pack("<5i", *header) + np.asarray(values, dtype="<f4").tobytes())


def folder_of(path, rows, first=1, step=16):
    path.mkdir(parents=True)
    for index, row in enumerate(rows):
        write(path / f"{first + step * index:06d}.fc6-1", row)
    return path


def message(call, *arguments):
    with pytest.raises(DataError) as caught:
        call(*arguments)
    return str(caught.value)


def test_a_blob_is_five_integers_and_the_numbers(tmp_path):
    path = tmp_path / "000001.fc6-1"
    path.write_bytes(b"\1\0\0\0" + b"\3\0\0\0" + b"\1\0\0\0" * 3 + struct.pack("<3f", 0.5, -2.0, 1e-7))
    np.testing.assert_array_equal(read_blob(path), np.array([0.5, -2.0, 1e-7], dtype=np.float32))
    write(path, np.arange(6.0), (1, 1, 1, 2, 3))
    np.testing.assert_array_equal(read_blob(path), np.arange(6))


def test_clips_come_in_the_order_of_their_numbers(tmp_path):
    rows = np.random.default_rng(0).random((12, 5)).astype(np.float32)
    folder = tmp_path / "video"
    folder.mkdir()
    for index, row in enumerate(rows):  # without leading zeros the order of names is another
        write(folder / f"{16 * index}.fc6-1", row)
    np.testing.assert_array_equal(read_blobs(folder), rows)
    found, segmented = read_video(folder)
    assert found.shape == (12, 5)
    assert not segmented


@pytest.mark.parametrize(
    ("content", "message_of"),
    [
        (b"", "has 0 bytes, a C3D blob begins with five int32 (20 bytes)"),
        (struct.pack("<5i", 1, 3, 1, 1, 1) + b"\0" * 8, "has 28 bytes, a blob of shape [1, 3, 1, 1, 1] has 32"),
        (struct.pack("<5i", 1, 3, 1, 1, 1) + b"\0" * 16, "has 36 bytes, a blob of shape [1, 3, 1, 1, 1] has 32"),
        (struct.pack("<5i", 2, 3, 1, 1, 1) + b"\0" * 24,
         "is no C3D blob of one clip, its header (num, channels, length, h, w) is [2, 3, 1, 1, 1]"),
        (struct.pack("<5i", 1, -3, 1, 1, 1),
         "is no C3D blob of one clip, its header (num, channels, length, h, w) is [1, -3, 1, 1, 1]"),
        (struct.pack(">5i", 1, 3, 1, 1, 1) + b"\0" * 12,
         "is no C3D blob of one clip, its header (num, channels, length, h, w) is "
         "[16777216, 50331648, 16777216, 16777216, 16777216]"),
        (struct.pack("<5i3f", 1, 3, 1, 1, 1, 0, float("nan"), 0), "number 2 is nan, not a finite number"),
    ],
)  # fmt: skip
def test_wrong_blobs(tmp_path, content, message_of):
    path = tmp_path / "000001.fc6-1"
    path.write_bytes(content)
    assert message(read_blob, path) == f"{path}: {message_of}"


def test_wrong_folders(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert message(read_blobs, empty) == f"{empty}: holds no C3D blob (*.fc6-1)"
    gap = folder_of(tmp_path / "gap", np.ones((5, 3)))
    (gap / "000033.fc6-1").unlink()
    assert message(read_blobs, gap) == (
        f"{gap}: a clip is missing between 000017.fc6-1 and 000049.fc6-1; the first are 16 frames apart"
    )
    named = folder_of(tmp_path / "named", np.ones((2, 3)))
    write(named / "last.fc6-1", np.ones(3))
    assert message(read_blobs, named) == (
        f"{named}/last.fc6-1: a blob is named by the number of its first frame, e.g. 000017.fc6-1"
    )
    twice = folder_of(tmp_path / "twice", np.ones((2, 3)))
    write(twice / "17.fc6-1", np.ones(3))
    assert message(read_blobs, twice) == f"{twice}/17.fc6-1: is the same clip as 000017.fc6-1"
    wide = folder_of(tmp_path / "wide", np.ones((2, 3)))
    write(wide / "000017.fc6-1", np.ones(4))
    assert message(read_blobs, wide) == f"{wide}/000017.fc6-1: has 4 numbers, 000001.fc6-1 has 3"


@pytest.mark.parametrize("clips", [20, 32, 49])
def test_a_video_of_blobs_is_segmented_as_the_authors_do(own_crime, clips):
    made = UCFCrime(root=str(own_crime), val_fraction=0.25)
    video = made.items("train")[(0, 0)]["id"]
    (own_crime / f"{video}.txt").unlink()
    rows = np.random.default_rng(clips).random((clips, 16)).astype(np.float32)
    folder_of(own_crime / video, rows)
    item = UCFCrime(root=str(own_crime), val_fraction=0.25).items("train")[(0, 0)]
    assert item["id"] == video
    np.testing.assert_array_equal(item["features"], segment_features(rows, 32, "matlab"))
    np.testing.assert_allclose(np.linalg.norm(item["features"], axis=1), 1, rtol=1e-6)
