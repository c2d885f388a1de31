"""The pairwise score losses against explicit loops over pairs."""

import math
from functools import partial

import pytest
import torch

from zoo.ranking import fidelity, hinge, logistic, mann_whitney, squared_hinge

EXTRAS = ["", "mask", "group", "weight", "group+mask+weight"]
SHAPES = [(6,), (4, 5), (2, 3, 7)]


def ordered(cost, pairs, s, t, w):
    """Weighted mean or sum of `cost(s_i - s_j)` over the pairs with t_i > t_j."""
    total = weights = 0.0
    for i in range(len(s)):
        for j in range(len(s)):
            if t[i] > t[j]:
                total += w[i] * w[j] * cost(s[i] - s[j])
                weights += w[i] * w[j]
    return total if pairs == "sum" else total / weights


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def cdf(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def overlap(p, g):
    return 1 - math.sqrt(p * g + 1e-8) - math.sqrt((1 - p) * (1 - g) + 1e-8)


def thurstone(scale, pairs, s, t, w):
    """Fidelity over all pairs i < j, ties included."""
    total = weights = 0.0
    for i in range(len(s)):
        for j in range(i + 1, len(s)):
            total += w[i] * w[j] * overlap(cdf((s[i] - s[j]) / scale), cdf((t[i] - t[j]) / scale))
            weights += w[i] * w[j]
    return total if pairs == "sum" else total / weights


LOSSES = {
    "hinge": (hinge, lambda d: max(0.0, 1 - d)),
    "hinge margin 0.3": (partial(hinge, margin=0.3), lambda d: max(0.0, 0.3 - d)),
    "squared_hinge": (partial(squared_hinge, margin=1.5), lambda d: max(0.0, 1.5 - d) ** 2),
    "logistic": (partial(logistic, temperature=0.4), lambda d: softplus(-d / 0.4)),
    "auc logistic": (partial(mann_whitney, temperature=2.0), lambda d: softplus(-d / 2)),
    "auc hinge": (partial(mann_whitney, surrogate="hinge", temperature=0.5), lambda d: max(0.0, 1 - 2 * d)),
    "auc squared_hinge": (partial(mann_whitney, surrogate="squared_hinge"), lambda d: max(0.0, 1 - d) ** 2),
    "auc sigmoid": (
        partial(mann_whitney, surrogate="sigmoid", temperature=0.5),
        lambda d: 1 / (1 + math.exp(2 * d)),
    ),
    "fidelity binary": (
        partial(fidelity, target_probability="binary", scale=0.7),
        lambda d: overlap(cdf(d / 0.7), 1.0),
    ),
}


@pytest.mark.parametrize("extras", EXTRAS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_equals_loop_over_pairs(name, shape, extras, score_case, by_loops):
    loss, cost = LOSSES[name]
    case = score_case(len(shape), shape, extras)
    for pairs in ("mean", "sum"):
        for reduction in ("none", "sum", "mean"):
            got = loss(case.scores, case.target, **case.options, pairs=pairs, reduction=reduction)
            value = partial(ordered, cost, pairs)
            wanted = by_loops(value, case.scores, case.target, **case.options, reduction=reduction)
            torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("tied_lists", ["skip", "keep"])
@pytest.mark.parametrize("extras", EXTRAS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_thurstone_fidelity_equals_loop_over_all_pairs(shape, extras, tied_lists, score_case, by_loops):
    case = score_case(3, shape, extras, grades=2)
    for pairs in ("mean", "sum"):
        for reduction in ("none", "sum", "mean"):
            options = {**case.options, "reduction": reduction, "tied_lists": tied_lists}
            got = fidelity(case.scores, case.target, scale=0.7, pairs=pairs, **options)
            wanted = by_loops(partial(thurstone, 0.7, pairs), case.scores, case.target, **options)
            torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


def test_sigmoid_surrogate_tends_to_one_minus_auc(score_case):
    case = score_case(5, (40,), grades=2)
    above, below = case.scores[case.target == 1], case.scores[case.target == 0]
    auc = (above.unsqueeze(1) > below).double().mean()
    got = mann_whitney(case.scores, case.target, surrogate="sigmoid", temperature=1e-9)
    torch.testing.assert_close(got, 1 - auc)


def test_pair_weights_may_be_tiny_or_huge():
    scores, target = torch.tensor([0.3, 0.1, -0.4]), torch.tensor([0, 1, 2])
    plain = hinge(scores, target)
    for size in (1e-30, 1e30):
        torch.testing.assert_close(hinge(scores, target, weight=torch.full((3,), size)), plain)


def test_saturated_fidelity_has_a_finite_gradient():
    for name in ("thurstone", "binary"):
        scores = torch.tensor([-50.0, 50.0], requires_grad=True)
        value = fidelity(scores, torch.tensor([1.0, 0.0]), target_probability=name)
        value.backward()
        assert value > 0.5
        assert scores.grad.isfinite().all()


def test_binary_fidelity_cannot_keep_tied_lists():
    with pytest.raises(ValueError, match=r"tied_lists: 'keep' given, expected 'skip'"):
        fidelity(torch.zeros(2), torch.zeros(2), target_probability="binary", tied_lists="keep")
