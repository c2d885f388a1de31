"""Calibration as torchmetrics objects: they keep logits and labels, so they are exact over batches and processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from zoo.metrics import calibration as of
from zoo.metrics import calibration_selective as selective
from zoo.metrics.bootstrap import bootstrap_interval
from zoo.metrics.calibration import BINS, Bins, Edges, Norm
from zoo.metrics.gathered import Metric

_ROWS = 4096  # whose probabilities are looked at together
SCALED = "_ts"
"""Ending of the names of figures after temperature scaling."""


class LogitsMetric(Metric):
    """Base: collects ``logits (B, C)`` and ``labels (B,)``.

    Args:
        bins: Number of bins.
        temperature: What the logits are divided by.
    """

    is_differentiable = False
    higher_is_better: bool | None = False
    full_state_update = False
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(self, bins: int = BINS, temperature: float = 1.0) -> None:
        super().__init__()
        if bins < 1 or not temperature > 0:
            raise ValueError(f"bins and temperature: {bins} and {temperature} given, expected at least 1 and above 0")
        self.bins, self.temperature = bins, temperature
        self.add_state("logits", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Takes a batch.

        Args:
            logits: ``(B, C)``, raw.
            labels: ``(B,)`` integers in [0, C).

        Raises:
            ValueError: A shape or value does not fit; names it.
        """
        check(logits, labels, least=0)
        self.logits.append(logits.detach().float())
        self.labels.append(labels.detach().long())

    def collected(self) -> tuple[np.ndarray, np.ndarray]:
        """All ``(N, C)`` logits and ``(N,)`` labels.

        Raises:
            ValueError: There is none.
        """
        logits, labels = self._whole()
        return logits.double().cpu().numpy(), labels.cpu().numpy()

    def top(self) -> tuple[np.ndarray, np.ndarray]:
        """Confidence ``(N,)`` and whether it is right ``(N,)``; probabilities of a few rows at a time."""
        parts = zip(*(whole.split(_ROWS) for whole in self._whole()), strict=True)
        found = [of.top(of.probabilities(logits, self.temperature), labels) for logits, labels in parts]
        confidence, correct = (np.concatenate(column) for column in zip(*found, strict=True))
        return confidence, correct

    def _whole(self) -> tuple[Tensor, Tensor]:
        logits = dim_zero_cat(self.logits) if len(self.logits) else torch.empty(0)
        if not len(logits):
            raise ValueError(f"{type(self).__name__} has nothing to measure: no batch was given")
        return logits, dim_zero_cat(self.labels)


def check(logits: Tensor, labels: Tensor, least: int) -> None:
    """Refuses what is no batch of logits with labels from ``least`` on.

    Raises:
        ValueError: Names what does not fit.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits and labels: shapes {tuple(logits.shape)} and {tuple(labels.shape)}, expected (B, C) and (B,)"
        )
    if labels.is_floating_point():
        raise ValueError(f"labels: dtype {labels.dtype} given, expected integers")
    # a sum that is finite needs no closer look
    if not (torch.isfinite(logits.sum()) or torch.isfinite(logits).all()):
        place = (~torch.isfinite(logits)).nonzero()[0].tolist()
        raise ValueError(f"logits: the value at {tuple(place)} is not finite")
    if len(labels) and (int(labels.min()) < least or int(labels.max()) >= logits.shape[1]):
        raise ValueError(
            f"labels: from {int(labels.min())} to {int(labels.max())} given, expected {least} to {logits.shape[1] - 1}"
        )


class ExpectedCalibrationError(LogitsMetric):
    """Expected calibration error, see :func:`zoo.metrics.calibration.expected_calibration_error`.

    Args:
        bins: Number of bins of equal width.
        norm: ``l1``, ``l2`` or ``max``.
        debiased: Take the bias of a finite sample off.
        temperature: What the logits are divided by.
    """

    def __init__(self, bins: int = BINS, norm: Norm = "l1", debiased: bool = False, temperature: float = 1.0) -> None:
        super().__init__(bins, temperature)
        self.norm: Norm = norm
        self.debiased = debiased

    def compute(self) -> Tensor:
        """A float64 scalar."""
        return _scalar(of.expected_calibration_error(*self.top(), self.bins, self.norm, self.debiased))


class AdaptiveCalibrationError(LogitsMetric):
    """Calibration error over bins of equal mass, see :func:`zoo.metrics.calibration.adaptive_calibration_error`.

    Args:
        bins: Number of bins.
        edges: ``released`` or ``corrected``.
        temperature: What the logits are divided by.
    """

    def __init__(self, bins: int = BINS, edges: Edges = "released", temperature: float = 1.0) -> None:
        super().__init__(bins, temperature)
        self.edges: Edges = edges

    def compute(self) -> Tensor:
        """A float64 scalar."""
        return _scalar(of.adaptive_calibration_error(*self.top(), self.bins, self.edges))


class ClasswiseCalibrationError(LogitsMetric):
    """Mean over the classes of their calibration errors, up to the highest label there is."""

    def compute(self) -> Tensor:
        """A float64 scalar."""
        logits, labels = self.collected()
        return _scalar(of.classwise_calibration_error(of.probabilities(logits, self.temperature), labels, self.bins))


class MaximumCalibrationError(LogitsMetric):
    """The largest gap between confidence and accuracy of a bin."""

    def compute(self) -> Tensor:
        """A float64 scalar."""
        return _scalar(of.maximum_calibration_error(*self.top(), self.bins))


class AverageCalibrationError(LogitsMetric):
    """Mean gap of the bins that hold a sample."""

    def compute(self) -> Tensor:
        """A float64 scalar."""
        return _scalar(of.average_calibration_error(*self.top(), self.bins))


class OverconfidenceError(LogitsMetric):
    """Calibration error of the bins that promise too much, weighted by their confidence."""

    def compute(self) -> Tensor:
        """A float64 scalar."""
        return _scalar(of.overconfidence_error(*self.top(), self.bins))


class UnderconfidenceError(LogitsMetric):
    """Calibration error of the bins that promise too little, weighted by their confidence."""

    def compute(self) -> Tensor:
        """A float64 scalar."""
        return _scalar(of.underconfidence_error(*self.top(), self.bins))


class NegativeLogLikelihood(LogitsMetric):
    """Mean negative logarithm of the labels' probabilities."""

    def compute(self) -> Tensor:
        """A float64 scalar."""
        return _scalar(of.negative_log_likelihood(*self.collected(), self.temperature))


