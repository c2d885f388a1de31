"""Deformable attention with its projections, and the feed-forward block of a layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zoo.domains.detection.positions import sides_of
from zoo.layers.deformable_attention import Engine, Shapes, deformable_attention

LEVELS, POINTS = 4, 4


class DeformableAttention(nn.Module):
    """Every query looks at a few places of every map, which it chooses itself, around its reference.

    Args:
        width: Of queries and tokens.
        heads: Divides ``width``.
        levels: Maps.
        points: Places per head and map.
        engine: See :func:`zoo.layers.deformable_attention.deformable_attention`.
    """

    def __init__(
        self, width: int, heads: int, levels: int = LEVELS, points: int = POINTS, engine: Engine = "auto"
    ) -> None:
        super().__init__()
        self.heads, self.levels, self.points, self.engine = heads, levels, points, engine
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Each head starts in a direction of its own, its points one cell further each; all weights are equal."""
        nn.init.zeros_(self.sampling_offsets.weight)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        directions = directions / directions.abs().max(-1, keepdim=True).values
        steps = torch.arange(1, self.points + 1).view(1, 1, -1, 1)
        offsets = directions.view(self.heads, 1, 1, 2) * steps
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, queries: Tensor, references: Tensor, memory: Tensor, padding: Tensor, shapes: Shapes) -> Tensor:
        """Gathers from the maps.

        Args:
            queries: ``(B, Q, width)`` with their positions added.
            references: ``(B, Q, L, 2)`` points, or ``(B, Q, L, 4)`` boxes (cx, cy, w, h), as fractions of each map.
            memory: ``(B, T, width)``, the tokens without positions.
            padding: ``(B, T)``, True in the padding, which counts as zero.
            shapes: Height and width of each map.

        Returns:
            ``(B, Q, width)``.
        """
        batch, count, _ = queries.shape
        value = self.value_proj(memory).masked_fill(padding.unsqueeze(-1), 0.0)
        split = (batch, count, self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(queries).view(*split, 2).to(references.dtype)
        weights = self.attention_weights(queries).view(*split[:3], -1).softmax(-1).view(split)
        centres = references[:, :, None, :, None, :2]
        if references.shape[-1] == 2:
            sizes = sides_of(shapes, references).view(1, 1, 1, -1, 1, 2)
            places = centres + offsets / sizes
        else:
            places = centres + offsets / self.points * references[:, :, None, :, None, 2:] * 0.5
        table = value.view(batch, -1, self.heads, value.shape[-1] // self.heads)
        found: Tensor = self.output_proj(deformable_attention(table, shapes, places, weights, self.engine))
        return found


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between.

    Args:
        width: In and out.
        inner: Between.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, inner)
        self.outer = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width)`` to the same."""
        found: Tensor = self.outer(self.inner(x).relu_())
        return found


def spread_evenly(module: nn.Module) -> None:
    """Starts every parameter of more than one dimension from Xavier's uniform distribution, attention as it should."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    for part in module.modules():
        if isinstance(part, DeformableAttention):
            part.reset_parameters()
