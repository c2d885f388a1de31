"""Data that cannot be used: each error names the file, the line or the image."""

from __future__ import annotations

import pickle
import re
import shutil

import numpy as np
import pytest
from scipy.io import savemat

from zoo.domains.calibration import (
    CIFAR10,
    CIFAR10JPEG,
    CIFAR10LT,
    CIFAR100,
    CUB200,
    SVHN,
    Digits,
    ImageFolder,
    ImageTable,
    TinyImageNet,
)
from zoo.domains.calibration.data_synthesis import save_npz
from zoo.errors import InputError
from zoo.training import DataError


@pytest.fixture
def made(tmp_path):
    """Writes a made-up set of a class into a folder of this test."""

    def get(kind):
        kind().make(tmp_path)
        return tmp_path

    return get


def told(call) -> str:
    with pytest.raises(InputError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text
    return text


def items(kind, root, split="train", **arguments):
    return lambda: kind(root=str(root), **arguments).items(split)


# -- folders


@pytest.mark.parametrize("kind", [CIFAR10, SVHN, TinyImageNet, CUB200, CIFAR10JPEG, ImageFolder, ImageTable])
def test_no_folder_and_an_empty_one(kind, tmp_path):
    assert told(items(kind, tmp_path / "nowhere")).startswith(f"no data for {kind.dataset}: looked in ")
    assert told(items(kind, tmp_path)).startswith(f"{tmp_path}: the data folder of {kind.dataset} is empty")


def test_another_folder_in_the_root(tmp_path):
    (tmp_path / "cifar-10-batch-py").mkdir()
    text = told(items(CIFAR10, tmp_path))
    assert text == (
        f"{tmp_path}: there is no folder cifar-10-batches-py (or cifar-10-batches-bin) in it; "
        "did you mean 'cifar-10-batch-py'?"
    )


# -- CIFAR


def test_a_missing_batch(made):
    root = made(CIFAR10)
    file = root / "cifar-10-batches-py" / "data_batch_3"
    file.unlink()
    assert told(items(CIFAR10, root)).startswith(
        f"{file}: there is no such file; cifar-10-batches-py holds data_batch_1"
    )


def test_a_truncated_pickle(made):
    root = made(CIFAR10)
    file = root / "cifar-10-batches-py" / "test_batch"
    file.write_bytes(file.read_bytes()[:1000])
    assert told(items(CIFAR10, root, "test")).startswith(f"{file}: is no readable CIFAR file (")


def test_a_pickle_that_would_run_code(made, tmp_path):
    root, mark = made(CIFAR10), tmp_path / "ran"

    class Harm:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    file = root / "cifar-10-batches-py" / "test_batch"
    file.write_bytes(pickle.dumps({"data": Harm(), "labels": []}, protocol=2))
    assert "it asks for io.open, which no CIFAR file needs" in told(items(CIFAR10, root, "test")).replace("_io.", "io.")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": [0]}, "holds the keys labels, expected 'data' and 'labels'"),
        ([1], "holds list, expected 'data' and 'labels'"),
        (
            {"data": np.zeros((2, 99), dtype=np.uint8), "labels": [0, 1]},
            "'data' is uint8 (2, 99) with (2,) labels, expected uint8 (N, 3072) and (N,)",
        ),
        (
            {"data": np.zeros((2, 3072), dtype=np.uint8), "labels": [0, 10]},
            "image 1 has the label 10, expected 0 to 9",
        ),
    ],
)
def test_malformed_batches(made, content, message):
    root = made(CIFAR10)
    file = root / "cifar-10-batches-py" / "test_batch"
    file.write_bytes(pickle.dumps(content, protocol=2))
    assert told(items(CIFAR10, root, "test")) == f"{file}: {message}"


def test_a_binary_file_that_is_cut_short(tmp_path):
    (tmp_path / "cifar-100-binary").mkdir()
    file = tmp_path / "cifar-100-binary" / "test.bin"
    file.write_bytes(bytes(5000))
    assert told(items(CIFAR100, tmp_path, "test")) == (
        f"{file}: has 5000 bytes, no multiple of 3074 bytes per image; is it cut short?"
    )


# -- SVHN


