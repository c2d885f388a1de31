"""Every public metric over number types, extreme scores and sizes, and batches in another order; new ones by name."""

import importlib
import inspect
import math
import pkgutil

import numpy as np
import pytest
import torch
from torchmetrics import Metric

import zoo.domains
from zoo import metrics
from zoo.domains.outfit.evaluation import Compatibility, FillInTheBlank, Retrieval
from zoo.errors import InputError

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SIZE = 60
# whose edges are tested with the other functions, in test_faults_numerics.py
FUNCTIONS = {
    "average_precision", "roc_auc", "rank_values", "blocked_ranks", "bootstrap_interval", "fit_temperature",
    "grid_errors",
}  # fmt: skip


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def whole(high, *shape, seed=1):
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


# Of each metric that takes scores: how it is made, and how a part of the scores ``(SIZE, 4)`` goes in.
def logits(name):
    made = {"OutOfDistribution": lambda: metrics.OutOfDistribution(["near"])}.get(name, getattr(metrics, name))
    labels = whole(5, SIZE) - 1 if name == "OutOfDistribution" else whole(4, SIZE)
    return made, lambda metric, scores, rows: metric.update(scores[rows], labels[rows])


def ndcg(metric, scores, rows):
    metric.update(scores[rows], whole(3, SIZE, 4)[rows])


def counts(metric, scores, rows):
    metric.update(scores[rows, 0].abs(), whole(9, SIZE)[rows])


def agreement(metric, scores, rows):
    metric.update(scores[rows, 0], drawn(SIZE, seed=2)[rows], whole(4, SIZE)[rows])


def grid(metric, scores, rows):
    for row in rows:
        density = scores[row].abs().reshape(2, 2)
        metric.update(density, torch.tensor([[3.0, 3.0], [20.0, 30.0]]), (32, 32), 16)


def quality(metric, scores, rows):
    metric.update(scores[rows, 0], drawn(SIZE, seed=2)[rows].sigmoid(), whole(3, SIZE)[rows])


