"""Released files to ours: RDE's ``best.pth``, and CLIP of OpenAI or of transformers as the part ``clip``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InputError

GRID, OLD_GRID = (24, 8), (14, 14)  # patches of 384x128 and of 224x224
LAYERS = 12
_BLOCK = [
    *(f"{name}.{kind}" for name in ("ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj", "attn.out_proj")
      for kind in ("weight", "bias")),
    "attn.in_proj_weight", "attn.in_proj_bias",
]  # fmt: skip
_LINEAR, _NORM = ("weight", "bias"), ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
# transformers' names of a block's parts; its attention stands in three tensors
_HUB_BLOCK = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}  # fmt: skip
_HUB_TEXT = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_HUB_IMAGE = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",  # so in transformers
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}


def convert(released: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Maps a released RDE model onto ours, strictly.

    Args:
        released: ``base_model.*``, ``visul_emb_layer.*`` and ``texual_emb_layer.*`` (so spelt), float16, float32 or
            mixed, with or without ``module.`` before every name.

    Returns:
        Our tensors, float32 (counters stay whole numbers); and what was done or dropped, one line each.

    Raises:
        InputError: A tensor is missing, unexpected, no number or not finite; names it.
    """
    released = _without_module(released)
    names = {f"base_model.{official}": f"network.towers.{ours}" for official, ours in clip_names().items()}
    names |= _selection_names()
    values, notes = _without_scale(released, "base_model.logit_scale")
    state = _renamed(values, names, "released RDE model")
    notes += _precision(values)
    notes.append(
        "kept as they are, never used: visul_emb_layer.linear and mlp.bns.1 of both layers (529,408 parameters)"
    )
    return state, notes


