"""The encoder: every token of every map gathers from a few places of all maps."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo.domains.detection.attention import DeformableAttention, FeedForward
from zoo.domains.detection.positions import Geometry
from zoo.layers.deformable_attention import Engine


class EncoderLayer(nn.Module):
    """Deformable attention of the tokens among themselves, then the feed-forward block; normalised after each.

    Args:
        width: Of the tokens.
        heads: Of the attention.
        inner: Of the feed-forward block.
        engine: Of the attention.
    """

    def __init__(self, width: int, heads: int, inner: int, engine: Engine = "auto") -> None:
        super().__init__()
        self.attention = DeformableAttention(width, heads, engine=engine)
        self.norm1 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, inner)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor, references: Tensor, geometry: Geometry) -> Tensor:
        """``x (B, T, width)`` to the same; ``positions`` likewise, ``references (B, T, L, 2)``."""
        gathered = self.attention(x + positions, references, x, ~geometry.valid, geometry.shapes)
        x = self.norm1(x + gathered)
        x = self.norm2(x + self.feed_forward(x))
        return x


class Encoder(nn.Module):
    """A stack of encoder layers, without a norm at the end.

    Args:
        layers: Their number.
        width: Of the tokens.
        heads: Of the attention.
        inner: Of the feed-forward blocks.
        engine: Of the attention.
        activation_checkpointing: Compute each layer again in the backward pass instead of keeping what is inside.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        inner: int,
        engine: Engine = "auto",
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.activation_checkpointing = activation_checkpointing
        self.layers = nn.ModuleList(EncoderLayer(width, heads, inner, engine) for _ in range(layers))

    def forward(self, x: Tensor, positions: Tensor, geometry: Geometry) -> Tensor:
        """``x (B, T, width)`` to the same."""
        references = geometry.points.unsqueeze(2) * geometry.ratios.unsqueeze(1)
        for layer in self.layers:
            if self.activation_checkpointing and self.training:
                x = checkpoint(layer, x, positions, references, geometry, use_reentrant=False)
            else:
                x = layer(x, positions, references, geometry)
        return x
