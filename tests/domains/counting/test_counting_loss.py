"""The objective: the sheet's numbers, explicit loops, every switch and factor."""

import math
from itertools import pairwise, product

import pytest
import torch

from zoo.domains.counting.loss import (
    LABELLED,
    UNLABELLED,
    VARIANTS,
    Weights,
    aligned_consistency,
    count_errors,
    count_ranking,
    default_ranking,
    divergence,
    labelled_terms,
    official_consistency,
    switches,
    uncertain_distance,
    uncertainty,
    unlabelled_terms,
    variations,
)
from zoo.domains.counting.regions import Region, nested_regions, region_counts, resized, sides
from zoo.domains.counting.transport import Transport, transport_terms
from zoo.errors import InputError
from zoo.ranking import ListMLE, Logistic


def ar(shape, a, b):
    return (0.5 + 0.5 * torch.sin(a * torch.arange(math.prod(shape), dtype=torch.float32) + b)).reshape(shape)


DENSITY = ar((2, 1, 4, 4), 0.9, 0.3)
CELLS = torch.zeros(2, 1, 4, 4)
CELLS[0, 0, [1, 2, 3], [0, 3, 1]] = 1
COUNT = torch.tensor([3.0, 0.0])
TOKENS = torch.tensor([[2.0, 4.0, 3.5], [1.0, 0.5, 0.0]])
POINTS = [torch.tensor([[3, 5], [12, 9], [7.5, 14]]), torch.zeros(0, 2)]
BATCH = {"points": POINTS, "count": COUNT, "cells": CELLS}
ALONE = Weights(0, 0, 0, 0, 0, 0, 0)


def only(**weights):
    """All terms off but some."""
    return Weights(**{**ALONE.__dict__, **weights})


# -- the sheet's numbers


def test_count_variation_and_tokens():
    assert float(count_errors(DENSITY, COUNT).mean()) == pytest.approx(7.0514903, rel=1e-6)
    assert float(0.01 * variations(DENSITY, CELLS).mean()) == pytest.approx(0.0281307967, rel=1e-5)
    official = VARIANTS["official"]
    maps = (DENSITY, DENSITY, DENSITY)
    terms = labelled_terms(maps, TOKENS, BATCH, 4, Weights(transport=0), official)
    assert {name: float(value) for name, value in terms.items()} == {
        "count": pytest.approx(7.0514903, rel=1e-6),
        "variation": pytest.approx(0.0281307967, rel=1e-5),
        "token": pytest.approx(0.6666667, rel=1e-6),
    }
    terms = unlabelled_terms(maps, TOKENS, only(token_consistency=1), official, default_ranking())
    assert float(terms["token_consistency"]) == pytest.approx(0.5555555, rel=1e-6)


def test_count_ranking():
    sums = [[3, 5, 4, 1, 6], [10, 8, 6, 4, 2], [1, 2, 3, 4, 5]]
    counts = [torch.tensor([row, row], dtype=torch.float32) for row in sums]
    assert float(count_ranking(counts[:1], default_ranking(), across=False)) == pytest.approx(1.4)
    assert float(count_ranking(counts, default_ranking(), across=False)) == pytest.approx(1.1333333)


def test_official_consistency():
    maps = [ar((2, 1, 4, 4), 0.9, b) for b in (0.3, 0.7, 1.1)]
    assert float(official_consistency([[y] for y in maps])) == pytest.approx(-0.5890099, rel=1e-5)
    mean = torch.stack(maps).mean(0)
    found = [uncertainty(y, mean) for y in maps]
    assert [float(v) for v in found] == pytest.approx([-0.6009929, -0.6089123, -0.5959437], rel=1e-5)
    terms = [float(uncertain_distance(y, mean, v)) for y, v in zip(maps, found, strict=True)]
    assert terms == pytest.approx([-0.5817108, -0.6085697, -0.5767493], rel=1e-5)


# -- labelled images


def test_the_factor_of_the_count_is_eps_as_released():
    maps = (DENSITY,) * 3
    base = labelled_terms(maps, TOKENS, BATCH, 4, only(count=1), switches("official"))["count"]
    twice = labelled_terms(maps, TOKENS, BATCH, 4, only(count=1), switches("official", eps=2.0))["count"]
    torch.testing.assert_close(twice, 2 * base)
    paper = [
        labelled_terms(maps, TOKENS, BATCH, 4, only(count=1), switches("paper", eps=eps))["count"] for eps in (1.0, 5.0)
    ]
    assert torch.equal(*paper)


