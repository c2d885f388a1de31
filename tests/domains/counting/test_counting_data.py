"""Readers of every format, splits, labelled and unlabelled images side by side, crops."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from zoo.domains.counting import (
    NWPU,
    BoxTable,
    Jiangsu,
    KCLLondon,
    PointsJSON,
    PointTable,
    ShanghaiTechA,
    ShanghaiTechB,
    Yosemite,
)
from zoo.domains.counting.annotations import read_points, read_table
from zoo.domains.counting.data_items import enlarge, random_crop
from zoo.domains.counting.data_order import SideBySide
from zoo.domains.counting.data_yosemite import regions
from zoo.domains.counting.synthesis import image_info, save_image, save_matlab, scenes, write_json, write_table
from zoo.training import IMAGENET_MEAN, IMAGENET_STD, read_image

CLASSES = (KCLLondon, Jiangsu, ShanghaiTechA, ShanghaiTechB, NWPU, PointsJSON, PointTable, BoxTable, Yosemite)
TREES = {"train": 0, "val": 0, "test": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The made-up set of a class, written once."""
    done = {}

    def get(cls):
        if cls not in done:
            done[cls] = tmp_path_factory.mktemp(cls.dataset)
            cls().make(done[cls])
        return done[cls]

    return get


def built(cls, root, **arguments):
    block = {"block": 64} if cls is Yosemite else {}
    return cls(root=str(root), **{"crop": 64, "batch_size": 4, **block, **arguments})


def names(data, split):
    items = data.items(split)
    return [items.items.name(int(index)) for index in items.subset]


# -- what all of them share


@pytest.mark.parametrize("cls", CLASSES)
def test_batches_keep_the_contract(cls, folder):
    data = built(cls, folder(cls), labelled_fraction=0.5, unlabelled_batch=3)
    batch = next(iter(data.train_dataloader()))
    assert set(batch) == {"id", "labelled", "unlabelled"}
    marked = batch["labelled"]
    size = len(marked["points"])
    assert marked["image"].shape == (size, 3, 64, 64)
    assert marked["count"].shape == (size,)
    assert marked["cells"].shape == (size, 1, 16, 16)
    assert [len(points) for points in marked["points"]] == marked["count"].tolist()
    assert marked["cells"].sum((1, 2, 3)).tolist() == marked["count"].tolist()
    assert batch["unlabelled"]["image"].shape == (3, 3, 64, 64)
    assert len(batch["id"]) == size + 3
    tested = next(iter(data.test_dataloader()))
    assert [set(item) for item in tested] == [{"image", "points", "name"}]
    assert tested[0]["image"].shape[0] == 3
    assert tested[0]["points"].shape[1:] == (2,)
    assert tested[0]["points"].dtype == tested[0]["image"].dtype == torch.float32


@pytest.mark.parametrize("cls", CLASSES)
def test_splits_share_no_image_and_are_a_function_of_the_seed(cls, folder):
    data, again = built(cls, folder(cls)), built(cls, folder(cls))
    parts = {split: names(data, split) for split in TREES}
    assert all(parts.values())
    together = [name for part in parts.values() for name in part]
    assert len(set(together)) == len(together)
    assert parts == {split: names(again, split) for split in parts}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_tree_of_the_made_up_images_is_read_where_it_was_put(cls, folder):
    """Evaluation images are whole and their points those that were drawn, in whatever format."""
    if cls is Yosemite:
        ((_, points),) = scenes(0, 1, (512, 256))
        counts = [len(built(cls, folder(cls)).items("test")[0, index]["points"]) for index in range(16)]
        first = (points[:, 1] < 128) | ((points[:, 1] >= 256) & (points[:, 1] < 384))
        assert sum(counts) == int(first.sum()) > 0
        return
    made = {KCLLondon: 32, Jiangsu: 16, PointsJSON: 48, NWPU: 16, PointTable: 16}.get(cls, 14)
    truth = {tuple(np.round(points, 1).ravel()) for _, points in scenes(0, made)}
    data = built(cls, folder(cls))
    for split in ("val", "test"):
        for index in range(len(data.items(split))):
            found = data.items(split)[0, index]["points"].numpy()
            assert tuple(np.round(found.astype(np.float64), 1).ravel()) in truth


# -- labelled and unlabelled


