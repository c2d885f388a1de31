"""Agreement of predicted quality with people's scores: correlations and errors per scene and over all images."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from scipy import optimize, special, stats
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from zoo.metrics.bootstrap import bootstrap_interval
from zoo.metrics.gathered import Metric

FIGURES = ("srcc", "krcc", "plcc", "rmse", "mae")
_EVALUATIONS = 20_000  # of the logistic before it counts as not converged; a fit that converges needs some dozens


class Agreement(NamedTuple):
    """How predictions agree with the scores of one scene.

    Attributes:
        srcc: Spearman's rank correlation, of the raw predictions.
        krcc: Kendall's tau-b, of the raw predictions.
        plcc: Pearson's correlation after the fit.
        rmse: Root of the mean squared difference after the fit, in units of the scores.
        mae: Mean absolute difference after the fit, in units of the scores.
        fitted: Whether the logistic was fitted; without it the last three are those of the raw predictions.
    """

    srcc: float
    krcc: float
    plcc: float
    rmse: float
    mae: float
    fitted: bool


def logistic(x: np.ndarray, b1: float, b2: float, b3: float, b4: float) -> np.ndarray:
    """``b2 + (b1 - b2) / (1 + exp(-(x - b3) / |b4|))``, from b2 to b1 for rising x; never overflows.

    Args:
        x: Any shape.
        b1: Value far to the right.
        b2: Value far to the left.
        b3: Where it is halfway.
        b4: Width; 0 gives a step.

    Source: VQEG, Final report from the Video Quality Experts Group on the validation of objective models of video
    quality assessment, 2000.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        place = np.nan_to_num((x - b3) / np.abs(b4))
    curve: np.ndarray = b2 + (b1 - b2) * special.expit(place)
    return curve


