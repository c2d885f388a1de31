"""Reads JSON, text and csv files; what is wrong with one is told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo.domains.outfit.catalogue import Spare
from zoo.training import DataError, refuse, usable
from zoo.training.documents import Cells, parse_json, read_rows, read_text
from zoo.training.lines import as_text, text_lines


def read_json(file: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        DataError: There is no such file, or it is not JSON (a truncated one is not).
    """
    try:
        _require(file)
        return parse_json(read_text(file, "file"), str(file))
    except json.JSONDecodeError as error:
        raise DataError(f"{file}:{error.lineno}: no valid JSON ({error.msg}); truncated file?") from error


def read_lines(file: Path, spare: Spare = refuse) -> list[tuple[str, list[str]]]:
    """Place (``file:line``) and words of every line that is not empty; ``spare`` is told of one that is no text."""
    _require(file)
    placed = usable(text_lines(file), lambda numbered: (numbered[0], as_text(*numbered).split()), spare)
    return [(place, words) for place, words in placed if words]


def read_table(
    file: Path, required: tuple[str, ...], spare: Spare = refuse, left_out: list[dict[str, str]] | None = None
) -> list[tuple[str, dict[str, str]]]:
    """Place (``file:line``) and values of every row of a csv.

    Args:
        file: With a head.
        required: Columns that must be there, and filled.
        spare: What is done about a row that cannot be used; such a row is left out.
        left_out: Gets those rows.

    Raises:
        DataError: There is no such file, a column is missing, a row is short, or there is no row.
    """
    _require(file)
    found = list(read_rows(file, "file"))
    if not found:
        raise DataError(f"{file}: the file is empty")
    columns = found.pop(0).values
    missing = [name for name in required if name not in columns]
    if missing:
        raise DataError(f"{file}:1: no column {', '.join(missing)}; columns are {', '.join(columns)}")

    def placed(row: Cells) -> tuple[str, dict[str, str]]:
        place = f"{file}:{row.number}"
        if row.problem is not None:
            raise row.problem
        if len(row.values) != len(columns):
            raise DataError(f"{place}: the row does not have the {len(columns)} columns of line 1 (truncated file?)")
        values = dict(zip(columns, row.values, strict=True))
        empty = next((name for name in required if not values[name].strip()), None)
        if empty is not None:
            raise DataError(f"{place}: column {empty} is empty")
        return place, values

    rows = []
    for row in found:
        try:
            rows.append(placed(row))
        except DataError as error:
            spare(error)
            if left_out is not None:
                left_out.append(dict(zip(columns, row.values, strict=False)))
    if not rows:
        raise DataError(f"{file}: the table has no row")
    return rows


def _require(file: Path) -> None:
    if not file.exists():
        near = sorted(path.name for path in file.parent.glob("*"))[:8] if file.parent.is_dir() else []
        there = f"; the folder has {', '.join(near)}" if near else ""
        raise DataError(f"{file}: there is no such file{there}")


def expect(value: Any, kind: type, what: str, place: str) -> Any:
    """``value``, if it is of the kind.

    Raises:
        DataError: It is not.
    """
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DataError(f"{place}: {what} is {_short(value)}, expected {kind.__name__}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
