"""How far confidence is from accuracy: binned errors, proper scores and their parts, in float64.

Bins are ``(low, high]`` throughout. Sums run over sorted values, so that no result depends on the order of the samples.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from scipy.special import erf, log_softmax
from torch import Tensor

Numbers = Tensor | np.ndarray
Norm = Literal["l1", "l2", "max"]
Edges = Literal["released", "corrected"]
BINS = 15


class Bins(NamedTuple):
    """What lies in each bin.

    Attributes:
        edges: ``(bins + 1,)``, ascending.
        samples: ``(bins,)`` how many.
        confidence: ``(bins,)`` mean confidence, NaN for an empty bin.
        accuracy: ``(bins,)`` share of correct samples, NaN for an empty bin.
    """

    edges: np.ndarray
    samples: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """``(bins,)`` accuracy minus confidence, 0 for an empty bin: positive where a network is too modest."""
        return np.nan_to_num(self.accuracy - self.confidence)


def array(values: Numbers) -> np.ndarray:
    """Any tensor or array as a float64 array."""
    if isinstance(values, Tensor):
        return values.detach().double().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def probabilities(logits: Numbers, temperature: float = 1.0) -> np.ndarray:
    """Softmax of ``logits (N, C)`` over a temperature, float64.

    Raises:
        ValueError: The temperature is not positive.
    """
    return np.exp(_log_probabilities(logits, temperature))


def _log_probabilities(logits: Numbers, temperature: float = 1.0) -> np.ndarray:
    if not temperature > 0:
        raise ValueError(f"temperature: {temperature} given, expected a positive number")
    found: np.ndarray = log_softmax(array(logits) / temperature, axis=-1)
    return found


def top(probability: Numbers, labels: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Confidence ``(N,)`` of the class with the highest probability (the first of equal ones), and whether it is right.

    Args:
        probability: ``(N, C)``.
        labels: ``(N,)`` integers.
    """
    given = array(probability)
    chosen = given.argmax(axis=1)
    return given[np.arange(len(given)), chosen], chosen == array(labels)


def equal_width_edges(bins: int = BINS) -> np.ndarray:
    """``(bins + 1,)`` from 0 to 1."""
    if bins < 1:
        raise ValueError(f"bins: {bins} given, expected at least 1")
    return np.linspace(0, 1, bins + 1)


def equal_mass_edges(confidence: Numbers, bins: int = BINS, rule: Edges = "released") -> np.ndarray:
    """Edges between which about equally many samples lie.

    Args:
        confidence: ``(N,)``.
        bins: Number of bins.
        rule: ``released`` interpolates the sorted confidences at ``linspace(0, N, bins + 1)``; the first edge is the
            lowest confidence, so that samples equal to it lie in no bin. ``corrected`` takes quantiles, with a first
            edge below all.
    """
    ordered = np.sort(array(confidence))
    size = len(ordered)
    if bins < 1 or rule not in get_args(Edges):
        raise ValueError(f"bins: {bins} and edges: {rule!r} given, expected at least 1 and 'released' or 'corrected'")
    if rule == "released":
        return np.interp(np.linspace(0, size, bins + 1), np.arange(size), ordered)
    edges = np.quantile(ordered, np.linspace(0, 1, bins + 1))
    edges[0] = -np.inf
    return edges


def bin_samples(confidence: Numbers, correct: Numbers, edges: np.ndarray) -> Bins:
    """Counts and means per bin ``(edges[b], edges[b + 1]]``.

    Args:
        confidence: ``(N,)``.
        correct: ``(N,)``, 0 or 1.
        edges: ``(bins + 1,)``, ascending.
    """
    given, right = array(confidence), array(correct)
    if given.ndim != 1 or given.shape != right.shape:
        raise ValueError(f"confidence and correct: shapes {given.shape} and {right.shape}, expected both (N,)")
    if not len(given):
        raise ValueError("there is no sample to measure")
    if not np.isfinite(given).all():
        raise ValueError(f"confidence: {int((~np.isfinite(given)).sum())} of {len(given)} are not finite")
    # a softmax may round to a hair above 1
    given = np.minimum(given, max(1.0, edges[-1]))
    order = np.argsort(given, kind="stable")
    ordered, right = given[order], right[order]
    bounds = np.searchsorted(ordered, edges, side="right")
    count = np.diff(bounds)
    pairs = list(itertools.pairwise(bounds))
    mean = np.array([ordered[low:high].mean() if high > low else np.nan for low, high in pairs])
    share = np.array([right[low:high].sum() / (high - low) if high > low else np.nan for low, high in pairs])
    return Bins(edges, count, mean, share)