def fit_logistic(predicted: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """The predictions on the scale of the scores, by the 4-parameter logistic of least squares.

    Levenberg-Marquardt from ``[max score, min score, mean prediction, 0.5]``, as in the released evaluation.

    Args:
        predicted: ``(N,)``.
        target: ``(N,)``.

    Returns:
        ``(N,)``, or None where the fit does not converge, ends in a constant, or has fewer than four points.
    """
    if len(predicted) < 4:
        return None
    start = [float(target.max()), float(target.min()), float(predicted.mean()), 0.5]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the covariance of the parameters is unknown: it is not asked for
            found, _ = optimize.curve_fit(logistic, predicted, target, p0=start, method="lm", maxfev=_EVALUATIONS)
    except (RuntimeError, ValueError, FloatingPointError):
        return None
    mapped = logistic(predicted, *found)
    if not np.isfinite(mapped).all() or _constant(mapped):
        return None
    return mapped


def agreement(predicted: np.ndarray, target: np.ndarray) -> Agreement:
    """The five figures of one scene.

    Predictions that are all equal order nothing: their correlations are 0.

    Args:
        predicted: ``(N,)``, finite; any scale, higher is better.
        target: ``(N,)``, finite, not all equal.

    Raises:
        ValueError: The shapes differ, a value is not finite, or all scores are equal.
    """
    predicted, target = np.asarray(predicted, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if predicted.ndim != 1 or predicted.shape != target.shape:
        raise ValueError(f"predicted and target: shapes {predicted.shape} and {target.shape}, expected both (N,)")
    for name, values in (("predicted", predicted), ("target", target)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: {int((~np.isfinite(values)).sum())} of {len(values)} are not finite")
    if len(target) < 2 or _constant(target):
        raise ValueError(f"target: {len(target)} scores without two that differ; they order nothing")
    order = np.lexsort((predicted, target))  # or the last digits would depend on the order of the images
    predicted, target = predicted[order], target[order]
    mapped = fit_logistic(predicted, target)
    fitted = mapped is not None
    if mapped is None:
        mapped = predicted
    error = mapped - target
    ranked = not _constant(predicted)
    return Agreement(
        float(stats.spearmanr(predicted, target).statistic) if ranked else 0.0,
        float(stats.kendalltau(predicted, target).statistic) if ranked else 0.0,
        float(np.clip(stats.pearsonr(mapped, target).statistic, -1, 1)) if not _constant(mapped) else 0.0,
        float(np.sqrt(np.mean(error**2))),
        float(np.mean(np.abs(error))),
        fitted,
    )


def _constant(values: np.ndarray) -> bool:
    """All equal, up to what float64 can tell at their size; below that a correlation is rounding noise."""
    spread = float(values.max() - values.min())
    return spread <= 1e-13 * float(np.abs(values).max())


class QualityAgreement(Metric):
    """SRCC, KRCC, PLCC, RMSE and MAE within each scene, their mean and median over scenes, and over all images.

    Scores of different scenes need not share a scale, so scenes are measured apart; the three kinds are labelled
    ``_mean`` (DN-PIQA, NTIRE 2024), ``_median`` (the PIQ23 benchmark) and ``_global`` (data of one scale). PLCC, RMSE
    and MAE are taken after a 4-parameter logistic is fitted to that scene, or to all images. Where it cannot be fitted,
    the raw predictions are measured and the scene is counted. A scene whose scores do not differ has no order: it is
    left out and counted.

    Every image is kept, and put in a fixed order before anything is computed, so that the result depends neither on the
    batch size nor on how images are shared out to processes, to the last digit.

    Args:
        resamples: Bootstrap resamples of scenes, for the 95 % interval of the mean SRCC; 0 for none.

    Source: Sun et al., Dual-Branch Network for Portrait Image Quality Assessment, arXiv:2405.08555 (mean over scenes);
    Chahine et al., An Image Quality Assessment Dataset for Portraits, CVPR 2023 (median over scenes).
    """

    is_differentiable = False
    full_state_update = False
    predicted: list[Tensor]
    target: list[Tensor]
    scene: list[Tensor]

    def __init__(self, resamples: int = 1000) -> None:
        super().__init__()
        if resamples < 0:
            raise ValueError(f"resamples: {resamples} given, expected 0 or more")
        self.resamples = resamples
        for name in ("predicted", "target", "scene"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, target: Tensor, scene: Tensor) -> None:
        """Adds images.

        Args:
            predicted: ``(B,)``, higher is better.
            target: ``(B,)``, people's scores.
            scene: ``(B,)`` integer ids.

        Raises:
            ValueError: The shapes differ, or a value is not finite.
        """
        if predicted.ndim != 1 or not predicted.shape == target.shape == scene.shape:
            shapes = ", ".join(str(tuple(given.shape)) for given in (predicted, target, scene))
            raise ValueError(f"predicted, target and scene: shapes {shapes}, expected all (B,)")
        if scene.is_floating_point():
            raise ValueError(f"scene: dtype {scene.dtype} given, expected integers")
        for name, values in (("predicted", predicted), ("target", target)):
            if not torch.isfinite(values).all():
                raise ValueError(f"{name}: {int((~torch.isfinite(values)).sum())} of {len(values)} are not finite")
        self.predicted.append(predicted.detach().float())
        self.target.append(target.detach().float())
        self.scene.append(scene.detach().long())

    def scenes(self) -> dict[int, Agreement]:
        """The figures of every scene that has two different scores, by its number."""
        predicted, target, scene = self._all()
        return {
            int(number): agreement(predicted[rows], target[rows])
            for number in np.unique(scene)
            for rows in [scene == number]
            if rows.sum() > 1 and not _constant(target[rows])
        }

    def _all(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Everything seen, ordered by scene, score and prediction."""
        parts = [
            (dim_zero_cat(state) if len(state) else torch.empty(0)).cpu().numpy()
            for state in (self.predicted, self.target, self.scene)
        ]
        predicted, target, scene = parts[0].astype(np.float64), parts[1].astype(np.float64), parts[2].astype(np.int64)
        order = np.lexsort((predicted, target, scene))
        return predicted[order], target[order], scene[order]

    def compute(self) -> dict[str, Tensor]:
        """All figures.

        Returns:
            ``<figure>_mean`` and ``<figure>_median`` over scenes, ``<figure>_global`` over all images, for the figures
            srcc, krcc, plcc, rmse, mae; ``srcc_mean_low`` and ``srcc_mean_high``, the 95 % bootstrap interval over
            scenes (where there are two or more); ``scenes`` (how many were measured), ``left_out`` (scenes whose scores
            do not differ), ``raw_fits`` (scenes measured without the logistic) and ``raw_fit_global`` (0 or 1).

        Raises:
            ValueError: No scene has two different scores.
        """
        predicted, target, scene = self._all()
        measured = self.scenes()
        total = len(np.unique(scene))
        if not measured:
            raise ValueError(f"none of {total} scenes ({len(scene)} images) has two different scores; nothing to rank")
        table = np.array([found[: len(FIGURES)] for found in measured.values()], dtype=np.float64)
        over_all = agreement(predicted, target)
        result: dict[str, float] = {}
        for column, name in enumerate(FIGURES):
            result[f"{name}_mean"] = float(table[:, column].mean())
            result[f"{name}_median"] = float(np.median(table[:, column]))
            result[f"{name}_global"] = float(over_all[column])
        if self.resamples and len(table) > 1:
            low, high = bootstrap_interval(lambda drawn: float(table[drawn, 0].mean()), len(table), self.resamples)
            result |= {"srcc_mean_low": low, "srcc_mean_high": high}
        result["scenes"] = float(len(table))
        result["left_out"] = float(total - len(table))
        result["raw_fits"] = float(sum(not found.fitted for found in measured.values()))
        result["raw_fit_global"] = float(not over_all.fitted)
        return {name: torch.tensor(value, dtype=torch.float32) for name, value in result.items()}
