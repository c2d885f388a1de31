"""Every public loss and metric at the edges of floating point, of size, and of determinism; new ones by their name."""

import inspect

import numpy as np
import pytest
import torch

from zoo import metrics, ranking
from zoo.metrics import average_precision, rank_values, roc_auc

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def functions(*first):
    found = {name: getattr(ranking, name) for name in ranking.__all__}
    return {
        name: loss
        for name, loss in found.items()
        if inspect.isfunction(loss) and tuple(inspect.signature(loss).parameters)[:2] == first
    }


SCORE, SIMILARITY = functions("scores", "target"), functions("similarity", "positive")
QUADRATIC = {"fidelity", "lambda_ndcg"}  # n^2 work, in blocks: at a hundred thousand items half a minute each
KINDS = ("huge", "denormal", "equal")


def test_the_losses_are_found():
    assert len(SCORE) >= 10
    assert len(SIMILARITY) >= 8


def edge(kind, dtype, *shape):
    torch.manual_seed(0)
    x = torch.randn(*shape, dtype=torch.float64)
    if kind == "huge":
        x = x.sign() * min(1e30, torch.finfo(dtype).max / 4)
    elif kind == "denormal":
        x = x * float(torch.finfo(dtype).smallest_normal) / 8
    else:
        x = torch.ones_like(x)
    return x.to(dtype)


def finite(loss, scores, truth, name, **options):
    scores = scores.clone().requires_grad_()
    value = loss(scores, truth, **options)
    (gradient,) = torch.autograd.grad(value.sum(), scores)
    # a sum of 1e30's squares, or its slope, may leave the range of float32; it must not become NaN
    assert not value.isnan().any(), name
    assert not gradient.isnan().any(), name
    assert value.dtype in (torch.float32, torch.float64), name
    return value, gradient


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_losses_at_the_edges_of_a_dtype(kind, dtype):
    target, positive = torch.arange(8) % 3, torch.eye(6, 8, dtype=torch.bool)
    for name, loss in SCORE.items():
        finite(loss, edge(kind, dtype, 3, 8), target.expand(3, 8), name)
    for name, loss in SIMILARITY.items():
        finite(loss, edge(kind, dtype, 6, 8), positive, name)


def test_losses_of_one_item():
    for name, loss in SCORE.items():
        assert finite(loss, torch.ones(1), torch.ones(1), name)[0] == 0, name
    for name, loss in SIMILARITY.items():
        assert finite(loss, torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool), name)[0] == 0, name


def large(name, size):
    """Binary and graded targets of so many items."""
    scores = torch.randn(size, generator=torch.Generator().manual_seed(0))
    for target in ((torch.arange(size) % 7 == 0).long(), torch.arange(size) % 5):
        value, gradient = finite(SCORE[name], scores, target, name)
        assert value.isfinite().all(), name
        assert gradient.isfinite().all(), name
        assert gradient.abs().sum() > 0, name


@pytest.mark.parametrize("name", SCORE)
def test_losses_of_many_items(name):
    large(name, 5_000 if name in QUADRATIC else 100_000)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(QUADRATIC))
def test_losses_of_all_pairs_of_a_hundred_thousand_items(name):
    large(name, 100_000)


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_losses_run_with_deterministic_algorithms(deterministic):
    torch.manual_seed(0)
    scores, target = torch.randn(4, 30), torch.randint(0, 4, (4, 30))
    similarity, positive = torch.randn(20, 30), torch.rand(20, 30) < 0.2
    for losses, given in ((SCORE, (scores, target)), (SIMILARITY, (similarity, positive))):
        for name, loss in losses.items():
            one, other = (finite(loss, *given, name) for _ in range(2))
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True)), name


