"""The two-stage transformer: the encoder proposes boxes, the best of them are the decoder's queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from zoo.domains.detection.attention import LEVELS, spread_evenly
from zoo.domains.detection.decoder import Decoder
from zoo.domains.detection.encoder import Encoder
from zoo.domains.detection.heads import Heads
from zoo.domains.detection.positions import Geometry, proposals, sine_boxes
from zoo.layers.deformable_attention import Engine


class TransformerOutputs(NamedTuple):
    """What the transformer gives.

    Attributes:
        logits: ``(B, N, C)`` of every decoder layer, in its query order.
        boxes: ``(B, N, 4)`` likewise.
        encoder_logits: ``(B, T, C)``.
        encoder_boxes: ``(B, T, 4)``; None where they are not asked for.
    """

    logits: list[Tensor]
    boxes: list[Tensor]
    encoder_logits: Tensor
    encoder_boxes: Tensor | None


class Transformer(nn.Module):
    """Encoder, proposals and decoder.

    Args:
        encoder_layers: Their number, at least 0.
        decoder_layers: Their number, at least 1.
        width: Of tokens and queries.
        heads: Of the attentions.
        inner: Of the feed-forward blocks.
        queries: Both groups together.
        sort: See :class:`~zoo.domains.detection.decoder.Decoder`.
        query_rank_layer: Likewise.
        look_forward_twice: Likewise.
        mixed_selection: Queries start from embeddings that are the same for all images, only their positions from the
            proposals; else both come from the proposals.
        engine: Of the deformable attention.
        activation_checkpointing: Of all layers.
    """

    def __init__(
        self,
        encoder_layers: int,
        decoder_layers: int,
        width: int,
        heads: int,
        inner: int,
        queries: int,
        sort: bool = True,
        query_rank_layer: bool = True,
        look_forward_twice: bool = True,
        mixed_selection: bool = True,
        engine: Engine = "auto",
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.mixed_selection = width, mixed_selection
        self.level_embeddings = nn.Parameter(torch.empty(LEVELS, width))
        self.encoder = Encoder(encoder_layers, width, heads, inner, engine, activation_checkpointing)
        self.decoder = Decoder(
            decoder_layers,
            width,
            heads,
            inner,
            queries,
            sort,
            query_rank_layer,
            look_forward_twice,
            engine,
            activation_checkpointing,
        )
        self.proposal = nn.Linear(width, width)
        self.proposal_norm = nn.LayerNorm(width)
        self.position = nn.Linear(2 * width, 2 * width)
        self.position_norm = nn.LayerNorm(2 * width)
        spread_evenly(self)
        nn.init.normal_(self.level_embeddings)

    def forward(
        self,
        maps: Sequence[Tensor],
        mask: Tensor,
        heads: Heads,
        contents: Tensor,
        queries: int,
        one2one: int,
        every_token: bool = True,
    ) -> TransformerOutputs:
        """Runs all of it.

        Args:
            maps: L of them, ``(B, width, h, w)``.
            mask: ``(B, H, W)`` of the images, True where there is image.
            heads: Of all layers.
            contents: ``(N or more, width)``, what the queries start from.
            queries: N, at most as many as there are tokens.
            one2one: How many of them are one-to-one.
            every_token: Give boxes of every token, not of the proposals alone.
        """
        kind = torch.float64 if maps[0].dtype == torch.float64 else torch.float32
        shapes = [(part.shape[2], part.shape[3]) for part in maps]
        geometry = Geometry.of(mask, shapes, self.width, kind)
        tokens = torch.cat([part.flatten(2) for part in maps], 2).transpose(1, 2)
        positions = geometry.positions.to(tokens.dtype) + self.level_embeddings[geometry.levels]
        memory = self.encoder(tokens, positions, geometry)
        candidates, start = self._candidates(memory, geometry)
        encoder_logits = heads.scores(-1, candidates)
        # the first class stands for "an object": the encoder's targets are all of class 0
        best = encoder_logits[..., 0].detach().topk(queries, 1).indices.unsqueeze(-1)
        if every_token:
            place = heads.shift(-1, candidates) + start
            encoder_boxes, chosen = place.sigmoid(), place.gather(1, best.expand(-1, -1, 4))
        else:
            few = candidates.gather(1, best.expand(-1, -1, self.width))
            encoder_boxes, chosen = None, heads.shift(-1, few) + start.gather(1, best.expand(-1, -1, 4))
        references = chosen.detach().sigmoid()
        embedded = sine_boxes(references, self.width // 2).to(self.position.weight.dtype)
        first, second = self.position_norm(self.position(embedded)).chunk(2, -1)
        x = contents[:queries].expand(memory.shape[0], -1, -1) if self.mixed_selection else second
        logits, boxes = self.decoder(x, first, references, memory, geometry, heads, one2one)
        return TransformerOutputs(logits, boxes, encoder_logits, encoder_boxes)

    def _candidates(self, memory: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """The tokens as proposals ``(B, T, width)``, and the logits of the boxes they start from ``(B, T, 4)``."""
        start, usable = proposals(geometry)
        cleared = memory.masked_fill(~usable.unsqueeze(-1), 0.0)
        return self.proposal_norm(self.proposal(cleared)), start
