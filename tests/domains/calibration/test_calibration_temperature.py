"""Temperature: the released search, the likelihood's minimum, and what cannot be fitted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from zoo.errors import InputError
from zoo.metrics.calibration import negative_log_likelihood, summary
from zoo.metrics.calibration_temperature import fit_temperature, temperature_grid


def draw(seed, scale=3.0, size=600, classes=7):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, size)
    logits = rng.normal(size=(size, classes))
    logits[np.arange(size), labels] += 1.5
    return logits * scale, labels


@pytest.mark.facts
def test_the_released_temperatures(check_files):
    doc = json.loads((check_files / "rankmixup_losses_metrics.json").read_text())
    logits, labels = (np.array(doc["metric_inputs"][key]) for key in ("logits", "labels"))
    expected = doc["expected_metrics"]
    by_ece, by_nll = fit_temperature(logits, labels), fit_temperature(logits, labels, "nll_grid")
    assert by_ece == pytest.approx(expected["temperature_by_ece"], abs=1e-6)
    assert by_nll == pytest.approx(expected["temperature_by_nll"], abs=1e-6)
    assert summary(logits, labels, temperature=by_ece)["ece"] == pytest.approx(
        expected["ece_at_that_temperature"], rel=1e-5
    )
    exact = fit_temperature(logits, labels, "nll")
    assert abs(exact - by_nll) < 0.1
    assert negative_log_likelihood(logits, labels, exact) < expected["nll_at_that_temperature"]


def test_the_grid_adds_up_in_floating_point():
    value, wanted = 0.1, []
    for _ in range(100):
        wanted.append(value)
        value += 0.1
    assert temperature_grid() == wanted
    assert temperature_grid()[2] == 0.30000000000000004
    assert temperature_grid()[-1] == pytest.approx(10)


@pytest.mark.parametrize(("method", "figure"), [("ece", "ece"), ("nll_grid", "nll")])
@pytest.mark.parametrize("seed", range(3))
def test_the_search_is_the_lowest_of_a_loop(method, figure, seed):
    logits, labels = draw(seed)
    best, found = np.inf, None
    for temperature in temperature_grid():
        value = summary(logits, labels, temperature=temperature)[figure]
        if value < best:
            best, found = value, temperature
    assert fit_temperature(logits, labels, method) == found


def test_the_lowest_temperature_wins_ties():
    # all logits equal: every temperature gives the same probabilities
    assert fit_temperature(np.zeros((10, 4)), np.zeros(10, dtype=int)) == 0.1


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0, 8.0])
def test_the_likelihood_is_minimal(scale):
    logits, labels = draw(5, scale)
    wanted = minimize_scalar(
        lambda log: negative_log_likelihood(logits, labels, np.exp(log)), bounds=(-4, 4), options={"xatol": 1e-10}
    )
    assert fit_temperature(logits, labels, "nll") == pytest.approx(np.exp(wanted.x), rel=1e-4)


def test_scaled_logits_scale_the_temperature():
    logits, labels = draw(6)
    assert fit_temperature(2 * logits, labels, "nll") == pytest.approx(
        2 * fit_temperature(logits, labels, "nll"), rel=1e-5
    )


def test_an_evaluation_without_gradients_may_fit():
    logits, labels = draw(8)
    with torch.inference_mode():
        assert fit_temperature(torch.from_numpy(logits), labels, "nll") == fit_temperature(logits, labels, "nll")


def test_a_likelihood_without_a_minimum_stops_at_a_bound():
    labels = np.arange(4)
    assert 0.01 <= fit_temperature(5 * np.eye(4), labels, "nll") < 0.3  # nothing is left to gain below
    assert fit_temperature(-5 * np.eye(4), labels, "nll") == pytest.approx(100)


def test_tensors_of_any_precision_are_taken():
    logits, labels = draw(7)
    given = torch.from_numpy(logits).float()
    assert fit_temperature(given, torch.from_numpy(labels)) == fit_temperature(given.numpy(), labels)
    assert 0 < fit_temperature(given.bfloat16(), torch.from_numpy(labels)) < 10


@pytest.mark.parametrize(
    ("logits", "labels", "method", "message"),
    [
        (
            np.zeros((2, 3)),
            np.zeros(2, int),
            "ecee",
            "must be one of ece, nll, nll_grid, got 'ecee'",
        ),
        (np.zeros((2, 3)), np.zeros(3, int), "ece", "logits of shape (2, 3) with labels of shape (3,)"),
        (np.zeros((0, 3)), np.zeros(0, int), "ece", "expected (N, C) and (N,)"),
        (np.full((2, 3), np.nan), np.zeros(2, int), "nll", "6 of 6 logits are not finite"),
        (np.zeros((2, 3)), np.array([0, 3]), "nll", "labels from 0 to 3 with 3 classes"),
    ],
)
def test_what_cannot_be_fitted(logits, labels, method, message):
    with pytest.raises(InputError) as error:
        fit_temperature(logits, labels, method)
    assert message in str(error.value)
