"""The decoder: queries are refined layer by layer, and from the second layer on sorted by how sure they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo.domains.detection.attention import DeformableAttention, FeedForward
from zoo.domains.detection.heads import Heads
from zoo.domains.detection.positions import Geometry, inverse_sigmoid
from zoo.layers.deformable_attention import Engine


class DecoderLayer(nn.Module):
    """Attention of the queries among themselves, deformable attention to the maps, feed-forward block.

    Args:
        width: Of queries and tokens.
        heads: Of both attentions.
        inner: Of the feed-forward block.
        engine: Of the deformable attention.
    """

    def __init__(self, width: int, heads: int, inner: int, engine: Engine = "auto") -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm1 = nn.LayerNorm(width)
        self.attention = DeformableAttention(width, heads, engine=engine)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, inner)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, positions: Tensor, references: Tensor, memory: Tensor, geometry: Geometry, one2one: int
    ) -> Tensor:
        """One refinement.

        Args:
            x: ``(B, N, width)``, one-to-one queries first.
            positions: ``(B, N, width)``.
            references: ``(B, N, L, 4)`` boxes as fractions of each map.
            memory: ``(B, T, width)``.
            geometry: Of the maps.
            one2one: How many of the queries are one-to-one.

        Returns:
            ``(B, N, width)``.
        """
        x = self.norm1(x + self._among(x + positions, x, one2one))
        x = self.norm2(x + self.attention(x + positions, references, memory, ~geometry.valid, geometry.shapes))
        found: Tensor = self.norm3(x + self.feed_forward(x))
        return found

    def _among(self, keys: Tensor, values: Tensor, one2one: int) -> Tensor:
        """The two groups do not see each other: two small attentions are the masked large one, and cost less."""
        groups = zip(_groups(keys, one2one), _groups(values, one2one), strict=True)
        found = [self.self_attention(key, key, value, need_weights=False)[0] for key, value in groups]
        return found[0] if len(found) == 1 else torch.cat(found, 1)


class QueryRankLayer(nn.Module):
    """Joins each sorted query with an embedding of its rank.

    Args:
        queries: Ranks there are.
        width: Of the queries.
    """

    def __init__(self, queries: int, width: int) -> None:
        super().__init__()
        self.ranks = nn.Parameter(torch.empty(queries, width))
        self.before = nn.Linear(width, width)
        self.after = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, N, width)`` in the order of rank, to the same."""
        ranks = self.before(self.ranks[: x.shape[1]]).expand(x.shape[0], -1, -1)
        found: Tensor = self.after(torch.cat([x, ranks.to(x.dtype)], -1))
        return found


class Decoder(nn.Module):
    """A stack of decoder layers with box refinement, and the ranking of the queries between them.

    Args:
        layers: Their number.
        width: Of queries and tokens.
        heads: Of the attentions.
        inner: Of the feed-forward blocks.
        queries: Both groups together.
        sort: Sort the queries of each group after every layer by their largest class score.
        query_rank_layer: Join the sorted queries with embeddings of their ranks; needs ``sort``.
        look_forward_twice: Let the loss of a layer's boxes reach the box head of the layer before.
        engine: Of the deformable attention.
        activation_checkpointing: Compute each layer again in the backward pass instead of keeping what is inside.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        inner: int,
        queries: int,
        sort: bool = True,
        query_rank_layer: bool = True,
        look_forward_twice: bool = True,
        engine: Engine = "auto",
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.sort, self.look_forward_twice = sort, look_forward_twice
        self.activation_checkpointing = activation_checkpointing
        self.layers = nn.ModuleList(DecoderLayer(width, heads, inner, engine) for _ in range(layers))
        count = layers - 1 if query_rank_layer else 0
        self.rank_layers = nn.ModuleList(QueryRankLayer(queries, width) for _ in range(count))

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        references: Tensor,
        memory: Tensor,
        geometry: Geometry,
        heads: Heads,
        one2one: int,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Refines the queries.

        Args:
            x: ``(B, N, width)``, one-to-one queries first, each group by falling rank.
            positions: ``(B, N, width)``.
            references: ``(B, N, 4)`` first boxes, without gradient.
            memory: ``(B, T, width)``.
            geometry: Of the maps.
            heads: Of all layers.
            one2one: How many of the queries are one-to-one.

        Returns:
            Logits ``(B, N, C)`` and boxes ``(B, N, 4)`` of every layer, each in the query order of its layer.
        """
        logits: list[Tensor] = []
        boxes: list[Tensor] = []
        ratios = torch.cat([geometry.ratios, geometry.ratios], -1).unsqueeze(1)  # (B, 1, L, 4)
        anchors, order = references, None
        for number, layer in enumerate(self.layers):
            if order is not None:
                x, positions = reorder(x, order), reorder(positions, order)
                if self.rank_layers:
                    x = self.rank_layers[number - 1](x)
            inputs = (x, positions, references.unsqueeze(2) * ratios, memory, geometry, one2one)
            if self.activation_checkpointing and self.training:
                x = checkpoint(layer, *inputs, use_reentrant=False)
            else:
                x = layer(*inputs)
            # the order is that of the plain class head, the answer has the rank's own bias as well
            scores, shift = heads.scores(number, x), heads.shift(number, x)
            logits.append(heads.adapt(number, scores))
            boxes.append((shift + inverse_sigmoid(anchors)).sigmoid())
            refined = (shift + inverse_sigmoid(references)).sigmoid()
            if self.sort and number + 1 < len(self.layers):
                order = rank_order(scores.detach(), one2one)
                refined = reorder(refined, order)
            references = refined.detach()
            anchors = refined if self.look_forward_twice else references
        return logits, boxes


def rank_order(scores: Tensor, one2one: int) -> Tensor:
    """Queries of each group from the surest to the least sure; equal ones keep their order.

    Args:
        scores: ``(B, N, C)`` class logits.
        one2one: The first group's size; the rest is the other.

    Returns:
        ``(B, N)`` places in ``scores``.
    """
    best = scores.max(-1).values.sigmoid()
    first, *rest = (_falling(part) for part in _groups(best, one2one))
    return torch.cat([first, *(part + one2one for part in rest)], 1)


def _falling(x: Tensor) -> Tensor:
    """Places of ``x (B, N)`` from the largest to the smallest."""
    if torch.compiler.is_exporting():  # to ONNX's TopK, which keeps equal ones in order as well
        return x.sort(dim=1, descending=True).indices
    return x.sort(dim=1, descending=True, stable=True).indices


def reorder(x: Tensor, order: Tensor) -> Tensor:
    """Rows of ``x (B, N, D)`` in the given order ``(B, N)``."""
    return x.gather(1, order.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def _groups(x: Tensor, one2one: int) -> list[Tensor]:
    """The one-to-one part along dimension 1, and the rest where there is any."""
    return [x] if x.shape[1] == one2one else [x[:, :one2one], x[:, one2one:]]