def test_shares_of_labels_are_exact_seeded_and_nested(folder):
    root = folder(PointsJSON)

    def marked(**arguments):
        data = built(PointsJSON, root, **arguments)
        items = data.items("train").items
        return {items.name(index) for index in range(items.labelled)}, len(items)

    ten, everything = marked(labelled_fraction=0.1)
    half, _ = marked(labelled_fraction=0.5)
    assert (len(ten), len(half), everything) == (3, 16, 32)
    assert ten < half
    assert len(marked(labelled_fraction=0.001)[0]) == 1
    assert marked(labelled_fraction=0.5, label_seed=1)[0] != half
    assert marked(labelled_fraction=0.5, split_seed=1)[0] == half  # official splits: nothing else is drawn


def test_without_unlabelled_images_there_is_no_unlabelled_batch(folder):
    for arguments in ({"labelled_fraction": 1.0}, {"labelled_fraction": 0.5, "unlabelled_batch": 0}):
        batch = next(iter(built(PointsJSON, folder(PointsJSON), **arguments).train_dataloader()))
        assert batch["unlabelled"] is None
        assert len(batch["id"]) == 4


def test_unlabelled_images_of_the_official_folder(folder):
    data = built(KCLLondon, folder(KCLLondon))
    assert [name.split("/")[0] for name in names(data, "train")] == ["train_data"] * 16 + ["train_data_ul"] * 6
    assert next(iter(data.train_dataloader()))["unlabelled"]["image"].shape[0] == 4
    assert len(names(built(KCLLondon, folder(KCLLondon), extra_unlabelled=False), "train")) == 16


def test_kept_back_images_are_unlabelled_too(folder):
    data = built(KCLLondon, folder(KCLLondon), labelled_fraction=0.25)
    items = data.items("train").items
    assert (items.labelled, len(items)) == (4, 22)
    seen = {name for batch in data.train_dataloader() for name in batch["id"][:4]}
    assert seen == {items.name(index) for index in range(4)}


def test_steps_of_an_epoch_and_its_batches():
    marked, others = np.arange(10), np.arange(10, 40)
    once = SideBySide(marked, others, 4, 6, None)
    batches = once.global_batches(0)
    assert [len(batch) for batch in batches] == [4 + 6, 4 + 6, 2 + 6]
    first = np.concatenate([batch[: len(batch) - 6] for batch in batches])
    assert sorted(first) == list(range(10))
    assert all(len(set(batch[-6:] % 40)) == 6 for batch in batches)
    fixed = SideBySide(marked, others, 4, 6, 7)
    assert len(fixed) == 7
    drawn = np.concatenate([batch[:4] for batch in fixed.global_batches(3)])
    assert np.bincount(drawn % 40, minlength=10)[:10].min() >= 2  # in turn
    everything = np.concatenate(fixed.global_batches(3))
    assert len(set(everything)) == len(everything)  # each occurrence is another crop
    assert [list(batch) for batch in fixed.global_batches(3)] == [list(batch) for batch in fixed.global_batches(3)]
    assert [list(batch) for batch in fixed.global_batches(3)] != [list(batch) for batch in fixed.global_batches(4)]


@pytest.mark.parametrize(("marked", "others", "steps"), [(11, 9, None), (11, 1, None), (3, 0, 4), (8, 30, 3)])
def test_processes_share_the_batches(marked, others, steps):
    arguments = (np.arange(marked), np.arange(marked, marked + others), 4, 3, steps)
    alone = SideBySide(*arguments[:2], 8, 6, steps).global_batches(1)
    parts = []
    for rank in range(2):
        order = SideBySide(*arguments, 0, rank, 2)
        order.resume(1, 0)
        parts.append([[position for _, position in keys] for keys in order])
    for whole, one, two in zip(alone, *parts, strict=True):
        if others != 1:  # of which each process needs one
            assert sorted(whole.tolist()) == sorted([*one, *two])
        for part in (one, two):
            assert any(position % (marked + others) < marked for position in part)
            assert others == 0 or any(position % (marked + others) >= marked for position in part)


