"""Data in the layout of YOLO: ``data.yaml``, folders of images, and a text file of boxes beside each image."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from zoo.domains.detection.coco import CROP, CROP_SIZES, SIZES
from zoo.domains.detection.data import DetectionData
from zoo.domains.detection.records import Record, image_size, record
from zoo.domains.detection.synthesis import synthesize_yolo
from zoo.training import IMAGE_SUFFIXES, DataError, Split, refuse, usable
from zoo.training.documents import parse_yaml, read_text
from zoo.training.lines import as_text, text_lines
from zoo.training.paths import below


def read_description(file: Path) -> tuple[dict[str, Any], list[str]]:
    """``data.yaml``: where the splits are, and the class names.

    Raises:
        DataError: The file is missing or malformed.
    """
    text = read_text(file, "file")
    try:
        tree = parse_yaml(text, str(file))
    except yaml.YAMLError as error:
        raise DataError(f"{file}: is no yaml: {' '.join(str(error).split())[:120]}") from error
    names = tree.get("names") if isinstance(tree, dict) else None
    if isinstance(names, dict):
        names = {int(key) if str(key).isdecimal() else key: name for key, name in names.items()}
        if set(names) != set(range(len(names))):
            raise DataError(f"{file}: the keys of names are 0 to {len(names) - 1}, got {list(names)[:8]}")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{file}: has no names (a list, or a name for each number)")
    if "nc" in tree and tree["nc"] != len(names):
        raise DataError(f"{file}: nc is {tree['nc']}, there are {len(names)} names")
    return tree, [str(name) for name in names]


def split_images(
    root: Path, tree: dict[str, Any], split: str, file: Path, spare: Callable[[DataError], None] = refuse
) -> list[Path]:
    """The images of a split: folders, lists of files, or several of them.

    Args:
        root: Folder of the data.
        tree: What the yaml holds.
        split: Which part.
        file: The yaml.
        spare: What is done about an image that is named again.

    Raises:
        DataError: The split is not described, a folder or list is missing or empty, or ``spare`` raises.
    """
    given = tree.get(split) or (tree.get("valid") if split == "val" else None)
    if not given:
        raise DataError(f"{file}: does not say where {split} is")
    found: dict[Path, str] = {}
    for text in given if isinstance(given, list) else [given]:
        place = _place(root, tree, str(text))
        if place.is_dir():
            images = {one: str(file) for one in sorted(place.rglob("*")) if one.suffix.lower() in IMAGE_SUFFIXES}
        elif place.suffix == ".txt" and place.is_file():
            images = _listed(root, place, spare)
        else:
            raise DataError(f"{file}: {split} is {text!r}, {place} is no folder and no list of images")
        if not images:
            raise DataError(f"{file}: {split}: {place} holds no image")
        for one, where in images.items():
            if one in found:
                spare(DataError(f"{where}: {split}: {one} stands twice"))
        found.update(images)
    return list(found)


def _listed(root: Path, place: Path, spare: Callable[[DataError], None]) -> dict[Path, str]:
    """The images of a list, with the line of each."""
    found: dict[Path, str] = {}

    def add(numbered: tuple[str, str]) -> None:
        name = as_text(*numbered).strip()
        image = below(place.parent if name[0] == "." else root, name)
        if image in found:
            raise DataError(f"{numbered[0]}: {name} stands twice, first in {found[image]}")
        found[image] = numbered[0]

    usable(((where, line) for where, line in text_lines(place) if line.strip()), add, spare)
    return found


def _place(root: Path, tree: dict[str, Any], text: str) -> Path:
    """Where a folder is: below ``path``, below the root, or as exported by tools that write ``../train/images``."""
    base = root / str(tree.get("path") or ".")
    choices = [base / text, root / text, root / text.removeprefix("../")]
    return next((place for place in choices if place.exists()), choices[1])


def label_file(image: Path) -> Path:
    """``.../labels/x.txt`` for ``.../images/x.jpg``: the last folder called ``images`` counts."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def read_yolo(root: Path, image: Path, classes: int) -> Record:
    """One image; without a text file it holds no object.

    Args:
        root: Folder of the data.
        image: The file.
        classes: How many there are.

    Raises:
        DataError: The image cannot be read, or a line is no box; names file and line.
    """
    file = label_file(image)
    name = image.relative_to(root).as_posix() if image.is_relative_to(root) else str(image)
    height, width = image_size(image, str(file))
    boxes, labels = [], []
    lines = read_text(file, "file").splitlines() if os.path.lexists(file) else []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            label, box = _line(line.split(), classes, f"{file}:{number}")
            boxes.append(box * [width, height, width, height])
            labels.append(label)
    return record(name, image, str(file), (height, width), [box.tolist() for box in boxes], labels)


