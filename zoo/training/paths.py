"""Files that a table or an annotation names, wherever it was written."""

from __future__ import annotations

from pathlib import Path


def below(folder: Path, written: str) -> Path:
    """The file that is written down as a path below a folder.

    Args:
        folder: What the path is relative to.
        written: As it stands in the file; the backslashes of Windows part folders, unless a file is called so.
    """
    file = folder / written
    return folder / written.replace("\\", "/") if "\\" in written and not file.exists() else file
