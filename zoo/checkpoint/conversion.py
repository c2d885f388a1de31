"""Turns a released checkpoint of a paper's authors into ours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo._version import __version__
from zoo.checkpoint.content import Checkpoint
from zoo.checkpoint.files import check_output, write_safetensors
from zoo.checkpoint.fitting import copy, listing, misfits
from zoo.checkpoint.released import read_released
from zoo.checkpoint.sniff import kind
from zoo.checkpoint.unwrapping import state_dict
from zoo.errors import InputError
from zoo.recipe import build_model, ensure, read, text
from zoo.training import ZooModule

Converter = Callable[[dict[str, Any]], tuple[dict[str, Tensor], list[str]]]


def convert(recipe: str, official: Path, out: Path, overwrite: bool = False) -> list[str]:
    """Reads an authors' file with the restricted reader and writes it as a checkpoint of ours.

    The recipe says which model it is. Its domain's ``convert.py`` renames the tensors to those of our module
    (``network.fc1.weight``); every tensor of the module must then be there, with its shape.

    Args:
        recipe: Path or name of a recipe; the user named it, so it is trusted.
        official: The authors' file.
        out: The file to write, ending in ``.safetensors``.
        overwrite: Whether an existing file may be replaced.

    Returns:
        What was set aside and why, one line each.

    Raises:
        InputError: The recipe has mistakes, the file cannot be read or does not hold this network's weights, or the
            output exists.
    """
    check_output(out, overwrite)
    if not official.is_file():
        raise InputError(f"{official}: there is no such file")
    ours = read(recipe)
    ensure(ours)
    weights, notes = _contents(official)
    module = build_model(ours)
    if not isinstance(module, ZooModule):
        raise InputError(f"{ours.origin}: {type(module).__name__} is no ZooModule")
    converter = _converter(module)
    try:
        state, dropped = converter(weights)
    except InputError as error:
        raise InputError(f"{official}: {error}") from error
    found = misfits(module.state_dict(), state)
    if found:
        raise InputError(f"{official}: {len(found)} tensors do not fit {type(module).__name__}:\n{listing(found)}")
    copy(module, state, set(), str(official))
    checkpoint = Checkpoint(
        path=out,
        state=module.state_dict(),
        recipe=text(ours),
        version=__version__,
        classes=list(module.class_names),
        metrics={},
        preprocess=module.preprocess,
        source=f"{official.name} sha256:{_digest(official)}",
    )
    write_safetensors(out, checkpoint, overwrite)
    return [*notes, *dropped]


def _contents(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The variables of a Matlab file; of every other format the tensors by name."""
    released = read_released(path)
    if path.suffix == ".mat" or kind(path) == "matlab":
        return released, []
    try:
        return state_dict(released)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _converter(module: ZooModule) -> Converter:
    domain = getattr(module, "domain", "")  # a user's own class may belong to none
    place = f"zoo.domains.{domain}.convert"
    if not domain or find_spec(f"zoo.domains.{domain}") is None or find_spec(place) is None:
        raise InputError(f"{type(module).__name__}: the domain {domain!r} has no converter for released files")
    converter: Converter = import_module(place).convert
    return converter


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
