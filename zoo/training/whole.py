"""Files that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """Gives a place to write to, which becomes the file when all is written, and is removed where that fails.

    Args:
        file: Where the content shall stand; the file before it stays until then.
    """
    working = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        yield working
        os.replace(working, file)
    finally:
        working.unlink(missing_ok=True)


def write_whole(file: Path, text: str) -> None:
    """Writes a text file (UTF-8)."""
    with whole(file) as working:
        working.write_text(text, encoding="utf-8")


def is_leftover(file: Path) -> bool:
    """Whether a file is one that a killed process did not finish."""
    return file.name.startswith(".") and file.suffix == ".tmp"


def remove_leftovers(folder: Path) -> None:
    """Removes the unfinished files that a killed process left in a folder and in those below."""
    for file in folder.rglob(".*.tmp"):
        file.unlink()
