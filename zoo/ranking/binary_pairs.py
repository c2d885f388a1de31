"""The sorted engine of one list with two targets, an AUC: few operations, for they are what a short list costs.

Source: Rust and Hocking, arXiv:2302.11062.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.ranking.checks import Pairs
from zoo.ranking.engines import Slopes
from zoo.ranking.lists import Lists
from zoo.ranking.penalties import HingePenalty, SquaredHingePenalty
from zoo.ranking.sorting import sort_rows


def is_binary(lists: Lists) -> bool:
    """Whether there is one list, of items that count alike, with two different targets."""
    if not lists.plain or len(lists.target) != 1:
        return False
    low, high = lists.target[0].aminmax()
    return bool(((lists.target == high) | (lists.target == low)).all())


def binary_pair_value(
    lists: Lists, penalty: HingePenalty | SquaredHingePenalty, pairs: Pairs, temperature: float = 1.0
) -> Tensor:
    """The same as `pairs.pair_value`, `(1,)`.

    Args:
        lists: As `is_binary` wants them.
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
    sums = F.pad(below.cumsum(0), (1, 0))
    linear = (sums[-1] - sums[first]) - threshold * count
    if squared:
        squares = F.pad(below.square().cumsum(0), (1, 0))
        cost = squares[-1] - squares[first] + threshold * (threshold * count - 2 * (sums[-1] - sums[first]))
        before = F.pad(threshold.cumsum(0), (1, 0))
        slopes = -2 * linear, 2 * (last * below - before[last])
    else:
        cost, slopes = linear, (-count.double(), last.double())
    found = torch.empty_like(scores, dtype=torch.float64)
    for place, order, slope in zip(places, (above_order, below_order), slopes, strict=True):
        found[place[order]] = slope
    return cost.sum().unsqueeze(0), found.unsqueeze(0), len(above) * len(below)