def _line(words: Sequence[str], classes: int, place: str) -> tuple[int, np.ndarray]:
    """Class and box, or class and outline; left, top, right, bottom in [0, 1]."""
    try:
        number, *places = (float(word) for word in words)
    except ValueError:
        raise DataError(f"{place}: is no line of numbers: {' '.join(words)[:60]}") from None
    if number not in range(classes):
        raise DataError(f"{place}: the class {words[0]} is none of 0 to {classes - 1}")
    label, values = int(number), np.array(places)
    outline = len(values) >= 6 and len(values) % 2 == 0
    if len(values) != 4 and not outline:
        raise DataError(f"{place}: expected a class and x, y, width, height, got {len(words)} numbers")
    if not np.isfinite(values).all() or values.min() < -1e-3 or values.max() > 1 + 1e-3:
        raise DataError(f"{place}: places and sizes are shares of the image, in [0, 1]: {' '.join(words)[:60]}")
    if outline:
        points = values.reshape(-1, 2)
        return label, np.concatenate([points.min(0), points.max(0)])
    x, y, width, height = values
    return label, np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


class YOLOFormat(DetectionData):
    """Your own images in the layout of YOLO; outlines of segmentations count by the box around them.

    Args:
        root: Folder of the data.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` and report.
        description: The yaml below the root that names splits and classes.
        sizes: Shorter sides that training draws from.
        longest: Most that the longer side may have in training.
        crop_sizes: Shorter sides before the crop of every second training image; empty for no crops.
        crop: Least and most pixels of a crop's sides.
        flip: Share of the training images that are mirrored.
        test_size: Shorter side in the test.
        test_longest: Longer side in the test.
        evaluation_batch: Images per evaluation batch; only with 1 no image is padded.
        aspect_grouping: Whether a training batch holds landscapes or portraits only.
        keep_empty: Whether images without an object are trained on.
    """

    dataset = "yolo_format"
    source = "your own images"
    terms = "yours"
    layout = """
    data.yaml              train, val and test (folders, or lists of images), names; without test, val is the test
    images/train/x.jpg     val and test likewise
    labels/train/x.txt     class x y width height, a line per box, in shares of the image; no file: no object
    """
    sample = "images/test/*.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 2,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        description: str = "data.yaml",
        sizes: list[int] = SIZES,
        longest: int = 1333,
        crop_sizes: list[int] = CROP_SIZES,
        crop: list[int] = CROP,
        flip: float = 0.5,
        test_size: int = 800,
        test_longest: int = 1333,
        evaluation_batch: int = 1,
        aspect_grouping: bool = True,
        keep_empty: bool = False,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, sizes, longest, crop_sizes, crop, flip, test_size,
            test_longest, evaluation_batch, aspect_grouping, keep_empty,
        )  # fmt: skip
        self.description = description

    def records(self, root: Path, split: Split) -> list[Record]:
        """The images of a split.

        Raises:
            DataError: The yaml, an image or a text file cannot be used.
        """
        file = root / self.description
        tree, self.class_names = read_description(file)
        name = "val" if split == "test" and not tree.get("test") else split
        images = split_images(root, tree, name, file, self.spare)
        return usable(images, lambda image: read_yolo(root, image, len(self.class_names)), self.spare)

    def make(self, root: Path) -> None:
        """Writes tiny images of shapes with their text files."""
        synthesize_yolo(root, self.seed)
