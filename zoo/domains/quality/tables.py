"""Tables of scores: csv files read with their line numbers, so that every complaint names file, line and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from zoo.training import DataError, refuse, usable
from zoo.training.documents import read_rows
from zoo.training.whole import whole

Spare = Callable[[DataError], None]


class Line(NamedTuple):
    """One line of a table.

    Attributes:
        file: The table.
        number: Line of the file, from 1.
        values: Texts by column, stripped.
    """

    file: Path
    number: int
    values: dict[str, str]

    @property
    def place(self) -> str:
        """File and line, as errors name them."""
        return f"{self.file}:{self.number}"

    def text(self, column: str) -> str:
        """A text that is not empty.

        Raises:
            DataError: It is empty.
        """
        value = self.values[column]
        if not value:
            raise DataError(f"{self.place}: {column} is empty")
        return value

    def number_of(self, column: str) -> float:
        """A finite number.

        Raises:
            DataError: It is none.
        """
        text = self.text(column)
        try:
            value = float(text)
        except ValueError:
            raise DataError(f"{self.place}: {column} is {text!r}, no number") from None
        if not math.isfinite(value):
            raise DataError(f"{self.place}: {column} is {text}, not a finite number")
        return value


def read_table(
    file: Path,
    columns: Sequence[str],
    delimiter: str = ",",
    header: Sequence[str] | None = None,
    spare: Spare = refuse,
) -> list[Line]:
    """Reads a table.

    Args:
        file: Text, UTF-8 (a byte order mark is fine).
        columns: Columns that must be there.
        delimiter: Between values.
        header: Names of the columns where the file has no header line.
        spare: What is done about a line with too few or too many values; such a line is left out.

    Returns:
        The lines below the header, at least one; blank lines are passed over.

    Raises:
        DataError: The file is missing, no text or empty, a column is missing, or a line has too few or too many values.
    """
    lines: list[Line] = []
    names = list(header) if header is not None else []
    for number, values, problem in read_rows(file, "table", delimiter):
        if problem is not None:
            spare(problem)
        elif not names:
            names = [value.strip() for value in values]
            _check_columns(file, number, names, columns)
        elif len(values) != len(names):
            spare(DataError(f"{file}:{number}: has {len(values)} values, expected {len(names)} (truncated file?)"))
        else:
            lines.append(Line(file, number, dict(zip(names, (value.strip() for value in values), strict=True))))
    if not lines:
        raise DataError(f"{file}: the table holds no line with an image")
    return lines


def _check_columns(file: Path, number: int, names: Sequence[str], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in names:
            near = get_close_matches(column, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DataError(f"{file}:{number}: has no column {column!r}, only {', '.join(names)}{hint}")


def distinct(lines: Iterable[Line], column: str, spare: Spare = refuse) -> list[Line]:
    """The lines, each of which names another image.

    Args:
        lines: Of a table.
        column: Of the image.
        spare: What is done about a line that names none, or one that an earlier line names; such a line is left out.

    Raises:
        DataError: Names both lines.
    """
    seen: dict[str, int] = {}

    def new(line: Line) -> Line:
        name = line.text(column)
        if name in seen:
            raise DataError(f"{line.place}: {name} stands in line {seen[name]} too")
        seen[name] = line.number
        return line

    return usable(lines, new, spare)


def write_table(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a csv; floats with all their digits."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as working, working.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