# -- errors over bins


def expected_calibration_error(
    confidence: Numbers, correct: Numbers, bins: int = BINS, norm: Norm = "l1", debiased: bool = False
) -> float:
    """Expected calibration error over bins of equal width.

    Source: Naeini, Cooper and Hauskrecht, AAAI 2015; Guo et al., ICML 2017. ``debiased``: Kumar, Liang and Ma,
    NeurIPS 2019, section 5: the error of a bin of n samples is too large by what accuracies drawn from a normal
    distribution of variance ``a (1 - a) / n`` add to it; the expectation is taken in closed form.

    Args:
        confidence: ``(N,)`` in [0, 1].
        correct: ``(N,)``, 0 or 1.
        bins: Number of bins.
        norm: ``l1`` adds ``n_b / N |gap|``; ``l2`` is the root of ``n_b / N gap^2``; ``max`` the largest gap (MCE).
        debiased: Take the bias of a finite sample off, for ``l1`` and ``l2``. The ``l1`` estimate of a well calibrated
            network may be below 0.
    """
    found = bin_samples(confidence, correct, equal_width_edges(bins))
    return binned_error(found, len(confidence), norm, debiased)


def binned_error(found: Bins, size: int, norm: Norm = "l1", debiased: bool = False) -> float:
    """The error of :func:`expected_calibration_error` over any bins of ``size`` samples in all."""
    if norm not in get_args(Norm) or (debiased and norm == "max"):
        raise ValueError(f"norm: {norm!r} with debiased={debiased} given, expected 'l1', 'l2', or 'max' as it is")
    weight, gap = found.samples / size, np.abs(found.gap)
    if norm == "max":
        return float(gap.max())
    spread = np.nan_to_num(found.accuracy * (1 - found.accuracy))
    if norm == "l2":
        if debiased:
            # unbiased for the square: the variance of a bin's accuracy, from its own samples
            square = gap**2 - spread / np.maximum(found.samples - 1, 1)
            return math.sqrt(max(0.0, math.fsum(weight * square)))
        return math.sqrt(math.fsum(weight * gap**2))
    if not debiased:
        return math.fsum(weight * gap)
    deviation = np.sqrt(spread / np.maximum(found.samples, 1))
    return math.fsum(weight * (2 * gap - folded_normal_mean(gap, deviation)))


