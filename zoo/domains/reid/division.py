"""Confident consensus division: which training pairs are taken for clean, by two mixtures over their losses."""

from __future__ import annotations

import warnings
from typing import Literal, NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

Mixture = Literal["loose", "tight"]
# iterations, tolerance, least variance; the released code takes the second above 40 % noise, and on RSTPReid
MIXTURES: dict[str, tuple[int, float, float]] = {"loose": (10, 1e-2, 5e-4), "tight": (100, 1e-4, 1e-6)}


class Prediction(NamedTuple):
    """What one embedding says of each pair.

    Attributes:
        clean: ``(N,)`` bool.
        probability: ``(N,)`` float, of being clean.
        note: Why all are clean, where the losses could not be divided; else empty.
    """

    clean: np.ndarray
    probability: np.ndarray
    note: str


class Division(NamedTuple):
    """Which pairs are taken for clean.

    Attributes:
        labels: ``(N,)`` bool.
        bge: What the global embeddings say.
        tse: What the token-selection embeddings say.
        undecided: ``(N,)`` bool: the two disagree, a coin decided.
    """

    labels: np.ndarray
    bge: Prediction
    tse: Prediction
    undecided: np.ndarray


def predict_clean(losses: np.ndarray, mixture: Mixture, seed: int) -> Prediction:
    """Divides pairs by a mixture of two Gaussians over their losses; the component of the lower mean is clean.

    The losses are scaled to [0, 1]. A pair is clean above 0.5; where all are, above the value of rank N // 100, which
    drops the lowest per cent and one more.

    Source: DivideMix, Li et al., ICLR 2020; settings and threshold of RDE's released code.

    Args:
        losses: ``(N,)``.
        mixture: ``loose`` or ``tight``, see :data:`MIXTURES`.
        seed: Of the mixture's start.

    Returns:
        The prediction; all clean, with a note, where the losses are constant or the mixture cannot be fitted.
    """
    losses = losses.astype(np.float32)
    everyone = np.ones(len(losses), dtype=bool)
    if not np.isfinite(losses).all():
        return Prediction(everyone, everyone.astype(float), "a loss is not finite")
    low, high = losses.min(), losses.max()
    if low == high:
        return Prediction(everyone, everyone.astype(float), f"all losses are {low:g}")
    scaled = ((losses - low) / (high - low)).reshape(-1, 1)
    iterations, tolerance, variance = MIXTURES[mixture]
    model = GaussianMixture(2, max_iter=iterations, tol=tolerance, reg_covar=variance, random_state=seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # ten iterations are meant to be few
            probability = model.fit(scaled).predict_proba(scaled)[:, model.means_.argmin()]
    except ValueError as error:
        return Prediction(everyone, everyone.astype(float), f"the mixture cannot be fitted: {error}")
    if not np.isfinite(probability).all():
        return Prediction(everyone, everyone.astype(float), "the mixture cannot be fitted: it gives no probabilities")
    threshold = 0.5
    if probability.min() > threshold:
        threshold = np.sort(probability)[len(probability) // 100]
    return Prediction(probability > threshold, probability, "")


def divide(bge: np.ndarray, tse: np.ndarray, mixture: Mixture, generator: torch.Generator) -> Division:
    """Takes a pair for clean where both embeddings say so; where they disagree a coin decides.

    Source: Qin et al., CVPR 2024, confident consensus division.

    Args:
        bge: ``(N,)`` losses of the global embeddings.
        tse: ``(N,)`` losses of the token-selection embeddings.
        mixture: Settings of both mixtures.
        generator: Draws the starts of the mixtures and the coins.
    """
    seeds = torch.randint(2**31 - 1, (2,), generator=generator).tolist()
    first, second = (predict_clean(losses, mixture, seed) for losses, seed in zip((bge, tse), seeds, strict=True))
    undecided = first.clean != second.clean
    coins = torch.randint(2, (int(undecided.sum()),), generator=generator).numpy().astype(bool)
    labels = first.clean & second.clean
    labels[undecided] = coins
    return Division(labels, first, second, undecided)
