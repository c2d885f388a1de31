"""Annotations of points on the disk: the Matlab and json files of crowd counting, and csv tables of points or boxes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.training import DataError, refuse
from zoo.training.choices import nearest
from zoo.training.documents import parse_json, read_rows, read_text
from zoo.training.paths import is_there

MATLAB_KEYS = ("image_info", "annPoints", "points", "location")
JSON_KEYS = ("points", "points_xy", "annPoints")


def read_points(file: Path) -> np.ndarray:
    """The points of one image.

    Args:
        file: ``.mat`` (ShanghaiTech's nested ``image_info``, NWPU's ``annPoints``) or ``.json`` (NWPU's ``points``, or
            a bare list).

    Returns:
        ``(N, 2)`` float64 x and y in pixels; N may be 0.

    Raises:
        DataError: The file is missing, damaged or holds no points; names it.
    """
    if not is_there(file):
        raise DataError(f"{file}: there is no such annotation")
    return _from_json(file) if file.suffix.lower() == ".json" else _from_matlab(file)


def _from_matlab(file: Path) -> np.ndarray:
    from scipy.io import loadmat

    try:
        content = loadmat(file)
    except Exception as error:  # a damaged file raises almost anything
        raise DataError(f"{file}: is no readable Matlab file ({' '.join(str(error).split())[:120]})") from error
    key = next((name for name in MATLAB_KEYS if name in content), None)
    if key is None:
        held = ", ".join(name for name in content if not name.startswith("__")) or "nothing"
        raise DataError(f"{file}: holds {held}, expected {' or '.join(MATLAB_KEYS)}")
    return as_points(_innermost(content[key]), f"{file}: {key}")


def _innermost(value: Any) -> Any:
    """What stands first within cells and structures: ``image_info[0, 0][0, 0][0]`` and its variants."""
    while isinstance(value, np.ndarray | np.void) and value.dtype.kind in "OV":
        names = value.dtype.names
        if names:
            value = value["location" if "location" in names else names[0]]
        elif value.size:
            value = value.reshape(-1)[0]
        else:
            return np.zeros((0, 2))
    return value


def _from_json(file: Path) -> np.ndarray:
    content = read_json(file)
    if isinstance(content, Mapping):
        key = next((name for name in JSON_KEYS if name in content), None)
        if key is None:
            raise DataError(f"{file}: holds {', '.join(map(str, content)) or 'nothing'}, expected 'points'")
        content = content[key]
    return as_points(content, str(file))


def read_json(file: Path) -> Any:
    """A json file.

    Raises:
        DataError: It is missing or damaged; names file and line.
    """
    try:
        return parse_json(read_text(file, "file"), str(file))
    except json.JSONDecodeError as error:
        raise DataError(f"{file}:{error.lineno}: is no json ({error.msg}); is the file cut short?") from error


def as_points(values: Any, where: str) -> np.ndarray:
    """``(N, 2)`` float64 of what a file holds.

    Raises:
        DataError: It is no list of pairs of finite numbers; names the point.
    """
    try:
        points = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: is no list of points (x, y)") from error
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] < 2:
        raise DataError(f"{where}: has the shape {points.shape}, expected (N, 2), x and y of each point")
    points = points[:, :2]
    wrong = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(wrong):
        raise DataError(f"{where}: point {wrong[0]} is {points[wrong[0]].tolist()}, expected finite numbers")
    return points


class Row(NamedTuple):
    """An image's name in a table, and what the table says of it.

    Attributes:
        name: As the table writes it.
        points: ``(N, 2)``.
        split: As the table writes it; empty where it has no such column.
        place: File and line where the image stands first.
    """

    name: str
    points: np.ndarray
    split: str
    place: str


IMAGE_COLUMNS = ("image", "image_path", "file", "filename", "file_name", "path", "img", "image_name")
DELIMITERS = ",;\t"
BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")


def read_table(
    file: Path, columns: Sequence[str], one_image: str = "", spare: Callable[[DataError], None] = refuse
) -> list[Row]:
    """Reads a csv with a row per point or box; an image without any has one row of empty values (of a box also four 0).

    Args:
        file: UTF-8, with a header, parted by commas, semicolons or tabs; a byte order mark is fine. The image stands in
            ``image``, ``image_path``, ``file``, ``filename``, ``path``, ``img`` or ``image_name``; ``split`` (train,
            val, test) is optional; other columns are not looked at, nor is upper or lower case in the header.
        columns: ``("x", "y")``, or the four of a box.
        one_image: Name of the one image that all rows are of; the column of the image is then not looked at.
        spare: What is done about a row that cannot be used; of several images its own, whose count nobody knows then,
            is left out.

    Returns:
        A row per image, in the order of their first lines. A box becomes its centre.

    Raises:
        DataError: The table is missing, malformed or empty; names file and line.
    """
    points: dict[str, list[tuple[float, float]]] = {}
    first: dict[str, tuple[str, str]] = {}
    left_out: set[str] = set()
    rows = read_rows(file, "table", DELIMITERS)
    head = next(rows, None)
    written = [name.strip() for name in head.values] if head is not None else []
    low = [name.lower() for name in written]
    names = low if len(set(low)) == len(low) else written
    image = "" if one_image else _column(file, names, IMAGE_COLUMNS, written)
    for column in columns:
        _column(file, names, (column,), written)
    for number, cells, problem in rows:
        place, row = f"{file}:{number}", dict(zip(names, cells, strict=False))
        name = one_image or row.get(image, "").strip()
        try:
            if problem is not None:
                raise problem
            if len(cells) != len(names):
                raise DataError(f"{place}: has another number of values than the header's {len(names)}")
            split = "" if one_image else row.get("split", "").strip()
            if not name:
                raise DataError(f"{place}: {image} is empty")
            said = first.setdefault(name, (split, place))
            if said[0] != split:
                raise DataError(f"{place}: {name} is of the split {split!r}, in {said[1]} of {said[0]!r}")
            points.setdefault(name, []).extend(_point(row, columns, place))
        except DataError as error:
            spare(error)
            if not one_image:
                left_out.add(name)
    if not points:
        raise DataError(f"{file}: the table holds no line {'with an image' if not one_image else 'below its header'}")
    return [
        Row(name, np.array(found, dtype=np.float64).reshape(-1, 2), *first[name])
        for name, found in points.items()
        if name not in left_out
    ]


def _column(file: Path, names: Sequence[str], wanted: Sequence[str], written: Sequence[str]) -> str:
    found = next((name for name in wanted if name in names), None)
    if found is None:
        hint = nearest(wanted[0], written)
        raise DataError(f"{file}:1: has no column {wanted[0]!r}, only {', '.join(written) or 'nothing'}{hint}")
    return found


def _point(row: Mapping[str, str], columns: Sequence[str], place: str) -> list[tuple[float, float]]:
    """The point of a row, or none."""
    texts = [row[column].strip() for column in columns]
    if not any(texts):
        return []
    values = []
    for column, text in zip(columns, texts, strict=True):
        try:
            value = float(text)
        except ValueError:
            raise DataError(f"{place}: {column} is {text!r}, no number") from None
        if not math.isfinite(value):
            raise DataError(f"{place}: {column} is {text}, not a finite number")
        values.append(value)
    if len(columns) == 2:
        return [(values[0], values[1])]
    left, top, right, bottom = values
    if not any(values):
        return []
    if right <= left or bottom <= top:
        raise DataError(f"{place}: the box {left:g}, {top:g}, {right:g}, {bottom:g} is empty: xmin < xmax, ymin < ymax")
    return [((left + right) / 2, (top + bottom) / 2)]