def test_epochs_repeat_and_resume_where_they_stopped(folder):
    def epoch(number, start=0, workers=0):
        data = built(PointsJSON, folder(PointsJSON), labelled_fraction=0.3, steps_per_epoch=3, workers=workers)
        data.resume(number, start)
        return [(batch["id"], batch["labelled"]["image"]) for batch in data.train_dataloader()]

    one, same, other, rest = epoch(1), epoch(1, workers=1), epoch(2), epoch(1, start=2)
    for (ids, image), (again, repeated) in zip(one, same, strict=True):
        assert ids == again
        assert torch.equal(image, repeated)
    assert [ids for ids, _ in one] != [ids for ids, _ in other]
    assert len(rest) == 1
    assert torch.equal(rest[0][1], one[2][1])


def test_kept_images_are_the_same(folder):
    def images(keep):
        data = built(PointsJSON, folder(PointsJSON), steps_per_epoch=10, keep_images=keep)
        return torch.cat([batch["labelled"]["image"] for batch in data.train_dataloader()])

    assert torch.equal(images(True), images(False))


def test_the_split_is_written(folder, tmp_path):
    data = built(PointTable, folder(PointTable), labelled_fraction=0.5)
    data.write_split(tmp_path / "run" / "split.csv")
    with (tmp_path / "run" / "split.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["image", "split", "labelled"]
    assert [row["image"] for row in rows if row["split"] == "test"] == sorted(names(data, "test"))
    assert (
        sum(row["split"] == "train" and row["labelled"] == "yes" for row in rows) == data.items("train").items.labelled
    )
    assert {row["labelled"] for row in rows if row["split"] != "train"} == {"yes"}
    assert len(rows) == 16


@pytest.mark.parametrize(("first", "there"), [(True, True), (False, False)])
def test_training_writes_the_split_to_the_run_folder(first, there, folder, tmp_path):
    data = built(PointsJSON, folder(PointsJSON), labelled_fraction=0.5)
    data.trainer = SimpleNamespace(
        global_rank=0 if first else 1, world_size=2, is_global_zero=first, default_root_dir=str(tmp_path)
    )
    data.train_dataloader()
    assert (tmp_path / "split.csv").is_file() == there


def test_validation_is_a_share_or_a_number_and_no_test_image(folder):
    root = folder(Jiangsu)
    shares = {val: len(names(built(Jiangsu, root, val=val), "val")) for val in (0.1, 0.5, 3, 1)}
    assert shares == {0.1: 1, 0.5: 6, 3: 3, 1: 1}
    one, two = (set(names(built(Jiangsu, root, val=4, split_seed=seed), "val")) for seed in (0, 1))
    assert one != two
    assert all(name.startswith("train_data/") for name in one | two)


# -- crops


def test_crop_holds_what_lies_in_it():
    ((image, points),) = scenes(3, 1)
    for seed in range(20):
        crop, inside = random_crop(image, points, 64, np.random.default_rng(seed))
        assert crop.shape == (3, 64, 64)
        for x, y in inside:  # the crown's middle is green wherever it lies now
            column, row = (int(np.clip(np.rint(value), 0, 63)) for value in (x, y))
            red, green, blue = crop[:, row, column].tolist()
            assert green > max(red, blue)


def test_mirrored_points_and_both_edges():
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    image[:, 2, 1] = 255
    points = np.array([[1.0, 2.0], [0.0, 0.0], [8.0, 8.0]])
    found = {}
    for seed in range(20):
        crop, inside = random_crop(image, points, 8, np.random.default_rng(seed))
        found[int(crop[0, 2].argmax())] = inside.tolist()
    assert found == {1: [[1, 2], [0, 0], [8, 8]], 6: [[6, 2], [7, 0], [-1, 8]]}


def test_small_images_are_enlarged_with_their_points():
    image = torch.arange(3 * 20 * 30, dtype=torch.float32).view(3, 20, 30) / 1800
    larger, scale = enlarge(image, 64)
    assert larger.shape == (3, 64, 96)
    assert scale.tolist() == [96 / 30, 64 / 20]
    assert enlarge(image, 20)[0] is image
    crop, found = random_crop((image * 255).to(torch.uint8), np.array([[29.0, 19.0]]), 96, np.random.default_rng(0))
    assert crop.shape == (3, 96, 96)
    place = [29 * 144 / 30, 19 * 96 / 20]  # in the enlarged image of 96 x 144
    assert all(point[1] == pytest.approx(place[1]) for point in found.tolist())


def test_images_are_normalised(folder):
    data = built(PointsJSON, folder(PointsJSON))
    item = data.items("test")[0, 0]
    pixels = read_image(folder(PointsJSON) / item["id"]).float() / 255
    back = item["image"] * torch.tensor(IMAGENET_STD).view(3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    torch.testing.assert_close(back, pixels, atol=1e-6, rtol=0)


# -- formats


def test_matlab_structures_of_all_kinds(tmp_path):
    points = np.array([[1.5, 2.0], [30.0, 4.0]])
    save_matlab(tmp_path / "a.mat", image_info(points))
    save_matlab(tmp_path / "b.mat", {"annPoints": points})
    save_matlab(tmp_path / "c.mat", image_info(np.zeros((0, 2))))
    save_matlab(tmp_path / "d.mat", {"image_info": {"location": points, "number": 2}})
    deep = np.empty((1, 1), dtype=object)
    deep[0, 0] = image_info(points)["image_info"]
    save_matlab(tmp_path / "e.mat", {"image_info": deep})
    for name in "abde":
        assert read_points(tmp_path / f"{name}.mat").tolist() == points.tolist()
    assert read_points(tmp_path / "c.mat").shape == (0, 2)
    write_json(tmp_path / "f.json", {"img_id": "1.jpg", "human_num": 2, "points": points.tolist()})
    write_json(tmp_path / "g.json", {"points": [], "human_num": 0})
    assert read_points(tmp_path / "f.json").tolist() == points.tolist()
    assert read_points(tmp_path / "g.json").shape == (0, 2)


def test_nwpu_reads_json_where_there_is_no_mat(folder, tmp_path):
    root = folder(NWPU)
    for name in ("images", "jsons", "train.txt", "val.txt"):
        (tmp_path / name).symlink_to(root / name)
    one, two = built(NWPU, root).items("test")[0, 0], built(NWPU, tmp_path).items("test")[0, 0]
    assert torch.equal(one["points"], two["points"])


def test_part_a_of_shanghaitech_by_any_of_its_names(folder, tmp_path):
    root = folder(ShanghaiTechA)
    (tmp_path / "part_A_final").symlink_to(root / "part_A")
    known = [name.split("/", 1)[1] for name in names(built(ShanghaiTechA, root), "test")]
    assert [name.split("/", 1)[1] for name in names(built(ShanghaiTechA, tmp_path), "test")] == known
    assert names(built(ShanghaiTechA, root / "part_A"), "test") == known


def test_csv_with_byte_order_mark_crlf_spaces_and_other_columns(tmp_path):
    text = "id, image ,x,y,kind\r\n1,a b.png,3.5,4,oak\r\n2,a b.png,5,6,\r\n\r\n3,leer.png,,,\r\n"
    (tmp_path / "points.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    one, two = read_table(tmp_path / "points.csv", ("x", "y"))
    assert (one.name, one.points.tolist()) == ("a b.png", [[3.5, 4], [5, 6]])
    assert (two.name, len(two.points)) == ("leer.png", 0)


def test_boxes_become_their_centres(tmp_path):
    header = ("image_path", "xmin", "ymin", "xmax", "ymax", "label")
    rows = [("a.tif", 10, 20, 30, 50, "Tree"), ("b.tif", 0, 0, 0, 0, "Tree")]
    write_table(tmp_path / "boxes.csv", header, rows)
    one, two = read_table(tmp_path / "boxes.csv", header[1:5])
    assert one.points.tolist() == [[20, 35]]
    assert len(two.points) == 0


def test_tables_name_their_splits_and_images_without_trees(tmp_path):
    made = scenes(1, 6)
    rows = []
    for number, (image, _) in enumerate(made):
        save_image(tmp_path / f"baum {number}.png", image)
        split = ("train", "train", "train", "valid", "test", "test")[number]
        rows.append((f"baum {number}.png", "", "", split) if number == 5 else (f"baum {number}.png", 4, 5.5, split))
    write_table(tmp_path / "points.csv", ("image", "x", "y", "split"), rows)
    data = built(PointTable, tmp_path)
    assert [len(names(data, split)) for split in TREES] == [3, 1, 2]
    assert data.items("test")[0, 1]["points"].shape == (0, 2)


def test_an_image_without_trees_trains(tmp_path):
    for number, (image, _) in enumerate(scenes(1, 4)):
        save_image(tmp_path / f"{number}.png", image)
    rows = [(f"{number}.png", "", "", "train" if number < 3 else "test") for number in range(4)]
    write_table(tmp_path / "points.csv", ("image", "x", "y", "split"), rows)
    batch = next(iter(built(PointTable, tmp_path).train_dataloader()))
    assert batch["labelled"]["count"].tolist() == [0, 0]
    assert batch["labelled"]["cells"].sum() == 0
    assert [points.shape for points in batch["labelled"]["points"]] == [(0, 2), (0, 2)]


def test_points_json_may_leave_training_images_unlabelled(tmp_path):
    entries = []
    for number, (image, points) in enumerate(scenes(1, 5)):
        save_image(tmp_path / f"{number}.png", image)
        split = "train" if number < 4 else "test"
        entries.append({"file": f"{number}.png", "split": split, "points_xy": points.tolist()})
    del entries[0]["points_xy"]
    write_json(tmp_path / "points.json", entries)
    items = built(PointsJSON, tmp_path).items("train").items
    assert (items.labelled, len(items), items.name(2)) == (2, 3, "0.png")


# -- Yosemite


def test_the_blocks_of_yosemite_cover_it_once(folder):
    data = built(Yosemite, folder(Yosemite), block=100)
    pictures = data.all_pictures(folder(Yosemite))
    seen = np.zeros((512, 256), dtype=int)
    for picture in pictures:
        window = picture.window
        seen[window.top : window.top + window.height, window.left : window.left + window.width] += 1
    assert (seen == 1).all()
    ((_, points),) = scenes(0, 1, (512, 256))
    blocks = Yosemite(block=100).pictures(folder(Yosemite))
    assert sum(len(picture.points) for picture in blocks) == len(points)
    assert {picture.name[0]: picture.split for picture in blocks} == {
        "A": "test",
        "B": "train",
        "C": "test",
        "D": "train",
    }


def test_regions_of_the_real_mosaic():
    found = regions(38_400)
    assert found == {"A": (0, 9600), "B": (9600, 19200), "C": (19200, 28800), "D": (28800, 38400)}
    assert all((end - first) % 960 == 0 for first, end in found.values())


def test_blocks_are_read_by_windows(folder, monkeypatch):
    """No more than a block is ever asked for."""
    asked = []
    data = built(Yosemite, folder(Yosemite))
    monkeypatch.setattr("zoo.domains.counting.raster.Raster._bands", _spy(asked))
    item = data.items("test")[0, 5]
    assert item["image"].shape == (3, 64, 64)
    assert [(window.height, window.width) for window in asked] == [(64, 64)]


def _spy(asked):
    from zoo.domains.counting.raster import Raster

    read = Raster._bands

    def bands(self, window):
        asked.append(window)
        return read(self, window)

    return bands


def test_yosemite_is_made_of_a_downloaded_image(tmp_path):
    ((image, points),) = scenes(5, 1, (300, 200))
    source = tmp_path / "download"
    save_image(source / "big.png", image)
    write_table(source / "labels.csv", ("x", "y"), points.tolist())
    out = tmp_path / "out"
    out.mkdir()
    Yosemite().prepare(source, out)
    Yosemite().prepare(source, out)  # again: nothing is left to do
    data = Yosemite(root=str(out), block=75, crop=64)
    block = data.all_pictures(out)[4]
    assert torch.equal(block.read(), image[:, block.window.top :, block.window.left :][:, :75, :75])
    assert sum(len(data.items(split)) for split in TREES) == 12


# -- real data


@pytest.mark.realdata
def test_shared_subset_of_kcl_london(real_data):
    root = real_data / "counting" / "kcl_london"
    data = PointsJSON(root=str(root), val=12, labelled_fraction=0.1, crop=192)
    assert [len(data.items(split)) for split in TREES] == [100, 12, 29]
    assert data.items("train").items.labelled == 10
    everything = PointsJSON(root=str(root)).pictures(root)
    assert sum(len(picture.points) for picture in everything) == 20_102
    assert len(everything) == 141
    assert {picture.split for picture in everything} == {"train", "test"}
    batch = next(iter(data.train_dataloader()))
    assert batch["labelled"]["image"].shape == (10, 3, 192, 192)
    assert batch["labelled"]["count"].sum() > 0
