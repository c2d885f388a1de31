"""What users bring by mistake: each is one line that names the file and the place."""

import json

import pytest
from PIL import Image

from zoo.domains.detection import BCCD, COCO, VOC, BoxesCSV, COCOFormat, Shapes, VOCFormat, YOLOFormat
from zoo.errors import InputError
from zoo.training import DataError


def tree(**changes):
    whole = {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 20, "width": 30}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 1, "bbox": [1, 2, 10, 12]}],
        "categories": [{"id": 1, "name": "cell"}],
    }
    return {**whole, **changes}


def annotation(**changes):
    return [{"id": 1, "image_id": 5, "category_id": 1, "bbox": [1, 2, 10, 12], **changes}]


def coco(root, content, image=True):
    (root / "annotations").mkdir(exist_ok=True)
    (root / "train").mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (root / "annotations" / "train.json").write_text(text)
    if image:
        Image.new("RGB", (30, 20)).save(root / "train" / "a.jpg")
    return COCOFormat(root=str(root))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"train\.json:1: is no json, or is cut off"),
        ('{"images": [\n {"id": 1,', r"train\.json:2: is no json, or is cut off"),
        ("[1, 2]", r"train\.json: holds a list, not an object with images and annotations"),
        ({"images": [], "annotations": []}, r"train\.json: has no list 'categories'"),
        (tree(categories=[]), r"train\.json: there are no categories"),
        (tree(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), r"two categories have one id"),
        (tree(images=[{"file_name": "a.jpg"}]), r"train\.json: images\[0\]: has no 'id'"),
        (tree(images=[{"id": 5, "file_name": "a.jpg"}] * 2), r"images\[1\]: the id 5 stands there twice"),
        (tree(images=[{"id": 5}], annotations=[]), r"image 5: has no 'file_name'"),
        (tree(annotations=annotation(image_id=6)), r"annotations\[0\]: there is no image with the id 6"),
        (tree(annotations=annotation(category_id=7)), r"annotations\[0\]: there is no category with the id 7"),
        (tree(annotations=annotation(image_id="5")), r"annotations\[0\]: there is no image with the id '5'"),
        (tree(categories=[{"id": [1], "name": "a"}]), r"categories\[0\]: id is a number or a text, got \[1\]"),
        (tree(images=[{"id": 5, "file_name": None}], annotations=[]), r"image 5: file_name is the path .* got None"),
        (tree(images=[{"id": 5, "file_name": "a", "height": "x", "width": 3}], annotations=[]), r"got 'x' and 3"),
        (tree(annotations=annotation(bbox=[1, 2, 3])), r"bbox is \[left, top, width, height\], got \[1, 2, 3\]"),
        (tree(annotations=annotation(bbox=[1, 2, -3, 4])), r"bbox has a negative width or height"),
        (tree(annotations=annotation(bbox=[1, 2, float("nan"), 4])), r"annotations\[0\]: a box is four finite numbers"),
        (tree(annotations=annotation(bbox=[40, 2, 5, 5])), r"the box 40, 2, 45, 7 lies outside of the image, 30 x 20"),
    ],
)  # fmt: skip
def test_malformed_coco(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        coco(tmp_path, content).items("train")


def test_categories_that_differ_between_splits(tmp_path):
    data = coco(tmp_path, tree())
    (tmp_path / "annotations" / "val.json").write_text(json.dumps(tree(categories=[{"id": 1, "name": "virus"}])))
    data.items("train")
    with pytest.raises(DataError, match=r"val\.json: its categories are virus, expected cell"):
        data.items("val")


def test_coco_itself_has_its_80_classes(tmp_path):
    coco(tmp_path, tree())
    data = COCO(root=str(tmp_path), annotations="annotations/{split}.json", images="{split}")
    with pytest.raises(DataError, match=r"its categories are cell, expected person, bicycle, .* and 74 more"):
        data.items("train")


def test_images_that_are_missing_or_damaged(tmp_path):
    data = coco(tmp_path, tree(), image=False)
    with pytest.raises(DataError, match=r"image 5: there is no image .*a\.jpg$"):
        data.items("train")
    (tmp_path / "train" / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.jpg: the file is empty"):
        data.items("train")[(0, 0)]
    Image.new("RGB", (31, 20)).save(tmp_path / "train" / "a.jpg")
    with pytest.raises(DataError, match=r"annotated as 30 x 20, .*a\.jpg is 31 x 20"):
        COCOFormat(root=str(tmp_path)).items("train")[(0, 0)]


def test_bad_images_can_be_skipped_and_are_counted(tmp_path):
    images = [{"id": number, "file_name": f"{number}.jpg", "height": 20, "width": 30} for number in (5, 6, 7)]
    data = coco(tmp_path, tree(images=images))
    for number in (5, 7):
        Image.new("RGB", (30, 20)).save(tmp_path / "train" / f"{number}.jpg")
    data = COCOFormat(root=str(tmp_path), on_error="skip")
    assert len(data.items("train")) == 2
    (reason,) = data.skipped
    assert "6.jpg" in reason


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(DataError, match="none of 1 training images holds an object"):
        coco(tmp_path, tree(annotations=[])).train_dataloader()
    crowd = coco(tmp_path, tree(annotations=annotation(iscrowd=1)))
    with pytest.raises(DataError, match="none of 1 training images holds an object"):
        crowd.train_dataloader()


@pytest.mark.parametrize("reader", [COCO, COCOFormat, VOC, VOCFormat, BCCD, YOLOFormat, BoxesCSV, Shapes])
def test_no_folder_and_an_empty_folder(reader, tmp_path):
    with pytest.raises(InputError, match="no data for"):
        reader(root=str(tmp_path / "absent")).items("train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is empty"):
        reader(root=str(tmp_path / "empty")).items("train")


def voc(root, text):
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "Annotations" / "a.xml").write_text(text)
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    Image.new("RGB", (30, 20)).save(root / "JPEGImages" / "a.png")
    return BCCD(root=str(root))


def one_object(name="RBC", box="<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>", width=30):
    size = f"<size><width>{width}</width><height>20</height></size>"
    return f"<annotation>{size}\n<object><name>{name}</name>{box}</object></annotation>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>\n<object>", r"a\.xml:2: is no xml, or is cut off"),
        ("", r"a\.xml:1: is no xml, or is cut off"),
        (one_object("RCB"), r"a\.xml: object 1: 'RCB' is no class"),
        (one_object(box=""), r"a\.xml: object 1: has no bndbox"),
        (one_object(box="<bndbox><xmin>1</xmin></bndbox>"), r"object 1: a box is four numbers, got 1, None, None"),
        (one_object(box="<bndbox><xmin>9</xmin><ymin>2</ymin><xmax>1</xmax><ymax>8</ymax></bndbox>"),
         r"object 1: left, top, right, bottom are out of order: 9, 2, 1, 8"),
        (one_object(width="wide"), r"a\.xml: size holds no finite numbers"),
    ],
)  # fmt: skip
def test_malformed_voc(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        voc(tmp_path, text).items("train")


def test_voc_lists(tmp_path):
    data = voc(tmp_path, one_object())
    assert len(data.items("train")) == 1
    with pytest.raises(DataError, match=r"val\.txt: there is no such list of images"):
        data.items("val")
    (tmp_path / "ImageSets/Main/val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt: the list is empty"):
        data.items("val")
    (tmp_path / "ImageSets/Main/test.txt").write_text("b\n")
    with pytest.raises(DataError, match=r"test\.txt:1: there is no such annotation .*b\.xml"):
        data.items("test")
    (tmp_path / "Annotations/b.xml").write_text(one_object())
    with pytest.raises(DataError, match=r"b\.xml: there is no image .*b \("):
        data.items("test")
    with pytest.raises(InputError, match=r"data\.years are out of 2007 and 2012, got \[2008\]"):
        VOC(years=[2008])


def yolo(root, label, description="train: images/train\nval: images/train\nnames: [cell, virus]\n"):
    (root / "images/train").mkdir(parents=True, exist_ok=True)
    (root / "labels/train").mkdir(parents=True, exist_ok=True)
    (root / "data.yaml").write_text(description)
    (root / "labels/train/a.txt").write_text(label)
    Image.new("RGB", (30, 20)).save(root / "images/train/a.png")
    return YOLOFormat(root=str(root))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("0 0.5 0.5 0.2 0.2\n2 0.5 0.5 0.2 0.2\n", r"a\.txt:2: the class 2 is none of 0 to 1"),
        ("0 0.5 0.5 0.2\n", r"a\.txt:1: expected a class and x, y, width, height, got 4 numbers"),
        ("cell 0.5 0.5 0.2 0.2\n", r"a\.txt:1: is no line of numbers: cell 0.5"),
        ("0 15 10 4 4\n", r"a\.txt:1: places and sizes are shares of the image, in \[0, 1\]"),
        ("0 nan 0.5 0.2 0.2\n", r"a\.txt:1: places and sizes are shares of the image"),
    ],
)
def test_malformed_yolo(tmp_path, label, message):
    with pytest.raises(DataError, match=message):
        yolo(tmp_path, label).items("train")


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("train: [", r"data\.yaml: is no yaml"),
        ("train: images/train\n", r"data\.yaml: has no names"),
        ("names: {0: a, 2: b}\n", r"the keys of names are 0 to 1"),
        ("names: [a]\nnc: 2\n", r"nc is 2, there are 1 names"),
        ("names: [a]\n", r"does not say where train is"),
        ("names: [a]\ntrain: pictures\n", r"train is 'pictures', .*pictures is no folder and no list"),
        ("names: [a]\ntrain: labels\n", r"train: .*labels holds no image"),
    ],
)
def test_malformed_yaml(tmp_path, description, message):
    with pytest.raises(DataError, match=message):
        yolo(tmp_path, "", description).items("train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"boxes\.csv: the file is empty"),
        ("file,left,top,right,bottom,label\n", r"boxes\.csv: holds no row"),
        ("file,left,top,right,label\na.png,1,2,3,cell\n", r"boxes\.csv:1: no column says left, top, right, bottom"),
        ("left,top,right,bottom\n1,2,3,4\n", r"boxes\.csv:1: no column says file and label"),
        ("file,left,top,right,bottom,label\na.png,1,2,3\n", r"boxes\.csv:2: has 4 columns, the head 6"),
        ("file,left,top,right,bottom,label\na.png,1,2,x,4,cell\n", r"boxes\.csv:2: a box is four numbers, got 1, 2, x"),
        ("file,left,top,right,bottom,label\na.png,9,2,3,4,cell\n", r"boxes\.csv:2: .* out of order: 9, 2, 3, 4"),
        ("file,x,y,w,h,label\na.png,9,2,-3,4,cell\n", r"boxes\.csv:2: width and height: .* out of order"),
        ("file,left,top,right,bottom,label\na.png,1,2,3,4,\n", r"boxes\.csv:2: the box has no label"),
        ("file,left,top,right,bottom,label\na.png,40,2,50,4,cell\n", r"boxes\.csv:2: the box .* lies outside"),
        ("file,left,top,right,bottom,label\nb.png,1,2,3,4,cell\n", r"boxes\.csv:2: there is no image .*b\.png"),
        ("file,left,top,right,bottom,label,split\na.png,1,2,3,4,cell,dev\n", r"split is train, val or test, got 'dev'"),
        ("file,left,top,right,bottom,label,split\na.png,1,2,3,4,cell,train\na.png,1,2,3,4,cell,val\n",
         r"boxes\.csv:3: a\.png stands in two splits"),
        ("file,left,top,right,bottom,label\na.png,1,2,3,4,cell\nc.png,1,2,3,4,cell\n", r"2 images are too few"),
    ],
)  # fmt: skip
def test_malformed_csv(tmp_path, text, message):
    (tmp_path / "boxes.csv").write_text(text)
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    split = "" if "too few" in message or "split" in text else ",split"
    if split and len(text.splitlines()) > 1:
        head, row = text.splitlines()
        (tmp_path / "boxes.csv").write_text(
            f"{head},split\n{row}" + ("" if "4 columns" in message else ",train") + "\n"
        )
        message = message.replace("the head 6", "the head 7")
    with pytest.raises(DataError, match=message):
        BoxesCSV(root=str(tmp_path)).items("train")


def test_columns_of_a_csv_that_are_not_there(tmp_path):
    (tmp_path / "boxes.csv").write_text("file,left,top,right,bottom,species\na.png,1,2,3,4,cell\n")
    with pytest.raises(DataError, match=r"boxes\.csv:1: has no column 'specie'; did you mean 'species'"):
        BoxesCSV(root=str(tmp_path), columns={"label": "specie"}).items("train")
    with pytest.raises(InputError, match=r"data\.columns: 'labels' is none of .*did you mean 'label'"):
        BoxesCSV(root=str(tmp_path), columns={"labels": "species"}).items("train")
    with pytest.raises(InputError, match=r"data\.val_fraction must be in \(0, 1\), got 0"):
        BoxesCSV(val_fraction=0)
