"""Part files: the weights of one part of a network (a backbone, a CLIP, one branch), which recipes start from."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from zoo.errors import InputError

PART = "zoo_part"
"""Key of the metadata that makes a safetensors file a part file: JSON of ``domain``, ``part`` and ``source``."""


def part_of(file: Path) -> dict[str, str] | None:
    """What a safetensors file says it is a part of: ``domain``, ``part``, ``source``; None where it is no part.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: cannot be read as a part file (safetensors): {error}") from error
    if PART not in metadata:
        return None
    try:
        said = json.loads(metadata[PART])
    except ValueError as error:
        raise InputError(f"{file}: its {PART} is no JSON") from error
    if not isinstance(said, dict) or not all(isinstance(said.get(key), str) for key in ("domain", "part")):
        raise InputError(f"{file}: its {PART} names no domain and part")
    return {str(key): str(value) for key, value in said.items()}


def fill_parts(parts: Mapping[str, nn.Module], files: Mapping[str, str], domain: str) -> None:
    """Copies part files into the parts of a network; every tensor of a part must be there and fit.

    Args:
        parts: The modules by name.
        files: Part files by name, as written in ``model.init_args.init_from``.
        domain: Of the network.

    Raises:
        InputError: No such part or file, a file of another part, or a tensor that is missing, extra or misshapen.
    """
    for name, text in files.items():
        if name not in parts:
            near = difflib.get_close_matches(name, parts, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, parts)) or 'none'}"
            raise InputError(f"model.init_from: {name!r} is no part of this network; {hint}")
        file = Path(text).expanduser()
        if not file.is_file():
            raise InputError(f"model.init_from.{name}: there is no file {file}")
        said = part_of(file)
        if said is None:
            raise InputError(
                f"model.init_from.{name}: {file} is no part file; "
                f"make one: zoo convert RECIPE OFFICIAL OUT --part {name}"
            )
        if (said["domain"], said["part"]) != (domain, name):
            raise InputError(f"model.init_from.{name}: {file} is the part {said['part']!r} of {said['domain']}")
        _copy(parts[name], load_file(file), f"model.init_from.{name}: {file}")


def _copy(module: nn.Module, given: Mapping[str, Tensor], where: str) -> None:
    expected = module.state_dict()
    wrong = [f"{name} (missing)" for name in expected if name not in given]
    wrong += [f"{name} (not in the network)" for name in given if name not in expected]
    wrong += [
        f"{name} ({tuple(given[name].shape)} in the file, {tuple(expected[name].shape)} in the network)"
        for name in expected
        if name in given and given[name].shape != expected[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise InputError(f"{where}: {len(wrong)} tensors do not fit: {', '.join(wrong[:5])}{more}")
    module.load_state_dict(given)
