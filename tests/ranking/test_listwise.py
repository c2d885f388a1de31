"""The listwise score losses against explicit loops, and what the published definitions promise."""

import itertools
import math
from functools import partial

import pytest
import torch

from zoo.ranking import approx_ndcg, confidence_ndcg, lambda_ndcg, listmle, listnet

EXTRAS = ["", "mask", "group", "weight", "group+mask+weight"]
SHAPES = [(6,), (4, 5), (2, 3, 7)]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def by_descending(key):
    """Indices in descending order of `key`, ties in the given order."""
    return sorted(range(len(key)), key=lambda i: -key[i])


def listnet_value(s, t, w):
    wanted = [w[i] * math.exp(t[i]) for i in range(len(s))]
    given = [w[i] * math.exp(s[i]) for i in range(len(s))]
    return -sum(p / sum(wanted) * math.log(q / sum(given)) for p, q in zip(wanted, given, strict=True))


def listmle_value(ties, s, t, w):
    order = by_descending(t)
    mass = [w[i] * math.exp(s[i]) for i in range(len(s))]
    if ties == "order":
        blocks = [[i] for i in order]
    else:
        blocks = [list(items) for _, items in itertools.groupby(order, key=lambda i: t[i])]
    value = 0.0
    for number, block in enumerate(blocks):
        rest = sum(mass[i] for later in blocks[number + 1 :] for i in later)
        own, size = sum(mass[i] for i in block), len(block)
        weight = sum(w[i] for i in block) / size
        value += weight * sum(math.log(rest + own * (1 - r / size)) for r in range(size))
        value -= sum(w[i] * math.log(mass[i]) for i in block)
    return value


def gain_of(name, t):
    lowest = min(0, *t)
    return [2 ** (x - lowest) - 1 if name == "exp2" else x - lowest for x in t]


def dcg(gains, k=None):
    return sum(g / math.log2(place + 2) for place, g in enumerate(gains[:k]))


def lambda_value(k, gain, temperature, s, t, w):
    g = gain_of(gain, t)
    discount = [0.0] * len(s)
    for place, i in enumerate(by_descending(s)):
        discount[i] = 0.0 if k is not None and place >= k else 1 / math.log2(place + 2)
    ideal, total = dcg(sorted(g, reverse=True), k), 0.0
    for i in range(len(s)):
        for j in range(len(s)):
            if t[i] > t[j]:
                change = abs(g[i] - g[j]) * abs(discount[i] - discount[j]) / ideal
                total += w[i] * w[j] * change * softplus(-(s[i] - s[j]) / temperature)
    return total


def approx_value(gain, temperature, s, t, w):
    g = [x * y for x, y in zip(gain_of(gain, t), w, strict=True)]
    reached = 0.0
    for i in range(len(s)):
        rank = 1 + sum(sigmoid((s[j] - s[i]) / temperature) for j in range(len(s)) if j != i)
        reached += g[i] / math.log2(1 + rank)
    return 1 - reached / dcg(sorted(g, reverse=True))


def confidence_value(s, t, w):
    order = by_descending(t)
    reached, ideal = dcg([s[i] * w[i] for i in order]), dcg([t[i] * w[i] for i in order])
    return 1 - (reached / ideal if ideal > reached else ideal / reached)


LOSSES = {
    "listnet": (listnet, listnet_value),
    "listmle": (listmle, partial(listmle_value, "efron")),
    "listmle order": (partial(listmle, ties="order"), partial(listmle_value, "order")),
    "lambda_ndcg": (lambda_ndcg, partial(lambda_value, None, "exp2", 1.0)),
    "lambda_ndcg k 2": (
        partial(lambda_ndcg, k=2, gain="linear", temperature=0.5),
        partial(lambda_value, 2, "linear", 0.5),
    ),
    "approx_ndcg": (approx_ndcg, partial(approx_value, "exp2", 0.1)),
    "approx_ndcg linear": (
        partial(approx_ndcg, gain="linear", temperature=0.7),
        partial(approx_value, "linear", 0.7),
    ),
    "confidence_ndcg": (confidence_ndcg, confidence_value),
}


