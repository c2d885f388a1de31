"""What was read of source files, kept in the cache folder: the next start reads a line of it instead of the file.

A line belongs to one state of a file (size, times of its content and of its entry in the folder), carries a checksum,
and is never executed. Where the file changed, or the line cannot be read, the source is read again; so is everything
where this version of zoo writes other lines.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

from zoo import cache_dir
from zoo._version import __version__
from zoo.recipe import outline

FOLDER = "sources"
SETTLED = 2_000_000_000
"""Nanoseconds after a change of a file before what was read is kept: another change would leave no trace."""

_CODING = ("utf-8", "surrogateescape")  # names of files may be any bytes

Stamp = tuple[int, int, int]


def stamp_of(state: os.stat_result) -> Stamp:
    """Another one whenever the file is another."""
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


class Lines:
    """One file of remembered lines.

    Args:
        file: Where they are kept.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._fresh: dict[str, str] = {}
        self._lines = _read(file)

    def get(self, key: str, stamp: Stamp) -> Any:
        """What was remembered of a file in this state; None where nothing was."""
        line = self._lines.get(key)
        if line is None:
            return None
        state, _, rest = line.partition("\t")
        sum_, _, text = rest.partition("\t")
        if state != _stamped(stamp) or sum_ != _checksum(text):
            return None
        try:
            return json.loads(text)
        except ValueError:
            return None

    def put(self, key: str, stamp: Stamp, value: Any) -> None:
        """Remembers what was read of a file, unless it changed just now."""
        if time.time_ns() - max(stamp[1:]) < SETTLED or "\n" in key or "\t" in key:
            return
        if not self._fresh:
            atexit.register(self.save)
        text = json.dumps(value, separators=(",", ":"))
        self._fresh[key] = self._lines[key] = f"{_stamped(stamp)}\t{_checksum(text)}\t{text}"

    def save(self) -> None:
        """Writes the file anew where something was added; a folder that cannot be written costs time, nothing else."""
        if not self._fresh:
            return
        lines = _read(self.file) | self._fresh  # another process may have added to it meanwhile
        lines = {key: line for key, line in lines.items() if os.path.exists(key.partition(" ")[2])}
        part = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            text = "".join(f"{key}\t{line}\n" for key, line in lines.items())
            part.write_bytes(f"{_form()}\n{text}".encode(*_CODING))
            os.replace(part, self.file)
        except OSError:
            with suppress(OSError):
                part.unlink()
        self._fresh = {}
        atexit.unregister(self.save)


def get(key: str, stamp: Stamp) -> Any:
    """See :meth:`Lines.get`; of the file of this interpreter."""
    return _lines(*_place()).get(key, stamp)


def put(key: str, stamp: Stamp, value: Any) -> None:
    """See :meth:`Lines.put`; into the file of this interpreter."""
    _lines(*_place()).put(key, stamp, value)


def _place() -> list[str | None]:
    """All that :func:`zoo.cache_dir` depends on, cheaper than itself: this is asked for every module."""
    return [os.environ.get(name) for name in ("ZOO_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA", "HOME")]


@cache
def _lines(*place: str | None) -> Lines:
    interpreter = f"{sys.implementation.cache_tag}-{crc32(sys.prefix.encode(*_CODING)):08x}"
    return Lines(cache_dir() / FOLDER / f"{interpreter}.txt")


@cache
def _form() -> str:
    """Another one whenever what is written down of a module is: the first line of a file of lines."""
    return f"{__version__} {crc32(Path(outline.__file__).read_bytes()):08x}"


def _read(file: Path) -> dict[str, str]:
    try:
        text = file.read_bytes().decode(*_CODING)
    except OSError:
        return {}
    form, *lines = text.split("\n")
    if form != _form():
        return {}
    pairs = (line.partition("\t") for line in lines)
    return {key: line for key, tab, line in pairs if tab}


def _stamped(stamp: Stamp) -> str:
    return f"{stamp[0]:x}.{stamp[1]:x}.{stamp[2]:x}"


def _checksum(text: str) -> str:
    return f"{crc32(text.encode()):08x}"
