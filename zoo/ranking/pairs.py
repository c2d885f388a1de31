"""Pairs of items: which count, what they weigh, and their mean or sum per list. The only place that builds them.

This is the dense form, `(M, N, N)`: entry (i, j) is item i over item j.
"""

import torch
from torch import Tensor

from zoo.ranking.checks import Pairs
from zoo.ranking.lists import Lists
from zoo.ranking.penalties import Penalty
from zoo.ranking.reduction import divide


def differences(x: Tensor) -> Tensor:
    """`x_i - x_j`: `(M, N)` -> `(M, N, N)`."""
    return x.unsqueeze(-1) - x.unsqueeze(-2)


def both_real(lists: Lists) -> Tensor:
    """bool `(M, N, N)`: items i and j both count."""
    return lists.real.unsqueeze(-1) & lists.real.unsqueeze(-2)


def ordered_pairs(lists: Lists) -> Tensor:
    """bool `(M, N, N)`: both real and target_i > target_j; tied targets do not count."""
    return both_real(lists) & (lists.target.unsqueeze(-1) > lists.target.unsqueeze(-2))


def unordered_pairs(lists: Lists) -> Tensor:
    """bool `(M, N, N)`: both real and i < j; every pair once, tied targets included."""
    return both_real(lists).triu(diagonal=1)


def reduce_pairs(costs: Tensor, counted: Tensor, lists: Lists, pairs: Pairs) -> Tensor:
    """Weighted mean or sum over the counted pairs, a pair weighing `w_i * w_j`.

    Args:
        costs: `(M, N, N)`, finite.
        counted: bool `(M, N, N)`.
        lists: Gives the weights.
        pairs: "mean" or "sum".

    Returns:
        `(M,)`, 0 for a list without a counted pair.
    """
    weight = lists.weight
    if pairs == "mean":  # a mean does not see the scale of the weights; at 1 their products cannot underflow
        weight = divide(weight, weight.detach().amax(-1, keepdim=True))
    weights = torch.where(counted, weight.unsqueeze(-1) * weight.unsqueeze(-2), 0.0)
    total = (weights * costs).sum((-2, -1))
    return total if pairs == "sum" else divide(total, weights.sum((-2, -1)))


def pair_value(lists: Lists, penalty: Penalty, pairs: Pairs, temperature: float = 1.0) -> Tensor:
    """Value of a pairwise loss per list: the penalty over all pairs with target_i > target_j; `(M,)`.

    Args:
        lists: The clean lists.
        penalty: Cost of a score difference.
        pairs: "mean" or "sum" within a list.
        temperature: Divides the score differences.
    """
    counted = ordered_pairs(lists)
    costs = penalty(torch.where(counted, differences(lists.scores), 0.0) / temperature)
    return reduce_pairs(costs, counted, lists, pairs)
