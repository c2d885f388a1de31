"""Confidence intervals by resampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float], size: int, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic.

    Args:
        statistic: Value of a resample, given as ``(size,)`` indices drawn with replacement. NaN where it is not defined
            there (one class alone); such resamples are left out.
        size: Number of independent units: videos, scenes, images.
        resamples: How many are drawn.
        level: Coverage, in (0, 1).
        seed: Of the draws.

    Returns:
        Lower and upper end; NaN where no resample is defined.

    Raises:
        ValueError: ``size`` or ``resamples`` below 1, or ``level`` outside (0, 1).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    if size < 1 or resamples < 1 or not 0 < level < 1:
        raise ValueError(f"size {size} and resamples {resamples} must be at least 1, level {level} inside (0, 1)")
    rng = np.random.default_rng(seed)
    values = np.array([statistic(rng.integers(0, size, size)) for _ in range(resamples)], dtype=float)
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