def test_svhn_files(made):
    root = made(SVHN)
    file = root / "train_32x32.mat"
    savemat(file, {"X": np.zeros((32, 32, 3, 2), dtype=np.uint8), "y": np.array([[1], [11]])})
    assert told(items(SVHN, root)) == f"{file}: image 1 has the label 11, expected 1 to 10 (10 is the digit 0)"
    savemat(file, {"X": np.zeros((32, 32, 3, 2), dtype=np.uint8)})
    assert told(items(SVHN, root)) == f"{file}: holds no y; expected X and y"
    savemat(file, {"X": np.zeros((32, 32, 2), dtype=np.uint8), "y": np.ones((2, 1))})
    assert told(items(SVHN, root)).startswith(f"{file}: X is uint8 (32, 32, 2) with 2 labels, expected")
    file.write_bytes(b"MATLAB")
    assert told(items(SVHN, root)).startswith(f"{file}: is no readable Matlab file (")
    file.unlink()
    assert told(items(SVHN, root)) == f"{file}: there is no such file (zoo data show svhn says where to get it)"


# -- npz of JPEG


def arrays(file):
    with np.load(file) as archive:
        return dict(archive)


def test_npz_files(made):
    root = made(CIFAR10JPEG)
    file = root / "test.npz"
    good = arrays(file)

    def wrong(**changes):
        save_npz(file, {name: array for name, array in {**good, **changes}.items() if array is not None})
        return told(items(CIFAR10JPEG, root, "test"))

    assert wrong(offset=None) == f"{file}: has no array offset; there are jpeg, label, name"
    labels = good["label"].copy()
    labels[7] = 10
    assert wrong(label=labels) == f"{file}: image 7 has the label 10, expected 0 to 9 (classes.txt names 10 classes)"
    assert wrong(jpeg=good["jpeg"][:5000]).startswith(
        f"{file}: the offsets do not rise within the 5000 bytes of 'jpeg'"
    )
    assert wrong(offset=good["offset"][:-1]).startswith(f"{file}: 200 labels of shape (200,) need 201 offsets")
    assert wrong(name=good["name"][:5]) == f"{file}: 5 names for 200 labels"
    file.write_bytes(file.read_bytes()[:3000])
    assert told(items(CIFAR10JPEG, root, "test")).startswith(f"{file}: is no readable npz (")


def test_a_jpeg_that_cannot_be_decoded_stops_or_is_reported(made):
    root = made(CIFAR10JPEG)
    file = root / "test.npz"
    content = arrays(file)
    content["jpeg"] = content["jpeg"].copy()
    content["jpeg"][content["offset"][4] : content["offset"][4] + 40] = 0
    save_npz(file, content)
    text = told(items(CIFAR10JPEG, root, "test"))
    assert text.startswith(f"{file}: image 4 (airplane/0004.jpg) cannot be decoded (")
    data = CIFAR10JPEG(root=str(root), on_error="skip")
    assert len(data.items("test")) == 199
    (reason,) = data.skipped
    assert reason.startswith(f"test: {file}: image 4 (airplane/0004.jpg) cannot be decoded (")
    whole = [len(CIFAR10JPEG(root=str(root)).items(split)) for split in ("train", "val")]
    assert [len(data.items(split)) for split in ("train", "val")] == whole  # train.npz has an airplane/0004.jpg too
    assert len(data.skipped) == 1


def test_class_lists(made):
    root = made(CIFAR10JPEG)
    file = root / "classes.txt"
    file.write_text("one\ntwo\none\n")
    assert told(items(CIFAR10JPEG, root)) == f"{file}:3: the class 'one' comes twice"
    names = ["\u00fcber", *(f"class {number}" for number in range(9))]
    file.write_bytes("\r\n".join(names).encode("utf-8-sig"))
    data = CIFAR10JPEG(str(root))
    data.items("test")
    assert data.class_names == names
    file.write_text("\n")
    assert told(items(CIFAR10JPEG, root)) == f"{file}: holds no class name"
    file.unlink()
    assert told(items(CIFAR10JPEG, root)) == f"{file}: there is no such list of class names"