def test_transport_is_summed_or_averaged_over_the_batch():
    points = [POINTS[0], POINTS[0] / 2]
    gradients = []
    for how in ("sum", "mean"):
        density = DENSITY.clone().requires_grad_()
        choice = switches("official", transport_batch=how)
        terms = labelled_terms((density,), TOKENS, {**BATCH, "points": points}, 4, only(transport=0.1), choice)
        terms["transport"].backward()
        gradients.append(density.grad)
    torch.testing.assert_close(gradients[0], 2 * gradients[1])
    density = DENSITY.clone().requires_grad_()
    (0.1 * transport_terms(density, points, 4, Transport(1.0, floor=True)).sum()).backward()
    torch.testing.assert_close(gradients[0], density.grad)


@pytest.mark.parametrize("change", [{"eps": 1.0}, {"normalised": True}, {"floor": False}])
def test_every_switch_of_the_transport_changes_the_gradient(change):
    gradients = []
    for turned in ({}, change):
        density = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
        batch = {"points": [torch.tensor([[1.0, 1.0]])], "count": torch.ones(1), "cells": torch.zeros(1, 1, 16, 16)}
        terms = labelled_terms((density,), TOKENS[:1], batch, 4, only(transport=1), switches("paper", **turned))
        terms["transport"].backward()
        gradients.append(density.grad)
    assert not torch.allclose(*gradients)


def test_which_maps_learn_from_labels():
    for supervised, learning in (("fine", [True, False, False]), ("all", [True, True, True])):
        maps = tuple(ar((2, 1, 4, 4), 0.9, b).requires_grad_() for b in (0.3, 0.7, 1.1))
        terms = labelled_terms(maps, TOKENS, BATCH, 4, only(count=1, transport=1, variation=1),
                               switches("paper", supervised=supervised))  # fmt: skip
        torch.stack(list(terms.values())).sum().backward()
        assert [y.grad is not None and bool(y.grad.any()) for y in maps] == learning
    each = [float(count_errors(y.detach(), COUNT).mean()) for y in maps]
    assert float(terms["count"].detach()) == pytest.approx(sum(each) / 3)


def test_a_histogram_of_another_size_is_told():
    with pytest.raises(InputError, match=r"cells \(2, 1, 5, 5\) do not fit density maps \(2, 1, 4, 4\)"):
        labelled_terms((DENSITY,), TOKENS, {**BATCH, "cells": torch.zeros(2, 1, 5, 5)}, 4, Weights(), switches("paper"))


# -- regions


