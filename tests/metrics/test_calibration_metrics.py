"""Calibration metrics: equal to the functions, over batches, merged states and uneven processes."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo.metrics as metrics
from zoo.metrics import calibration as of
from zoo.metrics import calibration_selective as selective
from zoo.metrics.calibration_metrics import intervals

WORKER = Path(__file__).with_name("calibration_worker.py")


def load_worker():
    spec = importlib.util.spec_from_file_location("calibration_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def samples(count=60, classes=5):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(count, classes, generator=generator) * 2
    labels = torch.randint(0, classes, (count,), generator=generator)
    return logits, labels


ONE_FIGURE = {
    "ece": metrics.ExpectedCalibrationError,
    "aece": metrics.AdaptiveCalibrationError,
    "cece": metrics.ClasswiseCalibrationError,
    "mce": metrics.MaximumCalibrationError,
    "ace": metrics.AverageCalibrationError,
    "oe": metrics.OverconfidenceError,
    "ue": metrics.UnderconfidenceError,
    "nll": metrics.NegativeLogLikelihood,
    "brier": metrics.BrierScore,
}


@pytest.mark.parametrize("name", ONE_FIGURE)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_each_metric_is_its_function_over_all_batches(name, temperature):
    logits, labels = samples()
    metric = ONE_FIGURE[name](temperature=temperature)
    for part, truth in zip(logits.split(7), labels.split(7), strict=True):
        metric.update(part, truth)
    assert metric.compute().item() == of.summary(logits, labels, temperature=temperature)[name]


def test_variants():
    logits, labels = samples()
    wanted = of.summary(logits, labels)
    for metric, name in (
        (metrics.ExpectedCalibrationError(debiased=True), "ece_debiased"),
        (metrics.AdaptiveCalibrationError(edges="corrected"), "aece_corrected"),
        (metrics.BrierScore(part="calibration"), "brier_calibration"),
        (metrics.BrierScore(part="refinement"), "brier_refinement"),
        (metrics.ExpectedCalibrationError(norm="max"), "mce"),
    ):
        metric.update(logits, labels)
        assert metric.compute().item() == wanted[name], name


def test_samples_per_bin_and_selective_risk():
    logits, labels = samples()
    confidence, correct = of.top(of.probabilities(logits), labels)
    bins, risk = metrics.ReliabilityBins(10), metrics.SelectiveRisk()
    bins.update(logits, labels)
    risk.update(logits, labels)
    table = bins.compute()
    assert table.shape == (10, 3)
    assert table[:, 0].sum() == 60
    assert torch.isnan(table[0, 1:]).all()  # the top of 5 classes is never below 0.2
    shares = np.histogram(confidence, np.linspace(0, 1, 11))[0]
    assert table[:, 0].tolist() == shares.tolist()
    assert risk.compute().item() == selective.area_under_risk_coverage(confidence, correct)


def test_the_report_holds_every_figure_before_and_after_scaling():
    logits, labels = samples()
    report = metrics.CalibrationReport(temperature=2.0, groups={"head": [0, 1], "tail": [9]})
    report.update(logits, labels)
    found = {name: value.item() for name, value in report.compute().items()}
    before, after = of.summary(logits, labels), of.summary(logits, labels, temperature=2.0)
    assert {name: found[name] for name in before} == before
    assert {name: found[f"{name}_ts"] for name in after} == after
    assert found["ece"] != found["ece_ts"]
    assert found["temperature"] == 2
    right = logits.argmax(1) == labels
    assert found["acc"] == pytest.approx(right.double().mean().item())
    assert found["acc_head"] == pytest.approx(right[labels < 2].double().mean().item())
    assert math.isnan(found["acc_tail"])  # no sample of the group
    assert found["acc5"] == 1
    assert not any(name.endswith("_ts") for name in report_without_temperature(logits, labels))


def report_without_temperature(logits, labels):
    report = metrics.CalibrationReport()
    report.update(logits, labels)
    return report.compute()


def test_intervals_hold_the_value_and_shrink_with_the_samples():
    logits, labels = samples(400)
    report = metrics.CalibrationReport(intervals=True, resamples=200)
    report.update(logits, labels)
    found = {name: value.item() for name, value in report.compute().items()}
    for name in ("acc", "nll"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    few = intervals(logits[:50].numpy(), labels[:50].numpy(), resamples=200)
    assert few["acc_high"] - few["acc_low"] > 2 * (found["acc_high"] - found["acc_low"])
    # the standard error of a share, about
    error = math.sqrt(found["acc"] * (1 - found["acc"]) / 400)
    assert found["acc_high"] - found["acc_low"] == pytest.approx(2 * 1.96 * error, rel=0.25)


def test_unknown_sets_are_told_by_negative_labels():
    logits, labels = samples(90)
    labels[::3], labels[1::9] = -1, -2
    metric = metrics.OutOfDistribution(["svhn", "tiny", "empty"], temperature=2.0)
    for part, truth in zip(logits.split(8), labels.split(8), strict=True):
        metric.update(part, truth)
    found = {name: value.item() for name, value in metric.compute().items()}
    known = logits[labels >= 0]
    for number, name in enumerate(("svhn", "tiny")):
        unknown = logits[labels == -1 - number]
        for ending, temperature in (("", 1.0), ("_ts", 2.0)):
            pair = found[f"ood_{name}_entropy{ending}"], found[f"ood_{name}_confidence{ending}"]
            assert pair == selective.out_of_distribution(known, unknown, temperature)
    assert not any("empty" in name for name in found)


def test_merged_states_are_the_whole():
    logits, labels = samples()
    whole, left, right = (metrics.CalibrationReport(temperature=1.5) for _ in range(3))
    whole.update(logits, labels)
    left.update(logits[:41], labels[:41])
    right.update(logits[41:], labels[41:])
    left.merge_state(right)
    assert left.compute() == whole.compute()


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric CalibrationReport was called before")
def test_nothing_to_measure_is_an_error():
    with pytest.raises(ValueError, match="CalibrationReport has nothing to measure: no batch was given"):
        metrics.CalibrationReport().compute()


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.rand(3), torch.tensor([0]), "shapes (3,) and (1,), expected (B, C) and (B,)"),
        (torch.rand(2, 3), torch.tensor([0]), "shapes (2, 3) and (1,)"),
        (torch.rand(1, 3), torch.tensor([3]), "labels: from 3 to 3 given, expected 0 to 2"),
        (torch.rand(1, 3), torch.tensor([-1]), "labels: from -1 to -1 given, expected 0 to 2"),
        (torch.rand(1, 3), torch.tensor([0.0]), "labels: dtype torch.float32 given, expected integers"),
        (torch.tensor([[0.0, torch.nan]]), torch.tensor([0]), "logits: the value at (0, 1) is not finite"),
    ],
)
def test_bad_batches(logits, labels, message):
    with pytest.raises(ValueError, match=r"given|expected|finite") as error:
        metrics.ExpectedCalibrationError().update(logits, labels)
    assert message in str(error.value)


def test_bad_options():
    with pytest.raises(ValueError, match="bins and temperature: 0 and 1"):
        metrics.ExpectedCalibrationError(bins=0)
    with pytest.raises(ValueError, match="part: 'sum' given, expected one of score, calibration, refinement"):
        metrics.BrierScore(part="sum")


def test_processes_with_uneven_shares_give_what_one_gives(ranks):
    worker = load_worker()
    found = ranks(WORKER, world=2)
    expected = worker.measured([worker.samples()])
    assert all(part == expected for part in found)
