"""Reads checkpoints from ``.ckpt`` and ``.safetensors`` alike, and writes the latter; nothing in a file is executed."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import re
import shutil
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo.checkpoint.content import Checkpoint, check
from zoo.checkpoint.migration import migrate
from zoo.checkpoint.sniff import kind
from zoo.checkpoint.tensorfile import card as read_card
from zoo.checkpoint.tensorfile import text_values
from zoo.errors import InputError, ZooError
from zoo.training.whole import whole

# What torch raises for a damaged or hostile file, beside its UnpicklingError; found by cutting and flipping bytes.
DAMAGE = (
    AssertionError, AttributeError, EOFError, IndexError, KeyError, MemoryError, OSError, OverflowError, RecursionError,
    RuntimeError, SafetensorError, TypeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read(path: Path) -> Checkpoint:
    """Reads a checkpoint; the file is recognised by its content.

    Args:
        path: A ``.ckpt`` or ``.safetensors`` file that zoo wrote.

    Returns:
        The weights on the CPU (of a ``.ckpt`` mapped from the file, not copied) and what goes with them.

    Raises:
        InputError: The file is no checkpoint, is damaged, asks for more than tensors and plain values, was not written
            by zoo, or was written by a newer one.
    """
    family = kind(path)
    if family == "safetensors":
        card, state = read_card(path), _safetensors(path)
    elif family in ("zip", "pickle"):
        values = migrate(path, _torch(path, mapped=family == "zip"))
        card, state = check(path, values), _state(path, values)
    else:
        raise InputError(f"{path}: is no checkpoint (neither a torch file nor safetensors)")
    return Checkpoint(
        path=path,
        state=state,
        recipe=card["recipe"],
        version=card["version"],
        classes=card["classes"],
        metrics=card["metrics"],
        preprocess=card["preprocess"],
        source=card["source"],
        published=card.get("published", {}),
    )


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read as safetensors: {_first_line(error)}") from error


def _torch(path: Path, mapped: bool) -> dict[str, Any]:
    try:
        if mapped:
            _check_sums(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on pickle protocols, of no use to a user
            if path.suffix == ".safetensors":  # by that name newer torch takes it for what its content is not
                with path.open("rb") as stream:
                    loaded = torch.load(stream, map_location="cpu", weights_only=True)
            else:
                loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error), mapped) from error
    except DAMAGE as error:
        raise InputError(f"{path}: is damaged or cut off: {_first_line(error)}") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: is no checkpoint: it holds a {type(loaded).__name__}, not values by name")
    return loaded


def _check_sums(path: Path) -> None:
    """Compares the checksums of an archive, which torch writes but does not look at."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("its entries are larger than the file; torch.save compresses nothing")
        for entry in entries:
            with archive.open(entry) as stream:
                while stream.read(1 << 20):
                    continue


def _refusal(path: Path, message: str, zipped: bool) -> InputError:
    found = re.search(r"(?:GLOBAL|class) ([\w.]+)", message)
    names = [found.group(1)] if found else [] if zipped else _globals(path)
    if not names:
        reason = [line for line in message.splitlines() if line.strip()]
        return InputError(f"{path}: is damaged, or no checkpoint: {(reason[-2:] or ['unreadable'])[0][:200]}")
    return InputError(
        f"{path}: asks for more than tensors and plain values ({', '.join(names[:5])}), so it is not loaded; "
        f"zoo convert reads such files safely: zoo convert RECIPE {path} OUT.safetensors"
    )


def _globals(path: Path) -> list[str]:
    """What a pickle would import, by reading its opcodes alone; torch names nothing for newer pickle protocols."""
    names: list[str] = []
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(path.read_bytes()):
            if isinstance(argument, str) and "UNICODE" in opcode.name:
                texts.append(argument)
            elif opcode.name == "GLOBAL":
                names.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
                names.append(f"{texts[-2]}.{texts[-1]}")
    except ValueError:
        return []
    return list(dict.fromkeys(names))