def test_regions_are_the_released_ones():
    assert sides(64) == [64, 48, 36, 27, 20]
    torch.manual_seed(0)
    seen = set()
    for _ in range(300):
        regions = nested_regions(64, 64)
        assert [(r.bottom - r.top, r.right - r.left) for r in regions] == [(s, s) for s in (64, 48, 36, 26, 20)]
        centres = {((r.top + r.bottom) // 2, (r.left + r.right) // 2) for r in regions[1:]}
        assert len(centres) == 1
        seen |= centres
        for outer, inner in pairwise(regions):
            assert outer.top <= inner.top < inner.bottom <= outer.bottom
            assert outer.left <= inner.left < inner.right <= outer.right
    rows = {row for row, _ in seen}
    assert (min(rows), max(rows)) == (24, 40)


@pytest.mark.parametrize("size", [(4, 4), (5, 23), (48, 48), (7, 64)])
def test_regions_of_any_map_are_nested_and_not_empty(size):
    for seed in range(20):
        torch.manual_seed(seed)
        regions = nested_regions(*size)
        assert regions[0] == Region(0, size[0], 0, size[1])
        for outer, inner in pairwise(regions):
            assert outer.top <= inner.top < inner.bottom <= outer.bottom
            assert outer.left <= inner.left < inner.right <= outer.right


def test_counts_of_regions_are_counts_and_resized_sums_are_not():
    ones = torch.ones(1, 1, 64, 64)
    torch.manual_seed(0)
    regions = nested_regions(64, 64)
    assert region_counts(ones, regions).tolist() == [[64 * 64, 48 * 48, 36 * 36, 26 * 26, 20 * 20]]
    assert [float(crop.sum()) for crop in resized(ones, regions)] == [4096.0] * 5


# -- ranking


def test_true_counts_are_ranked_across_the_maps():
    torch.manual_seed(0)
    counts = [torch.rand(2, 5) * 10 for _ in range(3)]
    pairs = [
        max(0.0, float(inner[b, j] - outer[b, i]))
        for b in range(2)
        for outer, inner in product(counts, counts)
        for i in range(5)
        for j in range(i + 1, 5)
    ]
    found = count_ranking(counts, default_ranking(), across=True)
    assert float(found) == pytest.approx(sum(pairs) / len(pairs), rel=1e-5)


def test_true_counts_of_one_map_are_in_order_by_themselves():
    torch.manual_seed(0)
    y = torch.rand(4, 1, 32, 32)
    counts = region_counts(y, nested_regions(32, 32))
    assert float(count_ranking([counts], default_ranking(), across=False)) == 0.0
    # but not against another map that holds more inside than the first holds in all
    assert float(count_ranking([counts, 3 * counts], default_ranking(), across=True)) > 0.0


def test_the_switch_of_the_regions():
    torch.manual_seed(0)
    y = torch.zeros(1, 1, 64, 64)
    y[..., 24:40, 24:40] = 1.0  # all trees in the middle: in order as counts, not as means
    maps = (y, y.clone(), y.clone())
    nested = unlabelled_terms(maps, TOKENS, only(ranking=1), switches("paper"), default_ranking())
    assert float(nested["ranking"]) == 0.0
    released = unlabelled_terms(maps, TOKENS, only(ranking=1), switches("paper", regions="resized"), default_ranking())
    assert float(released["ranking"]) > 10.0


@pytest.mark.parametrize("ranking", [Logistic(), ListMLE()])
def test_any_score_loss_ranks(ranking):
    torch.manual_seed(0)
    maps = tuple(torch.rand(2, 1, 16, 16).requires_grad_() for _ in range(3))
    terms = unlabelled_terms(maps, TOKENS, only(ranking=1), switches("paper"), ranking)
    terms["ranking"].backward()
    assert float(terms["ranking"].detach()) > 0
    assert all(bool(y.grad.any()) for y in maps)


# -- consistency


def test_divergence_is_a_divergence():
    torch.manual_seed(0)
    y, m = torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4)
    wanted = (torch.special.xlogy(y, y / m) - y + m).sum((1, 2, 3))
    torch.testing.assert_close(divergence(y, m), wanted)
    assert bool((divergence(y, m) > 0).all())
    assert divergence(y, y).abs().max() < 1e-6
    empty = torch.zeros(1, 1, 4, 4)
    assert float(divergence(empty, empty)) == 0.0
    assert float(divergence(empty, m[:1])) == pytest.approx(float(m[0].sum()))


def test_aligned_consistency_is_an_explicit_loop():
    torch.manual_seed(0)
    maps = [torch.rand(3, 1, 16, 16) * scale for scale in (0.5, 1.0, 0.7)]
    regions = nested_regions(16, 16)
    values = []
    for region in regions:
        parts = [y[..., region.top : region.bottom, region.left : region.right] for y in maps]
        m = sum(parts) / 3
        for y in parts:
            v = [float((y[b] * (y[b] / m[b]).log() - y[b] + m[b]).sum()) for b in range(3)]
            d = [float((y[b] - m[b]).square().sum()) for b in range(3)]
            weight = [math.exp(-value) for value in v]
            values.append(sum(w * x for w, x in zip(weight, d, strict=True)) / sum(weight) + sum(v) / 3)
    assert float(aligned_consistency(maps, regions)) == pytest.approx(sum(values) / len(values), rel=1e-4)


def test_aligned_consistency_is_zero_only_where_the_maps_agree_and_pulls_them_together():
    torch.manual_seed(0)
    y = torch.rand(2, 1, 16, 16)
    regions = nested_regions(16, 16)
    assert float(aligned_consistency([y, y, y], regions)) == pytest.approx(0.0, abs=1e-5)
    low, high = (0.5 * y).requires_grad_(), (2 * y).requires_grad_()
    value = aligned_consistency([low, high, y], regions)
    value.backward()
    assert float(value.detach()) > 1.0
    assert bool((low.grad < 0).all())  # grows
    assert bool((high.grad > 0).all())  # shrinks


def test_the_released_uncertainty_rewards_any_growth():
    y = [torch.full((1, 1, 8, 8), 0.5).requires_grad_() for _ in range(3)]
    official_consistency([[one] for one in y]).backward()
    assert all(bool((one.grad < 0).all()) for one in y)  # although the maps agree
    aligned = [one.detach().clone().requires_grad_() for one in y]
    aligned_consistency(aligned, [Region(0, 8, 0, 8)]).backward()
    assert all(float(one.grad.abs().max()) < 1e-6 for one in aligned)


def test_released_crops_lie_in_different_places_and_aligned_ones_do_not():
    generator = torch.Generator().manual_seed(1)
    y = torch.rand(1, 1, 64, 64, generator=generator)
    torch.manual_seed(0)
    off = unlabelled_terms((y, y, y), TOKENS, only(consistency=1), switches("official"), default_ranking())
    same = official_consistency([resized(y, nested_regions(64, 64))] * 3)
    assert float(off["consistency"]) > float(same) + 0.01  # equal maps, and still a distance
    aligned = unlabelled_terms((y, y, y), TOKENS, only(consistency=1), switches("paper"), default_ranking())
    assert float(aligned["consistency"]) == pytest.approx(0.0, abs=1e-4)
    mixed = switches("official", consistency_kind="aligned")
    assert (
        float(unlabelled_terms((y, y, y), TOKENS, only(consistency=1), mixed, default_ranking())["consistency"]) < 0.01
    )


# -- factors


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_every_term_is_named_and_weighed(variant):
    torch.manual_seed(0)
    maps = tuple(torch.rand(2, 1, 4, 4) for _ in range(3))
    choice = switches(variant)

    def terms(weights):
        torch.manual_seed(3)
        found = labelled_terms(maps, TOKENS, BATCH, 4, weights, choice)
        return found | unlabelled_terms(maps, TOKENS, weights, choice, default_ranking())

    plain = terms(Weights())
    assert tuple(plain) == (*LABELLED, *UNLABELLED)
    for name in plain:
        default = getattr(Weights(), name)
        single = terms(only(**{name: 2 * default}))
        assert list(single) == [name]
        torch.testing.assert_close(single[name], 2 * plain[name], rtol=1e-4, atol=1e-5)
    assert terms(ALONE) == {}


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_mixed_precision_changes_no_term(variant):
    """Under autocast a product would be rounded to 8 bits, and a count of 301 is none of bfloat16's numbers."""
    torch.manual_seed(0)
    maps = tuple(torch.rand(2, 1, 4, 4).bfloat16() for _ in range(3))
    tokens, batch = torch.tensor([[301.0] * 3, [1.0] * 3]), {**BATCH, "count": torch.tensor([301.0, 0.0])}
    choice = switches(variant)

    def terms(maps):
        torch.manual_seed(3)
        found = labelled_terms(maps, tokens, batch, 4, Weights(), choice)
        return found | unlabelled_terms(maps, tokens, Weights(), choice, default_ranking())

    wanted = terms([y.float() for y in maps])
    with torch.autocast("cpu", torch.bfloat16):
        found = terms(maps)
    assert all(torch.equal(found[name], wanted[name]) and found[name].dtype == torch.float32 for name in wanted)


@pytest.mark.parametrize("floor", [False, True])
def test_mixed_precision_changes_no_transport(floor):
    density = ar((1, 1, 16, 16), 0.9, 0.3)
    slopes = []
    for mixed in (False, True):
        y = density.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            batch = {"points": [50 * torch.rand(9, 2, generator=torch.Generator().manual_seed(0))],
                     "count": torch.tensor([9.0]), "cells": torch.zeros(1, 1, 16, 16)}  # fmt: skip
            chosen = switches("paper", floor=floor, supervised="fine")
            labelled_terms((y,), TOKENS[:1], batch, 4, only(transport=1), chosen)["transport"].backward()
        slopes.append(y.grad)
    assert torch.equal(*slopes)


def test_wrong_words_and_factors():
    with pytest.raises(InputError, match=r"model.variant must be one of paper, official, got 'oficial'; did you mean"):
        switches("oficial")
    with pytest.raises(InputError, match=r"model.regions must be one of nested, resized, got 'resize'"):
        switches("paper", regions="resize")
    with pytest.raises(InputError, match=r"model.weights.ranking must not be negative, got -1"):
        Weights(ranking=-1)
