"""The similarity losses against explicit loops, and what their published definitions promise."""

import math
from functools import partial

import pytest
import torch

from zoo import ranking


def relu(x):
    return max(x, 0.0)


def mean(values):
    return sum(values) / len(values)


def logsumexp(values):
    top = max(values)
    return top + math.log(sum(math.exp(x - top) for x in values))


def triplet_value(mining, margin, p, n):
    if mining == "hardest":
        return relu(margin - min(p) + max(n))
    if mining == "all":
        return mean([relu(margin - x + y) for x in p for y in n])
    return mean([relu(margin - x + max([y for y in n if y < x], default=min(n))) for x in p])


def alignment_value(margin, temperature, p, n):
    masses = [math.exp((x - max(p)) / temperature) for x in p]
    pulled = sum(m / sum(masses) * x for m, x in zip(masses, p, strict=True))
    return relu(margin - pulled + temperature * logsumexp([y / temperature for y in n]))


def set_wise_value(margin, p, n):
    return mean([mean([relu(margin - x + y) for y in n]) + relu(margin - x + max(n)) for x in p])


def info_nce_value(temperature, p, n):
    return mean([logsumexp([y / temperature for y in p + n]) - x / temperature for x in p])


def sdm_value(temperature, p, n):
    whole, value = logsumexp([y / temperature for y in p + n]), 0.0
    for place, x in enumerate(p + n):
        log = x / temperature - whole
        value += math.exp(log) * (log - math.log((1 / len(p) if place < len(p) else 0) + 1e-8))
    return value


def multi_similarity_value(alpha, beta, base, margin, p, n):
    kept_p = [x for x in p if x - margin < max(n)]
    kept_n = [y for y in n if y + margin > min(p)]
    pull = math.log(1 + sum(math.exp(-alpha * (x - base)) for x in kept_p)) / alpha
    return pull + math.log(1 + sum(math.exp(beta * (y - base)) for y in kept_n)) / beta


def smooth_ap_value(temperature, p, n):
    def h(x):
        return 1 / (1 + math.exp(-x / temperature))

    values = []
    for i, x in enumerate(p):
        among = 1 + sum(h(y - x) for j, y in enumerate(p) if j != i)
        values.append(among / (among + sum(h(y - x) for y in n)))
    return 1 - mean(values)


LOSSES = {
    "triplet": (ranking.triplet, partial(triplet_value, "hardest", 0.2)),
    "triplet all": (partial(ranking.triplet, mining="all", margin=0.5), partial(triplet_value, "all", 0.5)),
    "triplet semihard": (partial(ranking.triplet, mining="semihard"), partial(triplet_value, "semihard", 0.2)),
    "triplet_alignment": (ranking.triplet_alignment, partial(alignment_value, 0.1, 0.015)),
    "triplet_alignment warm": (
        partial(ranking.triplet_alignment, margin=0.4, temperature=0.3),
        partial(alignment_value, 0.4, 0.3),
    ),
    "set_wise": (ranking.set_wise, partial(set_wise_value, 2.0)),
    "set_wise narrow": (partial(ranking.set_wise, margin=0.3), partial(set_wise_value, 0.3)),
    "info_nce": (ranking.info_nce, partial(info_nce_value, 0.02)),
    "info_nce warm": (partial(ranking.info_nce, temperature=0.5), partial(info_nce_value, 0.5)),
    "sdm": (ranking.sdm, partial(sdm_value, 0.02)),
    "sdm warm": (partial(ranking.sdm, temperature=0.5), partial(sdm_value, 0.5)),
    "multi_similarity": (ranking.multi_similarity, partial(multi_similarity_value, 2, 50, 1.0, 0.1)),
    "multi_similarity wide": (
        partial(ranking.multi_similarity, alpha=3.0, beta=10.0, base=0.2, margin=math.inf),
        partial(multi_similarity_value, 3, 10, 0.2, math.inf),
    ),
    "smooth_ap": (partial(ranking.smooth_ap, temperature=0.1), partial(smooth_ap_value, 0.1)),
}


def by_loops(value, similarity, positive, mask=None, weight=None, reduction="mean"):
    """Evaluate `value(similarities of the positives, of the negatives)` row by row, in Python floats."""
    mask = torch.ones_like(positive) if mask is None else mask
    weight = torch.ones(len(similarity)) if weight is None else weight
    values, weights = [], []
    for s, p, m, w in zip(*(x.tolist() for x in (similarity, positive, mask, weight)), strict=True):
        above = [x for x, yes, real in zip(s, p, m, strict=True) if yes and real]
        below = [x for x, yes, real in zip(s, p, m, strict=True) if not yes and real]
        weights.append(w if above and below else 0.0)
        values.append(w * value(above, below) if above and below else 0.0)
    if reduction == "none":
        return torch.tensor(values, dtype=torch.float64)
    total = sum(values)
    total = total if reduction == "sum" or not any(weights) else total / sum(weights)
    return torch.tensor(total, dtype=torch.float64)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("extras", ["", "mask", "weight", "mask+weight"])
