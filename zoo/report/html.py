"""Pieces of a page: tables and pictures that need no file beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import pandas as pd


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers stand to the right, what is missing is left empty.

    Args:
        head: Names of the columns; empty for none.
        rows: Cells of each row.
    """
    top = f"<thead><tr>{''.join(f'<th scope=col>{escape(name)}</th>' for name in head)}</tr></thead>" if head else ""
    body = "".join(f"<tr>{''.join(_td(value) for value in row)}</tr>" for row in rows)
    return f"<table>{top}<tbody>{body}</tbody></table>"


def _td(value: object) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = "" if value is None or (isinstance(value, float) and pd.isna(value)) else str(value)
    return f"<td{' class=number' if number else ''}>{escape(text)}</td>"


def short(value: object) -> object:
    """Long lists of numbers do not fit a cell."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def image(file: Path, alternative: str, caption: str) -> str:
    """A picture inside the page.

    Args:
        file: A PNG.
        alternative: Text of those who do not see it.
        caption: Below it.
    """
    data = base64.b64encode(file.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(alternative)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
