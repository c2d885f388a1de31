"""The sorted engine of one list with two targets, an AUC: few operations, for they are what a short list costs.

Source: Rust and Hocking, arXiv:2302.11062.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.ranking.checks import Pairs
from zoo.ranking.engines import Slopes
from zoo.ranking.lists import Lists
from zoo.ranking.penalties import HingePenalty, SquaredHingePenalty
from zoo.ranking.sorting import sort_rows


def binary_pair_value(
    lists: Lists, penalty: HingePenalty | SquaredHingePenalty, pairs: Pairs, temperature: float = 1.0
) -> Tensor:
    """The same as `pairs.pair_value`, `(1,)`.

    Args:
        lists: `Lists.binary`.
        penalty: Ends at its margin.
        pairs: "mean" or "sum".
        temperature: Divides the score differences.
    """
    with torch.no_grad():
        squared = isinstance(penalty, SquaredHingePenalty)
        value, slopes, count = _sums(lists, penalty.margin * temperature, squared)
        scale = 1 / ((temperature**2 if squared else temperature) * (count if pairs == "mean" else 1))
        dtype = lists.scores.dtype
    applied: Tensor = Slopes.apply(lists.scores, (value * scale).to(dtype), (slopes * scale).to(dtype))
    return applied


def _sums(lists: Lists, margin: float, squared: bool) -> tuple[Tensor, Tensor, int]:
    """Cost of all pairs `(1,)`, its slopes `(1, N)` and the number of pairs, in float64."""
    target, scores = lists.target[0], lists.scores[0].detach()
    upper = target == target.amax()
    places = [side.nonzero().squeeze(-1) for side in (upper, ~upper)]
    (above, above_order), (below, below_order) = (sort_rows(scores[place]) for place in places)
    above, below = (side.double() - scores[0].double() for side in (above, below))
    threshold = above - margin
    first = torch.searchsorted(below, threshold, right=True)  # of the lower items that cost something
    last = torch.searchsorted(threshold, below)  # behind the upper items that do
    count = len(below) - first
    sums = _running(below)
    linear = (sums[-1] - sums[first]) - threshold * count
    if squared:
        squares = _running(below.square())
        cost = squares[-1] - squares[first] + threshold * (threshold * count - 2 * (sums[-1] - sums[first]))
        before = _running(threshold)
        slopes = -2 * linear, 2 * (last * below - before[last])
    else:
        cost, slopes = linear, (-count.double(), last.double())
    found = torch.empty_like(scores, dtype=torch.float64)
    for place, order, slope in zip(places, (above_order, below_order), slopes, strict=True):
        found[place[order]] = slope
    return cost.sum().unsqueeze(0), found.unsqueeze(0), len(above) * len(below)


def _running(x: Tensor) -> Tensor:
    """Sums of the first 0, 1, ... numbers of x, `(n + 1,)`."""
    sums = x.new_zeros(len(x) + 1)
    torch.cumsum(x, 0, out=sums[1:])
    return sums
