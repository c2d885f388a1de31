"""The cache folder of the hub: where models lie, what is in it, whether it is whole. Imports no torch."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import cache_dir
from zoo.hub.index import Entry, entries

if TYPE_CHECKING:
    from filelock import FileLock

KINDS = {
    "models": "downloaded and converted models",
    "synthesized": "made-up data sets",
    "features": "features of a user's files",
    "galleries": "embedded galleries",
    "sources": "what recipes need of the libraries' source",
}
"""The folders of the cache that zoo makes; nothing else in it is ever touched."""

PART, LOCK = ".part", ".lock"


@dataclass(frozen=True)
class Item:
    """Something in the cache.

    Attributes:
        kind: One of :data:`KINDS`.
        path: File or folder.
        bytes: Its size.
        state: ``whole``, ``partial``, ``converted`` (no known hash) or ``unknown``; for models alone.
    """

    kind: str
    path: Path
    bytes: int
    state: str = ""


def models_dir() -> Path:
    """Folder of the downloaded models."""
    return cache_dir() / "models"


def digest(path: Path) -> str:
    """sha256 of a file, as 64 digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def lock_of(path: Path, timeout: float = -1) -> FileLock:
    """The lock of a file of the cache; a process that dies gives it back."""
    from filelock import FileLock

    return FileLock(path.with_name(f".{path.name}{LOCK}"), timeout=timeout)


def part_of(path: Path) -> Path:
    """Where the bytes of a file lie while it is on its way."""
    return path.with_name(f".{path.name}{PART}")


def items() -> list[Item]:
    """Everything that zoo keeps in the cache folder, by kind and name."""
    known = {entry.filename: entry for entry in entries().values()}
    found = []
    for kind in KINDS:
        folder = cache_dir() / kind
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.endswith(LOCK):
                continue
            found.append(Item(kind, path, size(path), _state(path, known) if kind == "models" else ""))
    return found


def _state(path: Path, known: dict[str, Entry]) -> str:
    if path.name.startswith(".") and path.name.endswith(PART):
        return "partial"
    entry = known.get(path.name)
    if entry is None:
        return "unknown"
    return "whole" if entry.sha256 else "converted"


def verify() -> list[tuple[Item, str]]:
    """Hashes every model of the cache.

    Returns:
        Each with what is wrong with it; empty text where it is as the index says.
    """
    known = {entry.filename: entry for entry in entries().values()}
    found = []
    for item in items():
        if item.kind != "models":
            continue
        entry = known.get(item.path.name)
        wrong = ""
        if item.state == "whole" and entry is not None and (given := digest(item.path)) != entry.sha256:
            wrong = f"expected sha256 {entry.sha256}, got {given}"
        found.append((item, wrong))
    return found


def clear(chosen: list[Item]) -> tuple[list[Item], list[Item]]:
    """Deletes items of the cache.

    Args:
        chosen: Out of :func:`items`.

    Returns:
        What was deleted, and what another process is downloading at this moment and was left.
    """
    from filelock import Timeout

    gone, busy = [], []
    for item in chosen:
        if item.kind != "models":
            shutil.rmtree(item.path) if item.path.is_dir() else item.path.unlink()
            gone.append(item)
            continue
        whole = item.path.with_name(item.path.name.removeprefix(".").removesuffix(PART))
        lock = lock_of(whole, timeout=0)
        try:
            with lock:  # the lock's own empty file stays: another process may be waiting at it
                item.path.unlink(missing_ok=True)
        except Timeout:
            busy.append(item)
        else:
            gone.append(item)
    return gone, busy


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size
