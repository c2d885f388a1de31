"""The logistic over all pairs as a hinge plus a rest that dies off: `log(1 + e^-d) = max(0, -d) + log(1 + e^-|d|)`.

The hinge is summed exactly by sorting, whatever the scores; of the rest only pairs count whose scores lie close
together. The wider the scores, the narrower that band: this is the form for score ranges that would need too many
nodes (`smooth_sums`), graded targets included.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.ranking.checks import Pairs
from zoo.ranking.costs import Room
from zoo.ranking.lists import Lists
from zoo.ranking.pair_means import averaged, with_mass
from zoo.ranking.penalties import HingePenalty
from zoo.ranking.sorted_pairs import sorted_sums, target_levels
from zoo.ranking.sorting import order_rows
from zoo.ranking.tiles import COLUMNS, ROWS, Block, add_block, compare, difference, shape_of

BLOCK = ROWS * COLUMNS  # pairs

# e^-REACH does not show beside the largest rest; beyond END it is 0
REACH = {torch.float32: 20.0, torch.float64: 40.0}
END = {torch.float32: 104.0, torch.float64: 746.0}


def banded_pair_value(lists: Lists, pairs: Pairs, temperature: float = 1.0) -> Tensor:
    """The logistic penalty over all pairs with target_i > target_j, the same as `pairs.pair_value`; `(M,)`.

    Args:
        lists: The clean lists; finite scores.
        pairs: "mean" or "sum" within a list.
        temperature: Divides the score differences.
    """
    with torch.no_grad():
        lists, mass = with_mass(lists, pairs)
        total, slope = sorted_sums(lists, HingePenalty(0.0), temperature)
        _add_rest(lists, temperature, total, slope)
    return averaged(lists.scores, total, slope, mass)


def pairs_in_band(lists: Lists, temperature: float) -> int:
    """How many pairs the band holds."""
    _, scores, level = _in_order(lists)
    here = torch.arange(1, scores.shape[-1] + 1, device=scores.device)
    return int((_ends(scores, level, temperature) - here).clamp(min=0).sum())


def _in_order(lists: Lists) -> tuple[Tensor, Tensor, Tensor]:
    """Order of the items by score, ties by target, `(M, N)`; their scores, fillers at inf behind; their levels.

    Of two items with one score the later one belongs above, so that the rest's slope has the right sign at 0.
    """
    level = target_levels(lists)
    by_level = order_rows(level)
    scores = torch.where(lists.real, lists.scores.detach(), torch.inf)
    order = by_level.gather(-1, order_rows(scores.gather(-1, by_level)))
    return order, scores.gather(-1, order), level.gather(-1, order).to(scores.dtype)


def _ends(scores: Tensor, level: Tensor, temperature: float) -> Tensor:
    """First item behind the band of each item, `(M, N)`.

    A band reaches from the closest neighbours of different targets REACH further, at most to END: where no pair is
    close, the rest is all there is.
    """
    apart = (scores[:, 1:] - scores[:, :-1]) / temperature
    apart = torch.where((level[:, 1:] != level[:, :-1]) & torch.isfinite(apart), apart, torch.inf)
    nearest = F.pad(apart, (0, 1), value=torch.inf).amin(-1, keepdim=True)
    reach = (nearest + REACH[scores.dtype]).clamp(max=END[scores.dtype])
    return torch.searchsorted(scores, scores + temperature * reach, right=True)


def _add_rest(lists: Lists, temperature: float, total: Tensor, slope: Tensor) -> None:
    """Adds `log(1 + e^-|d|)` over the pairs of the band."""
    order, scores, level = _in_order(lists)
    ends, (count, items) = _ends(scores, level, temperature), scores.shape
    weight = torch.where(lists.real, lists.weight, 0.0).gather(-1, order)
    scores = torch.where(torch.isinf(scores), lists.scores.detach().amax(-1, keepdim=True).clamp(min=0), scores)
    added, room = torch.zeros_like(slope), Room(scores)
    step = max(1, BLOCK // (min(items, ROWS) * min(items, COLUMNS)))
    for first in range(0, count, step):
        for row in range(0, items, ROWS):
            reached = int(ends[first : first + step, min(row + ROWS, items) - 1].max())
            for column in range(row, reached, COLUMNS):
                over = slice(row, row + ROWS), slice(column, min(column + COLUMNS, reached))
                block = Block(slice(first, first + step), *over, False)
                room.begin(*shape_of(block, scores))
                gap = difference(scores, block, room).div_(temperature)
                counted = compare(torch.ne, level, block, room)
                if column < row + ROWS:
                    gap.triu_(1 + row - column)
                    counted.triu_(1 + row - column)
                decayed = gap.exp_()
                along = torch.div(decayed, torch.add(decayed, 1, out=room.new()), out=room.new()).mul_(counted)
                heavy = None if lists.plain else weight
                add_block(block, decayed.log1p_().mul_(counted), along, heavy, total, added)
    slope += torch.zeros_like(added).scatter(-1, order, added / temperature)
