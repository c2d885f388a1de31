"""Feature files: what is read, and the exact message for each thing that can be wrong with one."""

import numpy as np
import pytest

from zoo.domains.anomaly.features import read_arrays, read_features
from zoo.training import DataError

ROWS = np.random.default_rng(0).random((5, 4)).round(6)


def as_text(rows, end=" \n"):
    return "".join(" ".join(f"{value:f}" for value in row) + end for row in rows)


@pytest.mark.parametrize("end", [" \n", "\n", "\r\n"])
def test_text_with_a_trailing_space_without_or_with_windows_ends(tmp_path, end):
    path = tmp_path / "video.txt"
    for mark in (b"", b"\xef\xbb\xbf"):  # Windows' mark of UTF-8
        path.write_bytes(mark + (as_text(ROWS, end) + "\n").encode())
        features = read_features(path)
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features, ROWS.astype(np.float32))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", ">f4", "int32", "uint8"])
@pytest.mark.parametrize("shape", [(5, 4), (5, 10, 4)])
def test_arrays_of_any_number_type(tmp_path, dtype, shape):
    values = (np.random.default_rng(0).random(shape) * 100).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "a.npz", only=values)
    for name in ("a.npy", "a.npz"):
        features = read_features(tmp_path / name)
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features, values.astype(np.float32))


def test_an_archive_of_several_videos(tmp_path):
    np.savez(tmp_path / "a.npz", one=ROWS, two=ROWS[:2])
    assert {name: array.shape for name, array in read_arrays(tmp_path / "a.npz").items()} == {
        "one": (5, 4),
        "two": (2, 4),
    }
    with pytest.raises(DataError, match=r"a\.npz: holds 2 arrays \(one, two, \.\.\.\), expected the features of one"):
        read_features(tmp_path / "a.npz")


def broken(values, place, value):
    changed = values.copy()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (broken(ROWS, (3, 2), np.nan), r"a\.npy: row 3, column 2 \(from 0\) is nan, not a finite number; 1 such"),
        (broken(np.ones((3, 2, 4)), (1, 0, 3), np.inf), r"a\.npy: row 1, crop 0, column 3 \(from 0\) is inf"),
        (np.full((2, 2), 1e300), r"a\.npy: row 0, column 0 \(from 0\) is 1e\+300"),
        (np.ones(4), r"a\.npy: has shape \(4,\), expected \(T, D\) or \(T, crops, D\)"),
        (np.ones((1, 2, 3, 4)), r"a\.npy: has shape \(1, 2, 3, 4\)"),
        (np.ones((0, 4)), r"a\.npy: is empty, its shape is \(0, 4\)"),
        (np.ones((4, 0)), r"a\.npy: is empty, its shape is \(4, 0\)"),
        (np.array([["x"]]), r"a\.npy: holds <U1 values, expected numbers"),
        (np.array([[1 + 2j]]), r"a\.npy: holds complex128 values"),
        (np.array([[True]]), r"a\.npy: holds bool values"),
    ],
)
def test_wrong_arrays(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message):
        read_features(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "video.txt: is empty"),
        (" \n\n", "video.txt: is empty"),
        ("1 2\n1 2 3\n", "video.txt:2: has 3 numbers, line 1 has 2"),
        ("1 2\n1\n", "video.txt:2: has 1 numbers, line 1 has 2"),
        ("1 2\n\n1 2\n", "video.txt:2: is empty, expected a row of numbers"),
        ("1 2\n3 x4\n", "video.txt:2: number 2 is 'x4'"),
        ("1,2\n", "video.txt:1: number 1 is '1,2'"),
        ("1 2\n3 nan\n", "video.txt:2: number 2 is 'nan', not a finite number"),
        ("-inf 2\n", "video.txt:1: number 1 is '-inf', not a finite number"),
        ("1 2\n3 1e999\n", "video.txt:2: number 2 is '1e999', not a finite number"),
        ("1 2\n3 1e50\n", "video.txt:2: number 2 is '1e50', not a finite number"),
    ],
)
def test_wrong_text(tmp_path, text, message):
    path = tmp_path / "video.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_features(path)
    assert str(caught.value) == f"{tmp_path}/{message}"


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("keep", [0, 5, 60, 150])
def test_cut_off_files(tmp_path, name, keep):
    path = tmp_path / name
    (np.save if name == "a.npy" else np.savez)(path, np.ones((20, 20)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=rf"{name}: cannot be read as a numpy file, it is damaged or cut off"):
        read_features(path)


def test_files_that_are_something_else(tmp_path):
    (tmp_path / "v.txt").write_bytes(b"\x93NUMPY\x00\xff")
    with pytest.raises(DataError, match=r"v\.txt: is no text file"):
        read_features(tmp_path / "v.txt")
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"o\.npy: cannot be read as a numpy file"):
        read_features(tmp_path / "o.npy")
    np.savez(tmp_path / "z.npz", a=ROWS)
    (tmp_path / "z.npz").rename(tmp_path / "z.npy")
    with pytest.raises(DataError, match=r"z\.npy: is an archive of arrays, rename it to end in \.npz"):
        read_features(tmp_path / "z.npy")
    np.save(tmp_path / "y.npy", ROWS)
    (tmp_path / "y.npy").rename(tmp_path / "y.npz")
    with pytest.raises(DataError, match=r"y\.npz: is a single array, rename it to end in \.npy"):
        read_features(tmp_path / "y.npz")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(DataError, match=r"empty\.npz: holds no array"):
        read_features(tmp_path / "empty.npz")
    with pytest.raises(DataError, match=r"video\.mp4: features are read from files ending in \.npy, \.npz, \.txt"):
        read_features(tmp_path / "video.mp4")
    with pytest.raises(DataError, match=r"no\.npy: there is no such feature file"):
        read_features(tmp_path / "no.npy")


@pytest.mark.realdata
def test_the_released_c3d_features(real_data):
    arrays = read_arrays(real_data / "anomaly/ucf_crime_c3d_samples/features_c3d_32seg_fp16.npz")
    assert len(arrays) == 10
    for features in arrays.values():
        assert features.shape == (32, 4096)
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=2e-3)
