"""From one value per list or row to the loss: the last of the three choices, shared by both families."""

import torch
from torch import Tensor

from zoo.ranking.checks import Reduction


def reduce_values(values: Tensor, rankable: Tensor, reduction: Reduction, weight: Tensor | None = None) -> Tensor:
    """Reduce one value per list or row.

    Args:
        values: One value each; 0 where there is nothing to rank.
        rankable: bool, same shape: the list or row has something to rank.
        reduction: "none" keeps the (weighted) values, "sum" adds them, "mean" averages them over what has something
            to rank and is 0 when nothing has.
        weight: Same shape, non-negative and 0 where there is nothing to rank; "mean" is then the weighted mean.
    """
    if weight is not None:
        values = values * weight
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if weight is None:
        return values.sum() / rankable.sum().clamp(min=1)
    return divide(values.sum(), weight.sum())


def divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """`numerator / denominator`, 0 with zero gradient where the denominator is not above 0."""
    usable = ~(denominator <= 0)  # nan stays nan
    return torch.where(usable, numerator, 0.0) / torch.where(usable, denominator, 1.0)
