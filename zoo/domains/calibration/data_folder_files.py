"""Image files by folder of their class, and tables of paths and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.domains.calibration.data_items import Files, image_paths
from zoo.training import DataError, refuse, usable
from zoo.training.choices import nearest
from zoo.training.documents import Cells, read_rows
from zoo.training.images import IMAGE_SUFFIXES


def class_folders(folder: Path) -> list[str]:
    """Names of the class folders, sorted.

    Raises:
        DataError: There is no such folder, or no class folder in it.
    """
    if not folder.is_dir():
        there = sorted(place.name for place in folder.parent.iterdir() if place.is_dir())
        raise DataError(f"{folder}: there is no such folder{nearest(folder.name, there)}")
    names = sorted(place.name for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))
    if not names:
        raise DataError(f"{folder}: holds no class folders; images lie in {folder.name}/<class>/")
    return names


def read_folder(folder: Path, classes: Sequence[str]) -> tuple[Files, np.ndarray, list[str]]:
    """Images in a folder per class.

    Args:
        folder: Of one split.
        classes: All class names; a split may lack some.

    Returns:
        The files, ``(N,)`` labels, and the paths from ``folder`` on as ids.

    Raises:
        DataError: A folder is missing, is no known class, or is empty.
    """
    files: list[Path] = []
    labels: list[int] = []
    for name in class_folders(folder):
        if name not in classes:
            raise DataError(f"{folder / name}: {name!r} is no class of the training images{nearest(name, classes)}")
        found = image_paths(folder / name)
        if not found:
            raise DataError(f"{folder / name}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
        files += found
        labels += [classes.index(name)] * len(found)
    names = [file.relative_to(folder.parent).as_posix() for file in files]
    return Files(files), np.array(labels, dtype=np.int64), names


class Row(NamedTuple):
    """A line of a table: where it stands, the file, the label and the split (empty where there is no such column)."""

    place: str
    path: str
    label: str
    split: str


def read_table(
    table: Path, path: str, label: str, split: str, spare: Callable[[DataError], None] = refuse
) -> list[Row]:
    """Reads a csv of paths and labels.

    Args:
        table: The csv, with a head line.
        path: Name of the column of paths.
        label: Name of the column of labels.
        split: Name of the column of splits; may be absent from the table.
        spare: What is done about a line that cannot be used; such a line is left out.

    Raises:
        DataError: The table cannot be read, lacks a column, or a line lacks a value, has a label that is not finite, or
            names an image again; names file and line.
    """
    if not table.is_file():
        there = sorted(file.name for file in table.parent.glob("*.csv")) if table.parent.is_dir() else []
        raise DataError(f"{table}: there is no such table{nearest(table.name, there)}")
    cells = read_rows(table, "table")
    head = next(cells, None)
    columns = head.values if head is not None else []
    for wanted in (path, label):
        if wanted not in columns:
            known = f"there are {', '.join(columns) or 'none'}{nearest(wanted, columns)}"
            raise DataError(f"{table}:1: has no column {wanted!r}; {known}")

    seen: dict[str, int] = {}

    def line(cells: Cells) -> Row:
        place = f"{table}:{cells.number}"
        if cells.problem is not None:
            raise cells.problem
        if len(cells.values) != len(columns):
            raise DataError(f"{place}: has {len(cells.values)} values, the head {len(columns)}")
        row = {column: value.strip() for column, value in zip(columns, cells.values, strict=True)}
        for wanted in (path, label, *([split] if split in columns else [])):
            if not row[wanted]:
                raise DataError(f"{place}: has no {wanted}")
        if row[label].lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise DataError(f"{place}: {label} is {row[label]}, not a finite number")
        if seen.setdefault(row[path], cells.number) != cells.number:
            raise DataError(f"{place}: {row[path]} stands in line {seen[row[path]]} too")
        return Row(place, row[path], row[label], row.get(split, ""))

    rows = usable(cells, line, spare)
    if not rows:
        raise DataError(f"{table}: holds no line below its head")
    return rows
