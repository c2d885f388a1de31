"""Agreement of predicted quality with scores: against scipy, against the published logistic, over batches."""

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from zoo.metrics import QualityAgreement
from zoo.metrics.agreement import FIGURES, agreement, fit_logistic, logistic


def made(seed=0, sizes=(40, 25, 60), noise=0.4):
    """Predictions that follow the scores by a curve, scores rounded so that there are ties, scenes of other scales."""
    rng = np.random.default_rng(seed)
    predicted, target, scene = [], [], []
    for number, size in enumerate(sizes):
        truth = rng.normal(size=size)
        target.append(np.round(truth, 1) * (1 + number) + 10 * number)
        predicted.append(np.tanh(truth) + noise * rng.normal(size=size))
        scene.append(np.full(size, 7 * number - 3))
    return (torch.tensor(np.concatenate(part)) for part in (predicted, target, scene))


def reference(predicted, target):
    """The released evaluation, written out with scipy: raw ranks, errors after curve_fit with its start."""

    def curve(x, b1, b2, b3, b4):
        with np.errstate(over="ignore"):
            return b2 + (b1 - b2) / (1 + np.exp(-(x - b3) / abs(b4)))

    start = [target.max(), target.min(), predicted.mean(), 0.5]
    best, _ = optimize.curve_fit(curve, predicted, target, p0=start, maxfev=100_000_000)
    mapped = curve(predicted, *best)
    return (
        stats.spearmanr(predicted, target).statistic,
        stats.kendalltau(predicted, target).statistic,
        stats.pearsonr(mapped, target).statistic,
        np.sqrt(((mapped - target) ** 2).mean()),
        np.abs(mapped - target).mean(),
    )


def test_logistic_of_the_sheet():
    np.testing.assert_allclose(
        logistic(np.array([0.0, 1.0]), 5, 1, 0.3, -0.5), [2.4173747751, 4.2087355543], rtol=0, atol=1e-10
    )


def test_logistic_never_overflows():
    with np.errstate(all="raise"):
        assert logistic(np.array([-1e6, 0.0, 1e6]), 5, 1, 0.0, 1e-9).tolist() == [1, 3, 5]
        assert logistic(np.array([-1.0, 0.0, 1.0]), 5, 1, 0.0, 0.0).tolist() == [1, 3, 5]


@pytest.mark.filterwarnings("ignore:Covariance of the parameters")
def test_each_scene_equals_scipy_and_the_released_evaluation():
    predicted, target, scene = made()
    metric = QualityAgreement()
    metric.update(predicted, target, scene)
    got = metric.compute()
    p, t = predicted.float().double().numpy(), target.float().double().numpy()
    table = np.array([reference(p[scene == number], t[scene == number]) for number in (-3, 4, 11)])
    over_all = reference(p, t)
    for column, name in enumerate(FIGURES):
        assert got[f"{name}_mean"].item() == pytest.approx(table[:, column].mean(), abs=1e-5), name
        assert got[f"{name}_median"].item() == pytest.approx(np.median(table[:, column]), abs=1e-5), name
        assert got[f"{name}_global"].item() == pytest.approx(over_all[column], abs=1e-5), name
    assert (got["scenes"], got["left_out"], got["raw_fits"]) == (3, 0, 0)


def test_kendall_counts_ties_as_tau_b():
    predicted, target = np.array([1.0, 2.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 2.0, 3.0, 3.0])
    concordant = discordant = tied_p = tied_t = 0
    for i in range(5):
        for j in range(i):
            product = (predicted[i] - predicted[j]) * (target[i] - target[j])
            concordant, discordant = concordant + (product > 0), discordant + (product < 0)
            tied_p, tied_t = tied_p + (predicted[i] == predicted[j]), tied_t + (target[i] == target[j])
    by_hand = (concordant - discordant) / np.sqrt((10 - tied_p) * (10 - tied_t))
    assert agreement(predicted, target).krcc == pytest.approx(by_hand, abs=1e-12)


def test_mean_and_median_are_over_scenes_not_images():
    # two perfect scenes of 2 images and one reversed scene of 50: over images the last would decide
    scenes = [([0.0, 1.0], [0.0, 1.0])] * 2 + [(list(range(50)), list(range(50, 0, -1)))]
    metric = QualityAgreement()
    for number, (p, t) in enumerate(scenes):
        metric.update(torch.tensor(p).float(), torch.tensor(t).float(), torch.full((len(p),), number))
    got = metric.compute()
    assert got["srcc_mean"] == pytest.approx(1 / 3)
    assert got["srcc_median"] == 1
    assert got["srcc_global"] < 0


def test_scale_and_offset_of_a_scene_do_not_matter():
    predicted, target, scene = made()
    one, two = QualityAgreement(), QualityAgreement()
    one.update(predicted, target, scene)
    two.update(predicted * (1 + scene.abs()) - 3 * scene, target, scene)
    for name in ("srcc", "krcc"):
        assert one.compute()[f"{name}_mean"] == pytest.approx(two.compute()[f"{name}_mean"].item(), abs=1e-7)