def test_parts_that_cannot_be(made):
    root = made(CIFAR10JPEG)
    text = told(items(CIFAR10JPEG, root, train_size=405, val_size=20))
    assert text == "data: a balanced part of 10 classes holds a multiple of 10 images, got 405"
    text = told(items(CIFAR10JPEG, root, train_size=390, val_size=20))
    assert text == "data: class 0 has 40 images, 41 of each class are asked for"
    assert told(lambda: CIFAR10JPEG(train_size=0)) == "data.train_size must be at least 1, got 0"


# -- Tiny-ImageNet and CUB


def test_tiny_annotations(made):
    root = made(TinyImageNet)
    table = root / "val" / "val_annotations.txt"
    lines = table.read_text().splitlines()

    def wrong(line):
        table.write_text("\n".join([lines[0], line, *lines[2:]]))
        return told(items(TinyImageNet, root, "test"))

    assert wrong("val_1.JPEG n01000000").startswith(f"{table}:2: expected file, wnid and box separated by tabs")
    text = wrong("val_1.JPEG\tn01000001\t0")
    assert text.startswith(f"{table}:2: the class 'n01000001' is not in wnids.txt; did you mean 'n010000")
    assert wrong("val_99.JPEG\tn01000000\t0") == f"{table}:2: there is no image {root}/val/images/val_99.JPEG"
    table.unlink()
    assert told(items(TinyImageNet, root, "test")) == f"{table}: there is no such annotation"
    shutil.rmtree(root / "train" / "n01000007")
    text = told(items(TinyImageNet, root))
    assert text.endswith("/train/n01000007/images: there is no image of the class n01000007, which wnids.txt names")


def test_cub_tables(made):
    root = made(CUB200)
    labels = root / "image_class_labels.txt"
    good = labels.read_text()
    labels.write_text(good.replace("3 1\n", "3 0\n", 1))
    assert told(items(CUB200, root)) == f"{labels}:3: image 3 has '0', expected a whole number from 1"
    labels.write_text("".join(sorted(good.replace("3 1\n", "3 ²\n", 1).splitlines(keepends=True), reverse=True)))
    assert re.fullmatch(
        rf"{re.escape(str(labels))}:\d+: image 3 has '²', expected a whole number from 1", told(items(CUB200, root))
    )
    labels.write_text(good.replace("3 1\n", "", 1))
    assert told(items(CUB200, root)) == f"{root / 'images.txt'}:3: image 3 has no line in image_class_labels.txt"
    labels.write_text(good.replace("3 1\n", "3\n", 1))
    assert told(items(CUB200, root)) == f"{labels}:3: expected two columns separated by a space, got '3'"
    labels.write_text(good.replace("40 4\n", "40 5\n"))
    assert told(items(CUB200, root)) == f"{labels}:40: there is a class 5, but classes.txt names 4 classes"
    labels.write_text(good)
    image = next((root / "images").rglob("*_0002.jpg"))
    image.unlink()
    assert told(items(CUB200, root)) == f"{root}/images.txt:2: there is no image {image}"


# -- folders and tables of a user


def test_folders_of_classes(made):
    root = made(ImageFolder)
    (root / "val" / "amber").rename(root / "val" / "ambr")
    assert told(items(ImageFolder, root, "val")) == (
        f"{root}/val/ambr: 'ambr' is no class of the training images; did you mean 'amber'?"
    )
    shutil.rmtree(root / "test" / "amber")
    (root / "test" / "amber").mkdir()
    assert told(items(ImageFolder, root, "test")).startswith(f"{root}/test/amber: holds no image (.jpg, ")
    (root / "train").rename(root / "trian")
    assert told(items(ImageFolder, root)) == f"{root}/train: there is no such folder; did you mean 'trian'?"


@pytest.mark.parametrize("content", [b"", b"no image at all", None])
def test_a_file_that_is_no_image_stops_or_is_reported(made, content):
    root = made(ImageFolder)
    file = root / "test" / "amber" / "003.jpg"
    file.write_bytes(file.read_bytes()[:400] if content is None else content)
    data = ImageFolder(root=str(root))
    with pytest.raises(DataError, match=r"test/amber/003\.jpg"):
        list(data.test_dataloader())
    skipping = ImageFolder(root=str(root), on_error="skip")
    assert len(skipping.items("test")) == 39
    assert len(skipping.skipped) == 1


