"""NDCG against scikit-learn, hand-worked cases, all orders of ties, and an explicit copy of LETOR's rules."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score

from zoo.metrics import NDCG
from zoo.metrics.ndcg import ndcg_values


def value(scores, target, **options) -> float:
    metric = NDCG(**options)
    metric.update(torch.tensor([scores], dtype=torch.float32), torch.tensor([target]))
    return float(metric.compute())


def test_hand_worked():
    # order by score: 3, 2, 0, 1; gains 7, 3, 0, 1
    dcg = 7 + 3 / math.log2(3) + 0 + 1 / math.log2(5)
    ideal = 7 + 3 / math.log2(3) + 1 / math.log2(4)
    assert value([0.9, 0.1, 0.3, 0.5], [3, 1, 0, 2]) == pytest.approx(dcg / ideal, abs=1e-12)
    assert value([0.9, 0.1, 0.3, 0.5], [3, 1, 0, 2], k=2) == pytest.approx(1, abs=1e-12)
    linear = (3 + 2 / math.log2(3) + 1 / math.log2(5)) / (3 + 2 / math.log2(3) + 1 / 2)
    assert value([0.9, 0.1, 0.3, 0.5], [3, 1, 0, 2], gain="linear") == pytest.approx(linear, abs=1e-12)


def test_letor_discount_does_not_tell_the_first_two_ranks_apart():
    assert value([2.0, 1.0], [0, 1], discount="letor") == 1
    assert value([2.0, 1.0], [0, 1]) == pytest.approx(1 / math.log2(3))
    third = value([3.0, 2.0, 1.0], [0, 0, 1], discount="letor")
    assert third == pytest.approx(1 / math.log2(3))


@pytest.mark.parametrize("k", [1, 3, 10, None])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("ties", ["average", "order"])
def test_equals_scikit_learn_with_linear_gain(k, tied, ties):
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, (40, 12))
    target[:, 0] = 2
    # distinct scores wherever scikit-learn is told to ignore ties: it leaves their order open
    scores = rng.integers(0, 4, (40, 12)).astype(float) if tied and ties == "average" else rng.random((40, 12))
    metric = NDCG(k=k, gain="linear", ties=ties)
    metric.update(torch.from_numpy(scores), torch.from_numpy(target))
    assert float(metric.compute()) == pytest.approx(ndcg_score(target, scores, k=k), abs=1e-12)


def test_average_is_the_mean_over_all_orders_of_ties():
    scores, target = [0.5, 0.9, 0.5, 0.5, 0.1], [2, 0, 1, 0, 1]
    tied = [0, 2, 3]
    values = []
    for order in itertools.permutations(tied):
        broken = list(scores)
        for place, item in enumerate(order):
            broken[item] += 0.01 * (3 - place)
        values.append(value(broken, target, k=3))
    assert value(scores, target, k=3) == pytest.approx(sum(values) / len(values), abs=1e-12)


def test_order_takes_ties_as_they_are_given():
    assert value([1.0, 1.0], [1, 0], ties="order") == 1
    assert value([1.0, 1.0], [0, 1], ties="order") == pytest.approx(1 / math.log2(3))


def letor_script(queries: list[tuple[list[float], list[int]]], k: int) -> float:
    """NDCG@k as LETOR 4.0's evaluation script defines it, rank by rank."""
    total = 0.0
    for scores, target in queries:
        order = sorted(range(len(scores)), key=lambda i: -scores[i])
        ideal = sorted(target, reverse=True)
        sums = []
        for ranked in ([target[i] for i in order], ideal):
            dcg = 0.0
            for position, label in enumerate(ranked[:k]):
                gain = {0: 0, 1: 1, 2: 3}[label]
                dcg += gain if position < 2 else gain * math.log(2) / math.log(position + 1)
            sums.append(dcg)
        if len(target) >= k and sums[1]:
            total += sums[0] / sums[1]
    return total / len(queries)


