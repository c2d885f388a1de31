"""The header of a safetensors file, read and checked without torch.

Format: 8 bytes little-endian header length, a JSON object, then the data. The object maps each tensor's name to its
dtype, shape and byte range within the data; ``__metadata__`` holds strings. Source: the format's own description,
https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, TypedDict

from zoo.checkpoint.content import CLASSES, METRICS, PART, PREPROCESS, PUBLISHED, RECIPE, SOURCE, VERSION, Card, check
from zoo.checkpoint.migration import migrate
from zoo.errors import InputError

MAX_HEADER = 100_000_000  # bytes; the format's own bound

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


class TensorEntry(TypedDict):
    """One tensor of the table: its dtype by the format's name, its shape, its byte range within the data."""

    dtype: str
    shape: list[int]
    data_offsets: list[int]


class Header(TypedDict):
    """The two parts of the header: strings by name, and the table of tensors."""

    metadata: dict[str, str]
    tensors: dict[str, TensorEntry]


def header(path: Path) -> Header:
    """Reads the header of a safetensors file and checks that it describes the file.

    Args:
        path: The file.

    Returns:
        ``{"metadata": {name: text}, "tensors": {name: {"dtype", "shape", "data_offsets"}}}``.

    Raises:
        InputError: The file is cut off, claims a header that it does not hold, or one of more than 100 MB, the header
            is no JSON or names a tensor twice, or the byte ranges do not tile the data.
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            length = int.from_bytes(stream.read(8), "little")
            _check_length(path, size, length)
            raw = stream.read(length)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    table = _parse(path, raw)
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(f"{path}: the metadata of the safetensors header must be text by name")
    _check_table(path, table, size - 8 - length)
    return {"metadata": metadata, "tensors": table}


def _check_length(path: Path, size: int, length: int) -> None:
    if size < 8:
        raise InputError(f"{path}: is no safetensors file: it has {size} bytes, less than the length of a header")
    if length > MAX_HEADER:
        raise InputError(f"{path}: is no safetensors file: it claims a header of {length} bytes, at most {MAX_HEADER}")
    if length > size - 8:
        raise InputError(f"{path}: is cut off: the header should have {length} bytes, the file has {size - 8} left")


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise InputError(f"{path}: the safetensors header names {twice!r} twice")
        return result

    try:
        table = json.loads(raw.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: the safetensors header is no JSON: {str(error)[:120]}") from error
    if not isinstance(table, dict):
        raise InputError(f"{path}: the safetensors header must be a JSON object")
    return table


def _check_table(path: Path, table: dict[str, Any], available: int) -> None:
    ranges = []
    for name, entry in table.items():
        ranges.append((*_check_entry(path, name, entry), name))
    end = 0
    for start, stop, name in sorted(ranges):
        if stop > available:
            raise InputError(
                f"{path}: is cut off: tensor {name!r} ends at byte {stop} of the data, the file has {available}"
            )
        if start != end:
            raise InputError(f"{path}: the data of tensor {name!r} begins at byte {start}, expected {end}")
        end = stop
    if end != available:
        raise InputError(f"{path}: has {available - end} bytes after the last tensor that no tensor claims")


def _check_entry(path: Path, name: str, entry: Any) -> tuple[int, int]:
    where = f"{path}: tensor {name!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise InputError(f"{where}: the header must give dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise InputError(f"{where}: unknown dtype {str(dtype)[:40]!r}")
    if not _naturals(shape):
        raise InputError(f"{where}: the shape must be a list of numbers from 0")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise InputError(f"{where}: data_offsets must be a begin and an end")
    need = math.prod(shape) * _BITS[dtype] // 8
    if offsets[1] - offsets[0] != need:
        raise InputError(f"{where}: {dtype} of shape {shape} takes {need} bytes, the header gives {offsets}")
    return offsets[0], offsets[1]


def _naturals(value: Any) -> bool:
    # The bounds keep the product of a hostile shape cheap.
    return (
        isinstance(value, list) and len(value) <= 64 and all(type(item) is int and 0 <= item < 2**63 for item in value)
    )


def card(path: Path) -> Card:
    """What a safetensors checkpoint says of itself, without its weights.

    Args:
        path: The file.

    Returns:
        Recipe, version, classes, metrics, preprocessing and source.

    Raises:
        InputError: The header is broken, the file carries no recipe, or a newer zoo wrote it.
    """
    metadata = header(path)["metadata"]
    if RECIPE not in metadata and PART in metadata:
        name = part_name(path, metadata[PART])
        raise InputError(
            f"{path}: holds only the part {name!r} of a network; recipes take it as "
            f"model.init_args.init_from: {{{name}: {path}}}"
        )
    return check(path, migrate(path, _plain_values(path, metadata)))


def part_name(path: Path, text: str) -> str:
    """Name of the part that a file holds.

    Args:
        path: The file.
        text: Its metadata ``zoo_part``: JSON of ``domain``, ``part`` and ``source``.

    Raises:
        InputError: The metadata names no part.
    """
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: the metadata's {PART} is no JSON: {str(error)[:120]}") from error
    if not isinstance(said, dict) or not isinstance(said.get("part"), str):
        raise InputError(f"{path}: the metadata's {PART} names no part")
    return str(said["part"])


def _plain_values(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """The ``zoo_*`` entries of the metadata, JSON texts turned into values."""
    values: dict[str, Any] = {key: metadata[key] for key in (RECIPE, VERSION, SOURCE) if key in metadata}
    for key in (CLASSES, METRICS, PREPROCESS, PUBLISHED):
        if key in metadata:
            try:
                values[key] = json.loads(metadata[key])
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}: the metadata's {key} is no JSON: {str(error)[:120]}") from error
    return values


def text_values(card: Card) -> dict[str, str]:
    """The metadata of a safetensors file: the opposite of what :func:`card` reads.

    Args:
        card: What the checkpoint says of itself.

    Returns:
        Texts by key.

    Raises:
        TypeError: A value is neither text nor number nor a list or dictionary of these.
    """
    texts = {
        RECIPE: card["recipe"],
        VERSION: card["version"],
        CLASSES: json.dumps(card["classes"]),
        METRICS: json.dumps(card["metrics"], sort_keys=True),
        PREPROCESS: json.dumps(card["preprocess"], sort_keys=True),
    }
    if card["source"]:
        texts[SOURCE] = card["source"]
    if "published" in card:
        texts[PUBLISHED] = json.dumps(card["published"], sort_keys=True)
    return texts
