"""Readers, views and batches of detection on made-up data; every reader of the same images gives the same boxes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.domains.detection import BCCD, COCO, VOC, BoxesCSV, COCOFormat, Shapes, VOCFormat, YOLOFormat
from zoo.domains.detection.augment import Views
from zoo.domains.detection.boxes import corners, resized
from zoo.domains.detection.data import AspectOrder, padded
from zoo.domains.detection.synthesis import KINDS
from zoo.errors import InputError
from zoo.training import DataError

SMALL = {"sizes": [64, 80], "longest": 120, "crop_sizes": [70], "crop": [40, 60], "test_size": 80, "test_longest": 120}
READERS = (COCO, COCOFormat, VOCFormat, BCCD, VOC, YOLOFormat, BoxesCSV)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Each data set made once."""
    folders = {}

    def get(reader):
        if reader not in folders:
            folders[reader] = tmp_path_factory.mktemp(reader.__name__)
            reader().make(folders[reader])
        return folders[reader]

    return get


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_items_hold_what_the_batch_needs(reader, made):
    data = reader(root=str(made(reader)), batch_size=3, **SMALL)
    for split in data.splits:
        items = data.items(split)
        for index in range(len(items)):
            item = items[(0, index)]
            assert item["image"].dtype == torch.uint8
            boxes, labels = item["targets"]["boxes"], item["targets"]["labels"]
            assert boxes.shape == (len(labels), 4)
            assert boxes.dtype == torch.float32
            places = corners(boxes)
            assert (places >= -1e-5).all()
            assert (places <= 1 + 1e-5).all()
            assert (boxes[:, 2:] > 0).all()
            assert all(0 <= label < len(data.class_names) for label in labels.tolist())
            assert ("truth" in item) == (split != "train")
    batch = next(iter(data.train_dataloader()))
    assert batch["images"].shape[:2] == (3, 3)
    for image, (height, width) in zip(batch["images"], batch["sizes"].tolist(), strict=True):
        assert not image[:, height:].any()
        assert not image[:, :, width:].any()


def test_all_formats_agree_on_the_same_images(tmp_path):
    """The same shapes, written in four ways."""
    readers = {reader: reader(root=str(tmp_path / reader.__name__)) for reader in (COCOFormat, YOLOFormat, BoxesCSV)}
    found = {}
    for reader, data in readers.items():
        (tmp_path / reader.__name__).mkdir()
        data.make(tmp_path / reader.__name__)
        items = data.items("val").items
        found[reader] = [(record.boxes, record.labels) for record in items.records]
    # each writer draws its own scenes from the same seed; the first split's first image is the same in all
    first = [reader(root=str(tmp_path / reader.__name__)).items("train").items.records[0] for reader in readers]
    for other in first[1:]:
        np.testing.assert_allclose(first[0].boxes, other.boxes, atol=0.02)
        assert first[0].labels.tolist() == other.labels.tolist()
    assert all(found.values())


@pytest.mark.parametrize("reader", [COCO, YOLOFormat], ids=lambda reader: reader.__name__)
def test_items_are_a_function_of_seed_epoch_and_index(reader, made):
    items = reader(root=str(made(reader)), **SMALL).items("train")
    again = reader(root=str(made(reader)), **SMALL).items("train")
    views = {tuple(items[(epoch, 0)]["image"].shape) for epoch in range(6)}
    assert len(views) > 1
    for epoch in range(2):
        assert torch.equal(items[(epoch, 1)]["image"], again[(epoch, 1)]["image"])
        assert torch.equal(items[(epoch, 1)]["targets"]["boxes"], again[(epoch, 1)]["targets"]["boxes"])


def test_boxes_follow_their_pixels_through_every_view():
    """A white rectangle on black: after any flip, crop and resize its box is where the white is."""
    image = torch.zeros(3, 120, 160, dtype=torch.uint8)
    image[:, 30:70, 40:100] = 255
    box = torch.tensor([[40.0, 30.0, 100.0, 70.0]])
    views = Views((96, 112), 200, (100, 140), (60, 110), 0.5, 96, 200)
    sizes, gone = set(), 0
    for seed in range(40):
        view, boxes, kept = views.train(image, box, rng(seed))
        sizes.add(tuple(view.shape))
        rows, columns = torch.where(view[0] > 127)
        if not kept.any():
            gone += 1
            assert not len(rows)
            continue
        white = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        torch.testing.assert_close(boxes[0], white.float(), atol=1.01, rtol=0)
    assert len(sizes) > 5
    assert gone < 10


