"""Reads the files that authors released, for ``zoo convert`` alone: rebuilds data, imports nothing, calls nothing."""

from __future__ import annotations

import mmap
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from zoo.checkpoint.budget import Budget
from zoo.checkpoint.machine import Machine
from zoo.checkpoint.matlab import read_matlab
from zoo.checkpoint.records import Global, Malformed, Record
from zoo.checkpoint.sniff import kind
from zoo.checkpoint.storages import MAGIC, Legacy, read_zip
from zoo.checkpoint.tensorfile import header
from zoo.checkpoint.unwrapping import state_dict
from zoo.errors import InputError

__all__ = ["Global", "Record", "read_released", "state_dict"]

_DAMAGE = (
    Malformed, zipfile.BadZipFile, zlib.error, SafetensorError, OSError, EOFError, ValueError, TypeError,
    KeyError, IndexError, RuntimeError, NotImplementedError, MemoryError, OverflowError,
)  # fmt: skip
_EXPANSION, _ROOM = 32, 64 << 20  # what compressed arrays may grow to, in sizes of the file, and bytes


def read_released(path: Path) -> Any:
    """Reads an authors' file as data.

    Known are torch files (the zip archive, and the older stream), plain pickles, Matlab files up to version 7, ``.npz``
    and safetensors; the file is recognised by its content. Tensors, numpy arrays and plain containers are rebuilt.

    Args:
        path: The file.

    Returns:
        What was saved: a dictionary for Matlab files, ``.npz`` and safetensors, and whatever a pickle holds; every
        object of another class is a :class:`Record`, every bare name a :class:`Global`.

    Raises:
        InputError: The file is of no known format, is damaged, or breaks the rules of its format.
    """
    family = kind(path)
    if family == "hdf5":
        raise InputError(f"{path}: is an HDF5 file (Matlab 7.3?); save it as version 7 or as .npz")
    if family == "tar":
        raise InputError(f"{path}: is a tar archive (torch before 0.2, or a pack of files); unpack it or save it anew")
    try:
        if family == "safetensors":
            header(path)
            return load_file(path)
        if family == "matlab" or path.suffix == ".mat":
            return read_matlab(path)
        if family == "zip":
            return _arrays(path) if _is_npz(path) else read_zip(path)
        return _pickled(path)
    except _DAMAGE as error:
        raise InputError(f"{path}: cannot be read: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0][:200] if lines else type(error).__name__
    return text if isinstance(error, Malformed) else f"it is damaged or of an unknown format ({text})"


def _is_npz(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if not entries or not all(entry.filename.endswith(".npy") for entry in entries):
        return False
    size = path.stat().st_size
    if sum(entry.file_size for entry in entries) > _EXPANSION * size + _ROOM:
        raise Malformed("its arrays are far larger than the file; weights do not shrink so much")
    return True


def _arrays(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _pickled(path: Path) -> Any:
    """A plain pickle, or torch's older container, which begins with a pickle of a magic number."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as contents:
        size = len(contents)
        budget = Budget(size)
        source: Any = contents
        first = Machine(source, _no_storage, budget).run()
        if type(first) is int and first == MAGIC:
            return Legacy(source, size, budget).read()
        return first


def _no_storage(identifier: Any) -> Any:
    raise Malformed("refers to something outside the pickle")
