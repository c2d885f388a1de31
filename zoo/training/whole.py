"""Files that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 48  # characters of a file's name in that of its unfinished form, so that names of any length can be written
_WORKING = re.compile(r"\..*\.(\d+)\.tmp", re.DOTALL)


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """Gives a place to write to, which becomes the file when all is written, and is removed where that fails.

    What killed processes left in the folder is removed too.

    Args:
        file: Where the content shall stand; the file before it stays until then. A link is followed; a device, e.g.
            ``/dev/null``, or a pipe is written to as it is.

    Raises:
        OSError: The disk refuses, or it is a folder; it names the file.
    """
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    if file.exists() and not file.is_file():
        yield file
        return
    if file.is_symlink():
        file = Path(os.path.realpath(file))
    _remove_dead(file.parent, os.getpid())
    working = file.with_name(f".{file.name[:_SHOWN]}.{os.getpid()}.tmp")
    try:
        yield working
        os.replace(working, file)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(working), working):
            raise OSError(error.errno, error.strerror, str(file)) from error
        raise
    finally:
        with suppress(OSError):  # not there any more, or of a disk that is read-only
            working.unlink()


def write_whole(file: Path, text: str) -> None:
    """Writes a text file (UTF-8)."""
    with whole(file) as working:
        working.write_text(text, encoding="utf-8")


def draw_whole(file: Path, figure: Figure, dpi: int = 100) -> None:
    """Writes a figure as PNG, and closes it: pyplot keeps every figure that it made, megabytes each, until then.

    Names that stand on it are taken as they are: a dollar begins no formula, and what is no text is shown as ``?``.
    """
    from matplotlib import pyplot
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        written = text.get_text()
        if "$" in written:
            text.set_parse_math(False)
        text.set_text(written.encode("utf-8", errors="replace").decode("utf-8"))
    try:
        with whole(file) as working:
            figure.savefig(working, dpi=dpi, format="png")
    finally:
        pyplot.close(figure)


@contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """Gives an empty folder to write to, which becomes the one that is asked for when all is written.

    Args:
        place: Where it shall stand; nothing, or an empty folder, by the time that all is written.

    Raises:
        OSError: Something stands there, or the disk refuses; it names the folder.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    _remove_dead(place.parent, os.getpid())
    working = place.with_name(f".{place.name[:_SHOWN]}.{uuid4().hex[:8]}.{os.getpid()}.tmp")
    try:
        working.mkdir()
        yield working
        working.rename(place)
    except OSError as error:
        inside = os.path.relpath(error.filename, working) if isinstance(error.filename, str) else "."
        if error.errno is None or inside.startswith(".."):
            raise
        raise OSError(error.errno, error.strerror, str(place / inside)) from error
    finally:
        shutil.rmtree(working, ignore_errors=True)


def is_leftover(file: Path) -> bool:
    """Whether a file is one that a killed process did not finish."""
    return file.name.startswith(".") and file.suffix == ".tmp"


def remove_leftovers(folder: Path) -> None:
    """Removes the unfinished files that a killed process left in a folder and in those below."""
    for file in folder.rglob(".*.tmp"):
        file.unlink()


@lru_cache(maxsize=1024)
def _remove_dead(folder: Path, own: int) -> None:
    """Removes the unfinished files and folders of processes that are no more, once for each process and folder."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = _WORKING.fullmatch(entry.name)
            if found and int(found[1]) != own and not _lives(int(found[1])):
                shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True
