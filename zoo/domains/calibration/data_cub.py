"""CUB-200-2011, birds, in its official folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from zoo.domains.calibration.data import ImageData
from zoo.domains.calibration.data_items import Files, Pictures
from zoo.domains.calibration.data_longtail import Validation
from zoo.domains.calibration.data_splits import check_share, split_by_class
from zoo.domains.calibration.data_synthesis_files import synthesize_cub
from zoo.domains.calibration.data_views import IMAGENET, View
from zoo.training import DataError, Split, refuse, usable
from zoo.training.choices import check_choice
from zoo.training.lines import as_text, text_lines
from zoo.training.paths import is_there

RESIZE, SIZE = 256, 224
TABLES = ("images.txt", "image_class_labels.txt", "train_test_split.txt")


class CUB200(ImageData):
    """CUB-200-2011: 5,994 training and 5,794 test images of 200 kinds of birds.

    Images are resized to 256 x 256, without keeping their shape, and cropped to 224: at random for training, in the
    centre else. The released code validates on the test images (``val: test``); here a tenth of each class's training
    images is held out.

    Args:
        root: Folder with ``images.txt``, ``image_class_labels.txt``, ``train_test_split.txt`` and ``images``.
        batch_size: Images per process and step.
        workers: Loader processes, which decode the files.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first unusable image, or ``skip`` and report.
        val: ``held_out``, or ``test`` as released.
        val_fraction: Share of each class held out for validation, in (0, 1).
        flip: Mirror every second training image.
        ood: Out-of-distribution sets behind the test split: names of data sets or folders of images.
        split_seed: Which images are held out.
        drop_last: Whether an incomplete last training batch is left out.
    """

    dataset = "cub200"
    source = "https://www.vision.caltech.edu/datasets/cub_200_2011/ (CUB_200_2011.tgz)"
    terms = "non-commercial research and education, images from Flickr; Wah et al., Caltech CNS-TR-2011-001"
    layout = """
    images.txt                  image id, path below images/
    image_class_labels.txt      image id, class id from 1
    train_test_split.txt        image id, 1 for training
    classes.txt                 class id, name; optional
    images/<class>/<file>.jpg
    """
    sample = "images/*/*.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 32,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        val: Validation = "held_out",
        val_fraction: float = 0.1,
        flip: bool = True,
        ood: list[str] | None = None,
        split_seed: int = 1,
        drop_last: bool = False,
    ) -> None:
        check_choice("data.val", val, get_args(Validation))
        check_share("val_fraction", val_fraction)
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error,
            View(SIZE, RESIZE, stretch=True, flip=flip, crop=True), View(SIZE, RESIZE, stretch=True), IMAGENET, ood,
            split_seed, drop_last,
        )  # fmt: skip
        self.val, self.val_fraction = val, val_fraction

    def pictures(self, root: Path, split: Split) -> Pictures:
        """The images of a split."""
        root = root / "CUB_200_2011" if (root / "CUB_200_2011").is_dir() else root
        paths, labels, train, places, self.class_names = read_cub(root, self.spare)
        source = Files([root / "images" / path for path in paths], places)
        whole = self.usable(Pictures(source, labels, paths, self.view(split), self.statistics))
        labels, train = whole.labels, train[whole.chosen]
        if split == "test" or (split == "val" and self.val == "test"):
            return whole.only(np.flatnonzero(~train))
        training = np.flatnonzero(train)
        if self.val == "test":
            return whole.only(training)
        kept, held = split_by_class(labels[training], self.val_fraction, self.split_seed)
        return whole.only(training[kept if split == "train" else held])

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        synthesize_cub(root, self.seed)


def read_cub(
    root: Path, spare: Callable[[DataError], None] = refuse
) -> tuple[list[str], np.ndarray, np.ndarray, list[str], list[str]]:
    """Reads the tables.

    Args:
        root: Of the tables.
        spare: What is done about an image that cannot be used; it is left out.

    Returns:
        Paths below ``images``, ``(N,)`` labels from 0, ``(N,)`` bool True for training, the lines that name the images,
        and the class names.

    Raises:
        DataError: A table is missing, a line malformed, an image without a row in one of them, or a file is missing.
    """
    paths, classes, parts = (_table(root / name, spare) for name in TABLES)
    given, seen = _class_names(root), dict[str, str]()

    def entry(image: str) -> tuple[str, int, int, str]:
        place, path = paths[image]
        for name, table in zip(TABLES[1:], (classes, parts), strict=True):
            if image not in table:
                raise DataError(f"{place}: image {image} has no line in {name}")
        label = _number(classes, image, range(1, 100_000)) - 1
        if given is not None and label >= len(given):
            what = f"there is a class {label + 1}, but classes.txt names {len(given)} classes"
            raise DataError(f"{classes[image][0]}: {what}")
        train = _number(parts, image, range(2))
        if seen.setdefault(path, place) != place:
            raise DataError(f"{place}: {path} stands in {seen[path]} too")
        if not is_there(root / "images" / path):
            raise DataError(f"{place}: there is no image {root / 'images' / path}")
        return path, label, train, place

    found = usable(paths, entry, spare)
    if not found:
        raise DataError(f"{root / TABLES[0]}: names no image that can be used")
    labels, train = np.array([one[1] for one in found]), np.array([one[2] for one in found], dtype=bool)
    folders = {label: path.split("/")[0] for path, label, _, _ in found}
    names = given or [folders.get(label, str(label + 1)) for label in range(max(labels) + 1)]
    return [one[0] for one in found], labels, train, [one[3] for one in found], names


def _table(file: Path, spare: Callable[[DataError], None]) -> dict[str, tuple[str, str]]:
    """Line and value of every key."""
    rows: dict[str, tuple[str, str]] = {}

    def add(numbered: tuple[str, str]) -> None:
        place, line = numbered[0], as_text(*numbered)
        key, _, value = line.strip().partition(" ")
        if not value:
            raise DataError(f"{place}: expected two columns separated by a space, got {line[:60]!r}")
        if key in rows:
            raise DataError(f"{place}: image {key} comes twice")
        rows[key] = place, value.strip()

    lines = text_lines(file, f"table; the root must hold {', '.join(TABLES)} and images")
    usable(((place, line) for place, line in lines if line.strip()), add, spare)
    if not rows:
        raise DataError(f"{file}: is empty")
    return rows


def _number(table: dict[str, tuple[str, str]], image: str, allowed: range) -> int:
    place, value = table[image]
    if not value.isdecimal() or int(value[:9]) not in allowed:
        raise DataError(
            f"{place}: image {image} has {value!r}, expected a whole number from {allowed.start}"
            + (f" to {allowed[-1]}" if len(allowed) == 2 else "")
        )
    return int(value)


def _class_names(root: Path) -> list[str] | None:
    """From ``classes.txt``, where there is one."""
    file = root / "classes.txt"
    return [name for _, name in _table(file, refuse).values()] if os.path.lexists(file) else None
