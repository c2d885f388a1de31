"""What a tower is: the part of the network that turns an image or a caption into tokens."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from zoo.domains.reid.tokenizers import Tokenizer, build_tokenizer

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class TowerOutput(NamedTuple):
    """Tokens and what they attend to.

    Attributes:
        tokens: ``(B, N, D)``, projected.
        attention: ``(B, N, N)``, the last block's, averaged over heads; row i is what token i looks at.
        position: ``(B,)``, where the global token stands.
        real: ``(B, N)`` bool, True = a patch or a word: neither global, start or end token, nor padding.
    """

    tokens: Tensor
    attention: Tensor
    position: Tensor
    real: Tensor


class ImageTower(nn.Module):
    """Base of the image towers: ``forward(images (B, 3, H, W)) -> TowerOutput``.

    Args:
        embed: D, width of its tokens.
        image_size: Height and width that it takes.
    """

    mean: ClassVar[tuple[float, float, float]] = CLIP_MEAN
    std: ClassVar[tuple[float, float, float]] = CLIP_STD

    def __init__(self, embed: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.embed = embed
        self.image_size = (int(image_size[0]), int(image_size[1]))

    def check_images(self, images: Tensor) -> None:
        """Refuses another shape.

        Raises:
            ValueError: Names the shape given and the one expected.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, *self.image_size):
            height, width = self.image_size
            raise ValueError(f"images: shape {tuple(images.shape)} given, expected (B, 3, {height}, {width})")


class TextTower(nn.Module):
    """Base of the text towers: ``forward(tokens (B, L)) -> TowerOutput``.

    Args:
        embed: D, width of its tokens.
        tokenizer: ``clip``, ``hashed`` or ``wordpiece``.
        vocab: Number of token ids.
        context: L, tokens of a caption.
        vocabulary: A local vocabulary file, or null for the one of an installed package.
    """

    def __init__(self, embed: int, tokenizer: str, vocab: int, context: int, vocabulary: str | None) -> None:
        super().__init__()
        self.embed, self.vocab, self.context = embed, vocab, context
        self.tokenizer: Tokenizer = build_tokenizer(tokenizer, vocab, context, vocabulary)

    def check_tokens(self, tokens: Tensor) -> None:
        """Refuses what is no batch of captions.

        Raises:
            ValueError: The shape or dtype does not fit, an id is out of range, or a caption is empty; names the row.
        """
        if tokens.ndim != 2 or tokens.shape[1] != self.context:
            raise ValueError(f"tokens: shape {tuple(tokens.shape)} given, expected (B, {self.context})")
        if tokens.is_floating_point() or tokens.dtype == torch.bool:
            raise ValueError(f"tokens: {tokens.dtype} given, expected whole numbers")
        if torch.compiler.is_compiling() or torch.compiler.is_exporting() or not len(tokens):
            return
        words = (tokens != 0).sum(1) - 2
        if int(words.min()) < 1:
            row = int((words < 1).nonzero()[0])
            raise ValueError(f"tokens: caption {row} is empty: it has no word between its start and end tokens")
        if int(tokens.min()) < 0 or int(tokens.max()) >= self.vocab:
            raise ValueError(
                f"tokens: ids must be 0 to {self.vocab - 1}, got {int(tokens.min())} to {int(tokens.max())}"
            )


def end_positions(tokens: Tensor) -> Tensor:
    """``(B,)``: where the largest id, the end token, stands first in each row of ``tokens (B, L)``."""
    return tokens.argmax(1)


def word_mask(tokens: Tensor, end: Tensor) -> Tensor:
    """``(B, L)`` bool: True for words; padding is id 0, the start token stands first, ``end (B,)`` last."""
    place = torch.arange(tokens.shape[1], device=tokens.device)
    return (tokens != 0) & (place > 0) & (place != end.unsqueeze(1))
