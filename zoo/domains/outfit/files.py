"""Reads JSON, text and csv files; what is wrong with one is told with its place."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.domains.outfit.catalogue import Spare
from zoo.training import DataError, refuse
from zoo.training.documents import parse_json


def read_json(file: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        DataError: There is no such file, or it is not JSON (a truncated one is not).
    """
    try:
        return parse_json(_text(file), str(file))
    except json.JSONDecodeError as error:
        raise DataError(f"{file}:{error.lineno}: no valid JSON ({error.msg}); truncated file?") from error


def read_lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Place (``file:line``) and words of every line that is not empty."""
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if line.strip():
            yield f"{file}:{number}", line.split()


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
    reader = csv.DictReader(_text(file).splitlines(keepends=True))
    columns = list(reader.fieldnames or [])
    missing = [name for name in required if name not in columns]
    if missing:
        raise DataError(f"{file}:1: no column {', '.join(missing)}; columns are {', '.join(columns) or 'none'}")

    def placed(row: dict[str, str]) -> tuple[str, dict[str, str]]:
        place = f"{file}:{reader.line_num}"
        if None in row or any(value is None for value in row.values()):
            raise DataError(f"{place}: the row does not have the {len(columns)} columns of line 1 (truncated file?)")
        empty = next((name for name in required if not row[name].strip()), None)
        if empty is not None:
            raise DataError(f"{place}: column {empty} is empty")
        return place, row

    rows = []
    for row in reader:
        try:
            rows.append(placed(row))
        except DataError as error:
            spare(error)
            if left_out is not None:
                left_out.append(row)
    if not rows:
        raise DataError(f"{file}: the table has no row")
    return rows


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        near = sorted(path.name for path in file.parent.glob("*"))[:8] if file.parent.is_dir() else []
        there = f"; the folder has {', '.join(near)}" if near else ""
        raise DataError(f"{file}: there is no such file{there}") from None
    except IsADirectoryError:
        raise DataError(f"{file}: is a folder, not a file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not a text file (byte {error.start})") from error


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