def test_tables(made):
    root = made(ImageTable)
    table = root / "images.csv"
    good = table.read_text()

    def wrong(text):
        table.write_text(text)
        return told(items(ImageTable, root))

    assert wrong(good.replace("path,label", "paths,label")) == (
        f"{table}:1: has no column 'path'; there are paths, label; did you mean 'paths'?"
    )
    lines = good.splitlines()
    assert wrong("\n".join([*lines[:3], "images/000.jpg,", *lines[3:]])) == f"{table}:4: has no label"
    assert wrong("\n".join([*lines[:3], "images/zero.jpg,amber"])) == (
        f"{table}:4: there is no image {root}/images/zero.jpg"
    )
    assert wrong("path,label,split\nimages/000.jpg,amber,tset\n") == (
        f"{table}:2: the split is 'tset', expected train, val or test; did you mean 'test'?"
    )
    assert wrong("path,label\n") == f"{table}: holds no line below its head"
    assert wrong("path,label,split\nimages/000.jpg,amber,test\n") == f"{table}: has no row of the split train"
    table.rename(root / "image.csv")
    assert told(items(ImageTable, root)) == f"{table}: there is no such table; did you mean 'image.csv'?"


def test_classes_of_one_image_leave_nothing_to_hold_out(made):
    root = made(ImageTable)
    (root / "images.csv").write_text("path,label\nimages/000.jpg,amber\nimages/001.jpg,coal\n")
    assert told(items(ImageTable, root)) == (
        f"{root}: there are no test images, and none can be held out: every class has a single training image"
    )
    (root / "images.csv").write_text(
        "path,label,split\nimages/000.jpg,amber,train\nimages/001.jpg,coal,test\nimages/002.jpg,amber,val\n"
    )
    assert len(items(ImageTable, root)()) == 1


def test_a_missing_image_of_a_table_may_be_skipped(made):
    root = made(ImageTable)
    with (root / "images.csv").open("a") as stream:
        stream.write("images/zero.jpg,amber\n")
    data = ImageTable(root=str(root), on_error="skip")
    counts = [len(data.items(split)) for split in ("train", "val", "test")]
    assert sum(counts) == 120
    (reason,) = data.skipped
    assert f"{root}/images.csv:122" in reason
    assert "zero.jpg" in reason


# -- out-of-distribution sets and arguments


def test_unknown_sets(made, tmp_path):
    root = made(CIFAR10)
    text = told(items(CIFAR10, root, "test", ood=["svnh"]))
    assert text.startswith(
        "data.ood: there is no data set and no folder 'svnh'; did you mean 'svhn'?; data sets: cifar10,"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert told(items(CIFAR10, root, "test", ood=[str(empty)])) == (
        f"{empty}: the out-of-distribution folder holds no image"
    )
    assert told(items(CIFAR10, root, "test", ood=["tiny_imagenet"])).startswith(
        f"data.ood: tiny_imagenet is neither in {root.parent}/tiny_imagenet nor in the usual places (set ZOO_DATA; "
    )
    assert told(lambda: CIFAR10(ood=["a/images", "svhn", "b/images/"])) == (
        "data.ood: 'a/images' and 'b/images/' are both called 'images' in the figures; rename one folder"
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CIFAR100(normalization="offical"), "consistent, official, got 'offical'; did you mean 'official'?"),
        (lambda: CIFAR10(val_fraction=1.0), "data.val_fraction must be in (0, 1), got 1.0"),
        (lambda: CIFAR10(padding=-1), "data: size must be at least 1 and padding 0, got 32 and -1"),
        (lambda: CIFAR10(split_seed=-1), "data.split_seed must not be negative, got -1"),
        (lambda: CIFAR10LT(imbalance=0), "data.imbalance must be in (0, 1], got 0"),
        (lambda: CIFAR10LT(val="tset"), "data.val must be one of held_out, test, got 'tset'; did you mean 'test'?"),
        (lambda: ImageFolder(std=(0.2, 0, 0.2)), "data.std must be above 0, got [0.2, 0, 0.2]"),
        (lambda: ImageFolder(size=64, resize=32), "data.resize must be at least data.size (64), got 32"),
        (lambda: Digits(batch_size=0), "data.batch_size must be at least 1, got 0"),
    ],
)
def test_arguments_out_of_range(call, message):
    assert message in told(call)
