"""CLIP with a vision transformer, under OpenAI's tensor names; what LIQE's features come from. No Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo.errors import InputError
from zoo.layers.clip_blocks import Transformer

HEAD = 64  # channels of a head
CLIP_KEYS = (
    "positional_embedding", "text_projection", "logit_scale", "visual.class_embedding", "visual.positional_embedding",
    "visual.proj", "visual.conv1.weight", "token_embedding.weight", "ln_final.weight",
)  # fmt: skip
CLIP_EXTRAS = ("input_resolution", "context_length", "vocab_size")
"""Scalars in the state dicts of OpenAI's archives; the shapes of the tensors say the same."""


class Sizes(NamedTuple):
    """Sizes of a CLIP; the defaults are ViT-B/32's, 151,277,313 parameters.

    Attributes:
        resolution: Side of the image in pixels.
        patch: Side of a patch in pixels.
        width: Of the vision transformer; a head has 64 channels.
        layers: Of the vision transformer.
        embed: Of the common space.
        context: Tokens of a text.
        vocabulary: Number of tokens.
        text_width: Of the text transformer; a head has 64 channels.
        text_layers: Of the text transformer.
    """

    resolution: int = 224
    patch: int = 32
    width: int = 768
    layers: int = 12
    embed: int = 512
    context: int = 77
    vocabulary: int = 49408
    text_width: int = 512
    text_layers: int = 12


def _transformer(width: int, layers: int, causal: bool = False) -> Transformer:
    return Transformer(width, layers, max(1, width // HEAD), causal)


class _Vision(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, tokens = sizes.width, (sizes.resolution // sizes.patch) ** 2 + 1
        self.conv1 = nn.Conv2d(3, width, sizes.patch, sizes.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positional_embedding = nn.Parameter(torch.randn(tokens, width) * width**-0.5)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = _transformer(width, sizes.layers)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, sizes.embed) * width**-0.5)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(patches), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        result: Tensor = self.ln_post(self.transformer(x)[:, 0]) @ self.proj
        return result


class CLIP(nn.Module):
    """Image and text encoder of CLIP.

    Source: Radford et al., ICML 2021; tensor names and order of operations of OpenAI's ViT models.

    Args:
        sizes: Of the network.
    """

    def __init__(self, sizes: Sizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes or Sizes()
        width = self.sizes.text_width
        self.visual = _Vision(self.sizes)
        self.transformer = _transformer(width, self.sizes.text_layers, causal=True)
        self.token_embedding = nn.Embedding(self.sizes.vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.randn(self.sizes.context, width) * 0.01)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, self.sizes.embed) * width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(100.0).log())

    def encode_image(self, images: Tensor) -> Tensor:
        """Embeds images.

        Args:
            images: ``(B, 3, 224, 224)``, normalised with CLIP's statistics.

        Returns:
            ``(B, 512)``, of any length.
        """
        result: Tensor = self.visual(images)
        return result

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Embeds texts.

        Args:
            tokens: ``(B, 77)`` int64; the highest number of a row ends its text.

        Returns:
            ``(B, 512)``, of any length.
        """
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.ln_final(self.transformer(x))
        result: Tensor = x[torch.arange(len(x), device=x.device), tokens.argmax(1)] @ self.text_projection
        return result


def sizes_of(state: Mapping[str, Any]) -> Sizes:
    """The sizes that a state dict with OpenAI's names tells.

    Raises:
        InputError: It is no such state dict; names what is missing.
    """
    missing = [name for name in CLIP_KEYS if name not in state]
    if missing:
        raise InputError(f"no CLIP state dict with OpenAI's names: missing {', '.join(missing[:5])}")
    width, patch = int(state["visual.conv1.weight"].shape[0]), int(state["visual.conv1.weight"].shape[-1])
    grid = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
    layers = [len({name.split(".")[place] for name in state if name.startswith(prefix)})
              for prefix, place in (("visual.transformer.resblocks.", 3), ("transformer.resblocks.", 2))]  # fmt: skip
    return Sizes(
        resolution=grid * patch,
        patch=patch,
        width=width,
        layers=layers[0],
        embed=int(state["text_projection"].shape[1]),
        context=len(state["positional_embedding"]),
        vocabulary=len(state["token_embedding.weight"]),
        text_width=int(state["ln_final.weight"].shape[0]),
        text_layers=layers[1],
    )


def empty_clip(sizes: Sizes | None = None) -> CLIP:
    """A CLIP whose weights are about to be filled: memory is reserved, nothing is drawn."""
    with torch.device("meta"):
        clip = CLIP(sizes)
    return clip.to_empty(device="cpu").requires_grad_(False).eval()
