"""Reads feature files: text with a row per line, ``.npy``, ``.npz``, C3D blobs. All that is wrong is named."""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from zoo.training import DataError

SUFFIXES = (".npy", ".npz", ".txt")
BLOB_SUFFIX = ".fc6-1"
BLOB_HEADER = np.dtype("<i4"), 5  # num, channels, length, height, width
DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def read_features(path: Path) -> np.ndarray:
    """Reads the features of one video.

    Args:
        path: A ``.txt`` (a row per line, numbers separated by spaces), ``.npy``, or ``.npz`` with one array.

    Returns:
        ``(T, D)`` or ``(T, crops, D)`` float32, T and D >= 1, all finite.

    Raises:
        DataError: The file is missing, damaged, empty, of another shape, or holds a number that is not finite; names
            file and line or row.
    """
    arrays = read_arrays(path)
    if len(arrays) > 1:
        names = ", ".join(list(arrays)[:5])
        raise DataError(f"{path}: holds {len(arrays)} arrays ({names}, ...), expected the features of one video")
    return next(iter(arrays.values()))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads all videos of a feature file.

    Args:
        path: As in :func:`read_features`; an ``.npz`` may hold several videos.

    Returns:
        Features by name: the names in an ``.npz``, else the file's own.

    Raises:
        DataError: As in :func:`read_features`.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: features are read from files ending in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path}: there is no such feature file")
    if suffix == ".txt":
        return {path.stem: _text(path)}
    if suffix == ".npy":
        return {path.stem: checked(_array(path), str(path))}
    arrays: dict[str, np.ndarray] = {}
    for name, found in read_members(path).items():
        if isinstance(found, DataError):
            raise found
        arrays[name] = found
    return arrays


def checked(array: np.ndarray, where: str) -> np.ndarray:
    """Checks features in memory.

    Args:
        array: Anything.
        where: What the message calls it.

    Returns:
        The same as float32.

    Raises:
        DataError: It is no ``(T, D)`` or ``(T, crops, D)`` of finite numbers, or empty.
    """
    if array.dtype.kind not in "fiu":
        raise DataError(f"{where}: holds {array.dtype} values, expected numbers")
    if array.ndim not in (2, 3):
        raise DataError(f"{where}: has shape {array.shape}, expected (T, D) or (T, crops, D)")
    if 0 in array.shape:
        raise DataError(f"{where}: is empty, its shape is {array.shape}")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype=np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        place = np.argwhere(bad)[0]
        names = ("row", "column") if array.ndim == 2 else ("row", "crop", "column")
        at = ", ".join(f"{name} {index}" for name, index in zip(names, place, strict=True))
        raise DataError(
            f"{where}: {at} (from 0) is {array[tuple(place)]}, not a finite number; {int(bad.sum())} such in all"
        )
    return values


def _array(path: Path) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
    except DAMAGE as error:
        raise _unreadable(path, error) from error
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise DataError(f"{path}: is an archive of arrays, rename it to end in .npz")
    return loaded


