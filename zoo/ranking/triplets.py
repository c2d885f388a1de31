"""Similarity losses with a margin between the positives and the negatives of a row.

The arguments that all similarity losses share (`similarity`, `positive`, `mask`, `weight`, `reduction`) are explained
once, in `zoo.ranking`.
"""

from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.ranking.checks import Reduction, check_choice, check_positive
from zoo.ranking.engines import Engine
from zoo.ranking.lazy import Matrix, Relation
from zoo.ranking.masked import masked_log_softmax, masked_logsumexp, masked_max, masked_mean, masked_min
from zoo.ranking.penalties import HingePenalty
from zoo.ranking.row_engines import RowLoss, row_loss
from zoo.ranking.rows import Rows
from zoo.ranking.softmax_rows import Softmax, finish_alignment

Mining = Literal["hardest", "semihard", "all"]


def triplet(
    similarity: Matrix,
    positive: Relation,
    *,
    mask: Relation | None = None,
    weight: Tensor | None = None,
    margin: float = 0.2,
    mining: Mining = "hardest",
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """Triplet loss: `max(0, margin - S_p + S_n)` for a positive p and a negative n of the row.

    "hardest": the least similar positive with the most similar negative. "all": the mean over all pairs (p, n), those
    that cost nothing included. "semihard": the mean over the positives, each with the most similar negative that is
    still less similar than it, or with the row's least similar negative where there is none.

    Source: FaceNet, Schroff et al., CVPR 2015, eq. 1-4; "hardest" and "all": Hermans et al., arXiv:1703.07737, eq. 5-6.

    Args:
        similarity: `(Q, G)`.
        positive: `(Q, G)` bool.
        mask: `(Q, G)` or None.
        weight: `(Q,)` or None.
        margin: How far a positive must stand above a negative (0.2 as in FaceNet).
        mining: "hardest", "semihard" or "all".
        reduction: "mean", "sum" or "none" over rows.
        engine: How it is computed, "dense", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(Q,)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit.
    """
    check_choice("mining", mining, tuple(_MINED))
    loss = RowLoss(partial(_MINED[mining], margin=margin), cubic=mining != "hardest")
    return row_loss(loss, similarity, positive, mask=mask, weight=weight, reduction=reduction, engine=engine)


def _hardest_value(rows: Rows, margin: float) -> Tensor:
    lowest = masked_min(rows.similarity, rows.positive)
    return F.relu(margin - lowest + masked_max(rows.similarity, rows.negative))


def _all_value(rows: Rows, margin: float) -> Tensor:
    counted, _, difference = _triplets(rows)
    return masked_mean(HingePenalty(margin)(difference).flatten(1), counted.flatten(1))


def _semihard_value(rows: Rows, margin: float) -> Tensor:
    counted, found, difference = _triplets(rows)
    below = counted & (difference > 0)
    gap = torch.where(below.any(-1), masked_min(difference, below), masked_max(difference, counted))
    return masked_mean(HingePenalty(margin)(gap), found)


_MINED = {"hardest": _hardest_value, "semihard": _semihard_value, "all": _all_value}


def _triplets(rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Which (p, n) are a positive and a negative, `(Q, P, G)`; which p are real, `(Q, P)`; `S_p - S_n`."""
    columns, found = rows.anchors()
    counted = found.unsqueeze(-1) & rows.negative.unsqueeze(-2)
    return counted, found, rows.similarity.gather(-1, columns).unsqueeze(-1) - rows.similarity.unsqueeze(-2)


def triplet_alignment(
    similarity: Matrix,
    positive: Relation,
    *,
    mask: Relation | None = None,
    weight: Tensor | None = None,
    margin: float = 0.1,
    temperature: float = 0.015,
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """Triplet alignment (TAL): a log-sum-exp bound of the triplet loss with the hardest negative.

    `max(0, margin - sum_p alpha_p S_p + T log sum_n exp(S_n / T))`, T the temperature, over the positives p and the
    negatives n of the row, `alpha = softmax(S_p / T)` over the positives, without gradient. One direction; two-way is
    `triplet_alignment(S, P) + triplet_alignment(S.T, P.T)`.

    Source: RDE, Qin et al., CVPR 2024, triplet alignment loss.

    Args:
        similarity: `(Q, G)`.
        positive: `(Q, G)` bool.
        mask: `(Q, G)` or None.
        weight: `(Q,)` or None.
        margin: How far the positives must stand above the bound of the negatives.
        temperature: Divides the similarities; the bound tends to the hardest negative as it falls.
        reduction: "mean", "sum" (as published) or "none" over rows.
        engine: How it is computed, "dense", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(Q,)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit, or `temperature` is not above 0.
    """
    check_positive("temperature", temperature)
    return row_loss(
        alignment_rows(margin, temperature),
        similarity,
        positive,
        mask=mask,
        weight=weight,
        reduction=reduction,
        engine=engine,
    )


def alignment_rows(margin: float = 0.1, temperature: float = 0.015) -> RowLoss:
    """What `triplet_alignment` does with a row."""
    value = partial(_alignment_value, margin=margin, temperature=temperature)
    return RowLoss(value, softmax=Softmax(partial(finish_alignment, margin=margin), temperature))


def _alignment_value(rows: Rows, margin: float, temperature: float) -> Tensor:
    similarity = rows.centred()  # alpha sums to 1, so the shift cancels
    scaled = similarity * (1 / temperature)
    alpha = torch.where(rows.positive, masked_log_softmax(scaled.detach(), rows.positive).exp(), 0.0)
    bound = temperature * masked_logsumexp(scaled, rows.negative)
    return F.relu(margin - (alpha * torch.where(rows.positive, similarity, 0.0)).sum(-1) + bound)


def set_wise(
    similarity: Matrix,
    positive: Relation,
    *,
    mask: Relation | None = None,
    weight: Tensor | None = None,
    margin: float = 2.0,
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """Set-wise ranking: margin over all negatives of the row plus margin over its hardest negative.

    `mean_n max(0, margin - S_p + S_n) + max(0, margin - S_p + max_n S_n)`, with `S` minus a distance; the mean over the
    positives p where a row has several.

    Source: OutfitTransformer, Sarkar et al., WACV 2023, set-wise outfit ranking loss.

    Args:
        similarity: `(Q, G)`, in the paper the negative Euclidean distance.
        positive: `(Q, G)` bool.
        mask: `(Q, G)` or None.
        weight: `(Q,)` or None.
        margin: How far a positive must stand above a negative.
        reduction: "mean", "sum" or "none" over rows.
        engine: How it is computed, "dense", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(Q,)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit.
    """
    loss = RowLoss(partial(_set_wise_value, margin=margin), cubic=True)
    return row_loss(loss, similarity, positive, mask=mask, weight=weight, reduction=reduction, engine=engine)


def _set_wise_value(rows: Rows, margin: float) -> Tensor:
    hardest = masked_max(rows.similarity, rows.negative).unsqueeze(-1)
    hard = masked_mean(F.relu(margin - rows.similarity + hardest), rows.positive)
    return _all_value(rows, margin) + hard