def folded_normal_mean(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Expectation of ``|x|`` for normal x."""
    safe = np.where(deviation > 0, deviation, 1)
    ratio = mean / safe
    value = safe * math.sqrt(2 / math.pi) * np.exp(-(ratio**2) / 2) + mean * erf(ratio / math.sqrt(2))
    return np.where(deviation > 0, value, np.abs(mean))


def adaptive_calibration_error(
    confidence: Numbers, correct: Numbers, bins: int = BINS, edges: Edges = "released"
) -> float:
    """Expected calibration error over bins of equal mass, see :func:`equal_mass_edges`.

    Source: Nguyen and O'Connor, EMNLP 2015; the released edge rule: Mukhoti et al., NeurIPS 2020.
    """
    found = bin_samples(confidence, correct, equal_mass_edges(confidence, bins, edges))
    return binned_error(found, len(confidence))


def classwise_calibration_error(
    probability: Numbers, labels: Numbers, bins: int = BINS, classes: int | None = None
) -> float:
    """Mean over the classes of the expected calibration error of their probabilities.

    Source: Kull et al., NeurIPS 2019.

    Args:
        probability: ``(N, C)``.
        labels: ``(N,)`` integers.
        bins: Number of bins.
        classes: How many classes are averaged; None for those up to the highest label there is, as released.
    """
    given, truth = array(probability), array(labels)
    count = int(truth.max()) + 1 if classes is None else classes
    edges = equal_width_edges(bins)
    errors = [binned_error(bin_samples(given[:, c], truth == c, edges), len(truth)) for c in range(count)]
    return math.fsum(errors) / count


def maximum_calibration_error(confidence: Numbers, correct: Numbers, bins: int = BINS) -> float:
    """The largest gap of a bin of equal width; an empty bin has none."""
    return expected_calibration_error(confidence, correct, bins, "max")


def average_calibration_error(confidence: Numbers, correct: Numbers, bins: int = BINS) -> float:
    """Mean gap of the bins of equal width that hold a sample, each counting alike.

    Source: Neumann, Zisserman and Vedaldi, NeurIPS workshop 2018.
    """
    found = bin_samples(confidence, correct, equal_width_edges(bins))
    return math.fsum(np.abs(found.gap)) / int((found.samples > 0).sum())


def overconfidence_error(confidence: Numbers, correct: Numbers, bins: int = BINS) -> float:
    """Sum over bins of ``n_b / N * confidence_b * max(0, confidence_b - accuracy_b)``.

    Source: Thulasidasan et al., NeurIPS 2019.
    """
    return _one_sided(confidence, correct, bins, -1)


def underconfidence_error(confidence: Numbers, correct: Numbers, bins: int = BINS) -> float:
    """Sum over bins of ``n_b / N * confidence_b * max(0, accuracy_b - confidence_b)``."""
    return _one_sided(confidence, correct, bins, 1)


def _one_sided(confidence: Numbers, correct: Numbers, bins: int, sign: int) -> float:
    found = bin_samples(confidence, correct, equal_width_edges(bins))
    weight = found.samples / len(confidence) * np.nan_to_num(found.confidence)
    return math.fsum(weight * np.maximum(sign * found.gap, 0))


# -- proper scores


def negative_log_likelihood(logits: Numbers, labels: Numbers, temperature: float = 1.0) -> float:
    """Mean of ``-log p`` of the labels, of ``logits (N, C)``, natural logarithm."""
    chosen = array(labels).astype(np.int64)
    values = _log_probabilities(logits, temperature)[np.arange(len(chosen)), chosen]
    return -math.fsum(values) / len(chosen)


class Brier(NamedTuple):
    """The Brier score and its two parts, which add up to it."""

    score: float
    calibration: float
    refinement: float


def brier_score(probability: Numbers, labels: Numbers, bins: int = BINS) -> Brier:
    """Mean squared distance of the probabilities from the one-hot labels, summed over the classes, in [0, 2].

    The calibration part is ``sum_c sum_b n_b / N (mean p_c - share of c)^2`` over bins of equal width of each class's
    probability; the refinement part is the rest: how far the outcomes vary among samples of like probability.

    Source: Brier, Monthly Weather Review 78(1), 1950; the two parts: DeGroot and Fienberg, The Statistician 32, 1983.
    """
    given, truth = array(probability), array(labels)
    hot = truth[:, None] == np.arange(given.shape[1])
    score = math.fsum(((given - hot) ** 2).sum(axis=1)) / len(truth)
    edges = equal_width_edges(bins)
    edges[0] = -1  # a probability of exactly 0 is a sample of the first bin
    parts = [_squares(bin_samples(given[:, c], hot[:, c], edges), len(truth)) for c in range(given.shape[1])]
    calibration = math.fsum(parts)
    return Brier(score, calibration, score - calibration)


def _squares(found: Bins, size: int) -> float:
    return math.fsum(found.samples / size * found.gap**2)


def summary(
    logits: Numbers, labels: Numbers, bins: int = BINS, temperature: float = 1.0, classes: int | None = None
) -> dict[str, float]:
    """Every calibration figure of logits over a temperature; named as :class:`CalibrationReport` reports them.

    Args:
        logits: ``(N, C)``.
        labels: ``(N,)``.
        bins: Number of bins.
        temperature: What the logits are divided by.
        classes: For the classwise error, see :func:`classwise_calibration_error`.
    """
    probability = probabilities(logits, temperature)
    confidence, correct = top(probability, labels)
    pair: tuple[Any, Any] = confidence, correct
    brier = brier_score(probability, labels, bins)
    return {
        "ece": expected_calibration_error(*pair, bins),
        "ece_debiased": expected_calibration_error(*pair, bins, debiased=True),
        "aece": adaptive_calibration_error(*pair, bins),
        "aece_corrected": adaptive_calibration_error(*pair, bins, "corrected"),
        "cece": classwise_calibration_error(probability, labels, bins, classes),
        "mce": maximum_calibration_error(*pair, bins),
        "ace": average_calibration_error(*pair, bins),
        "oe": overconfidence_error(*pair, bins),
        "ue": underconfidence_error(*pair, bins),
        "nll": negative_log_likelihood(logits, labels, temperature),
        "brier": brier.score,
        "brier_calibration": brier.calibration,
        "brier_refinement": brier.refinement,
    }