def test_the_distribution_of_views():
    image, box = torch.zeros(3, 100, 100, dtype=torch.uint8), torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    plain = Views((100,), 1000, (), (1, 1), 0.5, 100, 100)
    flipped = sum(float(plain.train(image, box, rng(seed))[1][0, 0]) == 90 for seed in range(200))
    assert 70 < flipped < 130
    never = Views((100,), 1000, (), (1, 1), 0.0, 100, 100)
    assert all(float(never.train(image, box, rng(seed))[1][0, 0]) == 0 for seed in range(20))


@pytest.mark.parametrize(
    ("size", "shortest", "longest", "wanted"),
    [
        ((480, 640), 800, 1333, (800, 1067)),
        ((400, 1000), 800, 1333, (533, 1333)),
        ((1000, 400), 800, 1333, (1333, 533)),
        ((800, 800), 480, 1333, (480, 480)),
        ((600, 300), 500, None, (1000, 500)),
        ((1, 3000), 800, 1333, (1, 1333)),
    ],
)
def test_sizes_of_the_test(size, shortest, longest, wanted):
    assert resized(size, shortest, longest) == wanted


def test_batches_hold_one_aspect_and_every_image_once():
    wide = rng().random(53) < 0.6
    used = np.ones(53, dtype=bool)
    used[[3, 17]] = False
    order = AspectOrder(wide, used, 4, seed=1)
    batches = order.global_batches(0)
    seen = sorted(position for batch in batches for position in batch.tolist())
    assert seen == [position for position in range(53) if position not in (3, 17)]
    mixed = [len(set(wide[batch])) > 1 for batch in batches]
    assert not any(mixed[:-2])
    assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in order.global_batches(0)]
    assert [batch.tolist() for batch in batches] != [batch.tolist() for batch in order.global_batches(1)]


def test_resuming_inside_an_epoch_goes_on_with_the_next_batch():
    wide, used = rng().random(21) < 0.5, np.ones(21, dtype=bool)
    whole = list(AspectOrder(wide, used, 2, seed=4))
    rest = AspectOrder(wide, used, 2, seed=4)
    rest.resume(0, 3)
    assert list(rest) == whole[3:]


def test_two_processes_share_each_batch():
    wide, used = rng().random(21) < 0.5, np.ones(21, dtype=bool)
    shares = [list(AspectOrder(wide, used, 2, 4, rank, 2)) for rank in range(2)]
    assert len(shares[0]) == len(shares[1])
    taken = [key for share in shares for batch in share for key in batch]
    assert len(taken) == len(set(taken)) >= 20


def test_images_without_objects_are_left_out_of_training_and_told(made, capsys):
    data = COCO(root=str(made(COCO)), batch_size=1, **SMALL)
    assert len(data.train_dataloader()) == 9
    assert "note: 1 of 10 training images hold no object and are left out" in capsys.readouterr().err
    assert len(COCO(root=str(made(COCO)), batch_size=1, keep_empty=True, **SMALL).train_dataloader()) == 10
    assert len(data.items("val")) == 4  # all of them are evaluated


def test_crowd_regions_are_evaluated_but_not_trained_on(made):
    data = COCO(root=str(made(COCO)), **SMALL)
    record = data.items("train").items.records[0]
    assert record.crowd.tolist() == [True] + [False] * (len(record.crowd) - 1)
    assert record.objects.tolist() == [False] + [True] * (len(record.crowd) - 1)
    truth = data.items("val")[(0, 0)]
    assert truth["truth"]["iscrowd"].tolist()[0] == 1
    assert len(truth["targets"]["labels"]) == len(truth["truth"]["labels"]) - 1


def test_coco_classes_are_ranks_of_category_ids(made, tmp_path):
    data = COCO(root=str(made(COCO)))
    assert len(data.class_names) == 80
    assert data.class_names[:3] + data.class_names[-1:] == ["person", "bicycle", "car", "toothbrush"]
    (tmp_path / "annotations").mkdir()
    tree = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 20, "width": 30}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 70, "bbox": [1, 2, 10, 12]}],
        "categories": [{"id": 90, "name": "late"}, {"id": 7, "name": "early"}, {"id": 70, "name": "middle"}],
    }
    (tmp_path / "annotations" / "val.json").write_text(json.dumps(tree))
    (tmp_path / "val").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "val" / "a.jpg")
    data = COCOFormat(root=str(tmp_path))
    truth = data.items("val")[(0, 0)]["truth"]
    assert data.class_names == ["early", "middle", "late"]
    assert truth["labels"].tolist() == [1]
    assert truth["boxes"].tolist() == [[1, 2, 11, 14]]
    assert truth["area"].tolist() == [120]