class BrierScore(LogitsMetric):
    """Brier score or one of its parts, see :func:`zoo.metrics.calibration.brier_score`.

    Args:
        bins: Number of bins of the parts.
        part: ``score``, ``calibration`` or ``refinement``.
        temperature: What the logits are divided by.
    """

    def __init__(
        self,
        bins: int = BINS,
        part: Literal["score", "calibration", "refinement"] = "score",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(bins, temperature)
        if part not in of.Brier._fields:
            raise ValueError(f"part: {part!r} given, expected one of {', '.join(of.Brier._fields)}")
        self.part = part

    def compute(self) -> Tensor:
        """A float64 scalar."""
        logits, labels = self.collected()
        found = of.brier_score(of.probabilities(logits, self.temperature), labels, self.bins)
        return _scalar(getattr(found, self.part))


class SelectiveRisk(LogitsMetric):
    """Area under the risk-coverage curve, see :func:`zoo.metrics.calibration_selective.area_under_risk_coverage`."""

    def compute(self) -> Tensor:
        """A float64 scalar."""
        return _scalar(selective.area_under_risk_coverage(*self.top()))


class ReliabilityBins(LogitsMetric):
    """Samples, confidence and accuracy per bin of equal width: what a reliability diagram draws."""

    higher_is_better = None

    def bins_found(self) -> Bins:
        """As arrays."""
        return of.bin_samples(*self.top(), of.equal_width_edges(self.bins))

    def compute(self) -> Tensor:
        """``(bins, 3)`` float64: samples, mean confidence and accuracy, NaN for those of an empty bin."""
        found = self.bins_found()
        return torch.from_numpy(np.stack([found.samples, found.confidence, found.accuracy], axis=1))


class CalibrationReport(LogitsMetric):
    """Every figure at once, from one copy of the logits.

    ``acc``, ``acc5`` (among the five highest), ``macc`` (mean over the classes) and ``aurc``; then, as
    :func:`zoo.metrics.calibration.summary` names them, the calibration figures of the logits as they are; with a
    temperature the same (and ``aurc``) with ``_ts`` behind the name,
    and the ``temperature`` itself.

    Args:
        bins: Number of bins.
        temperature: For the scaled figures; None for none of them.
        groups: Names of groups of classes (head, medium, tail): ``acc_<name>`` over the samples of these classes.
        intervals: Add ends of 95 % bootstrap intervals over samples: ``<name>_low`` and ``<name>_high`` of ``acc``,
            ``ece`` and ``nll``.
        resamples: Of the bootstrap.
    """

    higher_is_better = None

    def __init__(
        self,
        bins: int = BINS,
        temperature: float | None = None,
        groups: Mapping[str, Sequence[int]] | None = None,
        intervals: bool = False,
        resamples: int = 1000,
    ) -> None:
        super().__init__(bins, 1.0 if temperature is None else temperature)
        self.scaled, self.groups = temperature is not None, dict(groups or {})
        self.intervals, self.resamples = intervals, resamples

    def compute(self) -> dict[str, Tensor]:
        """Float64 scalars by name."""
        logits, labels = self.collected()
        probability = of.probabilities(logits)
        confidence, correct = of.top(probability, labels)
        values = {
            "acc": float(correct.mean()),
            "acc5": selective.top_k_accuracy(logits, labels, 5),
            "macc": selective.macro_accuracy(probability.argmax(axis=1), labels),
            "aurc": selective.area_under_risk_coverage(confidence, correct),
            **of.summary(logits, labels, self.bins),
        }
        for name, classes in self.groups.items():
            inside = np.isin(labels, list(classes))
            values[f"acc_{name}"] = float(correct[inside].mean()) if inside.any() else float("nan")
        if self.scaled:
            after = of.summary(logits, labels, self.bins, self.temperature)
            values |= {f"{name}{SCALED}": value for name, value in after.items()}
            scaled, right = of.top(of.probabilities(logits, self.temperature), labels)
            values[f"aurc{SCALED}"] = selective.area_under_risk_coverage(scaled, right)
            values["temperature"] = self.temperature
        if self.intervals:
            values |= intervals(logits, labels, self.bins, self.resamples)
        return {name: _scalar(value) for name, value in values.items()}


def intervals(logits: np.ndarray, labels: np.ndarray, bins: int = BINS, resamples: int = 1000) -> dict[str, float]:
    """Ends of 95 % bootstrap intervals over samples, of accuracy, ECE and NLL: ``<name>_low``, ``<name>_high``.

    Args:
        logits: ``(N, C)``.
        labels: ``(N,)``.
        bins: Of the ECE.
        resamples: How many are drawn.
    """
    log_probability = np.log(np.maximum(of.probabilities(logits), np.finfo(float).tiny))
    loss = -log_probability[np.arange(len(labels)), labels]
    confidence, correct = of.top(np.exp(log_probability), labels)
    statistics = {
        "acc": lambda chosen: float(correct[chosen].mean()),
        "ece": lambda chosen: of.expected_calibration_error(confidence[chosen], correct[chosen], bins),
        "nll": lambda chosen: float(loss[chosen].mean()),
    }
    found = {name: bootstrap_interval(statistic, len(labels), resamples) for name, statistic in statistics.items()}
    return {
        f"{name}_{end}": value for name, pair in found.items() for end, value in zip(("low", "high"), pair, strict=True)
    }


class OutOfDistribution(LogitsMetric):
    """ROC AUC of uncertainty for telling unknown images from known ones.

    Images of the k-th unknown set (from 0) have the label ``-1 - k``; every other label is a known image's. Gives
    ``ood_<name>_entropy`` (the main figure) and ``ood_<name>_confidence`` per set, with a temperature also with ``_ts``
    behind. A set of which no image came is left out.

    Args:
        names: Of the unknown sets, in the order of their labels.
        temperature: For the scaled figures; None for none of them.
    """

    higher_is_better = True

    def __init__(self, names: Sequence[str], temperature: float | None = None) -> None:
        super().__init__(temperature=1.0 if temperature is None else temperature)
        self.names, self.scaled = list(names), temperature is not None

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Takes a batch of known and unknown images.

        Args:
            logits: ``(B, C)``, raw.
            labels: ``(B,)`` integers, from minus the number of sets.
        """
        check(logits, labels, least=-len(self.names))
        self.logits.append(logits.detach().float())
        self.labels.append(labels.detach().long())

    def compute(self) -> dict[str, Tensor]:
        """Float64 scalars by name."""
        logits, labels = self.collected()
        temperatures = {"": 1.0, **({SCALED: self.temperature} if self.scaled else {})}
        values: dict[str, Tensor] = {}
        for number, name in enumerate(self.names):
            unknown, known = logits[labels == -1 - number], logits[labels >= 0]
            if not len(unknown) or not len(known):
                continue
            for ending, temperature in temperatures.items():
                pair = selective.out_of_distribution(known, unknown, temperature)
                values[f"ood_{name}_entropy{ending}"], values[f"ood_{name}_confidence{ending}"] = map(_scalar, pair)
        return values


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
