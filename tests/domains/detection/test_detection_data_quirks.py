"""Files as other people's tools write them: byte order marks, CRLF, Windows' paths, boxes without an extent."""

import json

import pytest
from PIL import Image

from zoo.domains.detection import BoxesCSV, COCOFormat, VOCFormat, YOLOFormat
from zoo.training import DataError

BOM = b"\xef\xbb\xbf"
VIEW = {"sizes": [20], "crop_sizes": [], "batch_size": 1}


def written(file, text, mark=BOM):
    """A text as Windows' editors write it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(mark + text.replace("\n", "\r\n").encode())


def image(file):
    """A picture of 30 x 20 pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 20)).save(file)


def boxes(data, split="train"):
    """Image, boxes in pixels and labels of what is trained on."""
    return [
        (record.name, record.boxes[record.objects].round(3).tolist(), record.labels[record.objects].tolist())
        for record in data.items(split).items.records
    ]


def test_coco(tmp_path):
    image(tmp_path / "train/sub/a.jpg")
    tree = {
        "images": [{"id": "x1", "file_name": "sub\\a.jpg", "height": 20.0, "width": 30}],
        "annotations": [
            {"image_id": "x1", "category_id": 3, "bbox": [1, 2, 4, 5]},
            {"image_id": "x1", "category_id": 3, "bbox": [30, 2, 0, 5]},
            {"image_id": "x1", "category_id": 9, "bbox": [0, 0, 0, 0]},
            {"image_id": "x1", "category_id": 9, "bbox": [-4, -4, 99, 8.5], "segmentation": {"counts": []}},
        ],
        "categories": [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    written(tmp_path / "annotations/train.json", json.dumps(tree, indent=1))
    data = COCOFormat(root=str(tmp_path), **VIEW)
    assert boxes(data) == [("sub\\a.jpg", [[1, 2, 5, 7], [0, 0, 30, 4.5]], [0, 1])]
    assert next(iter(data.train_dataloader()))["targets"][0]["labels"].tolist() == [0, 1]


def test_voc(tmp_path):
    for name in ("my cell", "b"):
        image(tmp_path / f"JPEGImages/{name}.JPG")
        found = (
            "<object><name>cell</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox>"
            "</object>"
        )
        objects = found.format(21, 30) if name == "my cell" else found.format(1, 10) + found.format(0, 0)
        written(
            tmp_path / f"Annotations/{name}.xml",
            "<annotation><filename>C:\\pictures\\x.jpg</filename><size><width>30</width><height>20</height></size>"
            f"{objects}</annotation>",
        )
    written(tmp_path / "ImageSets/Main/train.txt", "my cell\nb.jpg -1\n\n")
    data = VOCFormat(root=str(tmp_path), **VIEW)
    assert boxes(data) == [("my cell", [[20, 0, 30, 9]], [0]), ("b", [[0, 0, 10, 9]], [0])]
    (tmp_path / "ImageSets/Main/val.txt").write_bytes("zellkörper\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"val\.txt:1: is no text in UTF-8"):
        data.items("val")
    written(tmp_path / "Annotations/b.xml", "<annotation><object><bndbox/></object></annotation>")
    with pytest.raises(DataError, match=r"b\.xml: object 1: has no name"):
        VOCFormat(root=str(tmp_path)).items("train")


def test_yolo(tmp_path):
    image(tmp_path / "images/train/a.jpg")
    image(tmp_path / "valid/images/b.jpg")
    written(tmp_path / "labels/train/a.txt", "1.0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0 0\n")
    written(tmp_path / "list.txt", "images\\train\\a.jpg\n\n")
    written(tmp_path / "data.yaml", "train: list.txt\nvalid: ../valid/images\nnames: {'0': cat, '1': dog}\n")
    data = YOLOFormat(root=str(tmp_path), **VIEW)
    assert boxes(data) == [("images/train/a.jpg", [[12, 8, 18, 12]], [1])]
    assert boxes(data, "val") == [("valid/images/b.jpg", [], [])]
    assert data.class_names == ["cat", "dog"]


def test_csv(tmp_path):
    image(tmp_path / "sub/a.jpg")
    image(tmp_path / "b.jpg")
    rows = ("1,2,5,7,10", "30,2,30,7,2", "0,0,9,9,2")
    lines = "".join(f"sub\\a.jpg,{row},train\n" for row in rows)
    written(tmp_path / "boxes.csv", f"file,left,top,right,bottom,label,split\n{lines}b.jpg,,,,,,val\n")
    data = BoxesCSV(root=str(tmp_path), **VIEW)
    assert boxes(data) == [("sub\\a.jpg", [[1, 2, 5, 7], [0, 0, 9, 9]], [1, 0])]
    assert data.class_names == ["2", "10"]
