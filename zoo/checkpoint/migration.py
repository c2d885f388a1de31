"""Old checkpoints stay loadable: what a file of an earlier zoo needs to read like one of today. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from zoo._version import __version__
from zoo.checkpoint.content import VERSION
from zoo.errors import InputError


def migrate(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Brings the entries of a file to the form of this version, before anything else looks at them.

    All versions so far have the same form, so only files from the future are refused.

    Args:
        path: The file, for messages.
        values: Its entries by key; those of a file that zoo did not write are left alone.

    Returns:
        The entries in today's form.

    Raises:
        InputError: A newer zoo wrote the file, or its version is none.
    """
    version = values.get(VERSION)
    if not isinstance(version, str):
        return values
    written = _numbers(version)
    if not written:
        raise InputError(f"{path}: {VERSION} {version[:40]!r} is no version, like 0.1.0")
    if written > _numbers(__version__):
        raise InputError(
            f"{path}: was written by zoo {version[:40]}, newer than this one ({__version__}); "
            "upgrade with: pip install --upgrade rankzoo"
        )
    return values


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", version)
    return tuple(int(number) for number in match.groups()) if match else ()
