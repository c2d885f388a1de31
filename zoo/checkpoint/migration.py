"""Old checkpoints stay loadable: what a file of an earlier zoo needs to become one of today. Imports no torch."""

from __future__ import annotations

import re

from zoo._version import __version__
from zoo.checkpoint.content import Checkpoint
from zoo.errors import InputError


def migrate(checkpoint: Checkpoint) -> Checkpoint:
    """Brings a checkpoint to the form of this version.

    All versions so far have the same form, so only files from the future are refused.

    Args:
        checkpoint: What a file held.

    Returns:
        The checkpoint in today's form.

    Raises:
        InputError: A newer zoo wrote the file, or its version is none.
    """
    written = _numbers(checkpoint.version)
    if not written:
        raise InputError(f"{checkpoint.path}: zoo_version {checkpoint.version[:40]!r} is no version, like 0.1.0")
    if written > _numbers(__version__):
        raise InputError(
            f"{checkpoint.path}: was written by zoo {checkpoint.version}, newer than this one ({__version__}); "
            "upgrade with: pip install --upgrade rankzoo"
        )
    return checkpoint


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", version)
    return tuple(int(number) for number in match.groups()) if match else ()
