"""What confidence is worth: accuracy, the risk of what is kept, and telling unknown images from known ones."""

from __future__ import annotations

import math

import numpy as np
import torch

from zoo.metrics.binary import roc_auc
from zoo.metrics.calibration import Numbers, array, probabilities


def top_k_accuracy(logits: Numbers, labels: Numbers, k: int = 1) -> float:
    """Share of samples whose label is among the k highest logits.

    A class with the same logit as the label's counts as higher where it comes first, as scikit-learn's top-1 does.

    Args:
        logits: ``(N, C)``.
        labels: ``(N,)`` integers.
        k: At least 1; from C on everything is right.
    """
    given, truth = array(logits), array(labels).astype(np.int64)
    own = given[np.arange(len(truth)), truth][:, None]
    first = np.arange(given.shape[1]) < truth[:, None]
    rank = ((given > own) | ((given == own) & first)).sum(axis=1)
    return int((rank < k).sum()) / len(truth)


def macro_accuracy(predicted: Numbers, labels: Numbers) -> float:
    """Mean over the classes that there are of the share of their samples that is right (mean recall).

    Args:
        predicted: ``(N,)`` integers.
        labels: ``(N,)`` integers.
    """
    chosen, truth = array(predicted), array(labels)
    recalls = [float((chosen[truth == label] == label).mean()) for label in np.unique(truth)]
    return math.fsum(recalls) / len(recalls)


def area_under_risk_coverage(confidence: Numbers, correct: Numbers) -> float:
    """Mean error rate of the k most confident samples, over k = 1 to N; lower is better.

    Samples of equal confidence enter in a random order: its expectation is taken, so the value does not depend on the
    order of the samples.

    Source: Geifman and El-Yaniv, NeurIPS 2017; Geifman, Uziel and El-Yaniv, ICLR 2019.

    Args:
        confidence: ``(N,)``.
        correct: ``(N,)``, 0 or 1.
    """
    given, wrong = array(confidence), 1 - array(correct)
    if given.ndim != 1 or given.shape != wrong.shape or not len(given):
        raise ValueError(f"confidence and correct: shapes {given.shape} and {wrong.shape}, expected both (N,), N >= 1")
    order = np.argsort(-given, kind="stable")
    _, group, sizes = np.unique(-given[order], return_inverse=True, return_counts=True)
    errors = np.bincount(group, weights=wrong[order])
    before = np.cumsum(errors) - errors
    starts = np.cumsum(sizes) - sizes
    kept = np.arange(1, len(given) + 1)
    expected = before[group] + errors[group] * (kept - starts[group]) / sizes[group]
    return math.fsum(expected / kept) / len(given)


def normalised_entropy(logits: Numbers, temperature: float = 1.0) -> np.ndarray:
    """``-sum p log(p + 1e-10) / log C`` of ``logits (N, C)``; ``(N,)``, 0 to 1."""
    given = probabilities(logits, temperature)
    found: np.ndarray = -(given * np.log(given + 1e-10)).sum(axis=1) / math.log(given.shape[1])
    return found


def out_of_distribution(known: Numbers, unknown: Numbers, temperature: float = 1.0) -> tuple[float, float]:
    """How well uncertainty tells unknown images from known ones: ROC AUC by entropy and by confidence.

    Args:
        known: ``(N, C)`` logits of images of the training's kind (negatives).
        unknown: ``(M, C)`` logits of others (positives).
        temperature: What the logits are divided by.

    Returns:
        By normalised entropy (the main figure), and by ``1 - max softmax``; ties count one half.
    """
    truth = torch.cat([torch.zeros(len(known)), torch.ones(len(unknown))])
    both = np.concatenate([array(known), array(unknown)])
    entropy = torch.from_numpy(normalised_entropy(both, temperature))
    confidence = torch.from_numpy(probabilities(both, temperature).max(axis=1))
    return float(roc_auc(entropy, truth)), float(roc_auc(-confidence, truth))