def convert_clip(released: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Maps CLIP ViT-B/16 onto our towers (``image.*``, ``text.*``), strictly.

    Args:
        released: OpenAI's state dict, or that of transformers' ``CLIPModel``; float16, float32 or mixed, with or
            without ``module.`` before every name. Position embeddings of 224x224 are resized to the grid of 384x128.

    Returns:
        Our tensors, float32; and what was done or dropped, one line each.

    Raises:
        InputError: As :func:`convert`.
    """
    released = _without_module(released)
    hub = any(name.startswith(("text_model.", "vision_model.")) for name in released)
    values, notes = _without_scale(released, "logit_scale")
    aside = [name for name in values if name.endswith("position_ids")] if hub else [
        name for name in ("input_resolution", "context_length", "vocab_size") if name in values
    ]  # fmt: skip
    if aside:
        values = {name: tensor for name, tensor in values.items() if name not in aside}
        notes.append(f"dropped {', '.join(aside)}: no weights")
    kind = "CLIP ViT-B/16 of transformers" if hub else "CLIP ViT-B/16 of OpenAI"
    notes += _precision(values)
    if hub:
        values = _from_hub(values, kind)
        notes.append("joined the query, key and value tensors of every block; transposed both projections")
    state = _renamed(values, clip_names(), kind)
    table = state["image.positional_embedding"]
    if table.ndim == 2 and len(table) == 1 + OLD_GRID[0] * OLD_GRID[1]:
        state["image.positional_embedding"] = resize_positions(table, OLD_GRID, GRID)
        notes.append(f"resized the position embeddings of the image tower from {len(table)} to {1 + GRID[0] * GRID[1]}")
    return state, notes


PARTS: dict[str, Callable[[Mapping[str, Tensor]], tuple[dict[str, Tensor], list[str]]]] = {"clip": convert_clip}


def resize_positions(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Resizes position embeddings to another grid of patches, bilinearly; the class token's row stays.

    Args:
        table: ``(1 + old rows * old columns, D)``.
        old: Rows and columns that it was made for.
        new: Rows and columns wanted.

    Returns:
        ``(1 + new rows * new columns, D)``.
    """
    grid = table[1:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, new, mode="bilinear", align_corners=False)
    return torch.cat([table[:1], resized[0].flatten(1).T])


def clip_names() -> dict[str, str]:
    """Every tensor of OpenAI's CLIP ViT-B/16 but ``logit_scale``, and its name in our towers."""
    blocks = [f"transformer.resblocks.{layer}.{name}" for layer in range(LAYERS) for name in _BLOCK]
    text = [*_HUB_TEXT, "text_projection", *blocks]
    image = [*_HUB_IMAGE, "proj", *blocks]
    return {**{name: f"text.{name}" for name in text}, **{f"visual.{name}": f"image.{name}" for name in image}}


def _selection_names() -> dict[str, str]:
    names: dict[str, str] = {}
    for official, ours, fc, spare in (
        ("visul_emb_layer", "image_selection", "fc", "linear"),
        ("texual_emb_layer", "text_selection", "linear", None),
    ):
        layers = {fc: "fc", "mlp.layers.0": "inner", "mlp.layers.1": "outer"}
        if spare is not None:
            layers[spare] = "unused.linear"
        norms = {"mlp.bns.0": "norm", "mlp.bns.1": "unused.norm"}
        for parts, kinds in ((layers, _LINEAR), (norms, _NORM)):
            for theirs, mine in parts.items():
                names.update({f"{official}.{theirs}.{kind}": f"network.{ours}.{mine}.{kind}" for kind in kinds})
    return names


def _without_module(released: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if not released or not all(name.startswith("module.") for name in released):
        return released
    return {name.removeprefix("module."): tensor for name, tensor in released.items()}


def _without_scale(released: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], list[str]]:
    values = dict(released)
    if name not in values:
        return values, []
    del values[name]
    return values, [f"dropped {name}: RDE has no learnt scale"]


def _precision(values: Mapping[str, Tensor]) -> list[str]:
    halves = sum(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in values.values())
    return [f"turned {halves} of {len(values)} tensors from half precision to float32"] if halves else []


def _renamed(values: Mapping[str, Tensor], names: Mapping[str, str], kind: str) -> dict[str, Tensor]:
    missing = [name for name in names if name not in values]
    unexpected = [name for name in values if name not in names]
    told = [f"{len(found)} {label}: {', '.join(found[:10])}" for label, found in
            (("missing", missing), ("unexpected", unexpected)) if found]  # fmt: skip
    if told:
        raise InputError(f"this is no {kind}: tensors {'; '.join(told)}")
    state: dict[str, Tensor] = {}
    for official, ours in names.items():
        tensor = values[official]
        if tensor.is_floating_point():
            tensor = tensor.float()
            if not torch.isfinite(tensor).all():
                raise InputError(f"{official}: holds values that are not finite")
        elif not official.endswith("num_batches_tracked"):
            raise InputError(f"{official}: expected real numbers, found {tensor.dtype}")
        state[ours] = tensor.contiguous()
    return state


def _from_hub(values: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """transformers' tensors under OpenAI's names; a name that is missing there is left out, and told later."""
    given = dict(values)
    state: dict[str, Tensor] = {}

    def move(official: str, hub: str, transpose: bool = False) -> None:
        if hub in given:
            tensor = given.pop(hub)
            state[official] = tensor.T if transpose else tensor

    for prefix, model, names in (("", "text_model", _HUB_TEXT), ("visual.", "vision_model", _HUB_IMAGE)):
        for official, hub in names.items():
            move(f"{prefix}{official}", f"{model}.{hub}")
        for layer in range(LAYERS):
            block, theirs = f"{prefix}transformer.resblocks.{layer}", f"{model}.encoder.layers.{layer}"
            for official, hub in _HUB_BLOCK.items():
                for part in _LINEAR:
                    move(f"{block}.{official}.{part}", f"{theirs}.{hub}.{part}")
            for part in _LINEAR:
                thirds = [f"{theirs}.self_attn.{name}_proj.{part}" for name in "qkv"]
                absent = [name for name in thirds if name not in given]
                if absent:
                    raise InputError(f"this is no {kind}: tensors missing: {', '.join(absent)}")
                state[f"{block}.attn.in_proj_{part}"] = torch.cat([given.pop(name) for name in thirds])
    move("text_projection", "text_projection.weight", transpose=True)
    move("visual.proj", "visual_projection.weight", transpose=True)
    return {**state, **given}
