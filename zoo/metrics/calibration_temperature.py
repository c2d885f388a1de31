"""The temperature of a trained network: the number its logits are divided by, fitted on held-out samples."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from zoo.errors import InputError
from zoo.metrics.calibration import BINS, Numbers, array, expected_calibration_error, negative_log_likelihood

Method = Literal["ece", "nll", "nll_grid"]
STEPS, STEP = 100, 0.1


def temperature_grid() -> list[float]:
    """The 100 temperatures of the released search: 0.1, and 0.1 more each time, added up in floating point."""
    grid = [STEP]
    while len(grid) < STEPS:
        grid.append(grid[-1] + STEP)
    return grid


def fit_temperature(logits: Numbers, labels: Numbers, method: Method = "ece", bins: int = BINS) -> float:
    """Fits the temperature.

    Args:
        logits: ``(N, C)``, raw, of samples that the network was not trained on.
        labels: ``(N,)`` integers in [0, C).
        method: ``ece`` takes the temperature of the grid with the lowest expected calibration error, the lowest of
            equal ones, as published; ``nll`` minimises the negative log likelihood by L-BFGS (Guo et al., ICML 2017);
            ``nll_grid`` does so over the grid, as the released code's option.
        bins: Of the calibration error.

    Returns:
        A positive number.

    Raises:
        InputError: The shapes do not fit, there is no sample, a label is out of range or a logit not finite.
    """
    if method not in get_args(Method):
        raise InputError(f"temperature method must be one of {', '.join(get_args(Method))}, got {method!r}")
    given, truth = array(logits), array(labels).astype(np.int64)
    if given.ndim != 2 or truth.shape != given.shape[:1] or not len(truth):
        raise InputError(
            f"temperature: logits of shape {given.shape} with labels of shape {truth.shape}, expected (N, C) and (N,)"
        )
    if not np.isfinite(given).all():
        raise InputError(f"temperature: {int((~np.isfinite(given)).sum())} of {given.size} logits are not finite")
    if truth.min() < 0 or truth.max() >= given.shape[1]:
        raise InputError(f"temperature: labels from {truth.min()} to {truth.max()} with {given.shape[1]} classes")
    if method == "nll":
        with torch.inference_mode(False), torch.enable_grad():  # an evaluation, which may call this, has neither
            return _by_likelihood(torch.from_numpy(given), torch.from_numpy(truth))
    if method == "nll_grid":
        return _lowest([(negative_log_likelihood(given, truth, value), value) for value in temperature_grid()])
    correct = given.argmax(axis=1) == truth  # no temperature changes the order of the classes
    below = given - given.max(axis=1, keepdims=True)
    errors = [
        # the highest probability alone: 1 over the sum of exponentials below the highest logit
        (expected_calibration_error(1 / np.exp(below / value).sum(axis=1), correct, bins), value)
        for value in temperature_grid()
    ]
    return _lowest(errors)


def _lowest(found: list[tuple[float, float]]) -> float:
    best = found[0]
    for error, temperature in found[1:]:
        if error < best[0]:
            best = error, temperature
    return best[1]


def _by_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Newton-like search for the logarithm of the temperature, which keeps it positive; float64.

    Where every sample is right, or none has a preference, the likelihood has no minimum: the search then stops
    where nothing is left to gain, at the latest at 1/100 or 100.
    """
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [log_temperature], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        scale = log_temperature.clamp(-LOG_BOUND, LOG_BOUND).exp()
        loss = torch.nn.functional.cross_entropy(logits / scale, labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(log_temperature.detach().clamp(-LOG_BOUND, LOG_BOUND).exp())


LOG_BOUND = float(np.log(100))
