"""Texts, tables, json and yaml of users: nothing that such a file holds is more than an error that names it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from zoo.training.data import DataError

_TALLEST = 100  # lines that a row of a table may have: a cell in quotes may hold several


def read_text(file: Path, what: str) -> str:
    """The text of a file, with or without a byte order mark.

    Args:
        file: In UTF-8.
        what: What the message calls it.

    Raises:
        DataError: There is no such file, or it is no text.
    """
    try:
        return _read(file, what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is no text file in UTF-8 ({error.reason} at byte {error.start})") from error


class Cells(NamedTuple):
    """A row of a table.

    Attributes:
        number: Of the line that it begins in, from 1.
        values: Its cells as written; of a row that cannot be read what stands between its delimiters.
        problem: Why it cannot be read; None where it can.
    """

    number: int
    values: list[str]
    problem: DataError | None


def read_rows(file: Path, what: str, delimiters: str = ",") -> Iterator[Cells]:
    """The rows of a csv, whatever its line ends; blank ones are passed over, and the first may be a head.

    A row that cannot be read takes no other with it: a quote that is not closed ends with its line.

    Args:
        file: In UTF-8, with or without a byte order mark.
        what: What the message calls it.
        delimiters: What may part its cells; the one that is most frequent in the first line does.

    Raises:
        DataError: There is no such file, or its first row cannot be read.
    """
    lines = re.split(rb"\r\n|\n|\r", _read(file, what).removeprefix(b"\xef\xbb\xbf"))
    delimiter = max(delimiters, key=lambda letter: lines[0].count(letter.encode()))
    place, width = 0, 0
    while place < len(lines):
        try:
            values, taken = _row(lines[place : place + _TALLEST], delimiter, width)
            problem = None
        except (UnicodeDecodeError, csv.Error) as error:
            kind = "is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else "is no row of a csv"
            problem = DataError(f"{file}:{place + 1}: {kind} ({getattr(error, 'reason', error)})")
            if not width:
                raise problem from error
            values = [cell.strip('" ') for cell in lines[place].decode("utf-8", errors="replace").split(delimiter)]
            taken = 1
        if any(value.strip() for value in values):
            width = width or len(values)
            yield Cells(place + 1, values, problem)
        place += taken


def _row(lines: list[bytes], delimiter: str, width: int) -> tuple[list[str], int]:
    """The cells of the row that begins in the first line, and the number of its lines."""
    if b'"' not in lines[0]:
        return lines[0].decode("utf-8").split(delimiter), 1
    for taken in range(1, len(lines) + 1):
        try:
            text = b"\n".join(lines[:taken]).decode("utf-8")
        except UnicodeDecodeError:
            if taken == 1:
                raise
            break  # a later line is no text: that is not told of this one
        try:
            cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                continue
            if taken == 1:
                raise
            break
        else:
            if taken > 1 and len(cells) != width:
                break
            return cells, taken
    raise csv.Error("a quote is not closed")


def _read(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{file}: there is no such {what}") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({(error.strerror or type(error).__name__).lower()})") from error


def parse_json(text: str, where: str) -> Any:
    """The value of a json text.

    Args:
        text: Its content.
        where: What the message calls it, e.g. the file.

    Raises:
        json.JSONDecodeError: It is no json; the reader says what it expected.
        DataError: It is nested deeper, or holds a longer number, than can be read.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: cannot be read as json: {_reason(error)}") from None


def parse_yaml(text: str, where: str) -> Any:
    """The value of a yaml text, of plain kinds alone.

    Raises:
        yaml.YAMLError: It is no yaml; the reader says what it expected.
        DataError: It is nested deeper, or holds a longer number or another date, than can be read.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{where}: cannot be read as yaml: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    deep = "it is nested too deep"
    return deep if isinstance(error, RecursionError) else " ".join(str(error).split())[:160] or type(error).__name__
