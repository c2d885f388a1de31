"""Smooth penalties over all pairs of different targets by sums at Chebyshev nodes, graded targets included.

Items are grouped by target, in order: whole levels together up to about 256 items, a large level alone. Pairs of
different groups are sums over all lower groups, running sums of what the groups spread to the nodes. Pairs inside a
group are few and compared one by one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.ranking.checks import Pairs
from zoo.ranking.costs import PenaltyCost
from zoo.ranking.lists import Lists, split_groups
from zoo.ranking.pair_means import averaged, with_mass
from zoo.ranking.penalties import LogisticPenalty
from zoo.ranking.smooth_sums import NODES, Boxes
from zoo.ranking.sorted_pairs import target_levels
from zoo.ranking.tiles import pair_sums

GROUP = 256  # items that are compared one by one


def smooth_pair_value(lists: Lists, penalty: LogisticPenalty, pairs: Pairs, temperature: float = 1.0) -> Tensor:
    """The same as `pairs.pair_value`, `(M,)`, to the accuracy of the scores' dtype.

    Args:
        lists: The clean lists; `smooth_sums.allowed`.
        penalty: The logistic one.
        pairs: "mean" or "sum" within a list.
        temperature: Divides the score differences.
    """
    with torch.no_grad():
        lists, mass = with_mass(lists, pairs)
        total, slope = _sums(lists, lists.weight.double(), penalty, temperature)
    return averaged(lists.scores, total, slope, mass)


def _sums(lists: Lists, weight: Tensor, penalty: LogisticPenalty, temperature: float) -> tuple[Tensor, Tensor]:
    """Weighted costs `(M,)` and slopes `(M, N)` over all pairs, float64."""
    group, mixed = _groups(lists)
    x = lists.scores.double() / temperature
    boxes = Boxes(x, lists.real, NODES[lists.scores.dtype])
    count = int(group.max()) + 1
    mass = boxes.spread(weight, group, count)
    below = F.pad(mass.cumsum(1), (0, 0, 1, 0))[:, :-1]
    above = F.pad(mass.flip(1).cumsum(1).flip(1), (0, 0, 0, 1))[:, 1:]
    cost = weight * boxes.read(boxes.meet(below, penalty), group)
    # d penalty(d) / dd = -sigmoid(-d)
    pulled = boxes.read(boxes.meet(below, _falling), group) - boxes.read(
        boxes.meet(above, _falling, turned=True), group
    )
    total, slope = cost.sum(-1), weight * pulled / -temperature
    inner = Lists(lists.scores.double(), lists.target, lists.real & mixed, weight)
    if bool(inner.real.any()):
        _add_inner(inner, group, penalty, temperature, total, slope)
    return total, slope


def _falling(difference: Tensor) -> Tensor:
    return (-difference).sigmoid()


def _groups(lists: Lists) -> tuple[Tensor, Tensor]:
    """Group of each real item, `(M, N)` int64 in the order of targets, and bool: the group holds several levels."""
    level = target_levels(lists)
    level = torch.where(lists.real, level, level.shape[-1])  # last
    sizes = torch.zeros_like(F.pad(level, (0, 1))).scatter_add_(-1, level, lists.real.long())  # by level
    before = sizes.cumsum(-1) - sizes
    large = sizes > GROUP // 4
    block = torch.div(before, GROUP, rounding_mode="floor")
    new = (block[:, 1:] != block[:, :-1]) | large[:, 1:] | large[:, :-1]
    group = F.pad(new.long().cumsum(-1), (1, 0))
    # numbers without gaps: levels that hold nothing must not make groups
    held = torch.zeros_like(group).scatter_add_(-1, group, sizes) > 0
    group = (held.long().cumsum(-1) - 1).clamp(min=0).gather(-1, group)
    levels = torch.zeros_like(group).scatter_add_(-1, group, (sizes > 0).long())
    own = group.gather(-1, level)
    return torch.where(lists.real, own, 0), levels.gather(-1, own) > 1


def _add_inner(
    inner: Lists, group: Tensor, penalty: LogisticPenalty, temperature: float, total: Tensor, slope: Tensor
) -> None:
    """Adds the pairs inside the groups to the costs and to the slopes."""
    for part, owner, items in split_groups(inner, group):
        part = replace(part, weight=torch.where(part.real, part.weight, 0.0))
        cost, pull = pair_sums(part, PenaltyCost(penalty, temperature))
        total.index_add_(0, owner, cost)
        slope.view(-1).index_add_(0, items[part.real], pull[part.real])
