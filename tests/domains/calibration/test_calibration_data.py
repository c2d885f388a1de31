"""Data sets: official formats read back, splits, statistics, out-of-distribution sets, determinism, real data."""

from __future__ import annotations

import pickle
import struct
import types

import numpy as np
import pytest
import torch
from scipy.io import loadmat
from torch.utils.data import DataLoader

from zoo.domains.calibration import (
    CIFAR10,
    CIFAR10JPEG,
    CIFAR10LT,
    CIFAR100,
    CIFAR100LT,
    CUB200,
    SVHN,
    Digits,
    ImageFolder,
    ImageTable,
    TinyImageNet,
)
from zoo.domains.calibration.data_cifar_files import CIFAR10_NAMES
from zoo.domains.calibration.data_folder import label_names
from zoo.domains.calibration.data_views import CIFAR, IMAGENET
from zoo.training.images import read_image

ALL = (
    CIFAR10,
    CIFAR100,
    CIFAR10LT,
    CIFAR100LT,
    SVHN,
    TinyImageNet,
    CUB200,
    CIFAR10JPEG,
    Digits,
    ImageFolder,
    ImageTable,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A made-up set of each class, written once."""
    places = {}

    def get(kind):
        name = kind.__name__
        if name not in places:
            places[name] = tmp_path_factory.mktemp(name)
            kind().make(places[name])
        return places[name]

    return get


def everything(loader: DataLoader) -> dict:
    batches = list(loader)
    return {
        "image": torch.cat([batch["image"] for batch in batches]),
        "label": torch.cat([batch["label"] for batch in batches]),
        "id": [name for batch in batches for name in batch["id"]],
    }


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_batches_splits_and_order(kind, made):
    data = kind(root=str(made(kind)), batch_size=8)
    data.seed = 3
    ids = {}
    for split in ("train", "val", "test"):
        items = data.items(split)
        ids[split] = [items[0, place]["id"] for place in range(len(items))]
        assert len(set(ids[split])) == len(ids[split]) > 0
    assert not set(ids["train"]) & set(ids["val"])
    batch = next(iter(data.train_dataloader()))
    assert set(batch) == {"image", "label", "id"}
    assert batch["image"].shape == (8, 3, data.size, data.size)
    assert batch["image"].dtype == torch.float32
    assert batch["label"].dtype == torch.int64
    assert 0 <= batch["label"].min() <= batch["label"].max() < len(data.class_names)
    again, other = kind(root=str(made(kind)), batch_size=8), kind(root=str(made(kind)), batch_size=8)
    again.seed, other.seed = 3, 4
    same = next(iter(again.train_dataloader()))
    assert torch.equal(same["image"], batch["image"])
    assert same["id"] == batch["id"]
    assert next(iter(other.train_dataloader()))["id"] != batch["id"]
    tested = everything(data.test_dataloader())
    assert tested["id"] == ids["test"]
    assert torch.equal(tested["image"], everything(again.test_dataloader())["image"])


def test_an_epoch_augments_anew_and_can_be_taken_up(made):
    data = CIFAR10(root=str(made(CIFAR10)), batch_size=40)
    loader = data.train_dataloader()
    first = list(loader)
    loader.batch_sampler.set_epoch(1)
    second = everything(loader)
    one = everything(first)
    place = second["id"].index(one["id"][0])
    assert not torch.equal(one["image"][0], second["image"][place])
    data.resume(0, 3)
    rest = list(data.train_dataloader())
    assert [batch["id"] for batch in rest] == [batch["id"] for batch in first[3:]]
    assert torch.equal(rest[0]["image"], first[3]["image"])


def test_cifar_pixels_and_labels_are_the_files(made):
    root = made(CIFAR10)
    with (root / "cifar-10-batches-py" / "test_batch").open("rb") as stream:
        content = pickle.load(stream, encoding="latin1")  # our own file
    tested = everything(CIFAR10(root=str(root)).test_dataloader())
    wanted = torch.from_numpy(content["data"]).view(-1, 3, 32, 32) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in CIFAR)
    torch.testing.assert_close(tested["image"], (wanted - mean) / std, rtol=1e-5, atol=1e-5)
    assert tested["label"].tolist() == content["labels"]
    assert CIFAR10().class_names == list(CIFAR10_NAMES)


@pytest.mark.parametrize(("kind", "folder", "binary", "head"), [
    (CIFAR10, "cifar-10-batches-py", "cifar-10-batches-bin", 1), (CIFAR100, "cifar-100-python", "cifar-100-binary", 2),
])  # fmt: skip
def test_the_binary_version_holds_the_same(kind, folder, binary, head, made, tmp_path):
    (tmp_path / binary).mkdir()
    for file in (made(kind) / folder).iterdir():
        if "meta" in file.name:
            continue
        content = pickle.loads(file.read_bytes(), encoding="latin1")
        labels = np.array(content["labels" if head == 1 else "fine_labels"], dtype=np.uint8)
        rows = np.column_stack([*[np.zeros_like(labels)] * (head - 1), labels, content["data"]])
        rows.tofile(tmp_path / binary / f"{file.name}.bin")
    python, other = kind(root=str(made(kind))), kind(root=str(tmp_path))
    for loader in ("val_dataloader", "test_dataloader"):
        one, two = everything(getattr(python, loader)()), everything(getattr(other, loader)())
        assert torch.equal(one["image"], two["image"])
        assert torch.equal(one["label"], two["label"])


def test_the_official_folder_itself_may_be_the_root(made):
    inside = CIFAR10(root=str(made(CIFAR10) / "cifar-10-batches-py"))
    assert len(inside.items("test")) == 200


class Python2(pickle._Pickler):
    """Writes texts and bytes alike as byte strings, as Python 2 did, and numpy under its old name."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, given):
        content = given.encode() if isinstance(given, str) else bytes(given)
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(given)

    dispatch[str] = dispatch[bytes] = save_string

    def save_global(self, given, name=None):
        module = "numpy.core.multiarray" if given.__name__ == "_reconstruct" else given.__module__
        self.write(pickle.GLOBAL + f"{module}\n{given.__name__}\n".encode())
        self.memoize(given)

    dispatch[type] = dispatch[types.FunctionType] = dispatch[types.BuiltinFunctionType] = save_global


def test_files_of_python_2_are_read(tmp_path, made):
    """The real files come from Python 2."""
    source = made(CIFAR10) / "cifar-10-batches-py"
    (tmp_path / "cifar-10-batches-py").mkdir()
    for file in source.iterdir():
        with (tmp_path / "cifar-10-batches-py" / file.name).open("wb") as stream:
            Python2(stream, protocol=2).dump(pickle.loads(file.read_bytes()))
    written = (tmp_path / "cifar-10-batches-py" / "test_batch").read_bytes()
    assert b"numpy.core.multiarray" in written
    assert b"_codecs" not in written
    one, two = (everything(CIFAR10(root=str(root)).test_dataloader()) for root in (made(CIFAR10), tmp_path))
    assert torch.equal(one["image"], two["image"])
    assert one["label"].tolist() == two["label"].tolist()
    assert one["id"] == two["id"]


def test_the_normalization_quirk_is_a_switch(made):
    root = str(made(CIFAR100))
    consistent, official = CIFAR100(root=root), CIFAR100(root=root, normalization="official")
    for loader, same in (("val_dataloader", True), ("test_dataloader", False)):
        one, two = (everything(getattr(data, loader)())["image"] for data in (consistent, official))
        assert torch.equal(one, two) is same
        if not same:
            (mean, std), (old, scale) = [
                [torch.tensor(values).view(3, 1, 1) for values in statistics] for statistics in (IMAGENET, CIFAR)
            ]
            torch.testing.assert_close(two, (one * scale + old - mean) / std, rtol=1e-4, atol=1e-4)
    assert (official.mean, official.std) == CIFAR


def test_drop_last_is_as_released(made):
    assert len(CIFAR10(root=str(made(CIFAR10)), batch_size=100).train_dataloader()) == 3  # of 360
    assert len(CIFAR100(root=str(made(CIFAR100)), batch_size=100).train_dataloader()) == 6  # of 540


def test_long_tails_are_read_by_turns_of_classes(made):
    data = CIFAR10LT(root=str(made(CIFAR10)), batch_size=20, val="test")
    labels = data.items("train").items.labels
    assert np.bincount(labels).tolist() == [40, 30, 23, 18, 14, 11, 8, 6, 5, 4]
    assert len(data.train_dataloader()) == 40 * 10 // 20
    assert everything(data.val_dataloader())["id"] == everything(data.test_dataloader())["id"]
    seen = torch.cat([batch["label"] for batch in data.train_dataloader()])
    assert torch.bincount(seen, minlength=10).tolist() == [40] * 10
    assert data.class_groups["tail"] == [7, 8, 9]
    uniform = CIFAR10LT(root=str(made(CIFAR10)), batch_size=20, order="uniform")
    assert len(uniform.train_dataloader()) == len(uniform.items("train")) // 20


def test_svhn_calls_ten_zero(made):
    content = loadmat(made(SVHN) / "test_32x32.mat")
    tested = everything(SVHN(root=str(made(SVHN))).test_dataloader())
    assert tested["label"].tolist() == (content["y"].reshape(-1) % 10).tolist()
    assert 10 in content["y"]
    pixels = torch.from_numpy(content["X"].transpose(3, 2, 0, 1).copy())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in CIFAR)
    torch.testing.assert_close(tested["image"], (pixels / 255 - mean) / std, rtol=1e-5, atol=1e-5)