@pytest.mark.parametrize("size", [(6, 6), (5, 9), (9, 3)], ids=str)
def test_equals_loops(name, size, extras, similarity_case):
    loss, value = LOSSES[name]
    case = similarity_case(1, *size, extras)
    for reduction in ("none", "sum", "mean"):
        got = loss(case.similarity, case.positive, **case.options, reduction=reduction)
        wanted = by_loops(value, case.similarity, case.positive, **case.options, reduction=reduction)
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.015, 0.3])
def test_gradient_of_the_alignment_takes_alpha_as_fixed(temperature, similarity_case):
    case = similarity_case(6, 6, 7, "mask")
    mask, similarity = case.options["mask"], case.similarity.requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for q in range(6):
        p, n = case.positive[q] & mask[q], ~case.positive[q] & mask[q]
        if p.any() and n.any():
            alpha = (similarity[q][p].detach() / temperature).softmax(0)
            bound = temperature * (similarity[q][n] / temperature).logsumexp(0)
            total = total + (0.5 - (alpha * similarity[q][p]).sum() + bound).relu()
    (wanted,) = torch.autograd.grad(total, similarity)
    options = {"margin": 0.5, "temperature": temperature, "reduction": "sum"}
    value = ranking.triplet_alignment(similarity, case.positive, mask=mask, **options)
    (got,) = torch.autograd.grad(value, similarity)
    torch.testing.assert_close(value, total)
    torch.testing.assert_close(got, wanted)


def test_mining_orders_the_triplet_losses(similarity_case):
    case = similarity_case(11, 8, 9)
    hardest, all_pairs, semihard = (
        ranking.triplet(case.similarity, case.positive, mining=mining, reduction="none")
        for mining in ("hardest", "all", "semihard")
    )
    assert (hardest >= all_pairs).all()
    assert (hardest >= semihard).all()


def test_a_semihard_negative_is_strictly_less_similar():
    similarity, positive = torch.tensor([[0.5, 0.5, 0.4], [0.5, 0.6, 0.7]]), torch.tensor([[True, False, False]] * 2)
    got = ranking.triplet(similarity, positive, mining="semihard", margin=0.2, reduction="none")
    torch.testing.assert_close(got, torch.tensor([0.1, 0.3]))


def test_alignment_bounds_the_hardest_triplet_and_tends_to_it(similarity_case):
    case = similarity_case(12, 8, 9)
    single = torch.eye(8, 9, dtype=torch.bool)
    hardest = ranking.triplet(case.similarity, single, margin=0.1, reduction="none")
    bound = ranking.triplet_alignment(case.similarity, single, reduction="none")
    assert (bound >= hardest).all()
    cold = ranking.triplet_alignment(case.similarity, single, temperature=1e-6, reduction="none")
    torch.testing.assert_close(cold, hardest, rtol=1e-4, atol=1e-4)


def average_precision(similarity, positive):
    order = sorted(range(len(similarity)), key=lambda i: -similarity[i])
    hits, values = 0, []
    for place, i in enumerate(order, start=1):
        if positive[i]:
            hits += 1
            values.append(hits / place)
    return mean(values)


def test_smooth_ap_tends_to_one_minus_average_precision(similarity_case):
    case = similarity_case(13, 6, 9)
    got = ranking.smooth_ap(case.similarity, case.positive, temperature=1e-9, reduction="none")
    for q in range(6):
        wanted = 1 - average_precision(case.similarity[q].tolist(), case.positive[q].tolist())
        assert got[q].item() == pytest.approx(wanted)


def test_smooth_ap_with_graded_relevance(similarity_case):
    case = similarity_case(14, 6, 7, "mask+weight")
    levels = torch.randint(0, 4, (6, 7), generator=torch.Generator().manual_seed(1)).double() / 2
    got = ranking.smooth_ap(case.similarity, levels, temperature=0.1, **case.options, reduction="none")
    for q in range(6):
        s, r, m = case.similarity[q].tolist(), levels[q].tolist(), case.options["mask"][q].tolist()
        real = [j for j in range(7) if m[j]]
        value = 0.0
        if any(r[j] > 0 for j in real) and any(r[j] == 0 for j in real):
            for i in real:
                step = {j: 1 / (1 + math.exp(-(s[j] - s[i]) / 0.1)) for j in real if j != i}
                shared = r[i] + sum(min(r[i], r[j]) * h for j, h in step.items())
                value += shared / (1 + sum(step.values()))
            value = 1 - value / sum(r[j] for j in real)
        assert got[q].item() == pytest.approx(case.options["weight"][q].item() * value, abs=1e-12)
    same = ranking.smooth_ap(case.similarity, case.positive.float())
    torch.testing.assert_close(same, ranking.smooth_ap(case.similarity, case.positive))
