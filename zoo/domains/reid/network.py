"""RDE: two towers, and on each a global embedding (BGE) and one of selected tokens (TSE). No Lightning."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from zoo.domains.reid.clip import TextTransformer, VisionTransformer
from zoo.domains.reid.selection import TokenSelection
from zoo.domains.reid.towers import ImageTower, TextTower, TowerOutput
from zoo.layers.clip_blocks import Attention
from zoo.ranking.checks import wide

Weights = Literal["float32", "bfloat16", "float16"]


class Embeddings(NamedTuple):
    """Both embeddings of images or captions, raw: nothing is normalised.

    Attributes:
        bge: ``(B, D)`` float32, the global token.
        tse: ``(B, T)`` float32, the selected tokens.
    """

    bge: Tensor
    tse: Tensor


class RDEOutput(NamedTuple):
    """Embeddings of images and captions, raw, float32.

    Attributes:
        image_bge: ``(I, D)``.
        image_tse: ``(I, T)``.
        text_bge: ``(C, D)``.
        text_tse: ``(C, T)``.
    """

    image_bge: Tensor
    image_tse: Tensor
    text_bge: Tensor
    text_tse: Tensor


class Similarities(NamedTuple):
    """Cosine similarities of captions (rows) and images (columns), each ``(C, I)`` in [-1, 1].

    Attributes:
        bge: Of the global embeddings.
        tse: Of the token-selection embeddings.
        fused: The mean of both.
    """

    bge: Tensor
    tse: Tensor
    fused: Tensor


class RDENetwork(nn.Module):
    """The network of RDE over any two towers.

    Source: Qin et al., Noisy-Correspondence Learning for Text-to-Image Person Re-Identification, CVPR 2024. With the
    default towers, CLIP ViT-B/16 at 384x128: 152,775,680 parameters, of which 529,408 are never used: the released
    model holds them, and so a released file goes in whole.

    Args:
        image: The image tower; null for CLIP's.
        text: The text tower; null for CLIP's.
        ratio: Share of the tokens that TSE selects, in (0, 1].
        tse: T, width of the token-selection embedding.

    Raises:
        ValueError: The towers do not fit each other, or a number is out of range.
    """

    def __init__(
        self, image: ImageTower | None = None, text: TextTower | None = None, ratio: float = 0.3, tse: int = 1024
    ) -> None:
        super().__init__()
        released = image is None and text is None
        image, text = image or VisionTransformer(), text or TextTransformer()
        if image.embed != text.embed:
            raise ValueError(
                f"embed: {image.embed} in the image tower, {text.embed} in the text tower; they must agree"
            )
        self.towers = nn.ModuleDict({"image": image, "text": text})
        self.image_selection = TokenSelection(
            image.embed, tse, ratio, specials=1, unused_linear=released, unused=released
        )
        self.text_selection = TokenSelection(text.embed, tse, ratio, specials=2, unused=released)

    @property
    def image_tower(self) -> ImageTower:
        """The part that turns images into tokens."""
        return self.towers["image"]  # type: ignore[return-value]

    @property
    def text_tower(self) -> TextTower:
        """The part that turns captions into tokens."""
        return self.towers["text"]  # type: ignore[return-value]

    def encode_image(self, images: Tensor) -> Embeddings:
        """Embeds images.

        Args:
            images: ``(B, 3, H, W)``, normalised; 384x128 for the released model.
        """
        return embed(self.image_tower(images), self.image_selection)

    def encode_text(self, tokens: Tensor) -> Embeddings:
        """Embeds captions.

        Args:
            tokens: ``(B, L)`` token ids, zeros after the end token; L is 77 for the released model.

        Raises:
            ValueError: A caption has no word; names its row.
        """
        return embed(self.text_tower(tokens), self.text_selection)

    def forward(self, images: Tensor, tokens: Tensor) -> RDEOutput:
        """Embeds images ``(I, 3, H, W)`` and captions ``(C, L)``, which need not belong to each other."""
        return RDEOutput(*self.encode_image(images), *self.encode_text(tokens))


def embed(output: TowerOutput, selection: TokenSelection) -> Embeddings:
    """The global token and the selected tokens of what a tower gives."""
    rows = torch.arange(output.tokens.shape[0], device=output.tokens.device)
    return Embeddings(output.tokens[rows, output.position].float(), selection(output).float())


def unit(features: Tensor) -> Tensor:
    """``features (B, D)`` over their length, in float32 at least; all zeros stay zeros."""
    return normalize(wide(features), dim=-1)


def cosines(texts: Tensor, images: Tensor) -> Tensor:
    """``texts (C, D)`` and ``images (I, D)`` -> ``(C, I)``, float32 in mixed precision too: 0.015 is a temperature."""
    with torch.autocast(texts.device.type, enabled=False):
        return unit(texts) @ unit(images).T


def similarities(images: Embeddings, texts: Embeddings) -> Similarities:
    """Cosine similarities of every caption (rows) with every image (columns)."""
    bge, tse = cosines(texts.bge, images.bge), cosines(texts.tse, images.tse)
    return Similarities(bge, tse, (bge + tse) / 2)


def store_weights(network: RDENetwork, weights: Weights) -> None:
    """Stores the matrices of the network in another precision, as the released code does with float16.

    Convolutions, linear layers, attention and projections change; norms and embeddings stay float32.

    Args:
        network: Changed in place.
        weights: The precision.
    """
    dtype = getattr(torch, weights)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | Attention):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
        for name in ("proj", "text_projection"):
            projection = getattr(module, name, None)
            if isinstance(projection, nn.Parameter):
                projection.data = projection.data.to(dtype)