def test_tiny_imagenet_labels_are_places_among_the_sorted_ids(made):
    root = made(TinyImageNet)
    data = TinyImageNet(root=str(root))
    tested = everything(data.test_dataloader())
    lines = [line.split("\t") for line in (root / "val" / "val_annotations.txt").read_text().splitlines()]
    wnids = sorted((root / "wnids.txt").read_text().split())
    assert data.class_names == wnids
    assert tested["id"] == [line[0] for line in lines]
    assert tested["label"].tolist() == [wnids.index(line[1]) for line in lines]
    image = read_image(root / "val" / "images" / lines[0][0]) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
    torch.testing.assert_close(tested["image"][0], (image - mean) / std, rtol=1e-5, atol=1e-5)
    assert data.image_files("test")[0] == root / "val" / "images" / lines[0][0]


def test_cub_follows_its_tables(made):
    root = str(made(CUB200))
    data, released = CUB200(root=root), CUB200(root=root, val="test")
    assert len(data.items("train")) + len(data.items("val")) == len(released.items("train")) == 20
    assert everything(released.val_dataloader())["id"] == everything(data.test_dataloader())["id"]
    tested = everything(data.test_dataloader())
    assert data.class_names[0] == "001.Amber_Bird"
    assert all(
        data.class_names[label] == name.split("/")[0] for label, name in zip(tested["label"], tested["id"], strict=True)
    )
    assert (data.size, data.resize, data.stretch) == (224, 256, True)