def test_voc_pixels_count_from_one_and_difficult_objects_are_ignored(tmp_path):
    VOCFormat().make(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("000000 -1\n")
    (tmp_path / "Annotations" / "000000.xml").write_text(
        "<annotation><size><width>96</width><height>72</height></size>"
        "<object><name>disc</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>96</xmax>"
        "<ymax>72</ymax></bndbox></object><object><name>star</name><difficult>1</difficult><bndbox><xmin>11</xmin>"
        "<ymin>5.5</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object></annotation>"
    )
    data = VOCFormat(root=str(tmp_path), classes=list(KINDS), test_size=72)
    item = data.items("test")[(0, 0)]
    assert item["truth"]["boxes"].tolist() == [[0, 0, 96, 72], [10, 4.5, 20, 30]]
    assert item["truth"]["iscrowd"].tolist() == [0, 1]
    torch.testing.assert_close(item["targets"]["boxes"], torch.tensor([[0.5, 0.5, 1.0, 1.0]]))


def test_voc_takes_training_and_validation_images_together_if_asked(made):
    root = str(made(VOC))
    names = {flag: {record.name for record in VOC(root=root, trainval=flag).items("train").items.records}
             for flag in (False, True)}  # fmt: skip
    assert names[False] < names[True]
    assert len(VOC(root=root, years=[2007]).items("train")) == 10


def test_yolo_lists_outlines_and_exports(tmp_path):
    YOLOFormat().make(tmp_path)
    label = tmp_path / "labels" / "test" / "0000.txt"
    label.write_text("1 0.1 0.2 0.5 0.2 0.5 0.6\n\n0 0.5 0.5 0.2 0.4\n")
    (tmp_path / "list.txt").write_text("./images/test/0000.jpg\n")
    (tmp_path / "data.yaml").write_text(
        "train: ../images/train\nval: [images/val]\ntest: list.txt\nnames: [a, b, c, d]\nnc: 4\n"
    )
    data = YOLOFormat(root=str(tmp_path), test_size=72)
    truth = data.items("test")[(0, 0)]["truth"]
    height, width = Image.open(tmp_path / "images/test/0000.jpg").size[::-1]
    wanted = torch.tensor([[0.1, 0.2, 0.5, 0.6], [0.4, 0.3, 0.6, 0.7]]) * torch.tensor([width, height, width, height])
    torch.testing.assert_close(truth["boxes"], wanted, atol=1e-3, rtol=0)
    assert truth["labels"].tolist() == [1, 0]
    assert len(data.items("train")) == 10
    assert data.class_names == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("head", "row", "options"),
    [
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "{f},96,72,cell,10,20,40,60", {}),
        ("image;x;y;w;h;label", "{f};10;20;30;40;cell", {}),
        ("Path,X1,Y1,X2,Y2,Category", "{f},10,20,40,60,cell", {}),
        (None, "{f},10,20,40,60,cell", {}),
        ("photo,a,b,c,d,species", "{f},10,20,40,60,cell",
         {"columns": {"file": "photo", "left": "a", "top": "b", "right": "c", "bottom": "d", "label": "species"}}),
        ("file,left,top,right,bottom,label", "{f},0.104166667,0.2777777778,0.416666667,0.833333333,cell",
         {"relative": True}),
    ],
)  # fmt: skip
def test_any_csv(tmp_path, head, row, options):
    names = [f"{number}.png" for number in range(6)]
    for name in names:
        Image.new("RGB", (96, 72)).save(tmp_path / name)
    lines = [row.format(f=name) for name in names]
    (tmp_path / "boxes.csv").write_text("\n".join([head, *lines] if head else lines) + "\n")
    data = BoxesCSV(root=str(tmp_path), **options)
    records = [record for split in data.splits for record in data.items(split).items.records]
    assert sorted(record.name for record in records) == names
    assert data.class_names == ["cell"]
    for record in records:
        np.testing.assert_allclose(record.boxes, [[10, 20, 40, 60]], atol=1e-3)


