"""The transformer blocks of CLIP, under OpenAI's tensor names. Layer norms are computed in float32.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
    """A stack of blocks; the last one gives its attention where it is wanted.

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

    def forward(self, x: Tensor) -> Tensor:
        """``x (B, N, D)`` -> the same."""
        for block in self.resblocks:
            x, _ = block(x, self.causal)
        return x

    def attended(self, x: Tensor) -> tuple[Tensor, Tensor]:
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
