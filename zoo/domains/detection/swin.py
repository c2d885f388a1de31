"""Swin Transformer as detectors use it: windows of 7 whatever the size of the map, three maps with norms of their own.

It differs from timm's on maps that are no multiple of the window: the map is padded first and rolled then, the window
never shrinks, and odd blocks always shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

WINDOW, SHIFT, PATCH, MLP = 7, 3, 4, 4
BLOCKED = -100.0


def relative_index() -> Tensor:
    """``(49, 49)``: row of the table of biases for each query and key of a window."""
    row, column = (axis.flatten() for axis in torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij"))
    down = row.unsqueeze(1) - row + WINDOW - 1
    across = column.unsqueeze(1) - column + WINDOW - 1
    return down * (2 * WINDOW - 1) + across


def windows(x: Tensor) -> Tensor:
    """``(B, H, W, C)``, multiples of 7, to ``(B * windows, 49, C)``."""
    batch, height, width, channels = x.shape
    tiles = x.view(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    return tiles.transpose(2, 3).reshape(-1, WINDOW * WINDOW, channels)


def shifted_mask(height: int, width: int, like: Tensor) -> Tensor:
    """``(windows, 49, 49)``: 0 where two cells of a rolled map were neighbours before, else -100."""

    def band(side: int) -> Tensor:
        place = torch.arange(side, device=like.device)
        return (place >= side - WINDOW).long() + (place >= side - SHIFT).long()

    region = band(height).unsqueeze(1) * 3 + band(width)
    tiles = windows(region.view(1, height, width, 1)).squeeze(-1)
    return (tiles.unsqueeze(1) != tiles.unsqueeze(2)).to(like.dtype) * BLOCKED


class WindowAttention(nn.Module):
    """Attention within each window, with a bias per head and relative place.

    Args:
        width: Channels.
        heads: Their number.
    """

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.register_buffer("relative_position_index", relative_index(), persistent=False)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """``x (B * windows, 49, width)``, ``mask (windows, 49, 49)`` to the same as ``x``."""
        count, cells, width = x.shape
        q, k, v = self.qkv(x).view(count, cells, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        affinity = (q * (width // self.heads) ** -0.5) @ k.transpose(-1, -2)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        affinity = affinity + bias.view(cells, cells, self.heads).permute(2, 0, 1)
        if mask is not None:
            affinity = (affinity.unflatten(0, (-1, len(mask))) + mask.unsqueeze(1)).flatten(0, 1)
        found: Tensor = self.proj((affinity.softmax(-1) @ v).transpose(1, 2).reshape(count, cells, width))
        return found


class Mlp(nn.Module):
    """Two linear layers with a GELU between.

    Args:
        width: In and out; four times as many between.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP * width)
        self.fc2 = nn.Linear(MLP * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width)`` to the same."""
        found: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return found


class Block(nn.Module):
    """Window attention and MLP, each after a norm and beside a shortcut.

    Args:
        width: Channels.
        heads: Of the attention.
        shifted: Whether the windows lie three cells further.
        drop_path: Probability that a sample skips the block while training.
    """

    def __init__(self, width: int, heads: int, shifted: bool, drop_path: float) -> None:
        super().__init__()
        self.shifted = shifted
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, width)`` to the same."""
        x = x + self.drop_path(self._attend(self.norm1(x)))
        found: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return found

    def _attend(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        x = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))  # the zeros are keys like any other
        rows, columns = x.shape[1], x.shape[2]
        mask = None
        if self.shifted:
            x = x.roll((-SHIFT, -SHIFT), (1, 2))
            mask = shifted_mask(rows, columns, x)
        x = self.attn(windows(x), mask)
        x = x.view(batch, rows // WINDOW, columns // WINDOW, WINDOW, WINDOW, channels).transpose(2, 3)
        x = x.reshape(batch, rows, columns, channels)
        if self.shifted:
            x = x.roll((SHIFT, SHIFT), (1, 2))
        return x[:, :height, :width]


class Merging(nn.Module):
    """Halves a map: four neighbours become one cell of twice the width; odd sides are padded with zeros.

    Args:
        width: Channels in.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, width)`` to ``(B, ceil(H / 2), ceil(W / 2), 2 * width)``."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        found: Tensor = self.reduction(self.norm(torch.cat(corners, -1)))
        return found


class Stage(nn.Module):
    """Blocks of one size, every second one shifted.

    Args:
        width: Channels.
        heads: Of the attentions.
        drop_path: Of each block.
        merge: Whether the map is halved for the next stage.
    """

    def __init__(self, width: int, heads: int, drop_path: Sequence[float], merge: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, number % 2 == 1, rate) for number, rate in enumerate(drop_path))
        self.downsample = Merging(width) if merge else None


class PatchEmbedding(nn.Module):
    """A vector per 4 x 4 pixels, normalised; sides are padded with zeros to multiples of 4.

    Args:
        width: Of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, ceil(H / 4), ceil(W / 4), width)``."""
        height, width = images.shape[2:]
        x = self.proj(F.pad(images, (0, -width % PATCH, 0, -height % PATCH)))
        found: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return found


class Swin(nn.Module):
    """The backbone; tensors have the names of Microsoft's files.

    Args:
        width: Of the first stage.
        depths: Blocks of each stage.
        heads: Of each stage.
        drop_path: Of the last block; earlier ones have less, the first none.
        activation_checkpointing: Compute each block again in the backward pass instead of keeping what is inside.
    """

    def __init__(
        self,
        width: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        drop_path: float = 0.2,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.activation_checkpointing = activation_checkpointing
        widths = [width * 2**number for number in range(len(depths))]
        self.channels = tuple(widths[1:])
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu").split(list(depths))
        self.patch_embed = PatchEmbedding(width)
        self.layers = nn.ModuleList(
            Stage(widths[number], heads[number], rates[number].tolist(), number + 1 < len(depths))
            for number in range(len(depths))
        )
        for number, count in enumerate(self.channels, 1):
            self.add_module(f"norm{number}", nn.LayerNorm(count))
        self.apply(_start)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps ``(B, C, h, w)`` of strides 8, 16 and 32."""
        x, maps = self.patch_embed(images), []
        stage: Any
        for number, stage in enumerate(self.layers):
            for block in stage.blocks:
                if self.activation_checkpointing and self.training:
                    x = checkpoint(block, x, use_reentrant=False)
                else:
                    x = block(x)
            if number:
                maps.append(self.get_submodule(f"norm{number}")(x).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                x = stage.downsample(x)
        return maps


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