def test_shapes_are_exact_and_a_function_of_the_seed(tmp_path):
    data = Shapes(side=64, images=10)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        data.make(tmp_path / folder)
    assert (tmp_path / "a/annotations/train.json").read_bytes() == (tmp_path / "b/annotations/train.json").read_bytes()
    items = Shapes(root=str(tmp_path / "a"), side=64).items("train")
    assert len(items) == 10
    assert all(1 <= len(items[(0, index)]["targets"]["labels"]) <= 5 for index in range(10))


def test_padding():
    batch, sizes = padded([torch.ones(3, 4, 6), torch.ones(3, 5, 2)])
    assert batch.shape == (2, 3, 5, 6)
    assert sizes.tolist() == [[4, 6], [5, 2]]
    assert batch.sum() == 3 * (24 + 10)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "1"])
def test_images_of_any_mode(tmp_path, mode):
    made = COCOFormat(root=str(tmp_path), test_size=48)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val").mkdir()
    name = "a.tif" if mode in ("CMYK", "I;16") else "a.png"
    image = Image.new(mode, (60, 48)) if mode == "I;16" else Image.new("RGB", (60, 48)).convert(mode)
    image.save(tmp_path / "val" / name)
    tree = {"images": [{"id": 1, "file_name": name, "height": 48, "width": 60}], "annotations": [],
            "categories": [{"id": 1, "name": "x"}]}  # fmt: skip
    (tmp_path / "annotations" / "val.json").write_text(json.dumps(tree))
    assert made.items("val")[(0, 0)]["image"].shape == (3, 48, 60)


def test_a_turned_image_is_read_upright(tmp_path):
    """Annotated as people see it: 48 wide and 60 high, stored lying with an EXIF orientation."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 48)).save(tmp_path / "val" / "a.jpg", exif=exif)
    tree = {"images": [{"id": 1, "file_name": "a.jpg", "height": 60, "width": 48}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 24, 60]}],
            "categories": [{"id": 1, "name": "x"}]}  # fmt: skip
    (tmp_path / "annotations" / "val.json").write_text(json.dumps(tree))
    item = COCOFormat(root=str(tmp_path), test_size=48).items("val")[(0, 0)]
    assert item["image"].shape == (3, 60, 48)
    torch.testing.assert_close(item["targets"]["boxes"], torch.tensor([[0.25, 0.5, 0.5, 1.0]]))
    tree["images"][0] |= {"height": 48, "width": 60}
    (tmp_path / "annotations" / "val.json").write_text(json.dumps(tree))
    with pytest.raises(DataError, match=r"annotated as 60 x 48, .*a\.jpg is 48 x 60"):
        COCOFormat(root=str(tmp_path)).items("val")[(0, 0)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": [3]}, "data.crop is the least and the most of a side"),
        ({"crop": [5, 3]}, "data.crop is the least and the most of a side, got"),
        ({"sizes": []}, "data.sizes, .* must be at least 1"),
        ({"flip": 1.5}, r"data.flip must be in \[0, 1\], got 1.5"),
        ({"evaluation_batch": 0}, "data.evaluation_batch must be at least 1, got 0"),
        ({"batch_size": 0}, "data.batch_size must be at least 1, got 0"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        COCO(**options)


@pytest.mark.realdata
def test_bccd_and_coco_mini(real_data):
    bccd = BCCD(root=str(real_data / "detection" / "bccd"))
    assert [len(bccd.items(split)) for split in ("train", "val", "test")] == [205, 87, 72]
    records = [record for split in ("train", "val", "test") for record in bccd.items(split).items.records]
    counts = np.bincount(np.concatenate([record.labels for record in records]))
    assert dict(zip(bccd.class_names, counts.tolist(), strict=True)) == {"RBC": 4155, "WBC": 372, "Platelets": 361}
    coco = COCO(root=str(real_data / "detection" / "coco_mini"), annotations="instances_{split}2017.json")
    assert [len(coco.items(split)) for split in ("train", "val", "test")] == [80, 79, 79]
    train = coco.items("train").items.records
    assert sum(len(record.labels) for record in train) == 739
    assert sum(int(record.crowd.sum()) for record in train) == 8
    assert coco.items("val")[(0, 3)]["truth"]["boxes"].shape[1] == 4