def _state(path: Path, values: dict[str, Any]) -> dict[str, Tensor]:
    # Where training averaged the weights, "state_dict" already holds the averages: lightning 2.6.6's WeightAveraging
    # (the base of EMAWeightAveraging) moves the raw weights to "current_model_state" when it saves
    # (callbacks/weight_averaging.py, on_save_checkpoint). Optimizer, loops and callbacks are of no concern here.
    state = values.get("state_dict")
    if not isinstance(state, dict):
        raise InputError(f"{path}: has no state_dict, so it holds no weights")
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_meta:
            raise InputError(f"{path}: state_dict[{name!r}] is no dense tensor but a {type(tensor).__name__}")
    return {str(name): tensor.detach() for name, tensor in state.items()}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def write_safetensors(path: Path, checkpoint: Checkpoint, overwrite: bool = False) -> None:
    """Writes a checkpoint as safetensors; a file under the final name is always whole.

    Args:
        path: The file, ending in ``.safetensors``; missing folders are made.
        checkpoint: What to write. Tensors that share memory are each written in full.
        overwrite: Whether an existing file may be replaced.

    Raises:
        InputError: The file exists, or the name has another ending.
        ZooError: A tensor or value has no place in the format, or the disk refuses.
    """
    try:
        metadata = text_values(checkpoint.card)
    except TypeError as error:
        raise ZooError(f"{path}: could not be written: {_first_line(error)}") from error
    write_tensors(path, checkpoint.state, metadata, overwrite)


def write_tensors(path: Path, state: dict[str, Tensor], metadata: dict[str, str], overwrite: bool = False) -> None:
    """Writes tensors with metadata as safetensors; a file under the final name is always whole.

    Args:
        path: The file, ending in ``.safetensors``; missing folders are made.
        state: Tensors by name; those that share memory are each written in full.
        metadata: Texts by key.
        overwrite: Whether an existing file may be replaced.

    Raises:
        InputError: The file exists, or the name has another ending.
        ZooError: A tensor has no place in the format, or the disk refuses.
    """
    check_output(path, overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as working:
            save_file(_separate(state), working)
            _add_metadata(working, metadata)
            working.chmod(0o644)  # safetensors writes 0600, which no web server would hand out
            _flush(working)
        _flush(path.parent)
    except (OSError, SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ZooError(f"{path}: could not be written: {_first_line(error)}") from error


def _add_metadata(path: Path, metadata: dict[str, str]) -> None:
    """Puts the metadata into the header in the order of its keys; the library's own order changes from run to run."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        table = json.loads(stream.read(length))
        head = json.dumps({"__metadata__": dict(sorted(metadata.items())), **table}, separators=(",", ":")).encode()
        head += b" " * (-len(head) % 8)  # the data begins at a multiple of eight
        with whole(path) as working, working.open("wb") as target:
            target.write(len(head).to_bytes(8, "little") + head)
            shutil.copyfileobj(stream, target, 1 << 22)


def check_output(path: Path, overwrite: bool) -> None:
    """Refuses a place where no checkpoint may be written, before any work is done for it.

    Args:
        path: The file to be.
        overwrite: Whether an existing file may be replaced.

    Raises:
        InputError: The name has another ending, or something is there already.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: a published checkpoint ends in .safetensors")
    if path.is_dir() or (path.exists() and not overwrite):
        hint = "" if path.is_dir() else "; pass --overwrite to replace it, or name another file"
        raise InputError(f"{path}: exists already{hint}")


def _separate(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors, none of which shares memory with another: the format knows no sharing."""
    seen: set[int] = set()
    result = {}
    for name, tensor in state.items():
        value = tensor.detach().cpu().contiguous()
        place = value.untyped_storage().data_ptr()
        result[name] = value.clone() if place in seen else value
        seen.add(place)
    return result


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
