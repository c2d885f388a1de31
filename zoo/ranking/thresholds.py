"""A similarity loss by two thresholds that all rows share.

The arguments that all similarity losses share (`similarity`, `positive`, `mask`, `weight`, `reduction`) are explained
once, in `zoo.ranking`.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from zoo.ranking.checks import REDUCTIONS, Reduction, check_choice
from zoo.ranking.engines import Engine
from zoo.ranking.lazy import Matrix, Relation
from zoo.ranking.reduction import divide
from zoo.ranking.row_engines import RowLoss, row_loss, row_statistics
from zoo.ranking.rows import Rows, check_rows


def threshold_consistent_margin(
    similarity: Matrix,
    positive: Relation,
    *,
    mask: Relation | None = None,
    weight: Tensor | None = None,
    positive_margin: float = 0.9,
    negative_margin: float = 0.5,
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """Threshold-consistent margin: positives below one threshold and negatives above another, for all rows alike.

    With m+ the positive and m- the negative margin: the mean of `m+ - S_p` over the positives with `S_p <= m+`, plus
    the mean of `S_n - m-` over the negatives with `S_n >= m-`. "mean" takes both means over the pairs of all rows at
    once, as published (a pair weighs as its row does); "none" takes them row by row, and "sum" adds these up. Added
    to another loss with a factor of one's own, it makes one threshold fit all classes.

    Source: Threshold-consistent margin loss, Zhang et al., ICLR 2024.

    Args:
        similarity: `(Q, G)`, in the paper cosine similarity.
        positive: `(Q, G)` bool.
        mask: `(Q, G)` or None; leave the diagonal out here when a batch is compared with itself.
        weight: `(Q,)` or None.
        positive_margin: Similarity from which a positive costs nothing.
        negative_margin: Similarity below which a negative costs nothing.
        reduction: "mean", "sum" or "none" over rows.
        engine: How it is computed, "dense", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(Q,)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    check_rows(similarity, positive, mask, weight, graded=False)
    margins = _Margins(positive_margin, negative_margin)

    def reduced(counts: Tensor | None, how: Reduction) -> Tensor:
        loss = RowLoss(partial(_value, margins=margins, counts=counts), partial(_slope, margins=margins, counts=counts))
        return row_loss(loss, similarity, positive, mask=mask, weight=weight, reduction=how, engine=engine)

    if reduction != "mean" or not all(similarity.shape):
        return reduced(None, reduction)
    found = row_statistics(partial(_counts, margins=margins), similarity, positive, mask, weight)
    if weight is not None:
        found = torch.where(found > 0, found * weight.to(found.dtype).unsqueeze(-1), 0.0)
    counts = found.sum(0)
    if not counts.requires_grad:
        return reduced(counts, "sum")
    # each sum by itself, for its count depends on the weights too
    one, none = torch.ones_like(counts[0]), torch.full_like(counts[0], torch.inf)
    sides = [reduced(torch.stack(pair), "sum") for pair in ((one, none), (none, one))]
    return divide(torch.stack(sides), counts.to(sides[0].dtype)).sum()


@dataclass(frozen=True)
class _Margins:
    upper: float
    lower: float


def _costly(rows: Rows, margins: _Margins) -> tuple[Tensor, Tensor]:
    """The positives and the negatives that cost something, a nan included."""
    return rows.positive & ~(rows.similarity > margins.upper), rows.negative & ~(rows.similarity < margins.lower)


def _counts(rows: Rows, margins: _Margins) -> Tensor:
    return torch.stack([costly.sum(-1) for costly in _costly(rows, margins)], -1).double()


def _value(rows: Rows, margins: _Margins, counts: Tensor | None = None) -> Tensor:
    above, below = _costly(rows, margins)
    at_positives = torch.where(above, margins.upper - rows.similarity, 0.0).sum(-1)
    at_negatives = torch.where(below, rows.similarity - margins.lower, 0.0).sum(-1)
    first, second = (above.sum(-1), below.sum(-1)) if counts is None else counts.to(at_positives.dtype)
    return divide(at_positives, first) + divide(at_negatives, second)


def _slope(rows: Rows, margins: _Margins, counts: Tensor | None = None) -> tuple[Tensor, Tensor]:
    above, below = _costly(rows, margins)
    dtype = rows.similarity.dtype
    numbers = [side.sum(-1, keepdim=True) for side in (above, below)] if counts is None else counts
    first, second = (divide(torch.ones_like(n, dtype=dtype), n.to(dtype)) for n in numbers)
    slopes = torch.where(below, second, 0.0).sub_(torch.where(above, first, 0.0))
    return _value(rows, margins, counts), slopes