@pytest.mark.parametrize("extras", EXTRAS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_equals_loops(name, shape, extras, score_case, by_loops):
    loss, value = LOSSES[name]
    case = score_case(len(shape), shape, extras)
    for reduction in ("none", "sum", "mean"):
        got = loss(case.scores, case.target, **case.options, reduction=reduction)
        wanted = by_loops(value, case.scores, case.target, **case.options, reduction=reduction)
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["lambda_ndcg", "lambda_ndcg k 2", "approx_ndcg", "approx_ndcg linear"])
def test_negative_targets_are_shifted_up(name, score_case, by_loops):
    loss, value = LOSSES[name]
    case = score_case(1, (4, 6))
    target = case.target.double() * 0.7 - 1.3
    got = loss(case.scores, target, reduction="none")
    torch.testing.assert_close(got, by_loops(value, case.scores, target, reduction="none"))


def test_listmle_is_the_probability_of_drawing_the_order():
    scores = [0.3, -1.2, 0.8, 0.1]
    masses = [math.exp(s) for s in scores]
    likelihood = 1.0
    for place in range(4):
        likelihood *= masses[place] / sum(masses[place:])
    got = listmle(torch.tensor(scores, dtype=torch.float64), torch.tensor([9, 5, 2, 1]))
    torch.testing.assert_close(got.item(), -math.log(likelihood))


def test_efron_lies_near_the_mean_over_orders_and_is_exact_for_equal_scores():
    target = torch.tensor([2, 2, 2, 1])
    for scores, tolerance in (([0.4, 0.4, 0.4, -0.2], 1e-12), ([0.4, 0.5, 0.3, -0.2], 2e-3)):
        values = []
        for tied in itertools.permutations(scores[:3]):
            row = torch.tensor([*tied, scores[3]], dtype=torch.float64)
            values.append(listmle(row, target, ties="order").item())
        got = listmle(torch.tensor(scores, dtype=torch.float64), target).item()
        assert abs(got - sum(values) / len(values)) < tolerance


