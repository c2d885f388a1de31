"""The stretches of a video whose scores stand out, whatever the level of the scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TOP = 3


class Found(NamedTuple):
    """A stretch of rows.

    Attributes:
        first: First row, from 0.
        stop: Row after the last.
        peak: The row with the highest score.
        score: That score.
    """

    first: int
    stop: int
    peak: int
    score: float


def top_events(scores: np.ndarray, count: int = TOP) -> list[Found]:
    """The highest peaks of a curve, each with its surroundings.

    A peak reaches as far as the scores stay above the middle between it and the median of the video. A detector may be
    right in its order and wrong in its level, so no threshold is asked. A peak counts where it stands above the middle
    between the median and the highest score; a curve without ups and downs has none.

    Args:
        scores: ``(T,)``.
        count: At most so many.

    Returns:
        The highest first; they do not overlap.
    """
    base, high = float(np.median(scores)), float(scores.max())
    if high - base < 1e-6:
        return []
    left = scores.astype(float).copy()
    found: list[Found] = []
    while len(found) < count:
        peak = int(np.argmax(left))
        if not left[peak] > (base + high) / 2:
            break
        level = (base + left[peak]) / 2
        first, stop = peak, peak + 1
        while first > 0 and left[first - 1] > level:
            first -= 1
        while stop < len(left) and left[stop] > level:
            stop += 1
        found.append(Found(first, stop, peak, float(scores[peak])))
        left[max(0, first - 1) : stop + 1] = -np.inf  # the slopes of a peak are no peak of their own
    return found