@pytest.mark.parametrize("name", [*SCORE, *SIMILARITY])
def test_a_compiled_loss_gives_the_same(name):
    torch.manual_seed(0)
    if name in SCORE:
        given = torch.randn(4, 30, dtype=torch.float64), torch.randint(0, 4, (4, 30))
    else:
        given = torch.randn(20, 30, dtype=torch.float64), torch.rand(20, 30) < 0.2
    loss = {**SCORE, **SIMILARITY}[name]
    torch.compiler.reset()
    for one, other in zip(
        finite(torch.compile(loss, backend="eager"), *given, name), finite(loss, *given, name), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


# -- metrics

TRUTH = torch.tensor([1, 0, 1, 1, 0, 0, 1, 0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rank_metrics_see_the_order_alone(dtype):
    scores = torch.tensor([0.5, -2.0, 3.0, 0.5, 1.0, -1.0, 2.0, 0.25], dtype=dtype)
    for metric in (roc_auc, average_precision):
        exact = metric(scores.double(), TRUTH)
        assert metric(scores, TRUTH).double() == pytest.approx(float(exact), abs=1e-6)
        for factor in (torch.finfo(dtype).max / 4, float(torch.finfo(dtype).smallest_normal)):
            assert float(metric(scores * factor, TRUTH)) == pytest.approx(float(exact), abs=1e-6)
        order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
        assert float(metric(scores[order], TRUTH[order])) == pytest.approx(float(exact), abs=1e-6)
    assert roc_auc(torch.ones(8, dtype=dtype), TRUTH) == 0.5


def test_rank_metrics_of_a_hundred_thousand():
    generator = torch.Generator().manual_seed(0)
    scores, truth = torch.rand(100_000, generator=generator), torch.rand(100_000, generator=generator) < 0.3
    assert float(roc_auc(scores, truth)) == pytest.approx(0.5, abs=0.01)
    assert float(average_precision(scores, truth)) == pytest.approx(0.3, abs=0.02)


def test_rank_values_do_not_see_what_is_masked_or_the_order_of_the_gallery():
    generator = torch.Generator().manual_seed(0)
    similarity = torch.randn(5, 12, generator=generator)
    relevant = torch.rand(5, 12, generator=generator) < 0.3
    relevant[:, 0] = True
    order = torch.randperm(12, generator=generator)
    wide = torch.cat([similarity, torch.full((5, 3), 1e9)], 1), torch.cat([relevant, relevant[:, :3]], 1)
    mask = torch.arange(15).expand(5, 15) < 12
    expected = rank_values(similarity, relevant)
    for found in (rank_values(similarity[:, order], relevant[:, order]), rank_values(*wide, mask)):
        for name, one in found._asdict().items():
            if name != "best":  # the place of an item
                torch.testing.assert_close(one, getattr(expected, name), msg=name)


LOGITS = {
    name: getattr(metrics, name)
    for name in metrics.__all__
    if inspect.isclass(getattr(metrics, name))
    and tuple(inspect.signature(getattr(metrics, name).update).parameters)[1:] == ("logits", "labels")
    and name != "OutOfDistribution"  # labels below zero are its other sets
}


def numbers(metric):
    """All figures of a metric, flat."""
    value = metric.compute()
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
    return np.concatenate([np.atleast_1d(np.asarray(part, dtype=float)).ravel() for part in parts])


@pytest.mark.parametrize("name", LOGITS)
def test_calibration_metrics_at_the_edges(name):
    torch.manual_seed(0)
    logits, labels = torch.randn(60, 4, dtype=torch.float64), torch.randint(0, 4, (60,))
    for dtype in DTYPES:
        metric, exact = LOGITS[name](), LOGITS[name]()
        metric.update(logits.to(dtype), labels)
        exact.update(logits.to(dtype).double(), labels)
        np.testing.assert_allclose(numbers(metric), numbers(exact), rtol=2e-4, atol=2e-4, err_msg=str(dtype))
    for kind in KINDS:
        metric = LOGITS[name]()
        metric.update(edge(kind, torch.float32, 60, 4), labels)
        assert name == "ReliabilityBins" or not np.isnan(numbers(metric)).any(), kind  # an empty bin has no mean
    parts, order = LOGITS[name](), torch.randperm(60)
    for part in (order[:7], order[7:7], order[7:]):  # an empty batch among them
        parts.update(logits[part], labels[part])
    whole = LOGITS[name]()
    whole.update(logits, labels)
    np.testing.assert_allclose(numbers(parts), numbers(whole), rtol=1e-9, atol=1e-9)
