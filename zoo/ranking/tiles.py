"""Pairs in blocks: what a dense loss would keep in `(M, N, N)` is computed block by block and forgotten again.

The slope of each item is summed up along with the value, so that the backward pass reads nothing twice and memory
stays that of a block. Items stand in the order of a rank, so that most blocks count as a whole or not at all; only
those on the border are masked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.ranking.checks import Pairs
from zoo.ranking.costs import Cost, Room
from zoo.ranking.lists import Lists
from zoo.ranking.pair_means import averaged, with_mass
from zoo.ranking.sorting import sort_rows

ROWS, COLUMNS = 128, 1024  # of a block that stays in a processor's cache
WIDE_ROWS, WIDE_COLUMNS = 2048, 8192  # of a block that fills a GPU; 64 MiB a tensor in float32
SQUARE, SHORT = 128, 2048  # lists no longer than this are cut in squares, so that almost half of them can be skipped
BOUND = 1e15  # scores below it have finite costs


class Block(NamedTuple):
    """Some pairs of some lists.

    Attributes:
        lists: Which lists.
        rows: Items of each that stand first in a pair.
        columns: Items that stand second.
        whole: All of these pairs count.
    """

    lists: slice
    rows: slice
    columns: slice
    whole: bool


def pair_blocks(rank: Tensor) -> Iterator[Block]:
    """Blocks with pairs of which `rank_row < rank_column`; with short lists, many lists in one block.

    Args:
        rank: `(M, N)`, ascending in each list.
    """
    lists, items = rank.shape
    wide = rank.device.type != "cpu"
    rows, columns = (WIDE_ROWS, WIDE_COLUMNS) if wide else (ROWS, COLUMNS)
    entries = rows * columns
    rows, columns = min(items, rows), min(items, columns)
    if items <= SHORT:
        square = max(1, min(SQUARE, items // 2)) if not wide else items
        rows, columns = min(rows, square), min(columns, square)
    step = max(1, entries // max(1, rows * columns))
    row_last = [min(row + rows, items) - 1 for row in range(0, items, rows)]
    column_last = [min(column + columns, items) - 1 for column in range(0, items, columns)]
    for first in range(0, lists, step):
        part = rank[first : first + step]
        some = (part[:, ::rows].unsqueeze(2) < part[:, column_last].unsqueeze(1)).any(0).tolist()
        whole = (part[:, row_last].unsqueeze(2) < part[:, ::columns].unsqueeze(1)).all(0).tolist()
        for i, row in enumerate(range(0, items, rows)):
            for j, column in enumerate(range(0, items, columns)):
                if some[i][j]:
                    over = slice(row, row + rows), slice(column, column + columns)
                    yield Block(slice(first, first + step), *over, whole[i][j])


def shape_of(block: Block, x: Tensor) -> tuple[int, int, int]:
    """Lists, rows and columns of a block of `(M, N)`; its slices may end behind the last one."""
    lists, items = (len(range(*part.indices(size))) for part, size in ((block.lists, len(x)), (block.rows, x.shape[1])))
    return lists, items, len(range(*block.columns.indices(x.shape[1])))


def tiled_pair_value(
    lists: Lists, cost: Cost, pairs: Pairs, tied: bool = False, features: Sequence[Tensor] = ()
) -> Tensor:
    """Weighted mean or sum of a cost over the pairs of each list; the same as its dense form, `(M,)`.

    Args:
        lists: The clean lists.
        cost: Of a pair.
        pairs: "mean" or "sum" within a list.
        tied: Over all pairs i < j, ties included; otherwise over those with target_i > target_j.
        features: `(M, N)` each, without gradient; their differences are handed to `cost`.
    """
    with torch.no_grad():
        lists, mass = with_mass(lists, pairs, tied)
        total, slope = pair_sums(lists, cost, tied, features)
    return averaged(lists.scores, total, slope, mass)


def pair_sums(lists: Lists, cost: Cost, tied: bool = False, features: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
    """Weighted costs `(M,)` and slopes `(M, N)`, in float64; without a graph."""
    weight = torch.where(lists.real, lists.weight, 0.0)
    scores, order = lists.scores.detach(), None
    if tied:
        rank = torch.arange(scores.shape[-1], device=scores.device).expand_as(scores)
    else:
        target, order = sort_rows(lists.target, descending=True)
        rank = F.pad((target[:, 1:] != target[:, :-1]).cumsum(-1), (1, 0))
        scores, weight, *features = (x.gather(-1, order) for x in (scores, weight, *features))
    rank = rank.to(scores.dtype if scores.shape[-1] < 2**24 else torch.float64)
    bounded = bool((scores.abs() < BOUND).all())
    total = torch.zeros(len(scores), dtype=torch.float64, device=scores.device)
    slope = torch.zeros_like(scores, dtype=torch.float64)
    room = Room(scores)
    for block in pair_blocks(rank):
        room.begin(*shape_of(block, scores))
        gap, *others = (difference(x, block, room) for x in (scores, *features))
        counted = None if block.whole else compare(torch.lt, rank, block, room)
        if not bounded:  # what does not count may be inf - inf
            heavy = torch.mul(*facing((weight > 0).to(gap.dtype), block), out=room.new())
            counted = heavy if counted is None else counted.mul_(heavy)
            gap.masked_fill_(counted == 0, 0.0)
        found, along = cost.with_slope(room, gap, *others)
        if counted is not None:
            found.mul_(counted)
            along.mul_(counted)
        add_block(block, found, along, None if lists.plain else weight, total, slope)
    if order is not None:
        slope = torch.zeros_like(slope).scatter(-1, order, slope)
    return total, slope


def difference(x: Tensor, block: Block, room: Room) -> Tensor:
    """`x_row - x_column` of a block, `(lists, rows, columns)`; whole numbers are exact until they are subtracted."""
    first, last = facing(x, block)
    return torch.sub(first, last, out=room.new())


def compare(relation: Callable[..., Tensor], x: Tensor, block: Block, room: Room) -> Tensor:
    """1 where a relation holds between row and column, else 0; written as numbers, which a product takes at once."""
    return relation(*facing(x, block), out=room.new())


def facing(x: Tensor, block: Block) -> tuple[Tensor, Tensor]:
    """The rows of a block against its columns, `(lists, rows, 1)` and `(lists, 1, columns)`."""
    return x[block.lists, block.rows].unsqueeze(-1), x[block.lists, block.columns].unsqueeze(-2)


def add_block(block: Block, found: Tensor, along: Tensor, weight: Tensor | None, total: Tensor, slope: Tensor) -> None:
    """Adds a block's costs to the totals of its lists, and its slopes to those of its items.

    Args:
        block: The pairs.
        found: Their costs, `(lists, rows, columns)`.
        along: Their derivatives by the difference row - column.
        weight: `(M, N)`, or None where all items weigh 1.
        total: `(M,)` float64, added to.
        slope: `(M, N)` float64, added to.
    """
    if weight is None:
        total[block.lists] += found.sum(-1).double().sum(-1)
        slope[block.lists, block.rows] += along.sum(-1)
        slope[block.lists, block.columns] -= along.sum(-2)
        return
    first, last = weight[block.lists, block.rows], weight[block.lists, block.columns]
    total[block.lists] += (first * (found @ last.unsqueeze(-1)).squeeze(-1)).double().sum(-1)
    slope[block.lists, block.rows] += first * (along @ last.unsqueeze(-1)).squeeze(-1)
    slope[block.lists, block.columns] -= last * (first.unsqueeze(-2) @ along).squeeze(-2)
