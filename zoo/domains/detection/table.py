"""Anybody's boxes in a csv: a row per box, whatever its columns are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.domains.detection.coco import CROP, CROP_SIZES, SIZES
from zoo.domains.detection.data import DetectionData
from zoo.domains.detection.records import Record, check_inside, checked_box, class_index, image_size, record
from zoo.domains.detection.synthesis import synthesize_csv
from zoo.errors import InputError
from zoo.training import DataError, Split, refuse, usable
from zoo.training.choices import nearest
from zoo.training.documents import read_rows
from zoo.training.paths import below

SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip
ALIASES = {
    "file": ("file", "filename", "file_name", "image", "image_path", "path", "img", "image_id", "imageid"),
    "label": ("label", "class", "class_name", "category", "name", "labelname", "class_id"),
    "left": ("left", "xmin", "x_min", "x1", "bbox_x1"),
    "top": ("top", "ymin", "y_min", "y1", "bbox_y1"),
    "right": ("right", "xmax", "x_max", "x2", "bbox_x2"),
    "bottom": ("bottom", "ymax", "y_max", "y2", "bbox_y2"),
    "x": ("x", "bbox_x"),
    "y": ("y", "bbox_y"),
    "w": ("w", "width", "bbox_width", "bbox_w"),
    "h": ("h", "height", "bbox_height", "bbox_h"),
    "split": ("split", "set", "subset", "fold"),
}
CORNERS, EXTENT = ("left", "top", "right", "bottom"), ("x", "y", "w", "h")
HEADLESS = ("file", "left", "top", "right", "bottom", "label")  # of keras-retinanet


@dataclass(frozen=True)
class Row:
    """One row: an image, and a box in it unless the image has none.

    Attributes:
        place: File and line.
        file: As written.
        label: Empty for an image without objects.
        box: Left, top, right, bottom as written; None for an image without objects.
        split: As written, empty without such a column.
    """

    place: str
    file: str
    label: str
    box: tuple[float, float, float, float] | None
    split: str


def read_boxes(
    table: Path, columns: Mapping[str, str] | None = None, spare: Callable[[DataError], None] = refuse
) -> list[Row]:
    """Reads the csv. Columns are found by usual names, or in the order file, box, label where there is no head.

    Args:
        table: The file; comma, semicolon or tab.
        columns: Names of the table's own for ``file``, ``label``, ``left``, ``top``, ``right``, ``bottom`` (or ``x``,
            ``y``, ``w``, ``h``: left, top, width, height) and ``split``.
        spare: What is done about a row that cannot be used; its image, whose boxes nobody knows then, is left out.

    Raises:
        DataError: The file is missing, a column is, or a row is no box; names the line.
    """
    lines = list(read_rows(table, "table", ",;\t"))
    if not lines:
        raise DataError(f"{table}: the file is empty")
    headless = columns is None and _is_headless(lines[0].values)
    head = list(HEADLESS) if headless else [cell.strip() for cell in lines[0].values]
    places = _columns(head, columns, table)
    box_keys = CORNERS if CORNERS[0] in places else EXTENT
    rows, left_out = [], set()
    for number, cells, problem in lines[0 if headless else 1 :]:
        where = f"{table}:{number}"
        own = {key: cells[place].strip() if place < len(cells) else "" for key, place in places.items()}
        try:
            if problem is not None:
                raise problem
            if len(cells) < len(head) or any(cell.strip() for cell in cells[len(head) :]):
                raise DataError(f"{where}: has {len(cells)} columns, the head {len(head)}")
            if not own["file"]:
                raise DataError(f"{where}: the file is not named")
            rows.append(Row(where, own["file"], own["label"], _box(own, box_keys, where), own.get("split", "")))
        except DataError as error:
            spare(error)
            left_out.add(own["file"])
    if not rows:
        raise DataError(f"{table}: holds no row")
    return [row for row in rows if row.file not in left_out]


def _is_headless(cells: Sequence[str]) -> bool:
    return len(cells) == len(HEADLESS) and all(_number(cell) or not cell.strip() for cell in cells[1:5])


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _columns(head: Sequence[str], given: Mapping[str, str] | None, table: Path) -> dict[str, int]:
    """Where each thing stands in a row."""
    low = [name.lower() for name in head]
    found = {key: low.index(name) for key, names in ALIASES.items() for name in reversed(names) if name in low}
    for key, name in (given or {}).items():
        if key not in ALIASES:
            raise InputError(f"data.columns: {key!r} is none of {', '.join(ALIASES)}{nearest(key, list(ALIASES))}")
        if name not in head:
            raise DataError(f"{table}:1: has no column {name!r}{nearest(name, head)}; there are {', '.join(head)}")
        found[key] = list(head).index(name)
    boxed = any(all(key in found for key in keys) for keys in (CORNERS, EXTENT))
    missing = [key for key in ("file", "label") if key not in found] + ([] if boxed else ["left, top, right, bottom"])
    if missing:
        raise DataError(
            f"{table}:1: no column says {' and '.join(missing)}; there are {', '.join(head)} "
            '(name them: --data.columns \'{"label": "species"}\')'
        )
    return {key: place for key, place in found.items() if key not in EXTENT or CORNERS[0] not in found}


def _box(own: Mapping[str, str], keys: Sequence[str], place: str) -> tuple[float, float, float, float] | None:
    values: list[object] = [own[key] for key in keys]
    if not own["label"] and not any(values):
        return None
    if not own["label"]:
        raise DataError(f"{place}: the box has no label")
    if own["label"].lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise DataError(f"{place}: the label is {own['label']}, not a finite number")
    if keys == EXTENT:
        width, height = checked_box((0, 0, *values[2:]), f"{place}: width and height")[2:]
        left, top = checked_box((*values[:2], 1e9, 1e9), place)[:2]
        return left, top, left + width, top + height
    return checked_box(values, place)


def in_order(labels: Iterable[str]) -> list[str]:
    """Labels sorted: by number where all are whole numbers, else as texts."""
    found = sorted(labels)
    return sorted(found, key=int) if all(label.isdecimal() for label in found) else found


def shared_out(files: Sequence[str], seed: int, val: float, test: float) -> dict[str, Split]:
    """Shares files out to the splits, the same for the same files and seed.

    Args:
        files: Names, in any order.
        seed: Of the draw.
        val: Share of the validation split.
        test: Share of the test split.
    """
    names = sorted(set(files))
    order = np.random.default_rng(seed).permutation(len(names))
    tested, validated = max(1, round(test * len(names))), max(1, round(val * len(names)))
    return {
        names[int(index)]: "test" if place < tested else "val" if place < tested + validated else "train"
        for place, index in enumerate(order)
    }


class BoxesCSV(DetectionData):
    """Your own images with one csv of all boxes.

    Args:
        root: Folder with the table; the paths of the images are below it.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` and report.
        table: Name of the csv.
        images: Folder of the images below the root.
        columns: Names of the table's columns for file, label, left, top, right, bottom (or x, y, w, h) and split,
            where they are none of the usual ones.
        relative: Whether places are shares of the image, in [0, 1], instead of pixels.
        classes: Names of the classes in their order; null takes all labels, sorted (numbers by value).
        val_fraction: Share of the images that validates where the table has no column split, in (0, 1).
        test_fraction: Share of the images that is the test, likewise.
        split_seed: Which images these are.
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

    dataset = "boxes_csv"
    source = "your own images"
    terms = "yours"
    layout = """
    boxes.csv       file, left, top, right, bottom, label and perhaps split; a row per box; a row without a box and a
                    label for an image without objects
    images/x.jpg    wherever the column file says, below the root
    """
    sample = "images/test_*.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 2,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        table: str = "boxes.csv",
        images: str = ".",
        columns: dict[str, str] | None = None,
        relative: bool = False,
        classes: list[str] | None = None,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
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
        for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
            if not 0 < value < 1:
                raise InputError(f"data.{name} must be in (0, 1), got {value}")
        self.table, self.images, self.columns, self.relative = table, images, columns, relative
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        self.classes = classes
        self.class_names = list(classes or [])

    def records(self, root: Path, split: Split) -> list[Record]:
        """The images of a split.

        Raises:
            DataError: A row, an image or a split cannot be used; names the line.
        """
        files: dict[str, list[Row]] = {}
        for row in read_boxes(root / self.table, self.columns, self.spare):
            if row.file not in self.dropped:
                files.setdefault(row.file, []).append(row)
        self.drawn = not any(row.split for own in files.values() for row in own)
        self._name_classes(files.values(), root)
        read = partial(self._record, root / self.images)
        if self.drawn and self.on_error == "skip":  # what cannot be used takes no part in the draw
            good = {record.name for record in usable(files.items(), read, self.spare)}
            files = {file: own for file, own in files.items() if file in good}
        splits = self._drawn(files) if self.drawn else dict(usable(files.items(), _split, self.spare))
        if self.on_error == "skip":
            kept = (own for file, own in files.items() if file in splits and _fits(read, file, own))
            self._name_classes(kept, root)
        return usable(((file, own) for file, own in files.items() if splits.get(file) == split), read, self.spare)

    def _name_classes(self, files: Iterable[Sequence[Row]], root: Path) -> None:
        self.class_names = list(self.classes or in_order({row.label for own in files for row in own if row.label}))
        if not self.class_names:
            raise DataError(f"{root / self.table}: no row holds a box")

    def _drawn(self, files: Mapping[str, Sequence[Row]]) -> dict[str, Split]:
        if len(files) < 3:
            raise DataError(f"{self.table}: {len(files)} images are too few for three splits")
        return shared_out(list(files), self.split_seed, self.val_fraction, self.test_fraction)

    def _record(self, folder: Path, named: tuple[str, Sequence[Row]]) -> Record:
        file, rows = named
        place = rows[0].place
        image = below(folder, file)
        size = image_size(image, place)
        height, width = size
        boxes, labels = [], []
        for row in rows:
            if row.box is None:
                continue
            left, top, right, bottom = row.box
            box = (left * width, top * height, right * width, bottom * height) if self.relative else row.box
            check_inside(box, size, row.place)
            boxes.append(box)
            labels.append(class_index(row.label, self.class_names, row.place))
        return record(file, image, place, size, boxes, labels)

    def make(self, root: Path) -> None:
        """Writes tiny images of shapes with their csv."""
        synthesize_csv(root, self.table, self.seed)


def _split(named: tuple[str, Sequence[Row]]) -> tuple[str, Split]:
    """The split that all rows of an image say."""
    file, rows = named
    for row in rows:
        if row.split.lower() not in SPLITS:
            raise DataError(f"{row.place}: split is train, val or test, got {row.split!r}")
    words = [SPLITS[row.split.lower()] for row in rows]
    for row, word in zip(rows, words, strict=True):
        if word != words[0]:
            raise DataError(f"{row.place}: {file} stands in two splits")
    return file, words[0]


def _fits(read: Callable[[tuple[str, Sequence[Row]]], Record], file: str, rows: Sequence[Row]) -> bool:
    try:
        read((file, rows))
    except DataError as error:
        return isinstance(error.__cause__, FileNotFoundError)  # of another split, which need not be there
    return True
