"""What a file is, by its first bytes: names are often wrong, contents are not. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from zoo.errors import InputError

Kind = Literal["zip", "pickle", "safetensors", "matlab", "hdf5", "tar", "unknown"]

_HEAD = 512


def kind(path: Path) -> Kind:
    """Looks at the head of a file.

    Args:
        path: An existing file.

    Returns:
        The family of formats it belongs to; ``unknown`` where the head fits none (old text pickles among them).

    Raises:
        InputError: It cannot be opened, is empty, or is surely no weights: a web page, or the pointer that Git LFS
            leaves in place of a file that was never fetched.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
            size = stream.seek(0, 2)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not head:
        raise InputError(f"{path}: is an empty file")
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")) or (text.startswith(b"<") and b"<html" in text):
        raise InputError(f"{path}: is a web page (HTML), not weights; the download went wrong, fetch it again")
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path}: is a Git LFS pointer, not the file itself; fetch it with 'git lfs pull'")
    return _family(head, size)


def _family(head: bytes, size: int) -> Kind:
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        return "matlab"
    if head.startswith(b"\x89HDF\r\n\x1a\n") or head[124:128] == b"\x00\x02IM":
        return "hdf5"
    # Before pickle: the header length of a safetensors file may begin with any byte.
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < max(size, 1 << 33):
        return "safetensors"
    if len(head) > 1 and head[0] == 0x80 and head[1] <= 5:
        return "pickle"
    if head[257:262] == b"ustar":
        return "tar"
    return "unknown"
