"""Turns a released checkpoint of a paper's authors into ours."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo._version import __version__
from zoo.checkpoint.content import PART, Checkpoint
from zoo.checkpoint.files import check_output, write_safetensors, write_tensors
from zoo.checkpoint.fitting import copy, listing, misfits
from zoo.checkpoint.released import read_released
from zoo.checkpoint.sniff import kind
from zoo.checkpoint.unwrapping import state_dict
from zoo.errors import InputError
from zoo.layers import without_pretrained
from zoo.recipe import build_data, build_model, ensure, read, text
from zoo.training import ZooModule

Converter = Callable[[dict[str, Any]], tuple[dict[str, Tensor], list[str]]]


def convert(
    recipe: str, official: Path, out: Path, overwrite: bool = False, part: str | None = None, half: bool = False
) -> list[str]:
    """Reads an authors' file with the restricted reader and writes it as a checkpoint of ours.

    The recipe says which model it is. Its domain's ``convert.py`` renames the tensors to those of our module
    (``network.fc1.weight``); every tensor of the module must then be there, with its shape.

    Args:
        recipe: Path or name of a recipe; the user named it, so it is trusted.
        official: The authors' file.
        out: The file to write, ending in ``.safetensors``.
        overwrite: Whether an existing file may be replaced.
        part: The file holds only this part of the network; what is written is a part file, which recipes take as
            ``model.init_args.init_from: {PART: OUT}``.
        half: Store floating tensors as float16.

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
    with without_pretrained():  # every weight comes from the file
        module = build_model(ours)
    if not isinstance(module, ZooModule):
        raise InputError(f"{ours.origin}: {type(module).__name__} is no ZooModule")
    target: nn.Module = module if part is None else _part(module, part, ours.origin)
    converter = _converter(module, part)
    try:
        state, dropped = converter(weights)
    except InputError as error:
        raise InputError(f"{official}: {error}") from error
    found = misfits(target.state_dict(), state)
    if found:
        what = type(module).__name__ if part is None else f"the part {part!r} of {type(module).__name__}"
        raise InputError(f"{official}: {len(found)} tensors do not fit {what}:\n{listing(found)}")
    copy(target, state, set(), str(official))
    tensors = {name: _half(tensor) if half else tensor for name, tensor in target.state_dict().items()}
    source = f"{official.name} sha256:{_digest(official)}"
    if part is not None:
        said = {"domain": module.domain, "part": part, "source": source}
        write_tensors(out, tensors, {PART: json.dumps(said)}, overwrite)
        return [*notes, *dropped, f"recipes take it as model.init_args.init_from: {{{part}: {out}}}"]
    checkpoint = Checkpoint(
        path=out,
        state=tensors,
        recipe=text(ours),
        version=__version__,
        classes=module.class_names or build_data(ours).class_names,
        metrics={},
        preprocess=module.preprocess,
        source=source,
    )
    write_safetensors(out, checkpoint, overwrite)
    return [*notes, *dropped]


def _half(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _part(module: ZooModule, name: str, origin: str) -> nn.Module:
    parts = module.parts()
    if name not in parts:
        near = difflib.get_close_matches(name, parts, n=1)
        known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, parts)) or 'none'}"
        raise InputError(f"--part {name!r}: {type(module).__name__} of {origin} has no such part; {known}")
    return parts[name]


def _contents(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The variables of a Matlab file; of every other format the tensors by name."""
    released = read_released(path)
    if path.suffix == ".mat" or kind(path) == "matlab":
        return released, []
    try:
        return state_dict(released)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _converter(module: ZooModule, part: str | None) -> Converter:
    domain = getattr(module, "domain", "")  # a user's own class may belong to none
    place = f"zoo.domains.{domain}.convert"
    if not domain or find_spec(f"zoo.domains.{domain}") is None or find_spec(place) is None:
        raise InputError(f"{type(module).__name__}: the domain {domain!r} has no converter for released files")
    room = import_module(place)
    converters: dict[str, Converter] = getattr(room, "PARTS", {})
    if part is not None and part not in converters:
        raise InputError(f"--part {part!r}: the domain {domain!r} converts the parts {', '.join(converters) or 'none'}")
    converter: Converter = room.convert if part is None else converters[part]
    return converter


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
