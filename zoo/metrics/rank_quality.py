"""Whether scores rank what was found by how well it was found."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from zoo.metrics.gathered import Metric

_BLOCK = 1 << 24  # pairs that are compared at once


class RankQuality(Metric):
    """Correlation of score and quality, and the share of pairs whose scores stand in the wrong order.

    ``compute`` gives ``score_iou_correlation``, Spearman's, over all that was found, and ``misranked_pairs``: of all
    pairs of one group whose qualities differ, the share in which the worse has the higher score; equal scores count
    half. Both are NaN where there is nothing to compare.
    """

    score: list[Tensor]
    quality: list[Tensor]
    group: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("score", "quality", "group"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, score: Tensor, quality: Tensor, group: Tensor) -> None:
        """Adds what was found.

        Args:
            score: ``(N,)``; N may be 0.
            quality: ``(N,)``, e.g. the IoU with the object that was found.
            group: ``(N,)`` int; only what is of one group, e.g. a class, is compared in pairs.

        Raises:
            ValueError: The shapes differ, or a number is not finite.
        """
        if not score.shape == quality.shape == group.shape or score.ndim != 1:
            raise ValueError(
                f"score, quality and group are (N,), got {tuple(score.shape)}, {tuple(quality.shape)}, "
                f"{tuple(group.shape)}"
            )
        if not (torch.isfinite(score).all() and torch.isfinite(quality).all()):
            raise ValueError("score or quality holds values that are not finite")
        self.score.append(score.detach().double().to(self.device))
        self.quality.append(quality.detach().double().to(self.device))
        self.group.append(group.detach().long().to(self.device))

    def compute(self) -> dict[str, Tensor]:
        """``score_iou_correlation`` in [-1, 1] and ``misranked_pairs`` in [0, 1]."""
        score, quality, group = (
            dim_zero_cat(state).cpu().numpy() if len(state) else np.empty(0)
            for state in (self.score, self.quality, self.group)
        )
        return {
            "score_iou_correlation": torch.tensor(_correlation(score, quality)),
            "misranked_pairs": torch.tensor(_misranked(score, quality, group)),
        }


def _correlation(score: np.ndarray, quality: np.ndarray) -> float:
    if len(np.unique(score)) < 2 or len(np.unique(quality)) < 2:
        return float("nan")
    return float(spearmanr(score, quality).statistic)


def _misranked(score: np.ndarray, quality: np.ndarray, group: np.ndarray) -> float:
    wrong, pairs = 0.0, 0
    for one in np.unique(group):
        own = group == one
        scores, qualities = score[own], quality[own]
        step = max(1, _BLOCK // max(1, len(scores)))
        for start in range(0, len(scores), step):
            part = slice(start, start + step)
            better = qualities[part, None] > qualities[None]
            wrong += float(((scores[part, None] < scores[None]) & better).sum())
            wrong += 0.5 * float(((scores[part, None] == scores[None]) & better).sum())
            pairs += int(better.sum())
    return wrong / pairs if pairs else float("nan")
