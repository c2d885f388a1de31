"""The two containers torch writes: a zip archive (since 1.6), and before that pickles followed by raw storages."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from zoo.checkpoint.budget import Budget
from zoo.checkpoint.machine import Machine
from zoo.checkpoint.records import Malformed
from zoo.checkpoint.tensors import Storage, naturals, storage_dtype

MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of the older container
_PROTOCOL = 1001
_CHUNK = 1 << 24


def read_zip(path: Path) -> Any:
    """Reads the archive that ``torch.save`` writes.

    Args:
        path: The file.

    Returns:
        What was saved; see :class:`zoo.checkpoint.machine.Machine`.

    Raises:
        Malformed: The archive or the pickle in it is not as torch writes them.
        zipfile.BadZipFile: The archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        entries = _entries(archive, path.stat().st_size)
        main = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(main) != 1:
            raise Malformed("the archive has no data.pkl, so torch.save did not write it")
        prefix = main[0].removesuffix("data.pkl")
        order = archive.read(f"{prefix}byteorder") if f"{prefix}byteorder" in entries else b"little"
        if order != sys.byteorder.encode():
            raise Malformed(f"its numbers are {order[:10].decode('latin-1')}-endian")
        storages: dict[str, Storage] = {}
        views: list[Storage] = []

        def persistent(identifier: Any) -> Storage:
            kind, key, numel = _identifier(identifier, 5)
            entry = entries.get(f"{prefix}data/{key}")
            if entry is None:
                raise Malformed(f"the archive has no storage {key[:40]!r}")
            dtype = storage_dtype(kind)
            if entry.file_size != numel * dtype.itemsize:
                raise Malformed(f"storage {key!r} of {numel} x {dtype} has {entry.file_size} bytes")
            if key not in storages:
                storages[key] = Storage(_record(archive, entry), dtype)
            views.append(_as(storages[key], dtype))
            return views[-1]

        budget = Budget(entries[main[0]].file_size)
        result = Machine(io.BytesIO(archive.read(main[0])), persistent, budget).run()
        for view in views:
            view.settle()
        return result


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by name, none compressed: so all of them together are no larger than the file."""
    if any(name.endswith("/constants.pkl") for name in archive.namelist()):
        raise Malformed("is a TorchScript archive, which holds a program; save its state_dict() instead")
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        if entry.filename in entries:
            raise Malformed(f"the archive has {entry.filename[:80]!r} twice")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size != entry.compress_size:
            raise Malformed(f"{entry.filename[:80]!r} is compressed or encrypted, which torch never does")
        entries[entry.filename] = entry
    if sum(entry.file_size for entry in entries.values()) > size:
        raise Malformed("the entries of the archive are larger than the file")
    return entries


def _record(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> torch.Tensor:
    data = torch.empty(entry.file_size, dtype=torch.uint8)
    with archive.open(entry) as stream:
        _fill(stream, data, entry.filename)
        stream.read(1)  # reaching the end is what makes zipfile compare the checksum
    return data


def _fill(stream: IO[bytes], data: torch.Tensor, name: str) -> None:
    view = data.numpy().data
    place = 0
    while place < len(view):
        chunk = stream.read(min(_CHUNK, len(view) - place))
        if not chunk:
            raise Malformed(f"is cut off within storage {name[:40]!r}")
        view[place : place + len(chunk)] = chunk
        place += len(chunk)


def _identifier(identifier: Any, length: int) -> tuple[Any, str, int]:
    """Class, key and number of elements out of ``("storage", class, key, location, numel[, view])``."""
    if not isinstance(identifier, tuple) or len(identifier) < length or _text(identifier[0]) != "storage":
        raise Malformed("something that is no storage is kept outside the pickle")
    (numel,) = naturals((identifier[4],))
    return identifier[1], _text(identifier[2]), numel


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise Malformed("the key of a storage is no text")
    return value


def _as(storage: Storage, dtype: torch.dtype) -> Storage:
    return storage if storage.dtype == dtype else Storage(storage.data, dtype)


class Legacy:
    """Reads what follows the magic number in a file of torch before 1.6.

    Args:
        stream: The file behind its first pickle.
        size: Bytes of the file.
        budget: Bounds the memory.
    """

    def __init__(self, stream: IO[bytes], size: int, budget: Budget) -> None:
        self._stream, self._left, self._budget = stream, size, budget
        self._storages: dict[str, Storage] = {}
        self._views: list[Storage] = []

    def read(self) -> Any:
        """Reads the pickles and then the storages.

        Returns:
            What was saved.

        Raises:
            Malformed: The file breaks the rules of the format, or is cut off.
        """
        if self._pickle() != _PROTOCOL:
            raise Malformed("unknown protocol of the container")
        system = self._pickle()
        if not isinstance(system, dict) or system.get("little_endian") is not (sys.byteorder == "little"):
            raise Malformed("its numbers have another byte order")
        result = self._pickle()
        keys = self._pickle()
        if not isinstance(keys, list) or not all(isinstance(key, str | bytes) for key in keys):
            raise Malformed("its list of storages is none")
        for name in map(_text, keys):
            self._fill(name)
        if self._storages:
            raise Malformed(f"storage {next(iter(self._storages))[:40]!r} is missing")
        for view in self._views:
            view.settle()
        return result

    def _pickle(self) -> Any:
        return Machine(self._stream, self._persistent, self._budget).run()

    def _persistent(self, identifier: Any) -> Any:
        if isinstance(identifier, tuple) and len(identifier) == 4 and _text(identifier[0]) == "module":
            return identifier[1]  # a class with its source text, which is of no use here
        kind, name, numel = _identifier(identifier, 6)
        dtype = storage_dtype(kind)
        if name not in self._storages:
            self._storages[name] = Storage(self._reserve(numel * dtype.itemsize), dtype)
        storage = _as(self._storages[name], dtype)
        self._views.append(storage)
        return storage if identifier[5] is None else self._part(storage, identifier[5])

    def _reserve(self, count: int) -> torch.Tensor:
        self._left -= count
        if self._left < 0:
            raise Malformed("is cut off: its storages are larger than the file")
        return torch.empty(count, dtype=torch.uint8)

    def _part(self, storage: Storage, view: Any) -> Storage:
        """A storage within a storage: ``(key, offset, elements)``."""
        if not isinstance(view, tuple) or len(view) != 3:
            raise Malformed("a view of a storage has not three parts")
        offset, count = naturals(view[1:])
        start, stop = (number * storage.dtype.itemsize for number in (offset, offset + count))
        if stop > storage.data.numel():
            raise Malformed("a view reaches beyond its storage")
        part = Storage(storage.data[start:stop], storage.dtype)
        self._views.append(part)
        return part

    def _fill(self, name: str) -> None:
        if name not in self._storages:
            raise Malformed(f"storage {name[:40]!r} belongs to no tensor")
        storage = self._storages.pop(name)
        count = int.from_bytes(self._stream.read(8), "little")
        if count * storage.dtype.itemsize != storage.data.numel():
            raise Malformed(f"is cut off, or storage {name[:40]!r} has another size than its tensors expect")
        _fill(self._stream, storage.data, name)
