"""Smooth ranks: how many items stand above each, counted by sigmoids, block by block or by sums at nodes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.ranking.costs import Room
from zoo.ranking.engines import refuse_second
from zoo.ranking.smooth_sums import NODES, Boxes
from zoo.ranking.tiles import difference, pair_blocks, shape_of


class SmoothCounts(torch.autograd.Function):
    """`sum_{j != i} sigmoid((s_j - s_i) / temperature)` over the real items of each list, `(M, N)`.

    Block by block, or by sums at Chebyshev nodes. Each pair is looked at once: `sigmoid(-d) = 1 - sigmoid(d)`.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, real: Tensor, temperature: float, nodes: bool) -> Tensor:
        """Counts, 0 where an item is not real.

        Args:
            ctx: Of autograd.
            scores: `(M, N)`.
            real: bool `(M, N)`.
            temperature: Divides the differences.
            nodes: By nodes and not by blocks.
        """
        ctx.save_for_backward(scores, real)
        ctx.temperature = temperature
        ctx.boxes = Boxes(scores.double() / temperature, real, NODES[scores.dtype]) if nodes else None
        if ctx.boxes is not None:
            found: Tensor = ctx.boxes.read(ctx.boxes.meet(ctx.boxes.spread(real.double()), torch.sigmoid, turned=True))
            return torch.where(real, found - 0.5, 0.0).to(scores.dtype)  # an item's own sigmoid is 1/2
        counts, mass = torch.zeros_like(scores, dtype=torch.float64), real.to(scores.dtype)
        place = torch.arange(scores.shape[-1], device=scores.device).expand_as(scores)
        room = Room(scores)
        for block in pair_blocks(place):
            first, last = mass[block.lists, block.rows], mass[block.lists, block.columns]
            room.begin(*shape_of(block, scores))
            above = difference(scores, block, room).div_(-temperature).sigmoid_()
            if not block.whole:
                above.triu_(1 + block.rows.start - block.columns.start)
            counts[block.lists, block.rows] += (above @ last.unsqueeze(-1)).squeeze(-1)
            earlier = _earlier(first, block.rows.start, block.columns, above.shape[-1])
            counts[block.lists, block.columns] += earlier - (first.unsqueeze(-2) @ above).squeeze(-2)
        return torch.where(real, counts, 0.0).to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None]:
        """`sum_j (u_j - u_i) sigmoid'((s_j - s_i) / T) / T` for outer slopes u."""
        with torch.no_grad():
            slope = SmoothCounts._slope(ctx, outer[0])
        return refuse_second(slope, ctx.saved_tensors[0], outer[0]), None, None, None

    @staticmethod
    def _slope(ctx: Any, outer: Tensor) -> Tensor:
        scores, real = ctx.saved_tensors
        temperature: float = ctx.temperature
        pull = torch.where(real, outer, 0.0)
        if ctx.boxes is not None:
            boxes, pull = ctx.boxes, pull.double()
            of_pull, of_all = (boxes.read(boxes.meet(boxes.spread(x), _steepness)) for x in (pull, real.double()))
            return torch.where(real, (of_pull - pull * of_all) / temperature, 0.0).to(scores.dtype)
        slope, mass = torch.zeros_like(scores, dtype=torch.float64), real.to(scores.dtype)
        both = torch.stack([pull, mass], -1)
        place = torch.arange(scores.shape[-1], device=scores.device).expand_as(scores)
        room = Room(scores)
        for block in pair_blocks(place):
            room.begin(*shape_of(block, scores))
            above = difference(scores, block, room).div_(temperature).sigmoid_()
            share = torch.mul(above, above, out=room.new()).neg_().add_(above)
            if not block.whole:
                share.triu_(1 + block.rows.start - block.columns.start)
            rows, columns = share @ both[block.lists, block.columns], share.mT @ both[block.lists, block.rows]
            slope[block.lists, block.rows] += rows[..., 0] - pull[block.lists, block.rows] * rows[..., 1]
            slope[block.lists, block.columns] += columns[..., 0] - pull[block.lists, block.columns] * columns[..., 1]
        return torch.where(real, slope / temperature, 0.0).to(scores.dtype)


def _earlier(first: Tensor, row: int, columns: slice, width: int) -> Tensor:
    """How many of a block's rows stand before each of its columns, `(lists, columns)`."""
    before = first.cumsum(-1)
    last = torch.arange(columns.start, columns.start + width, device=first.device) - row - 1
    return torch.where(last >= 0, before[:, last.clamp(0, first.shape[-1] - 1)], 0.0)


def _steepness(difference: Tensor) -> Tensor:
    """Derivative of the sigmoid."""
    share = difference.sigmoid()
    return share * (1 - share)
