"""From sums over pairs, with their slopes, to a mean or sum that hangs on the scores: the end of every fast engine."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.ranking.checks import Pairs
from zoo.ranking.engines import Slopes
from zoo.ranking.lists import Lists
from zoo.ranking.reduction import divide
from zoo.ranking.sorting import sort_rows


def with_mass(lists: Lists, pairs: Pairs, tied: bool = False) -> tuple[Lists, Tensor | None]:
    """Lists whose weights cannot underflow in products, and the weight of all pairs, `(M,)` float64, for a mean."""
    if pairs == "sum":
        return lists, None
    lists = replace(lists, weight=divide(lists.weight, lists.weight.amax(-1, keepdim=True)))
    weight = torch.where(lists.real, lists.weight, 0.0).double()
    if tied:
        return lists, (weight[:, 1:] * weight.cumsum(-1)[:, :-1]).sum(-1)
    return lists, pair_mass(lists, weight)


def averaged(scores: Tensor, total: Tensor, slope: Tensor, mass: Tensor | None) -> Tensor:
    """Values `(M,)` that hang on the scores by slopes known already.

    Args:
        scores: `(M, N)`.
        total: `(M,)` float64.
        slope: `(M, N)` float64.
        mass: `(M,)`, divides both; None for sums.
    """
    if mass is not None:
        total, slope = divide(total, mass), slope.mul_(divide(torch.ones_like(mass), mass).unsqueeze(-1))
    applied: Tensor = Slopes.apply(scores, total.to(scores.dtype), slope.to(scores.dtype))
    return applied


def pair_mass(lists: Lists, weight: Tensor) -> Tensor:
    """Sum of `w_i w_j` over the pairs with target_i > target_j; `(M,)`, no difference of large numbers."""
    target, order = sort_rows(lists.target)
    sorted_weight = torch.where(lists.real, weight, 0.0).gather(-1, order)
    before = F.pad(sorted_weight.cumsum(-1), (1, 0))
    first = torch.searchsorted(target, target)  # of the items that tie
    return (sorted_weight * before.gather(-1, first)).sum(-1)
