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
    return folder / written.replace("\\", "/") if "\\" in written and not is_there(file) else file


def is_there(file: Path) -> bool:
    """Whether there is such a file; a name that no file can have is that of none."""
    try:
        return file.is_file()
    except OSError:  # longer than the system takes
        return False
