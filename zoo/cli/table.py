"""Aligned plain text: one line per row in a pipe, folded to the width on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import zip_longest

GAP = "  "
NARROWEST = 20
"""Columns up to this width are never folded: names stay whole."""


def terminal_width() -> int | None:
    """Columns of the terminal, None where stdout is none."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Lays rows out in columns.

    Args:
        header: Names of the columns; empty for none.
        rows: Texts of one line each.
        width: Columns of the terminal: wide columns are folded to fit. None leaves every row on one line.

    Returns:
        The text, without a newline at the end.
    """
    everything = [*([header] if header else []), *rows]
    widths = [max(map(len, column)) for column in zip(*everything, strict=True)]
    if width is not None:
        widths = fit(widths, width - len(GAP) * (len(widths) - 1))
    lines = []
    for row in everything:
        cells = [_folded(text, size) for text, size in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            lines.append(GAP.join(part.ljust(size) for part, size in zip(parts, widths, strict=True)).rstrip())
    return "\n".join(lines)


def fit(widths: Sequence[int], room: int) -> list[int]:
    """Narrows the widest columns alike until all fit, as far as :data:`NARROWEST` permits.

    Args:
        widths: What the columns would take.
        room: What they may take together.

    Returns:
        What each gets: its own width, or the common bound.
    """
    bound = max(widths, default=0)
    while bound > NARROWEST and sum(min(size, bound) for size in widths) > room:
        bound -= 1
    return [min(size, bound) for size in widths]


def _folded(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    import textwrap

    return textwrap.wrap(text, width, break_on_hyphens=False)
