"""The shared frame of the similarity losses: masks, weights, empties and reductions, in one place.

A loss only says what one clean row is worth. It gets `Rows`, in which every row has a positive and a negative or no
real entry at all, and whatever is not real is filled with 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.ranking.checks import REDUCTIONS, Reduction, accumulation_dtype, check_choice, check_like, check_real
from zoo.ranking.masked import masked_max
from zoo.ranking.reduction import reduce_values


@dataclass(frozen=True)
class Rows:
    """Q clean rows of G gallery entries each; all tensors `(Q, G)`."""

    similarity: Tensor
    """float32 or float64; 0 where an entry is neither positive nor negative."""
    positive: Tensor
    """bool: the entry belongs above the negatives."""
    negative: Tensor
    """bool: the entry belongs below the positives."""
    relevance: Tensor
    """How positive an entry is, dtype of the similarity, without gradient: 1 for a bool `positive`, 0 elsewhere."""

    def centred(self) -> Tensor:
        """`similarity` minus the row's largest real entry, which gets no gradient: `(Q, G)`.

        A softmax does not see the shift, and dividing small numbers by a small temperature keeps their last digits.
        """
        largest = masked_max(self.similarity.detach(), self.positive | self.negative).unsqueeze(-1)
        return self.similarity - torch.where(largest.isinf(), 0.0, largest)

    def anchors(self) -> tuple[Tensor, Tensor]:
        """The positives of each row, so that a loss over triplets needs `(Q, P, G)` entries and not `(Q, G, G)`.

        Returns:
            Columns `(Q, P)`, P the most positives that a row has, and bool `(Q, P)`: the entry is a positive and not
            the filling of a row that has fewer.
        """
        count = int(self.positive.sum(-1).max()) if len(self.positive) else 0
        columns = self.positive.int().argsort(dim=-1, descending=True)[:, :count]
        return columns, self.positive.gather(-1, columns)


RowValue = Callable[[Rows], Tensor]
"""What one loss adds: `Rows` of shape (Q, G) -> one finite value per row, `(Q,)`."""


def row_loss(
    value: RowValue,
    similarity: Tensor,
    positive: Tensor,
    *,
    mask: Tensor | None,
    weight: Tensor | None,
    reduction: Reduction,
    graded: bool = False,
) -> Tensor:
    """Evaluate a similarity loss: check and clean the input, value the rows, weigh, reduce.

    Args:
        value: One value per clean row.
        similarity: `(Q, G)` floating point; float16 and bfloat16 are computed and returned in float32.
        positive: `(Q, G)` bool; with `graded` also a floating-point relevance >= 0. Never gets a gradient.
        mask: `(Q, G)` bool: False = neither positive nor negative.
        weight: `(Q,)` numbers >= 0; a row of weight 0 counts as having nothing to rank.
        reduction: "mean", "sum" or "none".
        graded: Whether a floating-point `positive` is meaningful.

    Returns:
        A scalar, or `(Q,)` with reduction "none"; float64 for float64 similarity, else float32.

    Raises:
        TypeError: if an argument that must be a tensor is none.
        ValueError: if a shape, dtype, device or string does not fit.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    _check(similarity, positive, mask, weight, graded)
    dtype = accumulation_dtype(similarity)
    if similarity.shape[-1] == 0:
        empty = similarity.to(dtype).sum(-1)
        return reduce_values(empty, torch.zeros_like(empty, dtype=torch.bool), reduction)
    real = torch.ones_like(similarity, dtype=torch.bool) if mask is None else mask
    relevance = torch.where(real, positive.detach().to(dtype), 0.0)
    above, below = relevance > 0, real & ~(relevance > 0)
    rankable = above.any(-1) & below.any(-1)
    if weight is not None:
        rankable = rankable & (weight != 0)
        weight = torch.where(rankable, weight.to(dtype), 0.0)
    kept = rankable.unsqueeze(-1)
    rows = Rows(
        torch.where(real & kept, similarity.to(dtype), 0.0),
        above & kept,
        below & kept,
        torch.where(kept, relevance, 0.0),
    )
    return reduce_values(torch.where(rankable, value(rows), 0.0), rankable, reduction, weight)


def _check(similarity: Tensor, positive: Tensor, mask: Tensor | None, weight: Tensor | None, graded: bool) -> None:
    check_real("similarity", similarity)
    if similarity.ndim != 2:
        raise ValueError(f"similarity: shape {tuple(similarity.shape)} given, expected (Q, G)")
    shape, device, of = similarity.shape, similarity.device, "the shape of similarity"
    kind = "bool or real" if graded else "bool"
    check_like("positive", positive, shape, device, kind, of)
    if mask is not None:
        check_like("mask", mask, shape, device, "bool", of)
    if weight is not None:
        check_like("weight", weight, shape[:1], device, "number", "one per row of similarity")
