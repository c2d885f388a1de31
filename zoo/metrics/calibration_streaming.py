"""Calibration error from counts per bin: what it remembers does not grow with the data."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from zoo.metrics.calibration_metrics import check
from zoo.metrics.gathered import Metric

Norm = Literal["l1", "l2", "max"]
BLOCK = 2**18  # logits that are looked at together: they stay in the cache


class StreamingCalibrationError(Metric):
    """Expected calibration error over bins of equal width, from one pass and three numbers per bin.

    The same as `ExpectedCalibrationError` without its remembered logits: for runs over millions of items. A confidence
    on an edge belongs to the bin below it, (0, 1/B], (1/B, 2/B], ...

    Args:
        bins: Number of bins B.
        norm: ``l1`` (ECE), ``l2`` (root mean square) or ``max``.
        temperature: What the logits are divided by.
    """

    is_differentiable = False
    higher_is_better: bool | None = False
    full_state_update = False
    count: Tensor
    confidence: Tensor
    correct: Tensor

    def __init__(self, bins: int = 15, norm: Norm = "l1", temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if bins < 1 or not temperature > 0:
            raise ValueError(f"bins and temperature: {bins} and {temperature} given, expected at least 1 and above 0")
        if norm not in ("l1", "l2", "max"):
            raise ValueError(f"norm: {norm!r} given, expected 'l1', 'l2' or 'max'")
        self.bins, self.norm, self.temperature = bins, norm, temperature
        for name in ("count", "confidence", "correct"):
            self.add_state(name, default=torch.zeros(bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Takes a batch.

        Args:
            logits: ``(B, C)``, raw.
            labels: ``(B,)`` integers in [0, C).

        Raises:
            ValueError: A shape or value does not fit; names it.
        """
        check(logits, labels, least=0)
        rows = max(1, BLOCK // max(1, logits.shape[1]))
        for some, wanted in zip(logits.detach().split(rows), labels.split(rows), strict=True):
            highest, predicted = some.max(1)
            apart = some.float() - highest.float().unsqueeze(1)
            confidence = apart.div_(self.temperature).exp_().sum(1).double().reciprocal_()
            place = (confidence * self.bins).ceil_().long().sub_(1).clamp_(0, self.bins - 1)
            for state, weights in (
                (self.count, None),
                (self.confidence, confidence),
                (self.correct, (predicted == wanted).double()),
            ):
                state += torch.bincount(place, weights, minlength=self.bins)

    def compute(self) -> Tensor:
        """A float64 scalar.

        Raises:
            ValueError: There is nothing to measure.
        """
        total = self.count.sum()
        if not total:
            raise ValueError(f"{type(self).__name__} has nothing to measure: no batch was given")
        gap = (self.confidence - self.correct).abs() / self.count.clamp(min=1)
        if self.norm == "max":
            return gap.max()
        share = self.count / total
        return (share * gap).sum() if self.norm == "l1" else (share * gap.square()).sum().sqrt()
