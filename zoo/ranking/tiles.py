"""Pairs in blocks: what a dense loss would keep in `(M, N, N)` is computed block by block and forgotten again.

The slope of each item is summed up along with the value, so that the backward pass reads nothing twice and memory
stays that of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.ranking.checks import Pairs
from zoo.ranking.engines import Slopes, refuse_second
from zoo.ranking.lists import Lists
from zoo.ranking.pairs import Cost
from zoo.ranking.reduction import divide
from zoo.ranking.smooth_sums import NODES, Boxes

ROWS, COLUMNS = 256, 1024
ENTRIES = ROWS * COLUMNS  # of a block
SQUARE, SHORT = 128, 2048  # lists no longer than this are cut in squares, so that almost half of them can be skipped


def blocks(lists: int, items: int, half: bool = False) -> Iterator[tuple[slice, slice, slice]]:
    """Lists, rows and columns of every block; with short lists, many of them in one block.

    Args:
        lists: How many.
        items: Of each.
        half: Pairs with the row before the column are enough.
    """
    rows, columns = min(items, ROWS), min(items, COLUMNS)
    if half and items <= SHORT:
        rows, columns = min(rows, SQUARE), min(columns, SQUARE)
    step = max(1, ENTRIES // max(1, rows * columns))
    for first in range(0, lists, step):
        for row in range(0, items, rows):
            for column in range(0, items, columns):
                if half and column + columns <= row:
                    continue
                yield slice(first, first + step), slice(row, row + rows), slice(column, column + columns)


def tiled_pair_value(
    lists: Lists, cost: Cost, pairs: Pairs, tied: bool = False, features: Sequence[Tensor] = ()
) -> Tensor:
    """Weighted mean or sum of a cost over the pairs of each list; the same as its dense form, `(M,)`.

    Args:
        lists: The clean lists.
        cost: Of a pair; its slope is found by autograd, inside a block.
        pairs: "mean" or "sum" within a list.
        tied: Over all pairs i < j, ties included; otherwise over those with target_i > target_j.
        features: `(M, N)` each, without gradient; their differences are handed to `cost`.
    """
    with torch.no_grad():
        weight = lists.weight
        if pairs == "mean":
            weight = divide(weight, weight.amax(-1, keepdim=True))
        total, mass, slope = pair_sums(replace(lists, weight=weight), cost, tied, features)
        if pairs == "mean":
            total, slope = divide(total, mass), divide(slope, mass.unsqueeze(-1).expand_as(slope))
        dtype = lists.scores.dtype
    applied: Tensor = Slopes.apply(lists.scores, total.to(dtype), slope.to(dtype))
    return applied


def pair_sums(
    lists: Lists, cost: Cost, tied: bool = False, features: Sequence[Tensor] = ()
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted costs `(M,)`, weights `(M,)` and slopes `(M, N)`, in float64; without a graph."""
    # descending targets: no item stands above one before it, and half of the blocks hold no pair
    order = None if tied else torch.where(lists.real, lists.target.double(), -torch.inf).argsort(-1, descending=True)
    scores, target, real, weight, *further = (
        x if order is None else x.gather(-1, order)
        for x in (lists.scores, lists.target, lists.real, lists.weight, *features)
    )
    # the cost of pairs that do not count may be taken along, if it is sure to be finite
    simple = lists.plain and bool((scores.abs() < 1e15).all())
    place = torch.arange(scores.shape[-1], device=scores.device)
    total = torch.zeros(len(scores), dtype=torch.float64, device=scores.device)
    mass, slope = torch.zeros_like(total), torch.zeros_like(scores, dtype=torch.float64)
    for chosen, rows, columns in blocks(len(scores), scores.shape[-1], half=True):
        wanted = target[chosen, rows].unsqueeze(-1) - target[chosen, columns].unsqueeze(-2)
        before = place[rows].unsqueeze(-1) < place[columns] if tied else wanted > 0
        gap = scores[chosen, rows].unsqueeze(-1) - scores[chosen, columns].unsqueeze(-2)
        others = [x[chosen, rows].unsqueeze(-1) - x[chosen, columns].unsqueeze(-2) for x in further]
        if simple:
            share = before.to(gap.dtype)
        else:
            counted = before & real[chosen, rows].unsqueeze(-1) & real[chosen, columns].unsqueeze(-2)
            gap, wanted = torch.where(counted, gap, 0.0), torch.where(counted, wanted, 0)
            both = weight[chosen, rows].unsqueeze(-1) * weight[chosen, columns].unsqueeze(-2)
            share = torch.where(counted, both, 0.0)
        found, along = _with_slope(cost, gap, wanted, *others)
        total[chosen] += (share * found).sum((-2, -1))
        mass[chosen] += share.sum((-2, -1))
        pull = share * along
        slope[chosen, rows] += pull.sum(-1)
        slope[chosen, columns] -= pull.sum(-2)
    if order is not None:
        slope = torch.zeros_like(slope).scatter(-1, order, slope)
    return total, mass, slope


def _with_slope(cost: Cost, gap: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        gap = gap.detach().requires_grad_()
        found = cost(gap, *others)
        (along,) = torch.autograd.grad(found.sum(), gap)
    return found.detach(), along


class SmoothCounts(torch.autograd.Function):
    """`sum_{j != i} sigmoid((s_j - s_i) / temperature)` over the real items of each list, `(M, N)`.

    Block by block, or by sums at Chebyshev nodes.
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
            return torch.where(real, found - 0.5, 0.0).to(scores.dtype)
        counts = torch.zeros_like(scores, dtype=torch.float64)
        for chosen, rows, columns in blocks(*scores.shape):
            gap = scores[chosen, columns].unsqueeze(-2) - scores[chosen, rows].unsqueeze(-1)
            above = (gap / temperature).sigmoid() * real[chosen, columns].unsqueeze(-2)
            counts[chosen, rows] += above.sum(-1)
        return torch.where(real, counts - 0.5, 0.0).to(scores.dtype)  # an item's own sigmoid is 1/2

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
        slope = torch.zeros_like(scores, dtype=torch.float64)
        for chosen, rows, columns in blocks(*scores.shape):
            gap = scores[chosen, columns].unsqueeze(-2) - scores[chosen, rows].unsqueeze(-1)
            share = (gap / temperature).sigmoid()
            both = real[chosen, rows].unsqueeze(-1) & real[chosen, columns].unsqueeze(-2)
            share = torch.where(both, share * (1 - share), 0.0)
            difference = pull[chosen, columns].unsqueeze(-2) - pull[chosen, rows].unsqueeze(-1)
            slope[chosen, rows] += (share * difference).sum(-1)
        return slope.to(scores.dtype) / temperature


def _steepness(difference: Tensor) -> Tensor:
    """Derivative of the sigmoid."""
    share = difference.sigmoid()
    return share * (1 - share)
