"""Tiny-ImageNet-200 in its official folders; the released split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.domains.calibration.data import ImageData
from zoo.domains.calibration.data_items import Files, Pictures, image_paths
from zoo.domains.calibration.data_splits import check_share, split_by_class
from zoo.domains.calibration.data_synthesis_files import synthesize_tiny
from zoo.domains.calibration.data_views import IMAGENET, View
from zoo.training import DataError, Split, refuse, usable
from zoo.training.choices import nearest
from zoo.training.documents import read_text
from zoo.training.lines import as_text, text_lines
from zoo.training.paths import is_there

SIZE = 64


class TinyImageNet(ImageData):
    """Tiny-ImageNet-200: 500 training images of each of 200 classes, of which 50 are held out; 10,000 for the test.

    The official validation images are the test set here, as in the literature: the official test set has no labels. The
    images of each class (in the order of their numbers) are shuffled by numpy with ``split_seed``, class by class; the
    last tenth is for validation. A class is named by its WordNet id, the label is its place among the sorted ids.

    Args:
        root: Folder with ``wnids.txt``, ``train`` and ``val``.
        batch_size: Images per process and step.
        workers: Loader processes, which decode the files.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first unusable image, or ``skip`` and report.
        val_fraction: Share of each class held out for validation, in (0, 1).
        padding: Black pixels around a training image before the random crop.
        flip: Mirror every second training image.
        ood: Out-of-distribution sets behind the test split: names of data sets or folders of images.
        split_seed: Which images are held out.
        drop_last: Whether an incomplete last training batch is left out.
    """

    dataset = "tiny_imagenet"
    source = "http://cs231n.stanford.edu/tiny-imagenet-200.zip (unpacked: the folder tiny-imagenet-200)"
    terms = "ImageNet's terms: non-commercial research and education"
    layout = """
    wnids.txt                                   a WordNet id per line
    train/<wnid>/images/<wnid>_<n>.JPEG         500 images of 64 x 64 pixels per class
    val/images/val_<n>.JPEG
    val/val_annotations.txt                     tab-separated: file, wnid, box (4 numbers)
    """
    sample = "val/images/*.JPEG"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 64,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        val_fraction: float = 0.1,
        padding: int = 4,
        flip: bool = True,
        ood: list[str] | None = None,
        split_seed: int = 1,
        drop_last: bool = False,
    ) -> None:
        check_share("val_fraction", val_fraction)
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error,
            View(SIZE, padding=padding, flip=flip, crop=True), View(SIZE), IMAGENET, ood, split_seed, drop_last,
        )  # fmt: skip
        self.val_fraction = val_fraction

    def pictures(self, root: Path, split: Split) -> Pictures:
        """The images of a split."""
        root = root / "tiny-imagenet-200" if (root / "tiny-imagenet-200").is_dir() else root
        self.class_names = read_wnids(root / "wnids.txt")
        if split == "test":
            files, labels, places = read_val(root / "val", self.class_names, self.spare)
            source = Files(files, places)
        else:
            source, labels = read_train(root / "train", self.class_names)
        names = [file.name for file in source.files]
        found = self.usable(Pictures(source, labels, names, self.view(split), self.statistics))
        if split == "test":
            return found
        train, val = split_by_class(found.labels, self.val_fraction, self.split_seed)
        return found.only(train if split == "train" else val)

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        synthesize_tiny(root, self.seed)


def read_wnids(file: Path) -> list[str]:
    """The sorted WordNet ids.

    Raises:
        DataError: There is no such file, or it is empty.
    """
    names = sorted(set(read_text(file, "list of classes; the root must hold wnids.txt, train and val").split()))
    if not names:
        raise DataError(f"{file}: holds no class")
    return names


def read_train(folder: Path, wnids: list[str]) -> tuple[Files, np.ndarray]:
    """The training files, class by class, in the order of their numbers."""
    files: list[Path] = []
    labels: list[int] = []
    for label, wnid in enumerate(wnids):
        found = image_paths(folder / wnid / "images") if (folder / wnid / "images").is_dir() else []
        if not found:
            raise DataError(f"{folder / wnid / 'images'}: there is no image of the class {wnid}, which wnids.txt names")
        files += sorted(found, key=lambda file: (len(file.name), file.name))
        labels += [label] * len(found)
    return Files(files), np.array(labels, dtype=np.int64)


def read_val(
    folder: Path, wnids: list[str], spare: Callable[[DataError], None] = refuse
) -> tuple[list[Path], np.ndarray, list[str]]:
    """The files of the official validation set, their labels, and the lines that name them.

    Args:
        folder: Of the validation set.
        wnids: The classes.
        spare: What is done about a line that cannot be used; such a line is left out.

    Raises:
        DataError: The annotation is missing, a line is malformed, names an unknown class, a missing file or one again.
    """
    table = folder / "val_annotations.txt"
    known = {wnid: label for label, wnid in enumerate(wnids)}
    seen: dict[str, str] = {}

    def entry(numbered: tuple[str, str]) -> tuple[Path, int, str]:
        place, line = numbered[0], as_text(*numbered)
        parts = line.split("\t")
        if len(parts) < 2:
            raise DataError(f"{place}: expected file, wnid and box separated by tabs, got {line[:60]!r}")
        if parts[1] not in known:
            raise DataError(f"{place}: the class {parts[1]!r} is not in wnids.txt{nearest(parts[1], wnids)}")
        if seen.setdefault(parts[0], place) != place:
            raise DataError(f"{place}: {parts[0]} stands in {seen[parts[0]]} too")
        file = folder / "images" / parts[0]
        if not is_there(file):
            raise DataError(f"{place}: there is no image {file}")
        return file, known[parts[1]], place

    found = usable(((place, line) for place, line in text_lines(table, "annotation") if line.strip()), entry, spare)
    if not found:
        raise DataError(f"{table}: names no image")
    files, labels, places = zip(*found, strict=True)
    return list(files), np.array(labels, dtype=np.int64), list(places)
