"""Calibration figures: the sheet's numbers, explicit loops, hand-worked cases, torchmetrics and scikit-learn."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_calibration_error

from zoo.metrics import calibration as of
from zoo.metrics import calibration_selective as selective

RAW = torch.tensor([[2, 0.5, -1], [0.2, 1.2, 0.1], [-0.3, 0.4, 3], [1, 0.9, 0.8]], dtype=torch.float64)


def draw(seed, size=400, classes=6, scale=2.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, size)
    logits = rng.normal(size=(size, classes)) * scale
    logits[np.arange(size), labels] += scale
    return logits, labels


def loop_ece(confidence, correct, edges):
    """The sheet's sum, one bin and one sample at a time; also the pieces of the other binned errors."""
    total, parts = len(confidence), []
    for low, high in itertools.pairwise(edges):
        inside = [i for i in range(total) if low < confidence[i] <= high]
        if inside:
            accuracy = sum(bool(correct[i]) for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            parts.append((len(inside) / total, accuracy, mean))
    return parts


@pytest.mark.facts
def test_the_released_figures(check_files):
    doc = json.loads((check_files / "rankmixup_losses_metrics.json").read_text())
    logits, labels = (np.array(doc["metric_inputs"][key]) for key in ("logits", "labels"))
    expected, tolerance = doc["expected_metrics"], doc["metric_tolerance"]
    names = {"ece": "ece", "aece": "aece", "classwise_ece": "cece", "oe": "oe", "ue": "ue"}
    for bins in (15, 10):
        found = of.summary(logits, labels, bins)
        for theirs, ours in names.items():
            wanted = expected[f"bins{bins}"][theirs]
            assert found[ours] == pytest.approx(wanted, rel=tolerance["rtol"], abs=tolerance["atol"]), (bins, ours)
    assert of.negative_log_likelihood(logits, labels) == pytest.approx(expected["nll"], rel=1e-6)
    assert selective.top_k_accuracy(logits, labels) == expected["accuracy"]
    scaled = of.summary(logits, labels, temperature=expected["temperature_by_ece"])
    assert scaled["ece"] == pytest.approx(expected["ece_at_that_temperature"], rel=1e-6)
    at = of.negative_log_likelihood(logits, labels, expected["temperature_by_nll"])
    assert at == pytest.approx(expected["nll_at_that_temperature"], rel=1e-6)


def test_the_sheet_on_cross_entropy_and_constant_confidence():
    assert of.negative_log_likelihood(RAW, torch.tensor([0, 1, 2, 1])) == pytest.approx(0.49493134, abs=1e-8)
    logits, labels = np.tile([1.0, 0.0], (6, 1)), np.array([0, 0, 0, 1, 0, 1])
    found = of.summary(logits, labels)
    assert found["ece"] == pytest.approx(0.06439191, abs=1e-8)
    assert found["aece"] == 0  # all confidences equal the first edge, so no sample lies in a bin
    assert found["aece_corrected"] == pytest.approx(0.06439191, abs=1e-8)


@pytest.mark.parametrize("bins", [1, 4, 15])
@pytest.mark.parametrize("seed", [0, 1])
def test_binned_errors_against_loops(seed, bins):
    logits, labels = draw(seed)
    probability = of.probabilities(logits)
    confidence, correct = of.top(probability, labels)
    parts = loop_ece(confidence, correct, np.linspace(0, 1, bins + 1))
    gaps = [(weight, abs(accuracy - mean)) for weight, accuracy, mean in parts]
    pair = confidence, correct, bins
    assert of.expected_calibration_error(*pair) == pytest.approx(sum(w * g for w, g in gaps), abs=1e-12)
    assert of.expected_calibration_error(*pair, "l2") == pytest.approx(
        math.sqrt(sum(w * g * g for w, g in gaps)), abs=1e-12
    )
    assert of.maximum_calibration_error(*pair) == pytest.approx(max(g for _, g in gaps), abs=1e-12)
    assert of.average_calibration_error(*pair) == pytest.approx(sum(g for _, g in gaps) / len(gaps), abs=1e-12)
    over = sum(weight * mean * max(0, mean - accuracy) for weight, accuracy, mean in parts)
    under = sum(weight * mean * max(0, accuracy - mean) for weight, accuracy, mean in parts)
    assert of.overconfidence_error(*pair) == pytest.approx(over, abs=1e-12)
    assert of.underconfidence_error(*pair) == pytest.approx(under, abs=1e-12)
    wise = []
    for c in range(labels.max() + 1):
        found = loop_ece(probability[:, c], labels == c, np.linspace(0, 1, bins + 1))
        wise.append(sum(weight * abs(accuracy - mean) for weight, accuracy, mean in found))
    assert of.classwise_calibration_error(probability, labels, bins) == pytest.approx(np.mean(wise), abs=1e-12)


def test_adaptive_edges_and_the_sample_that_the_released_rule_loses():
    confidence = np.array([0.3, 0.5, 0.6, 0.9, 0.95, 1.0])
    correct = np.array([0, 1, 0, 1, 1, 1])
    released = of.equal_mass_edges(confidence, 3)
    assert released == pytest.approx([0.3, 0.6, 0.95, 1.0])  # linspace(0, 6, 4) = 0 2 4 6 among the positions 0 to 5
    found = of.bin_samples(confidence, correct, released)
    assert found.samples.tolist() == [2, 2, 1]
    wanted = (2 * abs(0.5 - 0.55) + 2 * abs(1 - 0.925) + 1 * abs(1 - 1)) / 6
    assert of.adaptive_calibration_error(confidence, correct, 3) == pytest.approx(wanted)
    corrected = of.bin_samples(confidence, correct, of.equal_mass_edges(confidence, 3, "corrected"))
    assert corrected.samples.sum() == 6
    assert corrected.samples.tolist() == [2, 2, 2]


@pytest.mark.parametrize("seed", range(3))
def test_the_same_as_torchmetrics_where_no_sample_lies_on_an_edge(seed):
    logits, labels = draw(seed, classes=4)
    given, truth = torch.from_numpy(logits).float().softmax(-1), torch.from_numpy(labels)
    confidence, correct = of.top(given, truth)
    for norm in ("l1", "l2", "max"):
        theirs = multiclass_calibration_error(given, truth, num_classes=4, n_bins=15, norm=norm)
        ours = of.expected_calibration_error(confidence, correct, 15, norm)
        assert ours == pytest.approx(float(theirs), abs=1e-5), norm


def test_a_bin_holds_its_upper_edge():
    confidence, correct = np.array([0.5, 0.25, 1.0]), np.array([1, 0, 1])
    found = of.bin_samples(confidence, correct, np.linspace(0, 1, 5))
    assert found.samples.tolist() == [1, 1, 0, 1]


def test_the_debiased_error_takes_the_expected_noise_off():
    """A calibrated network: the plain estimate is too large, the debiased one less so (l1) or right (l2)."""
    rng = np.random.default_rng(0)
    plain, debiased, squares = [], [], []
    for _ in range(300):
        confidence = rng.uniform(0.5, 1, 200)
        correct = rng.random(200) < confidence
        plain.append(of.expected_calibration_error(confidence, correct))
        debiased.append(of.expected_calibration_error(confidence, correct, debiased=True))
        squares.append(of.expected_calibration_error(confidence, correct, norm="l2", debiased=True) ** 2)
    assert np.mean(plain) > 0.05
    assert abs(np.mean(debiased)) < 0.65 * np.mean(plain)
    assert np.mean(squares) < 0.003


def test_the_closed_form_of_the_bias_is_what_drawing_gives():
    """Kumar, Liang and Ma draw accuracies; the expectation over many draws is the closed form."""
    confidence, correct = np.repeat([0.55, 0.9], 40), np.r_[np.ones(24), np.zeros(16), np.ones(34), np.zeros(6)]
    found = of.bin_samples(confidence, correct, of.equal_width_edges())
    full = found.samples > 0
    accuracy, mean, weight = found.accuracy[full], found.confidence[full], found.samples[full] / 80
    rng = np.random.default_rng(1)
    drawn = rng.normal(accuracy, np.sqrt(accuracy * (1 - accuracy) / found.samples[full]), (200_000, 2))
    bias = (weight * np.abs(drawn - mean)).sum(1).mean() - (weight * np.abs(accuracy - mean)).sum()
    wanted = (weight * np.abs(accuracy - mean)).sum() - bias
    assert of.expected_calibration_error(confidence, correct, debiased=True) == pytest.approx(wanted, abs=2e-4)


def test_brier_and_its_parts():
    logits, labels = draw(3)
    probability = of.probabilities(logits)
    found = of.brier_score(probability, labels)
    hot = np.eye(6)[labels]
    assert found.score == pytest.approx(((probability - hot) ** 2).sum(1).mean(), abs=1e-12)
    assert found.calibration + found.refinement == pytest.approx(found.score, abs=1e-15)
    # two kinds of forecasts, each constant in its bin: calibration (p - share)^2, refinement share (1 - share)
    constant = np.array([[0.8, 0.2]] * 5 + [[0.3, 0.7]] * 5)
    truth = np.array([0, 0, 0, 1, 1, 0, 1, 1, 1, 1])
    two = of.brier_score(constant, truth)
    assert two.calibration == pytest.approx(2 * (0.5 * 0.2**2 + 0.5 * 0.1**2))
    assert two.refinement == pytest.approx(2 * (0.5 * 0.6 * 0.4 + 0.5 * 0.2 * 0.8))


def test_scikit_learn_agrees():
    logits, labels = draw(4)
    assert of.negative_log_likelihood(logits, labels) == pytest.approx(
        log_loss(labels, of.probabilities(logits), labels=range(6)), abs=1e-9
    )
    for k in (1, 3, 5):
        wanted = top_k_accuracy_score(labels, logits, k=k, labels=range(6))
        assert selective.top_k_accuracy(logits, labels, k) == wanted
    assert selective.macro_accuracy(logits.argmax(1), labels) == pytest.approx(
        balanced_accuracy_score(labels, logits.argmax(1)), abs=1e-12
    )


def test_top_k_of_tied_logits_takes_the_first_classes():
    logits = np.zeros((3, 4))
    assert selective.top_k_accuracy(logits, np.array([0, 1, 3]), 1) == pytest.approx(1 / 3)
    assert selective.top_k_accuracy(logits, np.array([0, 1, 3]), 2) == pytest.approx(2 / 3)
    assert selective.top_k_accuracy(logits, np.array([0, 1, 3]), 5) == 1


def test_risk_over_coverage():
    # from the most confident on: right, wrong, right; risks 0, 1/2, 1/3
    assert selective.area_under_risk_coverage(np.array([0.5, 0.9, 0.7]), np.array([1, 1, 0])) == pytest.approx(
        (0 + 1 / 2 + 1 / 3) / 3
    )


def test_risk_of_equal_confidences_is_the_mean_over_their_orders():
    rng = np.random.default_rng(0)
    confidence, correct = rng.integers(1, 4, 9) / 4, rng.integers(0, 2, 9)
    values = []
    for _ in range(4000):
        order = rng.permutation(9)
        order = order[np.argsort(-confidence[order], kind="stable")]
        values.append((np.cumsum(1 - correct[order]) / np.arange(1, 10)).mean())
    found = selective.area_under_risk_coverage(confidence, correct)
    assert found == pytest.approx(np.mean(values), abs=0.005)
    shuffled = rng.permutation(9)
    assert selective.area_under_risk_coverage(confidence[shuffled], correct[shuffled]) == found


def test_out_of_distribution():
    known, unknown = draw(5, 120)[0], draw(6, 80, scale=0.5)[0]
    by_entropy, by_confidence = selective.out_of_distribution(known, unknown)
    truth = np.r_[np.zeros(120), np.ones(80)]
    both = of.probabilities(np.concatenate([known, unknown]))
    entropy = -(both * np.log(both + 1e-10)).sum(1) / math.log(6)
    assert by_entropy == pytest.approx(roc_auc_score(truth, entropy), abs=1e-12)
    assert by_confidence == pytest.approx(roc_auc_score(1 - truth, both.max(1)), abs=1e-12)
    assert by_entropy > 0.8
    assert selective.out_of_distribution(known, unknown, 2.0) != (by_entropy, by_confidence)


def test_entropy_is_between_0_and_1():
    found = selective.normalised_entropy(np.array([[0.0, 0, 0, 0], [200, 0, 0, 0]]))
    assert found == pytest.approx([1, 0], abs=1e-6)


def test_the_order_of_the_samples_changes_no_digit():
    logits, labels = draw(7)
    order = np.random.default_rng(1).permutation(len(labels))
    one, other = of.summary(logits, labels), of.summary(logits[order], labels[order])
    assert one == other


def test_half_precision_is_measured_in_double():
    logits, labels = draw(8)
    half = torch.from_numpy(logits).bfloat16()
    assert of.summary(half, torch.from_numpy(labels)) == of.summary(half.double().numpy(), labels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: of.expected_calibration_error(np.ones(3), np.ones(2)), "shapes (3,) and (2,), expected both (N,)"),
        (lambda: of.expected_calibration_error(np.ones(0), np.ones(0)), "there is no sample to measure"),
        (lambda: of.expected_calibration_error(np.array([np.nan]), np.ones(1)), "1 of 1 are not finite"),
        (lambda: of.expected_calibration_error(np.ones(1), np.ones(1), 0), "bins: 0 given, expected at least 1"),
        (lambda: of.expected_calibration_error(np.ones(1), np.ones(1), 5, "l3"), "norm: 'l3'"),
        (
            lambda: of.expected_calibration_error(np.ones(1), np.ones(1), 5, "max", True),
            "norm: 'max' with debiased=True",
        ),
        (lambda: of.equal_mass_edges(np.ones(3), 5, "equal"), "edges: 'equal' given"),
        (lambda: of.probabilities(np.ones((1, 2)), 0), "temperature: 0 given, expected a positive number"),
        (lambda: selective.area_under_risk_coverage(np.ones(0), np.ones(0)), "N >= 1"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=r"given|expected|sample|finite|norm") as error:
        call()
    assert message in str(error.value)
