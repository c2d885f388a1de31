"""ROC AUC and average precision of binary labels, ties grouped, in float64."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Ties = Literal["average", "order"]


class OneClassError(ValueError):
    """A ranking of positives over negatives is asked for where one of them is missing."""


def roc_auc(scores: Tensor, truth: Tensor, ties: Ties = "average") -> Tensor:
    """Area under the ROC curve.

    Source: Hanley and McNeil, Radiology 143(1), 1982: the share of pairs of a positive and a negative that are in
    order, a tie counting one half.

    Args:
        scores: ``(N,)``, finite; higher means more likely positive.
        truth: ``(N,)``, 0 or 1.
        ties: ``average`` counts ties as one half. ``order`` walks down the scores one item at a time, equal scores in
            the order given (a stable sort), as code without tie grouping does; its value depends on that order.

    Returns:
        A float64 scalar in [0, 1], on the CPU.

    Raises:
        OneClassError: There is no positive, or no negative.
        ValueError: The shapes, the truth, the scores or ``ties`` do not fit.
    """
    if ties not in get_args(Ties):
        raise ValueError(f"ties: {ties!r} given, expected 'average' or 'order'")
    scores, truth = _checked(scores, truth)
    ordered, index = scores.sort(descending=True, stable=True)
    positive = truth[index].double()
    if ties == "average":
        positives, counts = _grouped(ordered, positive)
        negatives = counts - positives
    else:
        positives, negatives = positive, 1 - positive
    above = positives.cumsum(0) - positives
    pairs = (negatives * (above + positives / 2)).sum()
    return pairs / (positives.sum() * negatives.sum())


def average_precision(scores: Tensor, truth: Tensor) -> Tensor:
    """Average precision: the precision at each score, weighted by the recall it adds; ties enter together.

    Source: Zhu, Recall, Precision and Average Precision, 2004; the same as scikit-learn's average_precision_score.

    Args:
        scores: ``(N,)``, finite; higher means more likely positive.
        truth: ``(N,)``, 0 or 1.

    Returns:
        A float64 scalar in [0, 1], on the CPU.

    Raises:
        OneClassError: There is no positive, or no negative (then every ranking is perfect).
        ValueError: The shapes, the truth or the scores do not fit.
    """
    scores, truth = _checked(scores, truth)
    ordered, index = scores.sort(descending=True, stable=True)
    positives, counts = _grouped(ordered, truth[index].double())
    precision = positives.cumsum(0) / counts.cumsum(0)
    return (precision * positives).sum() / positives.sum()


def _check(scores: Tensor, truth: Tensor) -> None:
    if scores.ndim != 1 or scores.shape != truth.shape:
        raise ValueError(f"scores and truth: shapes {tuple(scores.shape)} and {tuple(truth.shape)}, expected both (N,)")
    if not torch.isfinite(scores).all():
        raise ValueError(f"scores: {int((~torch.isfinite(scores)).sum())} of {len(scores)} are not finite")
    if not ((truth == 0) | (truth == 1)).all():
        raise ValueError("truth: expected 0 and 1 only")


def _checked(scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    scores, truth = scores.detach().cpu(), truth.cpu()
    _check(scores, truth)
    positives, negatives = int((truth == 1).sum()), int((truth == 0).sum())
    if not positives or not negatives:
        raise OneClassError(
            f"positives and negatives are needed, there are {positives} positives and {negatives} negatives"
        )
    return scores, truth


def _grouped(ordered: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Positives and items per group of equal scores, in the order of the scores; float64."""
    _, group, counts = torch.unique_consecutive(ordered, return_inverse=True, return_counts=True)
    positives = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, group, positive)
    return positives, counts.double()
