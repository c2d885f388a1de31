"""Brings the maps of a backbone to one width, and adds a coarser one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

GROUPS = 32


class ConvNorm(nn.Module):
    """A convolution with bias, then group normalisation; no activation.

    Args:
        inputs: Channels in.
        outputs: Channels out; normalised in 32 groups, or as many as divide them and leave two channels to each.
        kernel: Side of the kernel.
        stride: 1 or 2.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
        groups = next(count for count in range(min(GROUPS, max(1, outputs // 2)), 0, -1) if outputs % count == 0)
        self.norm = nn.GroupNorm(groups, outputs)
        nn.init.xavier_uniform_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, outputs, h', w')``."""
        found: Tensor = self.norm(self.conv(x))
        return found


class Neck(nn.Module):
    """A 1 x 1 convolution per map of the backbone, and a 3 x 3 of stride 2 over the last of them.

    Args:
        channels: Of the backbone's maps.
        width: Of all maps that come out.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(ConvNorm(count, width) for count in channels)
        self.extra = ConvNorm(channels[-1], width, kernel=3, stride=2)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """One map more than came in, ``(B, width, h, w)`` each."""
        return [*(conv(x) for conv, x in zip(self.convs, maps, strict=True)), self.extra(maps[-1])]