def read_members(
    path: Path, check: Callable[[np.ndarray, str], np.ndarray] = checked
) -> dict[str, np.ndarray | DataError]:
    """The arrays of an ``.npz`` by name, or what is wrong with one.

    Args:
        path: The archive.
        check: Gives the array as it is used; raises :class:`DataError` for one that cannot be, by its name.

    Raises:
        DataError: There is no such file, it is no archive, or it holds nothing; names it.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file of arrays")
    try:
        loaded = np.load(path, allow_pickle=False)
    except DAMAGE as error:
        raise _unreadable(path, error) from error
    if isinstance(loaded, np.ndarray):
        raise DataError(f"{path}: is a single array, rename it to end in .npy")
    found: dict[str, np.ndarray | DataError] = {}
    with loaded:
        for name in loaded.files:
            where = f"{path}[{name}]"
            try:
                found[name] = check(loaded[name], where)
            except DataError as error:
                found[name] = error
            except (*DAMAGE, AttributeError, TypeError) as error:
                found[name] = _unreadable(where, error)
    if not found:
        raise DataError(f"{path}: holds no array")
    return found


def most_common(widths: Iterable[int]) -> int:
    """What most are as wide as: a file that is not need not be the last."""
    return Counter(widths).most_common(1)[0][0]


def _unreadable(place: Path | str, error: BaseException) -> DataError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DataError(f"{place}: cannot be read as a numpy file, it is damaged or cut off ({reason[:160]})")


def _text(path: Path) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no text file (byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if not lines:
        raise DataError(f"{path}: is empty")
    rows = [_row(path, number, line) for number, line in enumerate(lines, 1)]
    width = len(rows[0])
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise DataError(f"{path}:{number}: has {len(row)} numbers, line 1 has {width}")
    return np.stack(rows)


def _row(path: Path, number: int, line: str) -> np.ndarray:
    words = line.split()
    if not words:
        raise DataError(f"{path}:{number}: is empty, expected a row of numbers")
    try:
        with np.errstate(over="ignore"):  # told below
            row = np.array(words, dtype=np.float32)
    except ValueError:
        column, word = next((place, word) for place, word in enumerate(words, 1) if not is_number(word))
        raise DataError(f"{path}:{number}: number {column} is {word[:40]!r}") from None
    if not np.isfinite(row).all():
        column = int(np.argmin(np.isfinite(row)))
        raise DataError(f"{path}:{number}: number {column + 1} is {words[column]!r}, not a finite number")
    return row


def is_number(word: str) -> bool:
    """Whether a word is a number, ``nan`` and ``inf`` among them."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def read_blob(path: Path) -> np.ndarray:
    """Reads one blob as the Caffe C3D extractor writes it.

    Args:
        path: Five int32 (num, channels, length, height, width) and so many float32, little-endian.

    Returns:
        ``(D,)`` float32 of one clip.

    Raises:
        DataError: The file is missing, cut off, too long, holds several clips, or a number that is not finite.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    kind, count = BLOB_HEADER
    size = kind.itemsize * count
    if len(content) < size:
        raise DataError(f"{path}: has {len(content)} bytes, a C3D blob begins with five int32 ({size} bytes)")
    shape = np.frombuffer(content[:size], dtype=kind).tolist()
    if min(shape) < 1 or shape[0] != 1:
        raise DataError(f"{path}: is no C3D blob of one clip, its header (num, channels, length, h, w) is {shape}")
    expected = size + 4 * int(np.prod(shape, dtype=np.int64))
    if len(content) != expected:
        raise DataError(f"{path}: has {len(content)} bytes, a blob of shape {shape} has {expected}")
    values = np.frombuffer(content[size:], dtype="<f4").astype(np.float32)
    if not np.isfinite(values).all():
        column = int(np.argmin(np.isfinite(values)))
        raise DataError(f"{path}: number {column + 1} is {values[column]}, not a finite number")
    return values


def read_blobs(folder: Path) -> np.ndarray:
    """Reads the clips of a video: a folder of ``<first frame>.fc6-1``, in the order of their numbers.

    Args:
        folder: One file per 16-frame clip, e.g. ``000001.fc6-1``, ``000017.fc6-1``.

    Returns:
        ``(T, D)`` float32.

    Raises:
        DataError: There is none, a name is no number or comes twice, a step between clips differs from the others, or
            a blob is malformed; names the file.
    """
    files = sorted(folder.glob(f"*{BLOB_SUFFIX}"))
    if not files:
        raise DataError(f"{folder}: holds no C3D blob (*{BLOB_SUFFIX})")
    numbered: dict[int, Path] = {}
    for file in files:
        name = file.name.removesuffix(BLOB_SUFFIX)
        if not name.isdecimal():
            raise DataError(f"{file}: a blob is named by the number of its first frame, e.g. 000017{BLOB_SUFFIX}")
        if int(name) in numbered:
            raise DataError(f"{file}: is the same clip as {numbered[int(name)].name}")
        numbered[int(name)] = file
    order = sorted(numbered)
    steps = np.diff(order)
    for index in np.flatnonzero(steps != steps[:1]):
        raise DataError(
            f"{folder}: a clip is missing between {numbered[order[index]].name} and "
            f"{numbered[order[index + 1]].name}; the first are {steps[0]} frames apart"
        )
    rows = [read_blob(numbered[number]) for number in order]
    for number, row in zip(order, rows, strict=True):
        if len(row) != len(rows[0]):
            raise DataError(f"{numbered[number]}: has {len(row)} numbers, {numbered[order[0]].name} has {len(rows[0])}")
    return np.stack(rows)
