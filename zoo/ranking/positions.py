"""Places in a list, and what they are worth: ranks, discounts and gains of the DCG."""

import math

import torch
from torch import Tensor

from zoo.ranking.checks import Gain
from zoo.ranking.lists import Lists
from zoo.ranking.reduction import divide
from zoo.ranking.sorting import order_rows


def places(key: Tensor, real: Tensor) -> Tensor:
    """0-based place of each real item in descending order of `key`; items that tie stand in their given order.

    Args:
        key: `(M, N)`.
        real: bool `(M, N)`; the others take no place (their entries are meaningless but not negative).

    Returns:
        int64 `(M, N)`.
    """
    order = order_rows(key, descending=True)
    place = (real.gather(-1, order).cumsum(-1) - 1).clamp(min=0)
    return torch.empty_like(order).scatter(-1, order, place)


def discounts(place: Tensor, real: Tensor, dtype: torch.dtype, k: int | None = None) -> Tensor:
    """`1 / log2(place + 2)` for real items in the first `k` places, else 0; `(M, N)`."""
    counted = real if k is None else real & (place < k)
    return torch.where(counted, (place + 2).to(dtype).log2().reciprocal(), 0.0)


def gains(lists: Lists, gain: Gain) -> Tensor:
    """Gain of each target, up to a factor common to a list (an NDCG does not see it); `(M, N)`, 0 where not real.

    "exp2" is `2^t - 1`, "linear" is `t`, divided by that of the list's highest target, so that sums neither overflow
    nor vanish. A list with negative targets is first shifted up to start at 0, since a gain must not be negative.
    """
    lowest = lists.target.amin(-1, keepdim=True).clamp(max=0)  # fillers are 0 and cannot be the lowest below 0
    grade = torch.where(lists.real, lists.target - lowest, 0)
    if not grade.is_floating_point():
        grade = grade.to(lists.scores.dtype)
    if gain == "exp2":
        grade = -torch.expm1(-math.log(2) * grade) * torch.exp2(grade - grade.amax(-1, keepdim=True))
    return divide(grade, grade.amax(-1, keepdim=True)).to(lists.scores.dtype)