@pytest.mark.parametrize("scale", [1.0, 60.0, 1e4])
def test_listmle_gradient_is_accurate_at_any_score_scale(scale):
    generator = torch.Generator().manual_seed(0)
    scores = scale * torch.randn(2, 40, generator=generator)
    target = torch.randint(0, 5, (2, 40), generator=generator)
    exact = scores.double().requires_grad_()
    order = target.argsort(dim=-1, descending=True, stable=True)
    ranked = exact.gather(-1, order)
    expected = sum((ranked[:, place:].logsumexp(-1) - ranked[:, place]).sum() for place in range(40))
    expected.backward()
    scores.requires_grad_()
    got = listmle(scores, target, ties="order", reduction="sum")
    got.backward()
    torch.testing.assert_close(got.double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(scores.grad.double(), exact.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("engine", ["dense", "sorted"])
@pytest.mark.parametrize("level", [1e30, -1e30, 1e-40])
def test_listmle_of_equal_scores_does_not_see_their_level(engine, level):
    """The logarithm of a sum of masses at 1e30 has no digit for how many there are."""
    scores = torch.full((1, 5), level, requires_grad=True)
    value = listmle(scores, torch.arange(5).expand(1, 5), engine=engine)
    (gradient,) = torch.autograd.grad(value, scores)
    assert value.item() == pytest.approx(math.log(math.factorial(5)))
    expected = [sum(1 / (5 - k) for k in range(5 - i)) - 1 for i in range(5)]
    torch.testing.assert_close(gradient, torch.tensor([expected]))
    apart = torch.tensor([1e30, -1e30, -1e30], requires_grad=True)
    assert listmle(apart, torch.tensor([3, 2, 1]), engine=engine).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("gain", ["exp2", "linear"])
@pytest.mark.parametrize("loss", [lambda_ndcg, approx_ndcg])
def test_an_ndcg_does_not_see_how_small_all_targets_are(loss, gain):
    """An ideal below the smallest number left inf times 0 in the gradient."""
    target = torch.tensor([0.0, 1, 2, 3, 1], dtype=torch.float64)
    found = []
    for scale in (1e-9, 1e-39, 1e-310):
        scores = torch.tensor([0.1, 0.2, 0.3, -0.4, 0.5], requires_grad=True)
        value = loss(scores, scale * target, gain=gain)
        found.append(torch.cat([value.unsqueeze(0), torch.autograd.grad(value, scores)[0]]))
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


def test_equal_scores_are_ranked_in_their_given_order():
    target = torch.tensor([1, 0, 3])
    nearly = torch.tensor([1e-9, 0.0, -1e-9], dtype=torch.float64)
    torch.testing.assert_close(lambda_ndcg(torch.zeros(3, dtype=torch.float64), target), lambda_ndcg(nearly, target))


@pytest.mark.parametrize("name", ["lambda_ndcg k 2", "confidence_ndcg", "listmle order"])
def test_ties_stand_in_their_given_order_in_long_lists_too(name, by_loops):
    loss, value = LOSSES[name]
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(1, 400, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 3, (1, 400), generator=generator)
    if name == "lambda_ndcg k 2":
        scores = scores.round(decimals=1)
    torch.testing.assert_close(loss(scores, target), by_loops(value, scores, target), rtol=1e-10, atol=0)


def test_lambda_ndcg_ignores_pairs_below_the_cut():
    scores = torch.tensor([3.0, 2.0, 1.0, 0.0], requires_grad=True)
    lambda_ndcg(scores, torch.tensor([1, 1, 1, 0]), k=1).backward()
    assert scores.grad[0] < 0
    assert scores.grad[1] == 0
    assert scores.grad[2] == 0


def test_approx_ndcg_tends_to_one_minus_ndcg(score_case):
    case = score_case(4, (9,))
    gains = [2.0 ** case.target[i].item() - 1 for i in by_descending(case.scores.tolist())]
    ndcg = dcg(gains) / dcg(sorted(gains, reverse=True))
    assert approx_ndcg(case.scores, case.target, temperature=1e-9).item() == pytest.approx(1 - ndcg)


def test_exp2_gain_does_not_overflow():
    scores, target = torch.tensor([0.1, 0.2, 0.3], requires_grad=True), torch.tensor([5000.0, 4999.0, 0.0])
    for loss in (lambda_ndcg, approx_ndcg):
        value = loss(scores, target)
        value.backward()
        assert value.isfinite()
    assert scores.grad.isfinite().all()
    near = torch.tensor([11.0, 10.0, 0.0])
    torch.testing.assert_close(approx_ndcg(scores, target), approx_ndcg(scores, near), rtol=1e-3, atol=0)


def test_confidence_ndcg_is_folded_and_looks_at_levels():
    target = torch.tensor([1.0, 0.6])
    assert confidence_ndcg(target, target) == 0
    too_low, too_high = confidence_ndcg(target / 2, target), confidence_ndcg(target * 2, target)
    torch.testing.assert_close(too_low, torch.tensor(0.5))
    torch.testing.assert_close(too_high, torch.tensor(0.5))


def test_confidence_ndcg_keeps_tied_lists_on_request():
    scores, target = torch.tensor([[0.5, 0.5], [0.5, 0.4]]), torch.tensor([[1.0, 1.0], [1.0, 0.8]])
    torch.testing.assert_close(confidence_ndcg(scores, target, reduction="none"), torch.tensor([0.0, 0.5]))
    torch.testing.assert_close(confidence_ndcg(scores, target), torch.tensor(0.5))
    kept = confidence_ndcg(scores, target, tied_lists="keep", reduction="none")
    torch.testing.assert_close(kept, torch.tensor([0.5, 0.5]))
