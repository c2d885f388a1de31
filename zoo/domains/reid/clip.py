"""The two transformers of CLIP with token outputs and the attention of their last block. No Lightning.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021; as RDE uses it
(Qin et al., CVPR 2024): every token is projected, not only the global one. Smaller numbers give towers that two CPU
cores can train from scratch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.domains.reid.towers import ImageTower, TextTower, TowerOutput, end_positions, word_mask
from zoo.layers.clip_blocks import LayerNorm, Transformer


class VisionTransformer(ImageTower):
    """CLIP's image tower; the defaults are ViT-B/16 at 384x128.

    Args:
        image_size: Height and width.
        patch: Side of a patch.
        stride: Step from patch to patch; less than ``patch`` makes them overlap.
        width: Width of the transformer.
        layers: Blocks.
        heads: Heads of a block.
        embed: D, width of the projected tokens.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (384, 128),
        patch: int = 16,
        stride: int = 16,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        embed: int = 512,
    ) -> None:
        super().__init__(embed, image_size)
        rows, columns = ((side - patch) // stride + 1 for side in image_size)
        if rows < 1 or columns < 1:
            raise ValueError(f"image_size: {tuple(image_size)} given, smaller than a patch of {patch}")
        self.grid = (rows, columns)
        scale = width**-0.5
        self.conv1 = nn.Conv2d(3, width, patch, stride, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(rows * columns + 1, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, layers, heads, causal=False)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, embed))

    def forward(self, images: Tensor) -> TowerOutput:
        """``images (B, 3, H, W)``, normalised -> the class token, then the patches row by row."""
        self.check_images(images)
        patches = self.conv1(images.to(self.conv1.weight.dtype)).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        x = torch.cat([first, patches], dim=1) + self.positional_embedding.to(patches.dtype)
        x, attention = self.transformer.attended(self.ln_pre(x))
        tokens = self.ln_post(x) @ self.proj.to(x.dtype)
        real = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        real[:, 0] = False
        first_position = torch.zeros(tokens.shape[0], dtype=torch.long, device=tokens.device)
        return TowerOutput(tokens, attention, first_position, real)


class TextTransformer(TextTower):
    """CLIP's text tower; the defaults are those of ViT-B/16.

    A caption is ``start, words, end`` and then zeros; the end token has the largest id and is the global token.

    Args:
        tokenizer: ``clip`` (byte pairs of CLIP, 49,408 ids) or ``hashed`` (words hashed into ``vocab`` ids; needs no
            vocabulary file).
        vocab: Number of token ids.
        context: Tokens of a caption.
        width: Width of the transformer.
        layers: Blocks.
        heads: Heads of a block.
        embed: D, width of the projected tokens.
        vocabulary: CLIP's ``bpe_simple_vocab_16e6.txt.gz``; null takes it from the package ``open_clip_torch``.
    """

    def __init__(
        self,
        tokenizer: str = "clip",
        vocab: int = 49408,
        context: int = 77,
        width: int = 512,
        layers: int = 12,
        heads: int = 8,
        embed: int = 512,
        vocabulary: str | None = None,
    ) -> None:
        super().__init__(embed, tokenizer, vocab, context, vocabulary)
        self.token_embedding = nn.Embedding(vocab, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(context, width))
        self.transformer = Transformer(width, layers, heads, causal=True)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, embed))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> TowerOutput:
        """``tokens (B, L)`` token ids -> a token for each."""
        self.check_tokens(tokens)
        x = self.token_embedding(tokens) + self.positional_embedding
        x, attention = self.transformer.attended(x.to(self.transformer.dtype))
        projected = self.ln_final(x) @ self.text_projection.to(x.dtype)
        end = end_positions(tokens)
        return TowerOutput(projected, attention, end, word_mask(tokens, end))
