"""What ``zoo predict --out`` wrote, as a section of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from zoo.errors import InputError
from zoo.report.html import image, short, table

ROWS, PICTURES = 5, 4
"""How much of each folder is shown; the rest stays in it."""


@dataclass(frozen=True)
class Predictions:
    """One folder of predictions.

    Attributes:
        name: The folder, as it was named.
        rows: Its table.
        pictures: Its pictures, the overview first.
    """

    name: str
    rows: pd.DataFrame
    pictures: tuple[Path, ...]


def read_predictions(folder: Path) -> Predictions:
    """Reads a folder that ``zoo predict --out`` wrote.

    Raises:
        InputError: It holds no table of predictions.
    """
    file = folder / "table.csv"
    if not file.is_file():
        raise InputError(f"{folder} holds no predictions (it has no table.csv; zoo predict --out {folder} writes one)")
    try:
        rows = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}") from error
    pictures = sorted(folder.glob("*.png"), key=lambda picture: (picture.stem != "overview", picture.name))
    return Predictions(folder.as_posix(), rows, tuple(pictures))


def section(found: Predictions) -> str:
    """The first pictures and rows, and how many there are."""
    shown = found.rows.head(ROWS)
    cells = [[_cell(name, value) for name, value in row.items()] for _, row in shown.iterrows()]
    parts = [
        f"<h3>{escape(found.name)}</h3>",
        *(image(file, f"prediction on {file.stem}, in {found.name}", file.stem) for file in found.pictures[:PICTURES]),
        table([str(name) for name in found.rows], cells),
        _rest(found),
    ]
    return "\n".join(part for part in parts if part)


def _cell(column: object, value: object) -> object:
    return Path(str(value)).name if column == "file" else short(value)


def _rest(found: Predictions) -> str:
    """Says what is not shown."""
    left: Sequence[str] = [
        f"{count} more {what}"
        for count, what in ((len(found.rows) - ROWS, "rows"), (len(found.pictures) - PICTURES, "pictures"))
        if count > 0
    ]
    return f'<p class="small">{" and ".join(left)} in {escape(found.name)}.</p>' if left else ""