def test_jpeg_parts_are_balanced_and_whole(made):
    data = CIFAR10JPEG(root=str(made(CIFAR10JPEG)), train_size=100, val_size=50)
    for split, each in (("train", 10), ("val", 5), ("test", 20)):
        assert np.bincount(data.items(split).items.labels).tolist() == [each] * 10
    all_others = CIFAR10JPEG(root=str(made(CIFAR10JPEG)))
    assert (len(all_others.items("train")), len(all_others.items("val"))) == (360, 40)


def test_digits_are_there_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = Digits()
    assert [len(data.items(split)) for split in ("train", "val", "test")] == [899, 299, 599]
    seen = everything(data.val_dataloader())["image"]
    assert seen.shape[1:] == (3, 8, 8)
    assert abs(seen.mean()) < 0.05
    assert seen.std() == pytest.approx(1, abs=0.05)
    # the files that make writes hold the same images
    data.make(tmp_path)
    files = everything(Digits(root=str(tmp_path)).test_dataloader())
    whole = everything(data.test_dataloader())
    order = {name.removesuffix(".png").split("/")[2]: place for place, name in enumerate(files["id"])}
    places = [order[f"{int(name.split('/')[1]):04d}"] for name in whole["id"]]
    assert torch.equal(files["image"][places], whole["image"])


def test_a_folder_without_val_and_test_is_shared_out(made, tmp_path):
    (tmp_path / "train").symlink_to(made(ImageFolder) / "train")
    data = ImageFolder(root=str(tmp_path), val_fraction=0.1, test_fraction=0.25)
    ids = {split: set(everything(getattr(data, f"{split}_dataloader")())["id"]) for split in ("val", "test")}
    train = data.items("train")
    ids["train"] = {train[0, place]["id"] for place in range(len(train))}
    assert {name: len(found) for name, found in ids.items()} == {"train": 52, "val": 8, "test": 20}
    assert len(ids["train"] | ids["val"] | ids["test"]) == 80
    whole = ImageFolder(root=str(made(ImageFolder)))
    assert [len(whole.items(split)) for split in ("train", "val", "test")] == [80, 20, 40]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["10", "9", "9"], ["9", "10"]),
        (["1", "01", "001", "2"], ["001", "01", "1", "2"]),
        (["²", "1"], ["1", "²"]),
        (["-1", "b", "a"], ["-1", "a", "b"]),
    ],
)
def test_the_order_of_a_tables_classes(labels, names):
    """By value, equal values by their letters: the same in every process."""
    assert label_names(labels) == names


