"""Data that cannot be used: each error is one line and names the file, the line or the point."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from zoo.domains.counting import NWPU, BoxTable, Jiangsu, KCLLondon, PointsJSON, PointTable, ShanghaiTechA, Yosemite
from zoo.domains.counting.synthesis import image_info, save_matlab
from zoo.errors import InputError


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """The made-up set of each class, written once."""
    done = {}

    def get(cls):
        if cls not in done:
            done[cls] = tmp_path_factory.mktemp(cls.dataset)
            cls().make(done[cls])
        return done[cls]

    return get


@pytest.fixture
def made(originals, tmp_path):
    """A copy of a made-up set that a test may spoil."""

    def get(cls):
        return shutil.copytree(originals(cls), tmp_path, dirs_exist_ok=True)

    return get


def told(root, call) -> str:
    with pytest.raises(InputError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text
    return text.replace(str(root), "ROOT")


def reading(cls, root, split="train", **arguments):
    """Opens a split and reads every item."""

    def read():
        items = cls(root=str(root), **{"crop": 32, **arguments}).items(split)
        return [items[0, index] for index in range(len(items))]

    return read


# -- arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop": 30}, "data.crop must be a multiple of 4, got 30"),
        ({"labelled_fraction": 0.0}, "data.labelled_fraction must be above 0 and at most 1, got 0.0"),
        ({"labelled_fraction": 1.2}, "data.labelled_fraction must be above 0 and at most 1, got 1.2"),
        ({"unlabelled_batch": -1}, "data.unlabelled_batch must not be negative, got -1"),
        ({"steps_per_epoch": 0}, "data.steps_per_epoch must be at least 1, got 0"),
        ({"val": 1.5}, "data.val must be a share between 0 and 1, or a number of images, got 1.5"),
        ({"outside": "drob"}, "data.outside must be one of stop, drop, got 'drob'; did you mean 'drop'?"),
        ({"batch_size": 0}, "data.batch_size must be at least 1, got 0"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    assert told("ROOT", lambda: PointsJSON(**arguments)) == message


def test_more_arguments_out_of_range():
    assert told("ROOT", lambda: PointTable(test_share=1.0)) == "data.test_share must be between 0 and 1, got 1.0"
    assert told("ROOT", lambda: Yosemite(block=8)) == "data.block must be at least 32, got 8"


# -- folders


@pytest.mark.parametrize("cls", [KCLLondon, ShanghaiTechA, NWPU, PointsJSON, PointTable, BoxTable, Yosemite])
def test_no_folder_and_an_empty_one(cls, tmp_path):
    assert told(tmp_path, reading(cls, tmp_path / "no")).startswith(f"no data for {cls.dataset}: looked in ROOT/no;")
    assert told(tmp_path, reading(cls, tmp_path)).startswith(f"ROOT: the data folder of {cls.dataset} is empty")


def test_folders_of_other_names(made, tmp_path):
    root = made(KCLLondon)
    (root / "train_data").rename(root / "train")
    (root / "train_dat").mkdir()
    text = told(root, reading(KCLLondon, root))
    assert text == "ROOT: there is no folder train_data in it; did you mean 'train_dat'?"
    (root / "train_dat").rmdir()
    (root / "train").rename(root / "train_data")
    (root / "train_data/ground_truth").rename(root / "train_data/truth")
    assert told(root, reading(KCLLondon, root)) == "ROOT/train_data: there is no folder ground_truth in it"
    for file in (root / "train_data/images").iterdir():
        file.unlink()
    assert told(root, reading(KCLLondon, root)).startswith("ROOT/train_data/images: holds no image (.jpg, ")


def test_a_root_of_something_else(tmp_path):
    (tmp_path / "readme.txt").write_text("hello")
    assert told(tmp_path, reading(ShanghaiTechA, tmp_path)) == "ROOT: there is no folder part_A in it"
    assert told(tmp_path, reading(NWPU, tmp_path)) == "ROOT: there is no folder mats in it, nor jsons"
    assert told(tmp_path, reading(PointsJSON, tmp_path)) == "ROOT/points.json: there is no such file"
    assert told(tmp_path, reading(PointTable, tmp_path)) == "ROOT/points.csv: there is no such table"
    assert told(tmp_path, reading(Yosemite, tmp_path)) == "ROOT/yosemite.tif: there is no such raster"


# -- annotations of one image


def test_annotations_that_are_not_there(made):
    root = made(Jiangsu)
    (root / "test_data/images/IMG_2.jpg").rename(root / "test_data/images/IMG_99.jpg")
    text = "ROOT/test_data/ground_truth/GT_IMG_99.mat: there is no such annotation of test_data/images/IMG_99.jpg"
    assert told(root, reading(Jiangsu, root, "test")) == text
    (root / "test_data/images/IMG_1.jpg").rename(root / "test_data/images/IMG_990.jpg")
    assert told(root, reading(Jiangsu, root, "test")) == f"{text} (and 1 more)"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no readable Matlab file ("),
        (b"not a mat file" * 40, "is no readable Matlab file ("),
        (None, "is no readable Matlab file ("),
        ({"other": np.zeros((3, 2))}, "holds other, expected image_info or annPoints or points or location"),
        ({"image_info": np.zeros((3, 1))}, "image_info: has the shape (3, 1), expected (N, 2), x and y of each point"),
        ({"annPoints": np.array([["a", "b"]])}, "annPoints: is no list of points (x, y)"),
        (
            image_info(np.array([[1.0, 2.0], [np.nan, 3.0]])),
            "image_info: point 1 is [nan, 3.0], expected finite numbers",
        ),
    ],
)
def test_annotations_that_hold_no_points(made, content, message):
    root = made(ShanghaiTechA)
    file = root / "part_A/test_data/ground-truth/GT_IMG_2.mat"
    if content is None:
        file.write_bytes(file.read_bytes()[:200])
    elif isinstance(content, bytes):
        file.write_bytes(content)
    else:
        save_matlab(file, content)
    text = told(root, reading(ShanghaiTechA, root, "test"))
    assert text.startswith(f"ROOT/part_A/test_data/ground-truth/GT_IMG_2.mat: {message}")


def test_points_outside_their_image(made):
    root = made(ShanghaiTechA)
    file = root / "part_A/test_data/ground-truth/GT_IMG_2.mat"
    save_matlab(file, image_info(np.array([[3.0, 4.0], [128.6, -0.5], [300.0, 7.0]])))
    assert told(root, reading(ShanghaiTechA, root, "test")) == (
        "ROOT/part_A/test_data/ground-truth/GT_IMG_2.mat: point 2 (300, 7) lies outside "
        "part_A/test_data/images/IMG_2.jpg of 128 x 128 pixels (1 of 3 do); data.outside: drop leaves such points out"
    )
    items = reading(ShanghaiTechA, root, "test", outside="drop")()
    assert [len(item["points"]) for item in items if item["id"].endswith("IMG_2.jpg")] == [2]


def test_one_bad_image_is_skipped_and_named(made, capsys):
    root = made(ShanghaiTechA)
    image = root / "part_A/test_data/images/IMG_1.jpg"
    image.write_bytes(image.read_bytes()[:700])
    (root / "part_A/test_data/ground-truth/GT_IMG_3.mat").unlink()
    (root / "part_A/test_data/images/IMG_4.jpg").write_bytes(b"")
    data = ShanghaiTechA(root=str(root), on_error="skip")
    assert len(data.items("test")) == 1
    reasons = [reason.replace(str(root), "ROOT") for reason in data.skipped]
    assert reasons[0].startswith("test: ROOT/part_A/test_data/images/IMG_1.jpg: the image is damaged (")
    assert reasons[1:] == [
        "test: ROOT/part_A/test_data/ground-truth/GT_IMG_3.mat: there is no such annotation",
        "test: ROOT/part_A/test_data/images/IMG_4.jpg: the file is empty",
    ]


def test_lists_of_nwpu(made):
    root = made(NWPU)
    (root / "val.txt").write_text("0013 1 2\n0077 1 2\n")
    assert told(root, reading(NWPU, root, "test")) == (
        "ROOT/val.txt:2: there is no image ROOT/images/0077.jpg (and 1 more)"
    )
    (root / "val.txt").write_text("\n")
    assert told(root, reading(NWPU, root, "test")) == "ROOT/val.txt: the list names no image"
    (root / "val.txt").unlink()
    assert told(root, reading(NWPU, root, "test")) == "ROOT/val.txt: there is no such list"


# -- points.json


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[1].pop("file"), ": image 1: has no file, expected file, split and points_xy"),
        (lambda e: e[1].update(split="tset"),
         ": image 1 (images/train_01.png): split is 'tset', expected train, val or test; did you mean 'test'?"),
        (lambda e: e[1].update(count=999), ": image 1 (images/train_01.png): count is 999, points_xy holds 10 points"),
        (lambda e: e[1].update(points_xy=[[1, 2], [3]], count=2),
         ": image 1 (images/train_01.png): is no list of points (x, y)"),
        (lambda e: e[1].update(file="images/gone.png"), ": image 1 (images/gone.png): there is no image "
         "ROOT/images/gone.png"),
        (lambda e: e[1].update(file=e[0]["file"]), ": image 1 (images/train_00.png): images/train_00.png stands twice, "
         "first in ROOT/points.json: image 0 (images/train_00.png)"),
        (lambda e: e[-1].pop("points_xy"),
         ": image 47 (images/test_09.png): has no points_xy; only training images may be unlabelled"),
        (lambda e: e.clear(), ": expected a list of images with file, split and points_xy"),
    ],
)  # fmt: skip
def test_entries_of_points_json(made, change, message):
    root = made(PointsJSON)
    entries = json.loads((root / "points.json").read_text())
    entries[1]["count"] = len(entries[1]["points_xy"][:10])
    entries[1]["points_xy"] = entries[1]["points_xy"][:10]
    assert entries[1]["count"] == 10
    change(entries)
    (root / "points.json").write_text(json.dumps(entries))
    assert told(root, reading(PointsJSON, root)) == f"ROOT/points.json{message}"


def test_a_cut_json(made):
    root = made(PointsJSON)
    text = (root / "points.json").read_text()
    (root / "points.json").write_text(text[:500])
    assert told(root, reading(PointsJSON, root)).startswith("ROOT/points.json:1: is no json (")
    (root / "points.json").write_bytes(b"\xff\xfe\x00")
    assert told(root, reading(PointsJSON, root)).startswith("ROOT/points.json: is no text file in UTF-8 (")


def test_no_labels_at_all(made):
    root = made(PointsJSON)
    entries = json.loads((root / "points.json").read_text())
    for entry in entries:
        if entry["split"] == "train":
            del entry["points_xy"]
    (root / "points.json").write_text(json.dumps(entries))
    assert told(root, reading(PointsJSON, root)) == "ROOT: no training image of points_json has points"


# -- tables


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: has no column 'image', only nothing"),
        ("imag,x,y\na.png,1,2\n", ":1: has no column 'image', only imag, x, y; did you mean 'imag'?"),
        ("image,x\na.png,1\n", ":1: has no column 'y', only image, x"),
        ("image,x,y\n", ": the table holds no line with an image"),
        ("image,x,y\nimages/00.png,1,2\nimages/00.png,1\n", ":3: has another number of values than the header's 3"),
        ("image,x,y\nimages/00.png,1,2,3\n", ":2: has another number of values than the header's 3"),
        ("image,x,y\n,1,2\n", ":2: image is empty"),
        ("image,x,y\nimages/00.png,one,2\n", ":2: x is 'one', no number"),
        ("image,x,y\nimages/00.png,1,\n", ":2: y is '', no number"),
        ("image,x,y\nimages/00.png,1,inf\n", ":2: y is inf, not a finite number"),
        ("image,x,y,split\na.png,1,2,train\na.png,3,4,test\n",
         ":3: a.png is of the split 'test', in ROOT/points.csv:2 of 'train'"),
        ("image,x,y,split\nimages/00.png,1,2,trian\n",
         ":2: split is 'trian', expected train, val or test; did you mean 'train'?"),
        ("image,x,y,split\ngone.png,1,2,train\nimages/01.png,1,2,train\nimages/02.png,1,2,test\n",
         ":2: there is no image ROOT/gone.png"),
        ("image,x,y,split\nimages/00.png,1,2,train\nimages/01.png,900,2,train\nimages/02.png,1,2,test\n",
         ":3: point 0 (900, 2) lies outside images/01.png of 128 x 128 pixels (1 of 1 do); data.outside: drop "
         "leaves such points out"),
    ],
)  # fmt: skip
def test_tables_of_points(made, text, message):
    root = made(PointTable)
    (root / "points.csv").write_text(text)
    told_of = [told(root, reading(PointTable, root, split)) for split in ("train", "val") if not _reads(root, split)]
    assert f"ROOT/points.csv{message}" in told_of


def _reads(root, split) -> bool:
    try:
        reading(PointTable, root, split)()
    except InputError:
        return False
    return True


def test_a_table_of_bytes(made):
    root = made(PointTable)
    (root / "points.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xff")
    assert told(root, reading(PointTable, root)).startswith("ROOT/points.csv:1: is no text in UTF-8 (")


def test_boxes(made):
    root = made(BoxTable)
    header = "image_path,xmin,ymin,xmax,ymax,label\n"
    (root / "test.csv").write_text(header + "plot_10.tif,5,5,4,9,Tree\n")
    assert told(root, reading(BoxTable, root)) == (
        "ROOT/test.csv:2: the box 5, 5, 4, 9 is empty: xmin < xmax, ymin < ymax"
    )
    (root / "test.csv").write_text(header + "plot_00.tif,5,5,9,9,Tree\n")
    text = told(root, reading(BoxTable, root))
    assert text.startswith("ROOT/test.csv:2: plot_00.tif stands twice, first in ROOT/train.csv:")


def test_too_few_images(made):
    root = made(PointTable)
    lines = (root / "points.csv").read_text().splitlines()
    first = [line for line in lines if line.startswith(("image,", "images/00", "images/01"))]
    (root / "points.csv").write_text("\n".join(first))
    assert told(root, reading(PointTable, root)) == (
        "ROOT: 1 of 1 training images for validation (data.val) leave none"
    )


# -- Yosemite


def test_yosemite(made, tmp_path):
    root = made(Yosemite)
    (root / "trees.csv").write_text("x,y\n3,4\n256.5,800\n")
    assert told(root, reading(Yosemite, root)) == (
        "ROOT/trees.csv: the point (256.5, 800) lies outside yosemite.tif of 256 x 512 pixels"
    )
    assert len(reading(Yosemite, root, block=64, outside="drop")()) > 0
    (root / "trees.csv").write_text("x,y\n")
    assert told(root, reading(Yosemite, root)) == "ROOT/trees.csv: the table holds no line below its header"
    (root / "yosemite.tif").write_bytes(b"II*\0")
    assert told(root, reading(Yosemite, root)).startswith("ROOT/yosemite.tif: is no raster that can be read (")


def test_what_yosemite_is_made_from(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")
    assert told(tmp_path, lambda: Yosemite().prepare(tmp_path, tmp_path / "out")).endswith("found a.png, b.png")
