"""Images of a user: a folder per class, or a table of paths and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from zoo.domains.calibration.data import ImageData
from zoo.domains.calibration.data_folder_files import Row, class_folders, read_folder, read_table
from zoo.domains.calibration.data_items import Files, Pictures, image_paths
from zoo.domains.calibration.data_splits import check_share, split_by_class
from zoo.domains.calibration.data_synthesis_files import synthesize_folder, synthesize_table
from zoo.domains.calibration.data_views import IMAGENET, Statistics, View
from zoo.errors import InputError
from zoo.training import DataError, Split, usable
from zoo.training.choices import nearest
from zoo.training.paths import below, is_there

Channels = tuple[float, float, float]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip


class UserImages(ImageData):
    """Base of the two.

    Args:
        root: See :class:`zoo.domains.calibration.data.ImageData`, as the next five.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use made-up data.
        limit: Use only so many images of each split.
        on_error: ``stop`` or ``skip``.
        size: Height and width of what the network sees.
        resize: Length of the shorter side before the crop.
        padding: Black pixels around a training image before the random crop.
        flip: Mirror every second training image.
        mean: Of the channels.
        std: Of the channels.
        val_fraction: Share of each class held out for validation where there is no such split.
        test_fraction: Share of each class held out for the test where there is no such split.
        ood: Out-of-distribution sets behind the test split.
        split_seed: Which images are held out.
        drop_last: Whether an incomplete last training batch is left out.
    """

    def __init__(
        self,
        root: str | None,
        batch_size: int,
        workers: int,
        synthesize: bool,
        limit: int | None,
        on_error: Literal["stop", "skip"],
        size: int,
        resize: int | None,
        padding: int,
        flip: bool,
        mean: Channels,
        std: Channels,
        val_fraction: float,
        test_fraction: float,
        ood: list[str] | None,
        split_seed: int,
        drop_last: bool,
    ) -> None:
        check_share("val_fraction", val_fraction)
        check_share("test_fraction", test_fraction)
        if min(std) <= 0:
            raise InputError(f"data.std must be above 0, got {list(std)}")
        side = size if resize is None else resize
        statistics = Statistics((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error,
            View(size, side, padding=padding, flip=flip, crop=True), View(size, side), statistics, ood, split_seed,
            drop_last,
        )  # fmt: skip
        self.val_fraction, self.test_fraction = val_fraction, test_fraction

    def held_out(self, labels: np.ndarray, given: set[Split], split: Split) -> np.ndarray:
        """Positions of a split among the training images, of which the splits that are not given are held out.

        Args:
            labels: ``(N,)`` of all training images.
            given: Splits that have images of their own.
            split: Which split is wanted: train, or one that is not given.

        Raises:
            DataError: No class has two images left, so that none can be held out.
        """
        pool = np.arange(len(labels))
        for name, share in (("test", self.test_fraction), ("val", self.val_fraction)):
            if name in given:
                continue
            kept, held = split_by_class(labels[pool], share, self.split_seed)
            if not len(held):
                raise DataError(
                    f"{self.folder()}: there are no {name} images, and none can be held out: every class has a single "
                    "training image"
                )
            if name == split:
                return np.sort(pool[held])
            pool = pool[np.sort(kept)]
        return pool


class ImageFolder(UserImages):
    """Your own images: a folder per class, ``train/<class>/*.jpg``; ``val`` and ``test`` alike where there are any.

    Where there is no ``val`` or no ``test`` folder, a share of each class's training images is held out for it. Where
    there is no folder of a split at all, the classes may lie in the root itself.

    Args:
        root: Folder with ``train``, or with the folders of the classes.
        batch_size: Images per process and step.
        workers: Loader processes, which decode the files.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` and report.
        size: Height and width of what the network sees.
        resize: Length of the shorter side before the crop (random for training, else from the centre); null for size.
        padding: Black pixels around a training image before the random crop.
        flip: Mirror every second training image.
        mean: Of the channels R, G, B, pixels in [0, 1].
        std: Of the channels.
        val_fraction: Share of each class held out for validation, in (0, 1), where there is no ``val``.
        test_fraction: Share of each class held out for the test, in (0, 1), where there is no ``test``.
        ood: Out-of-distribution sets behind the test split: names of data sets or folders of images.
        split_seed: Which images are held out.
        drop_last: Whether an incomplete last training batch is left out.
    """

    dataset = "image_folder"
    source = "your own images"
    terms = "yours"
    layout = """
    train/<class>/*.jpg    also .jpeg .png .webp .bmp .tif .tiff, at any depth below the class
    val/<class>/*.jpg      optional, else held out from train
    test/<class>/*.jpg     optional, else held out from train
    <class>/*.jpg          instead of all these: folders of classes alone
    """
    sample = "test/*/*0.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 64,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        size: int = 32,
        resize: int | None = None,
        padding: int = 4,
        flip: bool = True,
        mean: Channels = IMAGENET.mean,
        std: Channels = IMAGENET.std,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        ood: list[str] | None = None,
        split_seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, size, resize, padding, flip, mean, std,
            val_fraction, test_fraction, ood, split_seed, drop_last,
        )  # fmt: skip

    def pictures(self, root: Path, split: Split) -> Pictures:
        """The images of a split."""
        given = {name for name in SPLITS if (root / name).is_dir()}
        train = root if not given and _are_classes(root) else root / "train"
        self.class_names = class_folders(train)
        folder = root / split if split in given else train
        files, labels, names = read_folder(folder, self.class_names)
        found = self.usable(Pictures(files, labels, names, self.view(split), self.statistics))
        return found if folder != train else found.only(self.held_out(found.labels, given, split))

    def make(self, root: Path) -> None:
        """Writes tiny data in this format."""
        synthesize_folder(root, self.seed)


