"""What ``zoo bench quality`` times: the small and the paper's network, training and prediction, and LIQE's features.

The peer of LIQE's image encoder is transformers' CLIP ViT-B/32 with the same weights. For the whole method there is
none: pyiqa, which has LIQE too, has a non-commercial licence.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.domains.quality.clip import CLIP
from zoo.domains.quality.liqe import LIQE
from zoo.domains.quality.module import DNPIQA
from zoo.domains.quality.network import LIQE_LOGITS
from zoo.training.speed import Case, Work

_WINDOWS = 4


def cases() -> list[Case]:
    """The lines of the benchmark."""
    small: dict[str, Any] = {"backbone": "tf_efficientnet_lite0", "liqe": False, "resize": 192, "crop": 160}
    return [
        Case("training step, EfficientNet-Lite0, 16 images of 160 px", lambda: _step(small, 16)),
        Case("predict, EfficientNet-Lite0, five crops of one 480 x 640 image", lambda: _predict(small)),
        Case("training step, Swin-B 384, 2 images", lambda: _step({}, 2), slow=True),
        Case("predict, Swin-B 384, five crops of one 480 x 640 image", lambda: _predict({}), slow=True),
        Case("LIQE logits of one 480 x 640 image, ViT-B/32, 15 windows", _liqe, slow=True),
        Case(
            f"CLIP ViT-B/32 image encoder, {_WINDOWS} windows",
            _encoder,
            {"transformers": _peer_encoder},
            _agree,
        ),
    ]


def _module(options: dict[str, Any]) -> DNPIQA:
    torch.manual_seed(0)
    return DNPIQA(**options)


def _step(options: dict[str, Any], images: int) -> Work:
    module = _module(options)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-5, weight_decay=1e-7)
    pixels = torch.randn(images, 3, module.crop, module.crop)
    half = images // 2
    batch = {
        "image": pixels,
        "face": pixels,
        "aux": torch.randn(images, LIQE_LOGITS),
        "score": torch.arange(float(images)),
        "scene": torch.zeros(images, dtype=torch.int64),
        "pair": torch.tensor([[row, row + half] for row in range(half)]),
        "id": [str(row) for row in range(images)],
    }

    def work() -> object:
        optimizer.zero_grad()
        (loss,) = module.terms(batch).values()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return work


def _predict(options: dict[str, Any]) -> Work:
    module = _module(options).eval()
    image = torch.randint(0, 256, (3, 480, 640)).to(torch.uint8)
    aux = torch.randn(1, LIQE_LOGITS) if module.network.liqe else None
    return lambda: module.predict(image, aux=aux).score


def _clip() -> CLIP:
    torch.manual_seed(0)
    return CLIP().eval().requires_grad_(False)


def _liqe() -> Work:
    liqe = LIQE(_clip())
    image = torch.randint(0, 256, (3, 480, 640)).to(torch.uint8)
    liqe.logits(image)  # the texts, once
    return lambda: liqe.logits(image)


def _windows() -> Tensor:
    return torch.randn(_WINDOWS, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def _encoder() -> Work:
    clip, windows = _clip(), _windows()

    def work() -> object:
        with torch.inference_mode():
            return clip.encode_image(windows)

    return work


def _peer_encoder() -> Work:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    clip, windows = _clip(), _windows()
    config = CLIPVisionConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224,
        patch_size=32, hidden_act="quick_gelu", projection_dim=512,
    )  # fmt: skip
    peer = CLIPVisionModelWithProjection(config).eval().requires_grad_(False)
    peer.load_state_dict(_peer_names(clip.visual.state_dict()), strict=False)

    def work() -> object:
        with torch.inference_mode():
            return peer(pixel_values=windows).image_embeds

    return work


def _peer_names(visual: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names of the vision transformer as transformers'."""
    model = "vision_model"
    result = {
        "visual_projection.weight": visual["proj"].T,
        f"{model}.embeddings.class_embedding": visual["class_embedding"],
        f"{model}.embeddings.position_embedding.weight": visual["positional_embedding"],
        f"{model}.embeddings.patch_embedding.weight": visual["conv1.weight"],
    }
    inner = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
             "attn.out_proj": "self_attn.out_proj"}  # fmt: skip
    for kind in ("weight", "bias"):
        result[f"{model}.pre_layrnorm.{kind}"] = visual[f"ln_pre.{kind}"]
        result[f"{model}.post_layernorm.{kind}"] = visual[f"ln_post.{kind}"]
        for layer in range(12):
            old, new = f"transformer.resblocks.{layer}", f"{model}.encoder.layers.{layer}"
            for letter, part in zip("qkv", visual[f"{old}.attn.in_proj_{kind}"].chunk(3), strict=True):
                result[f"{new}.self_attn.{letter}_proj.{kind}"] = part
            result |= {f"{new}.{theirs}.{kind}": visual[f"{old}.{ours}.{kind}"] for ours, theirs in inner.items()}
    return result


def _agree(ours: object, theirs: object) -> None:
    assert isinstance(ours, Tensor)
    assert isinstance(theirs, Tensor)
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