def retrieval(metric, scores, rows):
    number = torch.arange(SIZE)
    images = torch.stack([number, number // 3, torch.full((SIZE,), -1)], 1)
    texts = torch.cat([images, torch.zeros(SIZE, 1, dtype=torch.int64)], 1)
    other = drawn(SIZE, 4, seed=3)
    metric.update(scores[rows], other[rows], images[rows], other[rows], scores[rows].flip(1), texts[rows])


def videos(metric, scores, rows):
    truth = whole(2, SIZE, 4)
    for row in rows:
        metric.update(float(scores[row].max()), int(truth[row].any()), scores[row], truth[row])


def outfits(metric, scores, rows):
    metric.update(scores[rows, 0], whole(2, SIZE)[rows], whole(3, SIZE)[rows])


def blanks(metric, scores, rows):
    kind = whole(2, SIZE)[rows]
    metric.update(
        scores[rows], torch.ones(len(rows), 4, dtype=torch.bool), whole(4, SIZE)[rows], kind, kind, ["a", "b"]
    )


def galleries(metric, scores, rows):
    asked, kind = rows < SIZE // 3, whole(2, SIZE)[rows]
    keys = torch.where(asked, rows, rows - SIZE // 3)
    metric.update(scores[rows], keys, torch.zeros_like(rows), asked, kind, kind, ["a", "b"])


OWN = {
    "NDCG": (metrics.NDCG, ndcg),
    "CountErrors": (metrics.CountErrors, counts),
    "GridErrors": (metrics.GridErrors, grid),
    "QualityAgreement": (lambda: metrics.QualityAgreement(resamples=20), agreement),
    "RankQuality": (metrics.RankQuality, quality),
    "TextImageRetrieval": (metrics.TextImageRetrieval, retrieval),
    "VideoDetection": (metrics.VideoDetection, videos),
}
CASES = {name: OWN[name] if name in OWN else logits(name) for name in metrics.__all__ if name not in FUNCTIONS}
# metrics of domains; COCOFigures is torchmetrics' own, and tested with its domain
DOMAINS = {
    "Compatibility": (lambda: Compatibility(details=True), outfits),
    "FillInTheBlank": (lambda: FillInTheBlank(details=True), blanks),
    "Retrieval": (lambda: Retrieval(details=True), galleries),
}
CASES |= DOMAINS
BINARY32 = {"CountErrors", "GridErrors"}  # errors are of the size of the scores: they may leave the range


def figures(name, scores, parts=None):
    """All figures, by name."""
    make, feed = CASES[name]
    metric = make()
    for rows in parts if parts is not None else [torch.arange(SIZE)]:
        feed(metric, scores, rows)
    value = metric.compute()
    if isinstance(value, tuple):
        value = dict(enumerate(value))
    value = value if isinstance(value, dict) else {"": value}
    return {key: np.asarray(part, dtype=float) for key, part in value.items()}


def same(found, expected, what, tolerance=1e-9):
    assert found.keys() == expected.keys(), what
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=tolerance, atol=tolerance, err_msg=f"{key}: {what}")


@pytest.mark.parametrize("name", CASES)
def test_a_metric_gives_in_every_number_type_what_its_numbers_give(name):
    for dtype in DTYPES:
        scores = drawn(SIZE, 4).to(dtype)
        exact = scores.float().double() if dtype is torch.float64 else scores.double()
        same(figures(name, scores), figures(name, exact), dtype, 1e-3 if dtype is torch.float64 else 2e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_metric_does_not_see_how_batches_were_cut(name):
    order = torch.randperm(SIZE, generator=torch.Generator().manual_seed(5))
    scores = drawn(SIZE, 4)
    whole_set = figures(name, scores, [order])
    same(figures(name, scores, [order[:7], order[7:7], order[7:8], order[8:]]), whole_set, "in four parts")
    if name not in ("QualityAgreement",):  # its intervals are drawn in the order of the images
        same(figures(name, scores), whole_set, "in another order", 1e-6)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["huge", "denormal", "equal"])
def test_a_metric_at_the_edges_of_a_number_type(name, kind):
    for dtype in (torch.float32, torch.bfloat16):
        scores = drawn(SIZE, 4)
        if kind == "huge":
            scores = scores.sign() * (1e30 + 1e28 * whole(90, SIZE, 4))
        elif kind == "denormal":
            scores = scores * torch.finfo(dtype).smallest_normal / 8
        else:
            scores = torch.ones_like(scores)
        scores = scores.to(dtype)
        for key, value in figures(name, scores).items():
            # an empty bin has no mean, equal scores no correlation
            undefined = name == "ReliabilityBins" or (kind == "equal" and name in ("QualityAgreement", "RankQuality"))
            assert undefined or not np.isnan(value).any(), f"{key} {dtype}"
            assert name in BINARY32 or not np.isinf(value).any(), f"{key} {dtype}"


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("name", CASES)
def test_a_metric_of_one_and_of_nothing(name):
    """A figure, NaN where it is not defined, or an error that says what is missing: nothing else."""
    for parts in ([torch.arange(1)], [torch.arange(0)], []):
        try:
            found = figures(name, drawn(SIZE, 4), parts)
        except (ValueError, InputError) as error:
            told = str(error)
        else:
            told = ""
            assert all(not np.isinf(value).any() for value in found.values())
        assert told == "" or len(told) > 10


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", CASES)
def test_a_metric_refuses_scores_that_are_not_finite(name, bad):
    scores = drawn(SIZE, 4)
    scores[7] = bad
    with pytest.raises((ValueError, InputError), match=r"not finite"):
        figures(name, scores)


def test_every_metric_is_here():
    assert set(CASES) - set(DOMAINS) | FUNCTIONS == set(metrics.__all__)
    assert len(CASES) >= 20
    found = set()
    for module in pkgutil.walk_packages(zoo.domains.__path__, "zoo.domains."):
        for name, kind in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(kind) and issubclass(kind, Metric) and kind.__module__ == module.name:
                found.add(name)
    assert found - {"Collected", "COCOFigures"} == set(DOMAINS)


def test_metrics_of_a_hundred_thousand():
    size = 100_000
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(size, 4, generator=generator)
    labels = torch.where(torch.rand(size, generator=generator) < 0.7, logits.argmax(1), whole(4, size))
    for name in ("ExpectedCalibrationError", "BrierScore", "SelectiveRisk", "NegativeLogLikelihood"):
        metric = getattr(metrics, name)()
        metric.update(logits, labels)
        assert 0 < float(metric.compute()) < 2, name
    found = metrics.RankQuality()
    few = slice(20_000)  # it looks at all pairs, in blocks
    found.update(logits[few, 0], logits[few, 0].sigmoid(), whole(3, size)[few])
    assert all(math.isfinite(float(value)) for value in found.compute().values())
    long = metrics.NDCG(k=None)
    long.update(logits[None, :, 0], labels[None])
    assert 0 < float(long.compute()) <= 1
    counted = metrics.CountErrors()
    counted.update(logits[:, 0].abs(), labels.float())
    assert math.isfinite(float(counted.compute()["mae"]))