class ImageTable(UserImages):
    """Your own images, named by a csv: a column of paths, one of labels, and maybe one of splits.

    Labels may be names or numbers; the classes are the different labels of the table, in order. Where the table has no
    column of splits, or no row of a split, a share of each class's training images is held out for it.

    Args:
        root: Folder that the paths are relative to.
        batch_size: Images per process and step.
        workers: Loader processes, which decode the files.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that is not there or cannot be read, or ``skip`` and report.
        table: The csv, below the root.
        path: Name of the column of paths.
        label: Name of the column of labels.
        split: Name of the column of splits (train, val, test).
        size: Height and width of what the network sees.
        resize: Length of the shorter side before the crop (random for training, else from the centre); null for size.
        padding: Black pixels around a training image before the random crop.
        flip: Mirror every second training image.
        mean: Of the channels R, G, B, pixels in [0, 1].
        std: Of the channels.
        val_fraction: Share of each class held out for validation, in (0, 1), where the table has none.
        test_fraction: Share of each class held out for the test, in (0, 1), where the table has none.
        ood: Out-of-distribution sets behind the test split: names of data sets or folders of images.
        split_seed: Which images are held out.
        drop_last: Whether an incomplete last training batch is left out.
    """

    dataset = "image_table"
    source = "your own images"
    terms = "yours"
    layout = """
    images.csv    a head line with path,label and maybe split; a line per image; another name by data.table
    ...           the images, where the paths say
    """
    sample = "images/*0.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 64,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        table: str = "images.csv",
        path: str = "path",
        label: str = "label",
        split: str = "split",
        size: int = 32,
        resize: int | None = None,
        padding: int = 4,
        flip: bool = True,
        mean: Channels = IMAGENET.mean,
        std: Channels = IMAGENET.std,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        ood: list[str] | None = None,
        split_seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, size, resize, padding, flip, mean, std,
            val_fraction, test_fraction, ood, split_seed, drop_last,
        )  # fmt: skip
        self.table, self.columns = table, (path, label, split)

    def pictures(self, root: Path, split: Split) -> Pictures:
        """The images of a split."""
        rows = read_table(root / self.table, *self.columns, self.spare)
        named = usable(rows, lambda row: (row, _split(row)), self.spare)
        named = self.kept(named, lambda pair: pair[0].path)
        rows, splits = [row for row, _ in named], [name for _, name in named]
        self.class_names = label_names([row.label for row in rows])
        given: set[Split] = set(splits)
        wanted: Split = split if split in given else "train"
        own = [row for row, name in zip(rows, splits, strict=True) if name == wanted]
        if not own:
            raise DataError(f"{root / self.table}: has no row of the split train")
        labels = np.array([self.class_names.index(row.label) for row in own], dtype=np.int64)
        files = [below(root, row.path) for row in own]
        for row, file in zip(own, files, strict=True):
            if self.on_error == "stop" and not is_there(file):
                raise DataError(f"{row.place}: there is no image {file}")
        source = Files(files, [row.place for row in own])
        found = Pictures(source, labels, [row.path for row in own], self.view(split), self.statistics)
        return found if wanted != "train" else found.only(self.held_out(found.labels, given, split))

    def make(self, root: Path) -> None:
        """Writes tiny data in this format."""
        synthesize_table(root, self.seed)


def _are_classes(root: Path) -> bool:
    """Whether a folder has folders of images, two at least."""
    found = [place for place in root.iterdir() if place.is_dir() and not place.name.startswith(".")]
    return len(found) > 1 and all(image_paths(place) for place in found)


def _split(row: Row) -> Split:
    if not row.split:
        return "train"
    found = WORDS.get(row.split.lower())
    if found is None:
        hint = nearest(row.split, SPLITS)
        raise DataError(f"{row.place}: the split is {row.split!r}, expected train, val or test{hint}")
    return found


def label_names(labels: list[str]) -> list[str]:
    """The different labels: numbers by value, else by the alphabet."""
    different = set(labels)
    if all(label.isdecimal() for label in different):
        return sorted(different, key=lambda label: (int(label), label))  # 1 and 01 are two classes
    return sorted(different)
