"""The released files' names to ours: ``PIQ_model.pth``, the LSVQ and GFIQA backbones, ``LIQE.pt``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from zoo.domains.quality.clip import CLIP_EXTRAS, CLIP_KEYS
from zoo.errors import InputError

Part = tuple[dict[str, Tensor], list[str]]

WRAP = "feature_extraction."
FULL, FACE, HEAD = WRAP * 2, f"feature_extraction_face.{WRAP * 2}", "quality."
_BUFFERS = re.compile(r"\.(relative_position_index|attn_mask)$")
_DOWNSAMPLE = re.compile(r"^layers\.(\d+)\.downsample\.")
_OLD = "layers.0.downsample.reduction.weight"


def convert(released: Mapping[str, Tensor]) -> Part:
    """Maps a released whole model, 728 entries, onto ours.

    Args:
        released: ``PIQ_model.pth``: the branches under nested wrappers with timm 0.6.7's names, and ``quality.{0,3}``.

    Returns:
        Our tensors, ``network.full...``, ``network.face...``, ``network.head...``, float32; and what was done or
        dropped, one line each.

    Raises:
        InputError: A name belongs to no branch, a branch is absent, or a value is not finite; names it.
    """
    notes: list[str] = []
    branches: dict[str, dict[str, Tensor]] = {"full": {}, "face": {}, "head": {}}
    unknown: list[str] = []
    for name, tensor in released.items():
        # the face's names first: the other prefix is part of theirs
        for branch, prefix in (("face", FACE), ("full", FULL), ("head", HEAD)):
            if name.startswith(prefix):
                branches[branch][name.removeprefix(prefix)] = tensor
                break
        else:
            unknown.append(name)
    if unknown:
        raise InputError(f"this is no released quality model: unexpected {_listed(unknown)}{_hint(released)}")
    for branch, prefix in (("full", FULL), ("face", FACE), ("head", HEAD)):
        if not branches[branch]:
            raise InputError(f"this is no whole quality model: nothing under {prefix!r}{_hint(released)}")
    state: dict[str, Tensor] = {}
    for branch, tensors in branches.items():
        mapped = tensors if branch == "head" else swin(tensors, notes, branch)
        state.update({f"network.{branch}.{name}": tensor for name, tensor in mapped.items()})
    return _floats(state, notes), notes


def convert_branch(released: Mapping[str, Tensor]) -> Part:
    """Maps a released backbone file, 366 entries, onto one branch.

    The LSVQ file has the branch under one ``feature_extraction.``, the GFIQA file under two; their pre-training heads
    ``quality.{0,1}`` are dropped.

    Returns:
        The branch's tensors under timm's names, float32, and what was dropped.

    Raises:
        InputError: The file holds something else; says what.
    """
    if any(name.startswith("feature_extraction_face.") for name in released):
        raise InputError("this is a whole quality model, not one branch: convert it without --part")
    notes: list[str] = []
    heads = [name for name in released if name.startswith(HEAD)]
    tensors = {name: tensor for name, tensor in released.items() if name not in heads}
    if heads:
        shapes = ", ".join(str(tuple(released[name].shape)) for name in heads if name.endswith("weight"))
        notes.append(f"dropped {len(heads)} tensors under {HEAD!r}: the head of the pre-training, {shapes}")
    while tensors and all(name.startswith(WRAP) for name in tensors):
        tensors = {name.removeprefix(WRAP): tensor for name, tensor in tensors.items()}
        notes.append(f"removed {WRAP!r} before every name")
    strangers = [name for name in tensors if name.startswith(WRAP)]
    if strangers or not tensors:
        raise InputError(f"this is no released backbone: {_listed(strangers or list(released))} beside others")
    return _floats(swin(tensors, notes, "the branch"), notes), notes


def convert_clip(released: Mapping[str, Tensor]) -> Part:
    """Takes ``LIQE.pt``, a plain CLIP ViT-B/32 state dict with OpenAI's names.

    Returns:
        The same names, float32, and what was dropped.

    Raises:
        InputError: It is no such state dict.
    """
    notes: list[str] = []
    missing = [name for name in CLIP_KEYS if name not in released]
    if missing:
        raise InputError(f"this is no CLIP state dict with OpenAI's names: missing {_listed(missing)}")
    extras = [name for name in CLIP_EXTRAS if name in released]
    if extras:
        notes.append(f"dropped {', '.join(extras)}: sizes that the tensors tell themselves")
    state = {name: tensor for name, tensor in released.items() if name not in extras}
    return _floats(state, notes), notes


PARTS: dict[str, Callable[[Mapping[str, Tensor]], Part]] = {
    "full": convert_branch,
    "face": convert_branch,
    "liqe": convert_clip,
}


def swin(tensors: Mapping[str, Tensor], notes: list[str], branch: str) -> dict[str, Tensor]:
    """A Swin of timm 0.6.7 under the names of timm 1.x; other names pass unchanged.

    The buffers that are computed when the network is built are dropped, and each ``downsample`` moves from the end of
    its stage to the start of the next one.

    Args:
        tensors: By name, without wrappers.
        notes: Is told what was done.
        branch: What the notes call it.
    """
    buffers = [name for name in tensors if _BUFFERS.search(name)]
    if buffers:
        notes.append(
            f"{branch}: dropped {len(buffers)} buffers (relative_position_index, attn_mask): "
            "computed when the network is built"
        )
    kept = {name: tensor for name, tensor in tensors.items() if name not in buffers}
    if _OLD not in kept:
        return kept
    notes.append(f"{branch}: moved each downsample to the stage after it, as timm 1.x has it")
    return {_DOWNSAMPLE.sub(lambda found: f"layers.{int(found[1]) + 1}.downsample.", name): tensor
            for name, tensor in kept.items()}  # fmt: skip


def _floats(state: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            raise InputError(f"{name}: expected floating-point numbers, found {tensor.dtype}")
        if not torch.isfinite(tensor).all():
            raise InputError(f"{name}: holds values that are not finite")
    other = [name for name, tensor in state.items() if tensor.dtype != torch.float32]
    if other:
        notes.append(f"turned {len(other)} tensors from {state[other[0]].dtype} to float32")
    return {name: tensor.detach().to(torch.float32).contiguous() for name, tensor in state.items()}


def _hint(released: Mapping[str, Tensor]) -> str:
    """Says which part a file is that was given as the whole."""
    if all(name in released for name in CLIP_KEYS):
        return "; it is a CLIP: --part liqe"
    if any(name.startswith(WRAP) for name in released) and not any(name.startswith(FACE) for name in released):
        return "; a backbone alone converts with --part full or --part face"
    return ""


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
