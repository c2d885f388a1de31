"""The shared frame of the similarity losses: masks, weights, empties and reductions, in one place.

A loss only says what one clean row is worth. It gets `Rows`, in which every row has a positive and a negative or no
real entry at all, and whatever is not real is filled with 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.ranking.checks import check_like, check_real
from zoo.ranking.lazy import LazyRelation, LazySimilarity, Matrix, Relation
from zoo.ranking.masked import masked_max


@dataclass(frozen=True)
class Rows:
    """Q clean rows of G gallery entries each; all tensors `(Q, G)`."""

    similarity: Tensor
    """float32 or float64; 0 where an entry is neither positive nor negative."""
    positive: Tensor
    """bool: the entry belongs above the negatives."""
    negative: Tensor
    """bool: the entry belongs below the positives."""
    grade: Tensor | None = None
    """How positive an entry is, dtype of the similarity, without gradient, 0 where it is not; None for a bool."""

    @property
    def relevance(self) -> Tensor:
        """The grade, or 1 for what is positive and 0 elsewhere."""
        return self.positive.to(self.similarity.dtype) if self.grade is None else self.grade

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
        counts = self.positive.sum(-1)
        row, column = self.positive.nonzero(as_tuple=True)
        place = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
        most = int(counts.max()) if len(counts) else 0
        columns = torch.zeros(len(counts), most, dtype=torch.long, device=row.device)
        found = torch.zeros_like(columns, dtype=torch.bool)
        columns[row, place], found[row, place] = column, True
        return columns, found

    def part(self, chosen: slice) -> Rows:
        """Some of the rows."""
        grade = None if self.grade is None else self.grade[chosen]
        return Rows(self.similarity[chosen], self.positive[chosen], self.negative[chosen], grade)


RowValue = Callable[[Rows], Tensor]
"""`Rows` of shape (Q, G) -> one finite value per row, `(Q,)`."""
RowSlope = Callable[[Rows], tuple[Tensor, Tensor]]
"""The same, and the slope of each value by its row, `(Q, G)`; without a graph."""


def clean_rows(
    similarity: Tensor,
    positive: Tensor,
    mask: Tensor | None,
    weight: Tensor | None,
    dtype: torch.dtype,
    look: bool = False,
) -> tuple[Rows, Tensor]:
    """Rows that a loss may read without a thought.

    Args:
        similarity: `(Q, G)`.
        positive: `(Q, G)`, bool or a relevance >= 0.
        mask: `(Q, G)` or None.
        weight: `(Q,)` or None.
        dtype: To compute in.
        look: Leave untouched what needs no filling, which takes a look at the values.

    Returns:
        The rows, and bool `(Q,)`: which of them have something to rank.
    """
    grade = None
    if positive.dtype == torch.bool:
        above = positive if mask is None else positive & mask
    else:
        grade = positive.detach().to(dtype)
        grade = grade if mask is None else torch.where(mask, grade, 0.0)
        above = grade > 0
    below = ~above if mask is None else mask & ~above
    rankable = above.any(-1) & below.any(-1)
    if weight is not None:
        rankable = rankable & (weight != 0)
    similarity = similarity.to(dtype)
    if look and bool(rankable.all()):
        if mask is not None:
            similarity = torch.where(mask, similarity, 0.0)
        return Rows(similarity, above, below, grade), rankable
    kept = rankable.unsqueeze(-1)
    real = kept.expand_as(above) if mask is None else mask & kept
    grade = None if grade is None else torch.where(kept, grade, 0.0)
    return Rows(torch.where(real, similarity, 0.0), above & kept, below & kept, grade), rankable


def check_rows(
    similarity: Matrix, positive: Relation, mask: Relation | None, weight: Tensor | None, graded: bool
) -> None:
    """Refuse what does not fit together.

    Raises:
        TypeError: if an argument that must be a tensor is none.
        ValueError: if a shape, dtype or device does not fit.
    """
    if not isinstance(similarity, LazySimilarity):
        check_real("similarity", similarity)
        if similarity.ndim != 2:
            raise ValueError(f"similarity: shape {tuple(similarity.shape)} given, expected (Q, G)")
    shape, device, of = similarity.shape, similarity.device, "the shape of similarity"
    for name, relation, kind in (("positive", positive, "bool or real" if graded else "bool"), ("mask", mask, "bool")):
        if isinstance(relation, LazyRelation):
            _check_relation(name, relation, shape, device)
        elif name == "positive" or relation is not None:
            check_like(name, relation, shape, device, kind, of)
    if weight is not None:
        check_like("weight", weight, shape[:1], device, "number", "one per row of similarity")


def _check_relation(name: str, relation: LazyRelation, shape: torch.Size, device: torch.device) -> None:
    if relation.shape != shape:
        raise ValueError(
            f"{name}: shape {tuple(relation.shape)} given, expected {tuple(shape)}, the shape of similarity"
        )
    if relation.device != device:
        raise ValueError(f"{name}: lies on {relation.device}, expected {device}")
