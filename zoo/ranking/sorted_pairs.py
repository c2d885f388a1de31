"""Exact sums over all pairs of different targets in O(n log n log L), for penalties that end at a margin.

Items are sorted by score. The levels of the targets (0 .. L-1) are read bit by bit, as in a wavelet tree: two items of
different levels agree in all bits above the first in which they differ, so each such pair meets exactly once, as one
item with a 1 and one with a 0 in the same segment of equal higher bits; equal targets never meet. Inside a segment
the penalty of an item with a 1 depends on the items with a 0 above its score minus the margin: a difference of prefix
sums. Where that threshold lies in the next, finer segments follows from counting bits, without another search.

Source: the prefix sums are those of Rust and Hocking, arXiv:2302.11062; the tree over graded targets is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.ranking.checks import Pairs
from zoo.ranking.lists import Lists
from zoo.ranking.pair_means import averaged, with_mass
from zoo.ranking.penalties import HingePenalty, SquaredHingePenalty
from zoo.ranking.sorting import sort_rows

# how far out a score may lie, in units of what the others differ by, so that its share of a float64 sum, or of a sum of
# squares, leaves the others the digits of the dtype
FARTHEST = {torch.float32: (1e9, 3e4), torch.float64: (1e5, 3e2)}
BLURRED = 1e12  # margins, beyond which a sum of a score and a margin loses the margin's digits


def sums_hold(lists: Lists, unit: float, squared: bool) -> bool:
    """Whether running sums keep the digits of the value: all scores are finite, and none lies far outside the others.

    A score of -1e9, say, as some fill in for what is masked, would leave nothing of squares around 1.

    Args:
        lists: The clean lists.
        unit: The margin, or another difference of scores that matters.
        squared: Whether squares are summed up.
    """
    if not lists.scores.numel():
        return True
    low, high = lists.scores.detach().aminmax()
    spread, farthest = float(high - low), FARTHEST[lists.scores.dtype][squared]
    if spread <= farthest * unit:
        return True
    if not math.isfinite(spread) or (unit > 0 and spread > BLURRED * unit):
        return False
    scores, _ = sort_rows(torch.where(lists.real, lists.scores, torch.inf))
    quarter = scores.shape[-1] // 4
    widths = scores[:, quarter:] - scores[:, : scores.shape[-1] - quarter]  # of neighbours that are a quarter of a list
    width = torch.where(widths.isfinite(), widths, torch.inf).amin(-1)
    return spread <= farthest * float(torch.where(width.isfinite(), width, 0.0).amin())


def sorted_pair_value(
    lists: Lists, penalty: HingePenalty | SquaredHingePenalty, pairs: Pairs, temperature: float = 1.0
) -> Tensor:
    """The same as `pairs.pair_value`, `(M,)`.

    Args:
        lists: The clean lists.
        penalty: Ends at its margin.
        pairs: "mean" or "sum" within a list.
        temperature: Divides the score differences.
    """
    with torch.no_grad():
        lists, mass = with_mass(lists, pairs)
        total, slope = sorted_sums(lists, penalty, temperature)
    return averaged(lists.scores, total, slope, mass)


def sorted_sums(lists: Lists, penalty: HingePenalty | SquaredHingePenalty, temperature: float) -> tuple[Tensor, Tensor]:
    """Weighted costs `(M,)` and slopes `(M, N)`, in float64; without a graph. At its margin a pair has slope 0."""
    squared, margin = isinstance(penalty, SquaredHingePenalty), penalty.margin * temperature
    weight = lists.weight.double()
    scores, order = sort_rows(torch.where(lists.real, lists.scores, torch.inf))
    scores = scores.double()
    real = lists.real.gather(-1, order)
    shifted = scores - _middle(scores, real)
    places = _first_segments(target_levels(lists).gather(-1, order), shifted, real, margin)
    mass, centred = weight.gather(-1, order)[real], shifted[real]
    moments = torch.stack([mass, mass * centred, mass * centred.square()][: 3 if squared else 2])
    cost, slope = _pair_sums(places, moments, centred, margin, squared)

    unit = temperature**2 if squared else temperature
    total = torch.zeros_like(weight[:, 0]).index_add_(0, real.nonzero()[:, 0], cost) / unit
    slopes = torch.zeros_like(scores)
    slopes[real] = slope / unit
    return total, torch.zeros_like(slopes).scatter_(-1, order, slopes)


@dataclass
class _Places:
    """All real items, `(n,)` int64, in the order of their segment and inside it of their score.

    Attributes:
        level: Rank of the target among those of the list.
        start: First place of the segment.
        end: First place behind it.
        reach: Where the items begin whose score is above this one's minus the margin.
        press: Where the items end whose score minus the margin is below this one's.
        item: Place in the order of the scores alone.
    """

    level: Tensor
    start: Tensor
    end: Tensor
    reach: Tensor
    press: Tensor
    item: Tensor


def _pair_sums(places: _Places, moments: Tensor, scores: Tensor, margin: float, squared: bool) -> tuple[Tensor, Tensor]:
    """Cost and slope of each item, `(n,)`, over all items of its list that have another level.

    Args:
        places: One segment per list.
        moments: `(2 or 3, n)`: weight, weight times score, weight times squared score.
        scores: `(n,)`.
        margin: Of the penalty, in score units.
        squared: Whether the penalty is squared.
    """
    count = len(scores)
    moved = torch.cat([moments, scores.unsqueeze(0), torch.zeros_like(moments[:1])])  # and the slope so far
    cost = torch.zeros_like(scores)  # by place: a list keeps its range of places at every bit
    top = int(places.level.max()) if count else 0
    for bit in reversed(range(top.bit_length())):
        upper = places.level >> bit & 1
        own, score, slope = moved[:-2], moved[-2], moved[-1]
        side = upper.double()
        of_upper = own * side
        # an item with a 1 looks at those with a 0 and the other way round: one table, two halves
        table = F.pad(torch.stack([of_upper, own - of_upper], 1).cumsum(-1), (1, 0)).flatten(1)
        half = upper * (count + 1)
        first = torch.where(upper.bool(), places.reach, places.start) + half
        last = torch.where(upper.bool(), places.end, places.press) + half
        sums = table.index_select(1, last) - table.index_select(1, first)
        sign = 2 * side - 1
        gap = margin - sign * score
        linear = gap * sums[0] + sign * sums[1]
        if squared:
            cost += own[0] * (gap * (linear + sign * sums[1]) + sums[2])
            slope -= 2 * own[0] * sign * linear
        else:
            cost += own[0] * linear
            slope -= own[0] * sign * sums[0]
        if bit:
            places, moved = _finer(places, upper, moved)
    slopes = torch.empty_like(scores).scatter_(0, places.item, moved[-1])
    return cost / 2, slopes  # every pair was met from both sides


def _first_segments(level: Tensor, scores: Tensor, real: Tensor, margin: float) -> _Places:
    """One segment per list."""
    sizes = real.sum(-1, keepdim=True)
    ends = sizes.cumsum(0)
    starts = ends - sizes
    threshold = scores - margin
    reach = torch.searchsorted(scores, threshold, right=True).minimum(sizes) + starts
    press = torch.searchsorted(threshold, scores).minimum(sizes) + starts
    item = torch.arange(int(sizes.sum()), device=level.device)
    return _Places(
        level[real], starts.expand_as(level)[real], ends.expand_as(level)[real], reach[real], press[real], item
    )


def _finer(places: _Places, upper: Tensor, moved: Tensor) -> tuple[_Places, Tensor]:
    """Splits every segment: items with a 0 first, then those with a 1, each in the order of their scores."""
    ones = F.pad(upper.cumsum(0), (1, 0))
    before = ones[places.start]
    split = places.end - (ones[places.end] - before)
    here = torch.arange(len(upper), device=upper.device)
    asked = torch.stack([here, places.reach, places.press])
    risen = ones[asked] - before
    # where these places lie in the finer segment of the item that asks
    target, reach, press = torch.where(upper.bool(), split + risen, asked - risen)
    source = torch.empty_like(target).scatter_(0, target, here)
    start, end = torch.where(upper.bool(), split, places.start), torch.where(upper.bool(), places.end, split)
    whole = torch.stack([places.level, start, end, reach, press, places.item])
    return _Places(*whole.index_select(1, source)), moved.index_select(1, source)


def target_levels(lists: Lists) -> Tensor:
    """Rank of each real target among the different targets of its list; `(M, N)`, with gaps where fillers stand."""
    target, order = sort_rows(lists.target)
    level = F.pad((target[:, 1:] != target[:, :-1]).cumsum(-1), (1, 0))
    return torch.zeros_like(order).scatter(-1, order, level)


def _middle(scores: Tensor, real: Tensor) -> Tensor:
    """A score of the middle of each sorted list, `(M, 1)`: differences do not see the shift, sums of squares do."""
    middle = scores.gather(-1, real.sum(-1, keepdim=True) // 2 * (real.sum(-1, keepdim=True) > 0))
    return torch.where(middle.isfinite(), middle, 0.0)