def test_a_table_with_splits_and_numbers(made, tmp_path):
    files = sorted((made(ImageTable) / "images").glob("*.jpg"))[:12]
    splits = ["train"] * 8 + ["Validation", "val", "test", "test"]
    rows = [f"{file},{10 - number % 3},{split}" for number, (file, split) in enumerate(zip(files, splits, strict=True))]
    (tmp_path / "list.csv").write_text("\n".join(["file,class,part", *rows]) + "\n")
    data = ImageTable(root=str(tmp_path), table="list.csv", path="file", label="class", split="part", batch_size=4)
    assert [len(data.items(split)) for split in ("train", "val", "test")] == [8, 2, 2]
    assert data.class_names == ["8", "9", "10"]
    assert everything(data.test_dataloader())["label"].tolist() == [2 - number % 3 for number in (10, 11)]


def test_unknown_sets_follow_the_test_images(made, tmp_path):
    for kind in (CIFAR10, SVHN, TinyImageNet):
        (tmp_path / kind.dataset).symlink_to(made(kind))
    other = tmp_path / "holiday"
    (other / "deep").mkdir(parents=True)
    (other / "deep" / "one.jpg").symlink_to(next((made(ImageFolder) / "test").rglob("*.jpg")))
    data = CIFAR10(root=str(tmp_path / "cifar10"), ood=["svhn", "tiny_imagenet", str(other)])
    tested = everything(data.test_dataloader())
    assert torch.bincount(-tested["label"].clamp(max=0)).tolist() == [200, 150, 30, 1]
    assert tested["id"][-1] == "holiday:deep/one.jpg"
    alone = everything(CIFAR10(root=str(tmp_path / "cifar10")).test_dataloader())
    assert torch.equal(tested["image"][:200], alone["image"])
    svhn = everything(SVHN(root=str(tmp_path / "svhn")).test_dataloader())
    assert torch.equal(tested["image"][200:350], svhn["image"])  # the statistics of CIFAR as well
    assert tested["image"].shape[2:] == (32, 32)  # 64 pixels became 32
    assert len(data.items("val")) == 40


def test_unknown_cifar_100_is_normalised_as_released_or_alike(made, tmp_path):
    for kind in (CIFAR10, CIFAR100):
        (tmp_path / kind.dataset).symlink_to(made(kind))
    root = str(tmp_path / "cifar10")
    consistent, official = (
        everything(CIFAR10(root=root, ood=["cifar100"], normalization=name).test_dataloader())
        for name in ("consistent", "official")
    )
    assert torch.equal(consistent["image"][:200], official["image"][:200])
    own = everything(CIFAR100(root=str(tmp_path / "cifar100"), normalization="official").test_dataloader())
    assert torch.equal(official["image"][200:], own["image"])
    assert not torch.equal(consistent["image"][200:], own["image"])


def test_workers_read_what_one_process_reads(made):
    one, two = (ImageFolder(root=str(made(ImageFolder)), workers=workers, batch_size=16) for workers in (0, 2))
    first, second = everything(one.train_dataloader()), everything(two.train_dataloader())
    assert first["id"] == second["id"]
    assert torch.equal(first["image"], second["image"])


@pytest.mark.realdata
def test_the_shared_subset(real_data):
    data = CIFAR10JPEG(root=str(real_data / "calibration" / "cifar10_jpeg"), train_size=5000, val_size=1000)
    assert [len(data.items(split)) for split in ("train", "val", "test")] == [5000, 1000, 5000]
    for split, each in (("train", 500), ("val", 100), ("test", 500)):
        assert np.bincount(data.items(split).items.labels).tolist() == [each] * 10
    assert data.class_names == list(CIFAR10_NAMES)
    seen = everything(data.val_dataloader())["image"]
    # the statistics are CIFAR's: mean 0; its released deviation is that of images, smaller than that of pixels
    assert seen.mean(dim=(0, 2, 3)).abs().max() < 0.1
    assert 1.1 < seen.std() < 1.4