def test_letor_conventions_over_padded_queries():
    rng = np.random.default_rng(1)
    queries = []
    for size in [3, 10, 25, 9, 12, 10]:
        queries.append((list(map(float, rng.integers(0, 6, size))), list(map(int, rng.integers(0, 3, size)))))
    queries.append(([0.1] * 11, [0] * 11))  # nothing relevant
    metric = NDCG(k=10, discount="letor", ties="order", full=True)
    scores, target = torch.full((len(queries), 25), 99.0), torch.full((len(queries), 25), 2)
    mask = torch.zeros(len(queries), 25, dtype=torch.bool)
    for row, (given, labels) in enumerate(queries):
        scores[row, : len(given)] = torch.tensor(given)
        target[row, : len(given)] = torch.tensor(labels)
        mask[row, : len(given)] = True
    metric.update(scores, target, mask)
    assert float(metric.compute()) == pytest.approx(letor_script(queries, 10), abs=1e-12)


def test_padding_changes_nothing_whatever_it_holds():
    scores, target = torch.rand(4, 7), torch.randint(0, 3, (4, 7))
    plain, padded = NDCG(k=5), NDCG(k=5)
    plain.update(scores, target)
    mask = torch.zeros(4, 12, dtype=torch.bool)
    mask[:, :7] = True
    padded.update(
        torch.cat([scores, torch.full((4, 5), torch.nan)], 1), torch.cat([target, torch.full((4, 5), -7)], 1), mask
    )
    assert padded.compute() == plain.compute()


@pytest.mark.parametrize(("empty", "wanted"), [("zero", 0.5), ("one", 1.0), ("skip", 1.0)])
def test_lists_without_a_relevant_item(empty, wanted):
    metric = NDCG(empty=empty)
    metric.update(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([[1, 0], [0, 0]]))
    assert float(metric.compute()) == wanted


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric NDCG was called before")
def test_nothing_to_average_is_nan():
    assert math.isnan(float(NDCG().compute()))
    metric = NDCG(empty="skip")
    metric.update(torch.tensor([[2.0, 1.0]]), torch.tensor([[0, 0]]))
    assert math.isnan(float(metric.compute()))


def test_batch_size_changes_no_digit():
    scores, target = torch.rand(101, 9), torch.randint(0, 3, (101, 9))
    whole, parts = NDCG(), NDCG()
    whole.update(scores, target)
    for share in (slice(1, None, 2), slice(0, None, 2)):  # as two processes share them out
        for first in range(0, len(scores[share]), 7):
            parts.update(scores[share][first : first + 7], target[share][first : first + 7])
    assert whole.compute() == parts.compute()


def test_states_of_uneven_processes_merge_exactly():
    scores, target = torch.rand(11, 9), torch.randint(0, 3, (11, 9))
    whole, left, right = NDCG(), NDCG(), NDCG()
    whole.update(scores, target)
    left.update(scores[:8], target[:8])
    right.update(scores[8:], target[8:])
    left.merge_state(right)
    assert left.compute() == whole.compute()


def test_values_say_which_lists_have_an_ideal():
    values, usable = ndcg_values(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0, 1], [0, 0]]))
    assert usable.tolist() == [True, False]
    assert values.tolist() == pytest.approx([1 / math.log2(3), 0])


GOOD = torch.rand(2, 3), torch.ones(2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.rand(3), torch.ones(3)), "scores: shape (3,) given, expected (B, N)"),
        ((torch.rand(2, 3), torch.ones(2, 4)), "target: shape (2, 4) given, expected (2, 3), as the scores"),
        ((*GOOD, torch.ones(2, 2, dtype=torch.bool)), "mask: shape (2, 2) given, expected (2, 3), as the scores"),
        ((*GOOD, torch.ones(2, 3)), "mask: dtype torch.float32 given, expected bool, True = real"),
        ((torch.full((1, 2), torch.nan), torch.ones(1, 2)), "scores: a real item has a score that is not finite"),
        ((torch.rand(1, 2), -torch.ones(1, 2)), "target: a real item has a relevance that is negative or not finite"),
    ],
)
def test_bad_tensors(arguments, message):
    with pytest.raises((TypeError, ValueError)) as error:
        NDCG().update(*arguments)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k: 0 given, expected None or a whole number of at least 1"),
        ({"gain": "exp"}, "gain: 'exp' given, expected one of 'exp2', 'linear'"),
        ({"discount": "ln"}, "discount: 'ln' given, expected one of 'log2', 'letor'"),
        ({"ties": "best"}, "ties: 'best' given, expected one of 'average', 'order'"),
        ({"empty": "two"}, "empty: 'two' given, expected one of 'zero', 'one', 'skip'"),
        ({"full": True, "k": None}, "full: a list is full at k items, but k is None"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=r"given|full") as error:
        NDCG(**options)
    assert str(error.value) == message
