"""AUC and average precision of resampled videos, fast: equal scores of a video are counted once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo.metrics.bootstrap import bootstrap_interval


class Cells:
    """Frames counted by video and score, so that a resample of videos costs one pass over the counts.

    A video has few different scores (32 segments spread over thousands of frames), and whole videos are drawn: weights
    of counts replace copies of frames. The values are those of :func:`zoo.metrics.roc_auc` and
    :func:`zoo.metrics.average_precision` on the frames of the drawn videos put together.

    Args:
        scores: ``(F,)``, finite.
        truth: ``(F,)``, 0 or 1.
        video: ``(F,)`` integers in [0, videos), which video a frame is of.
        videos: How many there are; more than ``video`` names where some have no frames.
    """

    def __init__(self, scores: np.ndarray, truth: np.ndarray, video: np.ndarray, videos: int) -> None:
        self.videos = videos
        order = np.lexsort((video, -scores.astype(np.float64)))
        ordered, owner, positive = scores[order], video[order], truth[order].astype(np.int64)
        new = np.ones(len(order), dtype=bool)
        new[1:] = (ordered[1:] != ordered[:-1]) | (owner[1:] != owner[:-1])
        starts = np.flatnonzero(new)
        sizes = np.diff(np.append(starts, len(order)))
        self.video = owner[starts]
        self.positive = np.add.reduceat(positive, starts) if len(starts) else np.empty(0, dtype=np.int64)
        self.negative = sizes - self.positive
        heights = ordered[starts]
        self._levels = np.flatnonzero(np.append(True, heights[1:] != heights[:-1])[: len(heights)])

    def measure(self, drawn: np.ndarray) -> tuple[float, float]:
        """AUC and average precision of drawn videos.

        Args:
            drawn: Indices of videos, with repeats.

        Returns:
            NaN for both where all their frames are of one kind.
        """
        weight = np.bincount(drawn, minlength=self.videos)[self.video]
        if not len(weight):
            return float("nan"), float("nan")
        positive = np.add.reduceat(weight * self.positive, self._levels).astype(np.float64)
        negative = np.add.reduceat(weight * self.negative, self._levels).astype(np.float64)
        found, wrong = positive.cumsum(), negative.cumsum()
        if not found[-1] or not wrong[-1]:
            return float("nan"), float("nan")
        auc = (negative * (found - positive / 2)).sum() / (found[-1] * wrong[-1])
        precision = found / np.maximum(found + wrong, 1)
        return float(auc), float((precision * positive).sum() / found[-1])


def video_intervals(
    scores: Tensor, truth: Tensor, lengths: Tensor, resamples: int, level: float = 0.95, seed: int = 0
) -> dict[str, float]:
    """Bootstrap intervals over videos: frames of one video are no independent observations, videos are.

    The videos are put in an order of their own first, so that the result does not depend on how they were shared out
    to processes.

    Args:
        scores: ``(F,)`` of all frames, video after video.
        truth: ``(F,)``, 0 or 1.
        lengths: ``(V,)``, frames of each video.
        resamples: How many are drawn.
        level: Coverage, in (0, 1).
        seed: Of the draws.

    Returns:
        ``auc_low``, ``auc_high``, ``ap_low`` and ``ap_high``.
    """
    parts = list(zip(*(torch.split(values, lengths.tolist()) for values in (scores, truth)), strict=True))
    keys = [(len(part), float(part.double().sum()), float(mark.sum()), part.numpy().tobytes()) for part, mark in parts]
    ordered = [parts[index] for index in sorted(range(len(parts)), key=keys.__getitem__)]
    owner = np.repeat(np.arange(len(parts)), [len(part) for part, _ in ordered])
    joined = [torch.cat([pair[which] for pair in ordered]).numpy() for which in (0, 1)]
    cells = Cells(joined[0], joined[1], owner, len(parts))
    result: dict[str, float] = {}
    for place, name in enumerate(("auc", "ap")):

        def statistic(drawn: np.ndarray, place: int = place) -> float:
            return cells.measure(drawn)[place]

        low, high = bootstrap_interval(statistic, len(parts), resamples, level, seed)
        result |= {f"{name}_low": low, f"{name}_high": high}
    return result
