"""Files as other people's tools write them: other delimiters and headers, Windows' paths, a Mac's hidden files."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from zoo.domains.counting import NWPU, BoxTable, KCLLondon, PointsJSON, PointTable
from zoo.domains.counting.annotations import read_table
from zoo.training import DataError

BOM = b"\xef\xbb\xbf"
SMALL = {"crop": 32, "batch_size": 1}


def written(file, text):
    """A text as Windows' editors write it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(BOM + text.replace("\n", "\r\n").encode())


def images(folder, *names):
    """Pictures of 48 x 40 pixels."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 40)).save(folder / name)


def trees(data, split):
    """Name and number of trees of each image of a split."""
    found = data.items(split).items
    return {one.name: len(one.marked(40, 48, False)) for one in found.pictures[: found.labelled]}


@pytest.mark.parametrize("mark", ",;\t")
@pytest.mark.parametrize("head", ["image,x,y", "Image_Path,X,Y", "IMG, x ,Y,remark"])
def test_tables_of_any_delimiter_and_case(tmp_path, mark, head):
    more = ",none" if "remark" in head else ""
    rows = [f"a.png,1.5,2{more}", f"a.png,3,4{more}", f"b.png,,{more}"]
    written(tmp_path / "points.csv", "\n".join([head, *rows, ""]).replace(",", mark))
    one, two = read_table(tmp_path / "points.csv", ("x", "y"))
    assert (one.name, one.points.tolist()) == ("a.png", [[1.5, 2], [3, 4]])
    assert (two.name, len(two.points)) == ("b.png", 0)


def test_columns_that_differ_in_case_alone(tmp_path):
    written(tmp_path / "points.csv", "image,x,y,X\na.png,1,2,9\n")
    assert read_table(tmp_path / "points.csv", ("x", "y"))[0].points.tolist() == [[1, 2]]
    written(tmp_path / "points.csv", "Image,X,Z\na.png,1,2\n")
    with pytest.raises(DataError, match=r"points\.csv:1: has no column 'y', only Image, X, Z"):
        read_table(tmp_path / "points.csv", ("x", "y"))


def test_paths_of_windows(tmp_path):
    images(tmp_path, "sub/a.png", "sub/b.png", "sub/c.png", "d.png")
    written(tmp_path / "points.csv", "image,x,y,split\nsub\\a.png,1,2,Training\nsub\\b.png,,,val\nd.png,3,4,TEST\n")
    table = PointTable(root=str(tmp_path), **SMALL)
    assert [trees(table, split) for split in table.splits] == [{"sub\\a.png": 1}, {"sub\\b.png": 0}, {"d.png": 1}]
    boxes = "image_path,xmin,ymin,xmax,ymax\n"
    written(tmp_path / "train.csv", f"{boxes}sub\\a.png,1,1,9,9\nsub\\b.png,0,0,0,0\n")
    written(tmp_path / "test.csv", f"{boxes}sub\\c.png,1,1,9,9\n")
    assert trees(BoxTable(root=str(tmp_path), **SMALL), "test") == {"sub\\c.png": 1}
    entries = [
        {"file": f"sub\\{name}.png", "split": split, "points_xy": [[1, 2]]}
        for name, split in (("a", "train"), ("b", "val"), ("c", "test"))
    ]
    written(tmp_path / "points.json", json.dumps(entries))
    listed = PointsJSON(root=str(tmp_path), **SMALL)
    assert len(next(iter(listed.train_dataloader()))["labelled"]["image"]) == 1


def test_hidden_files_of_a_mac_are_no_images(tmp_path):
    for part, count in (("train_data", 3), ("test_data", 1)):
        for number in range(count):
            images(tmp_path / part / "images", f"IMG_{number}.JPG")
            (tmp_path / part / "ground_truth").mkdir(exist_ok=True)
            savemat(tmp_path / part / "ground_truth" / f"GT_IMG_{number}.mat", {"image_info": np.ones((number, 2))})
    (tmp_path / "train_data" / "images" / "._IMG_0.jpg").write_bytes(b"Mac OS X")
    data = KCLLondon(root=str(tmp_path), **SMALL)
    assert sorted([*trees(data, "train"), *trees(data, "val")]) == [
        f"train_data/images/IMG_{number}.JPG" for number in range(3)
    ]


def test_lists_of_nwpu_name_images_of_any_ending(tmp_path):
    for number in range(1, 5):
        images(tmp_path / "images", f"{number:04d}.png")
        written(tmp_path / "jsons" / f"{number:04d}.json", json.dumps({"points": [[1, 2]] * number}))
    written(tmp_path / "train.txt", "0001 1 1\n0002.png\n0003\n")
    written(tmp_path / "val.txt", "0004 0 1\n")
    data = NWPU(root=str(tmp_path), **SMALL)
    assert trees(data, "test") == {"images/0004.png": 4}
    assert len({**trees(data, "train"), **trees(data, "val")}) == 3


def test_a_palette_is_read_by_its_colours(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    from zoo.domains.counting.raster import Raster, Window

    values = np.arange(64 * 64, dtype=np.uint8).reshape(1, 64, 64) % 3
    table = {0: (10, 20, 30), 1: (255, 0, 7), 2: (0, 90, 0)}
    place = {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(5e5, 5e6, 1, 1)}
    with (
        warnings.catch_warnings(),
        rasterio.open(
            tmp_path / "map.tif", "w", driver="GTiff", count=1, height=64, width=64, dtype="uint8",
            photometric="palette", **place,
        ) as opened,
    ):  # fmt: skip
        opened.write(values)
        opened.write_colormap(1, table)
    with Raster(tmp_path / "map.tif") as raster:
        pixels = raster.read(Window(3, 5, 20, 30))
    wanted = np.array([table[number] for number in range(3)], dtype=np.uint8)[values[0, 3:23, 5:35]]
    assert torch.equal(pixels, torch.from_numpy(wanted).permute(2, 0, 1))
