"""transformers' DeformableDetr of the same size and weights: what the network is timed and checked against."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from zoo.domains.detection.network import RankDETRNetwork

_BLOCK = re.compile(r"backbone\.layer(\d)\.(\d+)\.(conv|bn)(\d)\.(.+)")
_SHORTCUT = re.compile(r"backbone\.layer(\d)\.(\d+)\.downsample\.(\d)\.(.+)")
_RENAMED = (
    (r"^backbone\.conv1\.", "model.backbone.model.embedder.embedder.convolution."),
    (r"^backbone\.bn1\.", "model.backbone.model.embedder.embedder.normalization."),
    (r"^neck\.convs\.(\d)\.conv\.", r"model.input_proj.\1.0."),
    (r"^neck\.convs\.(\d)\.norm\.", r"model.input_proj.\1.1."),
    (r"^neck\.extra\.conv\.", "model.input_proj.3.0."),
    (r"^neck\.extra\.norm\.", "model.input_proj.3.1."),
    (r"^heads\.classes\.", "class_embed."),
    (r"^transformer\.level_embeddings$", "model.level_embed"),
    (r"^transformer\.proposal_norm\.", "model.enc_output_norm."),
    (r"^transformer\.proposal\.", "model.enc_output."),
    (r"^transformer\.position_norm\.", "model.pos_trans_norm."),
    (r"^transformer\.position\.", "model.pos_trans."),
    (r"^transformer\.", "model."),
    (r"(encoder\.layers\.\d+)\.attention\.", r"\1.self_attn."),
    (r"(encoder\.layers\.\d+)\.norm1\.", r"\1.self_attn_layer_norm."),
    (r"(encoder\.layers\.\d+)\.norm2\.", r"\1.final_layer_norm."),
    (r"(decoder\.layers\.\d+)\.self_attention\.out_proj\.", r"\1.self_attn.o_proj."),
    (r"(decoder\.layers\.\d+)\.attention\.", r"\1.encoder_attn."),
    (r"(decoder\.layers\.\d+)\.norm1\.", r"\1.self_attn_layer_norm."),
    (r"(decoder\.layers\.\d+)\.norm2\.", r"\1.encoder_attn_layer_norm."),
    (r"(decoder\.layers\.\d+)\.norm3\.", r"\1.final_layer_norm."),
    (r"\.feed_forward\.inner\.", ".mlp.fc1."),
    (r"\.feed_forward\.outer\.", ".mlp.fc2."),
)


def deformable_detr(seed: int = 0, layers: int = 6, queries: int = 300, ffn_dim: int = 2048) -> RankDETRNetwork:
    """Two-stage Deformable DETR over ResNet-50, 80 classes: Rank-DETR with every part off; random weights."""
    torch.manual_seed(seed)
    network = RankDETRNetwork(
        "resnet50",
        encoder_layers=layers,
        decoder_layers=layers,
        ffn_dim=ffn_dim,
        queries_one2one=queries,
        queries_one2many=0,
        rank_adaptive_head=False,
        query_rank_layer=False,
        look_forward_twice=False,
        mixed_selection=False,
    )
    classes: list[Any] = list(network.heads.classes)
    boxes: list[Any] = list(network.heads.boxes)
    for head in (*classes, *(box[-1] for box in boxes)):
        nn.init.normal_(head.weight, std=0.02)
    # tokens at the rim, whose boxes the two implementations bound by 1e-3 and 1e-5, are never chosen
    with torch.no_grad():
        network.transformer.proposal.bias.copy_(-classes[-1].weight[0])
    return network


def transformers_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of :func:`deformable_detr` under the names of ``DeformableDetrForObjectDetection``."""
    result: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name == "query_embedding.weight":  # without mixed selection contents come from the proposals
            continue
        if found := re.fullmatch(r"transformer\.(decoder\.layers\.\d+)\.self_attention\.in_proj_(weight|bias)", name):
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                result[f"model.{found[1]}.self_attn.{letter}_proj.{found[2]}"] = part
            continue
        new = _renamed(name)
        result[new] = tensor
        if new.startswith(("class_embed.", "bbox_embed.")):
            result[f"model.decoder.{new}"] = tensor
    return result


def _renamed(name: str) -> str:
    stage = "model.backbone.model.encoder.stages"
    kinds = {"conv": "convolution", "bn": "normalization", "0": "convolution", "1": "normalization"}
    if found := _BLOCK.fullmatch(name):
        return f"{stage}.{int(found[1]) - 1}.layers.{found[2]}.layer.{int(found[4]) - 1}.{kinds[found[3]]}.{found[5]}"
    if found := _SHORTCUT.fullmatch(name):
        return f"{stage}.{int(found[1]) - 1}.layers.{found[2]}.shortcut.{kinds[found[3]]}.{found[4]}"
    if found := re.fullmatch(r"heads\.boxes\.(\d+)\.(\d)\.(.+)", name):
        return f"bbox_embed.{found[1]}.layers.{int(found[2]) // 2}.{found[3]}"
    for pattern, new in _RENAMED:
        name = re.sub(pattern, new, name)
    return name


def transformers_twin(network: RankDETRNetwork) -> Any:
    """A ``DeformableDetrForObjectDetection`` with the weights of :func:`deformable_detr`; takes normalised pixels."""
    library: Any = import_module("transformers")
    decoder: Any = network.transformer.decoder
    layers, ffn_dim = len(decoder.layers), decoder.layers[0].feed_forward.inner.out_features
    configuration = library.DeformableDetrConfig(
        backbone_config=library.ResNetConfig(out_features=["stage2", "stage3", "stage4"]),
        two_stage=True,
        with_box_refine=True,
        num_labels=network.num_classes,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_ffn_dim=ffn_dim,
        decoder_ffn_dim=ffn_dim,
        d_model=network.transformer.width,
        num_queries=network.queries_one2one,
        two_stage_num_proposals=network.queries_one2one,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
    )
    twin = library.DeformableDetrForObjectDetection(configuration)
    twin.load_state_dict(transformers_names(network.state_dict()))
    return twin
