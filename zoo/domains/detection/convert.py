"""The released files' names to ours: six Rank-DETR checkpoints (detectron2 style), and ImageNet backbones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from zoo.domains.detection.pretrained import Part, backbone_tensors, floats
from zoo.errors import InputError

_DECODER = "transformer.decoder."
_SHARED = re.compile(rf"^{re.escape(_DECODER)}((?:class|bbox)_embed\..+)$")
_PIXELS = ("pixel_mean", "pixel_std")
_ATTENTION = r"(sampling_offsets|attention_weights|value_proj|output_proj)\.(weight|bias)"
_RULES: tuple[tuple[str, str], ...] = (
    (r"neck\.convs\.(\d+)\.(conv|norm)\.(weight|bias)", r"neck.convs.\1.\2.\3"),
    (r"neck\.extra_convs\.0\.(conv|norm)\.(weight|bias)", r"neck.extra.\1.\2"),
    (r"query_embedding\.weight", r"query_embedding.weight"),
    (r"transformer\.level_embeds", r"transformer.level_embeddings"),
    (rf"(transformer\.encoder\.layers\.\d+)\.attentions\.0\.{_ATTENTION}", r"\1.attention.\2.\3"),
    (rf"(transformer\.decoder\.layers\.\d+)\.attentions\.1\.{_ATTENTION}", r"\1.attention.\2.\3"),
    (
        r"(transformer\.decoder\.layers\.\d+)\.attentions\.0\.attn\.(in_proj_weight|in_proj_bias)",
        r"\1.self_attention.\2",
    ),
    (
        r"(transformer\.decoder\.layers\.\d+)\.attentions\.0\.attn\.out_proj\.(weight|bias)",
        r"\1.self_attention.out_proj.\2",
    ),
    (r"(transformer\.\w+\.layers\.\d+)\.ffns\.0\.layers\.0\.0\.(weight|bias)", r"\1.feed_forward.inner.\2"),
    (r"(transformer\.\w+\.layers\.\d+)\.ffns\.0\.layers\.1\.(weight|bias)", r"\1.feed_forward.outer.\2"),
    (r"transformer\.decoder\.rank_aware_content_query\.(\d+)\.weight", r"transformer.decoder.rank_layers.\1.ranks"),
    (r"transformer\.decoder\.pre_racq_trans\.(\d+)\.(weight|bias)", r"transformer.decoder.rank_layers.\1.before.\2"),
    (r"transformer\.decoder\.post_racq_trans\.(\d+)\.(weight|bias)", r"transformer.decoder.rank_layers.\1.after.\2"),
    (r"transformer\.enc_output\.(weight|bias)", r"transformer.proposal.\1"),
    (r"transformer\.enc_output_norm\.(weight|bias)", r"transformer.proposal_norm.\1"),
    (r"transformer\.pos_trans\.(weight|bias)", r"transformer.position.\1"),
    (r"transformer\.pos_trans_norm\.(weight|bias)", r"transformer.position_norm.\1"),
    (r"class_embed\.(\d+)\.(weight|bias)", r"heads.classes.\1.\2"),
    (r"rank_adaptive_classhead_emb\.(\d+)\.weight", r"heads.ranks.\1"),
)
_NORMS = re.compile(r"(transformer\.\w+\.layers\.\d+)\.norms\.(\d)\.(weight|bias)")
_BOXES = re.compile(r"bbox_embed\.(\d+)\.layers\.(\d)\.(weight|bias)")
_COMPILED = [(re.compile(pattern), new) for pattern, new in _RULES]


def convert(released: Mapping[str, Tensor]) -> Part:
    """Maps a released Rank-DETR onto ours, strictly.

    Args:
        released: 662 entries for R50, 584 for Swin-T, 752 for Swin-L. Class and box heads are there twice, under
            ``class_embed`` and ``transformer.decoder.class_embed``; either is enough, two must be equal.

    Returns:
        Our tensors, float32; and what was done or dropped, one line each.

    Raises:
        InputError: A name is unknown, the two copies of a head differ, or a value is not finite; names it.
    """
    notes: list[str] = []
    backbone = {name: value for name, value in released.items() if name.startswith("backbone.")}
    rest = {name: value for name, value in released.items() if name not in backbone}
    if not rest or not any(name.startswith("transformer.") for name in rest):
        raise InputError(f"this is no released Rank-DETR: it has no transformer{_hint(released)}")
    if pixels := [name for name in rest if name in _PIXELS]:
        notes.append(f"dropped {', '.join(pixels)}: constants of the network")
    single = _without_copies({name: value for name, value in rest.items() if name not in pixels}, notes)
    state, unknown = {}, []
    for name, value in single.items():
        new = _renamed(name)
        if new is None:
            unknown.append(name)
        else:
            state[f"network.{new}"] = value
    if unknown:
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        raise InputError(f"this is no released Rank-DETR: {len(unknown)} unexpected: {', '.join(unknown[:10])}{more}")
    state = floats(state, notes)
    state |= {f"network.backbone.{name}": value for name, value in _backbone(backbone, notes).items()}
    return state, notes


PARTS: dict[str, Callable[[Mapping[str, Tensor]], Part]] = {"backbone": backbone_tensors}


def _backbone(tensors: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """One of the paper's backbones by our names; one of the user's own keeps its names."""
    inner = {name.removeprefix("backbone."): value for name, value in tensors.items()}
    if not any(name in inner for name in ("patch_embed.proj.weight", "stem.conv1.weight")):
        return floats(inner, notes)
    state, told = backbone_tensors(inner)
    notes.extend(told)
    return state


def _without_copies(tensors: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """The heads under one name each."""
    single: dict[str, Tensor] = {}
    copies = []
    for name, value in tensors.items():
        found = _SHARED.match(name)
        plain = found[1] if found else name
        if plain not in single:
            single[plain] = value
            continue
        if single[plain].shape != value.shape or not torch.equal(single[plain], value):
            raise InputError(f"{plain} and {_DECODER}{plain} should be the same tensor, but differ")
        copies.append(f"{_DECODER}{plain}")
    if copies:
        notes.append(f"dropped {len(copies)} duplicates of class_embed and bbox_embed: {', '.join(copies)}")
    return single


def _renamed(name: str) -> str | None:
    if found := _NORMS.fullmatch(name):
        return f"{found[1]}.norm{int(found[2]) + 1}.{found[3]}"
    if found := _BOXES.fullmatch(name):
        return f"heads.boxes.{found[1]}.{2 * int(found[2])}.{found[3]}"
    for pattern, new in _COMPILED:
        if found := pattern.fullmatch(name):
            return found.expand(new)
    return None


def _hint(released: Mapping[str, Tensor]) -> str:
    try:
        backbone_tensors(released)
    except InputError:
        return f"; it begins with {', '.join(list(released)[:5])}"
    return "; it is a backbone: --part backbone"
