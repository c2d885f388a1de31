"""The released third-party checkpoints' layout to ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from zoo.errors import InputError

FROZEN = "item_enc."
PREFIXES = ("module.", "model.")
_LAYER = ("self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight", "self_attn.out_proj.bias",
          "linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias", "norm1.weight", "norm1.bias",
          "norm2.weight", "norm2.bias")  # fmt: skip
_SINGLE = ("task_emb", "predict_emb", "embed_emb", "pad_emb", "predict_ffn.1.weight", "predict_ffn.1.bias",
           "embed_ffn.0.weight")  # fmt: skip
LAYERS = 6
NAMES = (*_SINGLE, *(f"style_enc.layers.{layer}.{name}" for layer in range(LAYERS) for name in _LAYER))


def convert(released: Mapping[str, object]) -> tuple[dict[str, Tensor], list[str]]:
    """Maps ``compatibillity_clip_best.pth`` or ``complementary_clip_best.pth`` onto ours, strictly.

    Args:
        released: The state dict of the file (its key ``model``), with ``module.`` before the names or without, with
            the frozen CLIP under ``item_enc.`` or without.

    Returns:
        Our tensors, ``network.task_emb`` and so on, float32; and what was done or dropped, one line each.

    Raises:
        InputError: A tensor is missing, unexpected, misshapen or not finite; names it.
    """
    notes: list[str] = []
    values = dict(released)
    for prefix in PREFIXES:
        if values and all(name.startswith(prefix) for name in values):
            values = {name.removeprefix(prefix): value for name, value in values.items()}
            notes.append(f"removed {prefix!r} before every name")
    frozen = [name for name in values if name.startswith(FROZEN)]
    if frozen:
        values = {name: value for name, value in values.items() if name not in frozen}
        notes.append(f"dropped {_towers(frozen)}: the frozen CLIP, which transformers loads by name (encoder.image)")
    _same_names(values)
    state = {name: _tensor(name, values[name]) for name in NAMES}
    kinds = Counter(str(tensor.dtype) for tensor in state.values() if tensor.dtype != torch.float32)
    notes += [f"turned {count} tensors from {kind} to float32" for kind, count in kinds.items()]
    notes.append("both heads are taken; the compatibility file's embed_ffn and embed_emb are untrained")
    return {f"network.{name}": tensor.to(torch.float32).contiguous() for name, tensor in state.items()}, notes


def _towers(names: list[str]) -> str:
    """``391 tensors under item_enc (image_enc 197, text_enc 194)``."""
    counts = Counter(name.split(".")[1] for name in names)
    return f"{len(names)} tensors under item_enc ({', '.join(f'{tower} {count}' for tower, count in counts.items())})"


def _same_names(values: Mapping[str, object]) -> None:
    missing = [name for name in NAMES if name not in values]
    unexpected = [name for name in values if name not in NAMES]
    if not missing and not unexpected:
        return
    told = [f"{label} {', '.join(map(repr, names[:10]))}" for label, names in
            (("missing", missing), ("unexpected", unexpected)) if names]  # fmt: skip
    raise InputError(f"this is no released outfit transformer: tensor names differ: {'; '.join(told)}")


def _tensor(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise InputError(f"{name}: expected a tensor of numbers, found a {type(value).__name__}")
    if not torch.isfinite(value).all():
        raise InputError(f"{name}: holds values that are not finite")
    return value.detach()
