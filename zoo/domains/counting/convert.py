"""The released file's names to ours: 615 entries, of which 95 are never used by the released network."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from zoo.errors import InputError

HEAD = "regression."
# what the released network owns and never runs, and why
DEAD = {
    r"head\.(weight|bias)": "a classifier of 1000 classes",
    r"norm\.(weight|bias)": "a norm behind the last stage",
    r"block[23]\.\d+\.attn\.(sr|norm)\.(weight|bias)": "reductions of stages 2 and 3, which attend in full",
    r"regression\.noise[012]\.upsample\.0\.weight": "convolutions inside the perturbations",
}
_OURS = re.compile(r"(pos_embed[1-4]|cls_token_[1-3]|patch_embed[1-4]\..+|block[1-4]\.\d+\..+|regression\..+)$")


def convert(released: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Maps a released model onto ours.

    Args:
        released: The state dict of a London file, or of a rolling training file.

    Returns:
        Our tensors, ``network.encoder...`` and ``network.regression...``, float32; and what was dropped, one line each.

    Raises:
        InputError: A name is none of the released ones, there is no encoder or no regression head, or a value is not
            finite; names it.
    """
    state: dict[str, Tensor] = {}
    dropped: dict[str, list[str]] = {}
    unknown = []
    for name, tensor in released.items():
        reason = next((why for pattern, why in DEAD.items() if re.fullmatch(pattern, name)), None)
        if reason:
            dropped.setdefault(reason, []).append(name)
        elif _OURS.match(name):
            state[f"network.{'' if name.startswith(HEAD) else 'encoder.'}{name}"] = tensor
        else:
            unknown.append(name)
    if unknown:
        raise InputError(f"this is no released TreeFormer: unexpected {_listed(unknown)}")
    for part, needed in (("encoder", "pos_embed1"), ("regression head", f"{HEAD}conv4.weight")):
        if needed not in released:
            raise InputError(f"this is no whole TreeFormer: without {needed!r} it has no {part}")
    notes = [f"dropped {_listed(names)}: {reason}, never used" for reason, names in dropped.items()]
    return {name: _checked(name, tensor, notes) for name, tensor in state.items()}, notes


def _part(name: str) -> Callable[[Mapping[str, Tensor]], tuple[dict[str, Tensor], list[str]]]:
    """Takes one part out of a released file."""

    def converter(released: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        state, notes = convert(released)
        prefix = f"network.{name}."
        found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        return found, [*notes, f"left {len(state) - len(found)} tensors of the rest of the model behind"]

    return converter


PARTS = {"encoder": _part("encoder"), "regression": _part("regression")}


def _checked(name: str, tensor: Tensor, notes: list[str]) -> Tensor:
    """The tensor in float32, counters in int64."""
    if name.endswith("num_batches_tracked"):
        return tensor.to(torch.int64)
    if not tensor.is_floating_point():
        raise InputError(f"{name}: expected floating-point numbers, found {tensor.dtype}")
    if not torch.isfinite(tensor).all():
        raise InputError(f"{name}: holds values that are not finite")
    if tensor.dtype != torch.float32:
        note = f"turned tensors from {tensor.dtype} to float32"
        if note not in notes:
            notes.append(note)
    return tensor.float()


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