@pytest.mark.parametrize("step", [1, 7, 125])
def test_batches_do_not_matter(step):
    predicted, target, scene = made()
    whole, parts = QualityAgreement(), QualityAgreement()
    whole.update(predicted, target, scene)
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(scene)))
    for rows in order.split(step):
        parts.update(predicted[rows], target[rows], scene[rows])
    assert {name: value.item() for name, value in whole.compute().items()} == {
        name: value.item() for name, value in parts.compute().items()
    }


def test_a_fit_that_does_not_converge_is_counted_and_the_raw_figure_used(monkeypatch):
    def never(*args, **kwargs):
        raise RuntimeError("Optimal parameters not found: Number of calls to function has reached maxfev = 20000.")

    monkeypatch.setattr("zoo.metrics.agreement.optimize.curve_fit", never)
    predicted, target, scene = made()
    metric = QualityAgreement()
    metric.update(predicted, target, scene)
    got = metric.compute()
    p, t = predicted.float().double().numpy(), target.float().double().numpy()
    raw = [stats.pearsonr(p[scene == n], t[scene == n]).statistic for n in (-3, 4, 11)]
    assert got["plcc_mean"].item() == pytest.approx(np.mean(raw), abs=1e-6)
    assert got["mae_global"].item() == pytest.approx(np.abs(p - t).mean(), rel=1e-6)
    assert (got["raw_fits"], got["raw_fit_global"]) == (3, 1)


def test_three_points_are_too_few_for_four_parameters():
    assert fit_logistic(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])) is None
    found = agreement(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]))
    assert not found.fitted
    assert found.mae == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "predicted",
    [
        np.zeros(10),
        np.full(10, 1e30),
        np.r_[np.zeros(9), 1e30],
        np.r_[np.zeros(9), 1e-30],
        np.arange(10.0)[::-1],
        np.array([0, 1] * 5, dtype=float),
        np.linspace(-1e-8, 1e-8, 10),
        np.linspace(-1e8, 1e8, 10),
    ],
    ids=["constant", "huge constant", "one huge", "one tiny", "reversed", "two values", "tiny", "wide"],
)
def test_no_prediction_crashes_the_fit_or_gives_nan(predicted):
    found = agreement(predicted, np.array([3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3]))
    assert np.isfinite(found[:5]).all()
    assert all(-1 <= value <= 1 for value in found[:3])


def test_equal_predictions_have_correlation_zero():
    assert agreement(np.ones(8), np.arange(8.0))[:3] == (0, 0, 0)


def test_scene_without_an_order_is_left_out_and_counted():
    metric = QualityAgreement()
    metric.update(torch.arange(5.0), torch.arange(5.0), torch.zeros(5, dtype=torch.long))
    metric.update(torch.arange(3.0), torch.ones(3), torch.ones(3, dtype=torch.long))
    metric.update(torch.ones(1), torch.ones(1), torch.full((1,), 2))
    got = metric.compute()
    assert (got["scenes"], got["left_out"]) == (1, 2)
    assert got["srcc_mean"] == 1
    assert "srcc_mean_low" not in got  # one scene has no spread


def test_interval_is_over_scenes():
    rng = np.random.default_rng(0)
    metric = QualityAgreement()
    values = []
    for number in range(12):
        target = rng.normal(size=20)
        predicted = target + rng.normal(size=20) * (0.2 + 0.3 * (number % 4))
        metric.update(torch.tensor(predicted), torch.tensor(target), torch.full((20,), number))
        values.append(stats.spearmanr(predicted.astype(np.float32), target.astype(np.float32)).statistic)
    got = metric.compute()
    draws = np.random.default_rng(5).integers(0, 12, (20_000, 12))
    low, high = np.quantile(np.array(values)[draws].mean(1), [0.025, 0.975])
    assert got["srcc_mean_low"].item() == pytest.approx(low, abs=0.02)
    assert got["srcc_mean_high"].item() == pytest.approx(high, abs=0.02)
    assert got["srcc_mean_low"] < got["srcc_mean"] < got["srcc_mean_high"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (torch.ones(2), torch.ones(3), torch.ones(2).long()),
            r"predicted, target and scene: shapes \(2,\), \(3,\), \(2,\), expected all \(B,\)",
        ),
        ((torch.ones(2), torch.ones(2), torch.ones(2)), "scene: dtype torch.float32 given, expected integers"),
        (
            (torch.tensor([1, torch.nan]), torch.ones(2), torch.ones(2).long()),
            "predicted: 1 of 2 are not finite",
        ),
        ((torch.ones(2), torch.tensor([torch.inf, 1]), torch.ones(2).long()), "target: 1 of 2 are not finite"),
    ],
)
def test_bad_updates(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        QualityAgreement().update(*arguments)


def test_nothing_to_rank():
    metric = QualityAgreement()
    metric.update(torch.ones(3), torch.ones(3), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"^none of 1 scenes \(3 images\) has two different scores; nothing to rank$"):
        metric.compute()
