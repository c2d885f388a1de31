"""The two transformers of CLIP with token outputs and the attention of their last block. No Lightning.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021; as RDE uses it
(Qin et al., CVPR 2024): every token is projected, not only the global one. Smaller numbers give towers that two CPU
cores can train from scratch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.domains.reid.towers import ImageTower, TextTower, TowerOutput, end_positions, word_mask


class LayerNorm(nn.LayerNorm):
    """Normalises in float32 whatever the precision of its input, and gives that precision back."""

    def forward(self, x: Tensor) -> Tensor:
        """``x (..., D)``."""
        return super().forward(x.float()).to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with the tensors of ``nn.MultiheadAttention``.

    Args:
        width: D.
        heads: Divides the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width: {width} given, expected a multiple of the {heads} heads")
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(
        self, x: Tensor, causal: bool, weights: bool, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Attends.

        Args:
            x: ``(B, N, D)``.
            causal: Whether a token sees only itself and those before it.
            weights: Whether the attention weights are wanted.
            keep: ``(B, N)`` bool, True = may be seen; None where all may. Not together with ``causal``.

        Returns:
            ``(B, N, D)``, and the weights averaged over the heads ``(B, N, N)`` where they are wanted.
        """
        batch, count, width = x.shape
        joined = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = joined.view(batch, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if not weights:
            mask = None if keep is None else keep[:, None, None, :]
            mixed = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
            return self.out_proj(mixed.transpose(1, 2).reshape(batch, count, width)), None
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if causal:
            ahead = torch.ones(count, count, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(ahead, -torch.inf)
        if keep is not None:
            scores = scores.masked_fill(~keep[:, None, None, :], -torch.inf)
        attention = scores.softmax(-1)
        mixed = (attention @ v).transpose(1, 2).reshape(batch, count, width)
        return self.out_proj(mixed), attention.mean(1)


class QuickGELU(nn.Module):
    """``x * sigmoid(1.702 x)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """A pre-norm transformer block: ``x + attention(ln_1 x)``, then ``x + mlp(ln_2 x)``.

    Args:
        width: D.
        heads: Divides the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.attn = LayerNorm(width), Attention(width, heads)
        self.ln_2 = LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(
        self, x: Tensor, causal: bool = False, weights: bool = False, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """``x (B, N, D)`` -> the same, and the attention ``(B, N, N)`` averaged over heads where it is wanted."""
        mixed, attention = self.attn(self.ln_1(x), causal, weights, keep)
        x = x + mixed
        return x + self.mlp(self.ln_2(x)), attention


class Transformer(nn.Module):
    """A stack of blocks; the last one gives its attention.

    Args:
        width: D.
        layers: Number of blocks, at least 1.
        heads: Divides the width.
        causal: Whether a token sees only itself and those before it.
    """

    def __init__(self, width: int, layers: int, heads: int, causal: bool) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers: {layers} given, expected at least 1")
        self.causal = causal
        blocks = [Block(width, heads) for _ in range(layers)]
        start_blocks(blocks, width)
        self.resblocks = nn.ModuleList(blocks)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its matrices."""
        first: Any = self.resblocks[0]
        kind: torch.dtype = first.attn.in_proj_weight.dtype
        return kind

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``x (B, N, D)`` -> the same, and the last block's attention ``(B, N, N)``."""
        for block in self.resblocks[:-1]:
            x, _ = block(x, self.causal)
        x, attention = self.resblocks[-1](x, self.causal, weights=True)
        return x, attention


def start_blocks(blocks: list[Block], width: int) -> None:
    """CLIP's initialisation: residual projections start smaller the deeper the stack is."""
    inner, residual = width**-0.5, (2 * width * len(blocks)) ** -0.5
    for block in blocks:
        nn.init.normal_(block.attn.in_proj_weight, std=inner)
        nn.init.normal_(block.attn.out_proj.weight, std=residual)
        nn.init.zeros_(block.attn.out_proj.bias)
        nn.init.normal_(block.mlp.get_parameter("c_fc.weight"), std=(2 * width) ** -0.5)
        nn.init.normal_(block.mlp.get_parameter("c_proj.weight"), std=residual)


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
        x, attention = self.transformer(self.ln_pre(x))
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
        x, attention = self.transformer(x.to(self.transformer.dtype))
        projected = self.ln_final(x) @ self.text_projection.to(x.dtype)
        end = end_positions(tokens)
        return TowerOutput(projected, attention, end, word_mask(tokens, end))
