"""What every similarity loss promises: masks, weights, empties, reductions, dtypes, gradients."""

import math
from functools import partial

import pytest
import torch

from zoo import ranking

LOSSES = {
    "triplet": ranking.triplet,
    "triplet all": partial(ranking.triplet, mining="all"),
    "triplet semihard": partial(ranking.triplet, mining="semihard"),
    "triplet_alignment": ranking.triplet_alignment,
    "set_wise": ranking.set_wise,
    "info_nce": ranking.info_nce,
    "sdm": ranking.sdm,
    "multi_similarity": ranking.multi_similarity,
    "multi_similarity wide": partial(ranking.multi_similarity, beta=10.0, margin=math.inf),
    "smooth_ap": partial(ranking.smooth_ap, temperature=0.1),
    "thresholds": ranking.threshold_consistent_margin,
}


@pytest.fixture(params=LOSSES)
def loss(request):
    return LOSSES[request.param]


def value_and_gradient(loss, similarity, positive, **options):
    similarity = similarity.clone().requires_grad_()
    value = loss(similarity, positive, **options)
    (gradient,) = torch.autograd.grad(value.sum(), similarity)
    return value, gradient


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)], ids=str)
def test_empty_input_is_zero_and_keeps_the_graph(loss, shape):
    positive = torch.zeros(shape, dtype=torch.bool)
    for options in ({}, {"mask": ~positive, "weight": torch.ones(shape[0])}):
        value, gradient = value_and_gradient(loss, torch.zeros(shape), positive, reduction="none", **options)
        assert value.shape == shape[:1]
        assert gradient.shape == shape
        for reduction in ("mean", "sum"):
            value = loss(torch.zeros(shape, requires_grad=True), positive, reduction=reduction, **options)
            assert value.shape == ()
            assert value == 0
            assert value.requires_grad


NOTHING = {
    "no negative": ([True, True, True], [True, True, True]),
    "no positive": ([False, False, False], [True, True, True]),
    "negatives masked": ([True, False, True], [True, False, True]),
    "positives masked": ([True, False, False], [False, True, True]),
    "all masked": ([True, False, False], [False, False, False]),
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_row_with_nothing_to_rank_is_exactly_zero_and_not_averaged_over(loss, name):
    positive, mask = (torch.tensor([row]) for row in NOTHING[name])
    similarity = torch.tensor([[0.9, -0.3, 0.8]])
    for reduction in ("none", "sum", "mean"):
        value, gradient = value_and_gradient(loss, similarity, positive, mask=mask, reduction=reduction)
        assert (value == 0).all()
        assert (gradient == 0).all()
    both = (similarity.expand(2, 3), torch.cat([positive, torch.tensor([[False, True, False]])]))
    mask = torch.cat([mask, torch.ones(1, 3, dtype=torch.bool)])
    alone = loss(both[0][1:], both[1][1:])
    torch.testing.assert_close(loss(*both, mask=mask), alone)
    torch.testing.assert_close(loss(*both, mask=mask, weight=torch.tensor([5.0, 2.0])), alone)
    torch.testing.assert_close(loss(*both, mask=mask, weight=torch.tensor([5.0, 2.0]), reduction="sum"), 2 * alone)


@pytest.mark.parametrize("junk", [torch.nan, torch.inf, -torch.inf, 1e30])
def test_masked_entries_and_weightless_rows_may_hold_anything(loss, junk, similarity_case):
    case = similarity_case(2, 7, 6, "mask+weight")
    clean, clean_gradient = value_and_gradient(loss, case.similarity, case.positive, **case.options)
    real = case.options["mask"] & (case.options["weight"] != 0).unsqueeze(1)
    dirty, gradient = value_and_gradient(loss, case.similarity.where(real, junk), case.positive, **case.options)
    assert torch.equal(dirty, clean)
    assert torch.equal(gradient, clean_gradient)
    assert (gradient[~real] == 0).all()


def test_padding_and_order_of_the_gallery_change_nothing(loss, similarity_case):
    case = similarity_case(3, 5, 6)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))[:6]
    similarity, positive = torch.full((5, 10), torch.nan, dtype=torch.float64), torch.ones(5, 10, dtype=torch.bool)
    similarity[:, order], positive[:, order] = case.similarity, case.positive
    value, gradient = value_and_gradient(loss, case.similarity, case.positive)
    got, padded = value_and_gradient(loss, similarity, positive, mask=~similarity.isnan())
    torch.testing.assert_close(got, value, rtol=1e-12, atol=0)
    torch.testing.assert_close(padded[:, order], gradient, rtol=1e-9, atol=1e-15)


def test_order_of_the_rows_does_not_matter(loss, similarity_case):
    case = similarity_case(4, 6, 5, "mask+weight")
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    plain = value_and_gradient(loss, case.similarity, case.positive, **case.options)
    options = {name: tensor[order] for name, tensor in case.options.items()}
    value, gradient = value_and_gradient(loss, case.similarity[order], case.positive[order], **options)
    torch.testing.assert_close(value, plain[0])
    torch.testing.assert_close(gradient, plain[1][order])


@pytest.mark.parametrize("name", [name for name in LOSSES if not name.startswith(("multi", "thresholds"))])
def test_adding_a_constant_to_a_row_does_not_matter(name, similarity_case):
    case = similarity_case(5, 6, 5, "mask+weight")
    loss = LOSSES[name]
    plain = value_and_gradient(loss, case.similarity, case.positive, **case.options)
    moved = value_and_gradient(loss, case.similarity + torch.arange(6).unsqueeze(1), case.positive, **case.options)
    torch.testing.assert_close(moved, plain, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("extras", ["", "mask+weight"])
@pytest.mark.parametrize("name", [name for name in LOSSES if not name.startswith("triplet_alignment")])
def test_gradient(name, extras, similarity_case):
    loss = LOSSES[name]
    case = similarity_case(6, 4, 5, extras)
    weight = case.options.pop("weight", None)
    similarity = case.similarity.requires_grad_()

    for reduction in ("mean", "none"):

        def value(x, w, reduction=reduction):
            weights = None if w is None else w.where(weight != 0, 0.0)
            return loss(x, case.positive, **case.options, weight=weights, reduction=reduction)

        learned = None if weight is None else (weight + 0.1).requires_grad_()
        assert torch.autograd.gradcheck(value, (similarity, learned))


def test_autocast_does_not_touch_the_loss(loss, similarity_case):
    case = similarity_case(15, 5, 6, "mask+weight")
    plain = value_and_gradient(loss, case.similarity.float(), case.positive, **case.options)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = value_and_gradient(loss, case.similarity.float(), case.positive, **case.options)
    torch.testing.assert_close(mixed, plain, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss, dtype, similarity_case):
    case = similarity_case(7, 5, 6, "mask+weight")
    similarity = case.similarity.to(dtype)
    value, gradient = value_and_gradient(loss, similarity, case.positive, **case.options)
    exact, exact_gradient = value_and_gradient(loss, similarity.float(), case.positive, **case.options)
    assert value.dtype == torch.float32
    assert torch.equal(value, exact)
    assert gradient.dtype == dtype
    assert torch.equal(gradient, exact_gradient.to(dtype))
    assert loss(case.similarity, case.positive).dtype == torch.float64


def test_large_similarities_stay_finite(loss):
    similarity = 1e4 * torch.randn(6, 7, generator=torch.Generator().manual_seed(8))
    value, gradient = value_and_gradient(loss, similarity, torch.arange(7).expand(6, 7) < 2)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_nan_in_a_real_entry_is_passed_on_for_its_row_only(loss, similarity_case):
    case = similarity_case(9, 3, 5)
    positive = torch.arange(5).expand(3, 5) < 2
    similarity = case.similarity.clone()
    similarity[1, 0] = torch.nan
    values = loss(similarity, positive, reduction="none")
    assert values.isnan().tolist() == [False, True, False]
    torch.testing.assert_close(values[::2], loss(case.similarity, positive, reduction="none")[::2])


def test_the_diagonal_counts_unless_masked(loss, similarity_case):
    case = similarity_case(10, 5, 5)
    positive = torch.eye(5, dtype=torch.bool) | case.positive
    assert loss(case.similarity, positive) != loss(case.similarity, positive, mask=~torch.eye(5, dtype=torch.bool))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positive": torch.zeros(2, 3, dtype=torch.long)}, "positive: dtype torch.int64 given, expected torch.bool"),
        ({"positive": torch.zeros(3, 2, dtype=torch.bool)}, r"positive: shape \(3, 2\) given, expected \(2, 3\)"),
        ({"positive": None}, "positive: NoneType given, expected a torch.Tensor"),
        ({"similarity": torch.zeros(6)}, r"similarity: shape \(6,\) given, expected \(Q, G\)"),
        ({"similarity": torch.zeros(2, 3, dtype=torch.long)}, "similarity: dtype torch.int64 given"),
        ({"mask": torch.zeros(2, 3)}, "mask: dtype torch.float32 given, expected torch.bool"),
        ({"weight": torch.zeros(2, 3)}, r"weight: shape \(2, 3\) given, expected \(2,\), one per row of similarity"),
        ({"weight": torch.zeros(2, device="meta")}, "weight: lies on meta, expected cpu"),
        ({"reduction": "men"}, "reduction: 'men' given.*did you mean 'mean'"),
    ],
)
def test_wrong_input_is_named(loss, change, message):
    tensors = {"similarity": torch.zeros(2, 3), "positive": torch.zeros(2, 3, dtype=torch.bool)}
    with pytest.raises((ValueError, TypeError), match=message):
        loss(**{**tensors, **change})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(ranking.triplet, mining="hard"), "mining: 'hard' given, expected one of 'hardest', 'semihard', 'all'"),
        (partial(ranking.triplet_alignment, temperature=0.0), "temperature: 0.0 given"),
        (partial(ranking.info_nce, temperature=-0.1), "temperature: -0.1 given"),
        (partial(ranking.sdm, temperature=0), "temperature: 0 given"),
        (partial(ranking.multi_similarity, beta=0), "beta: 0 given, expected a number above 0"),
        (partial(ranking.smooth_ap, temperature=0), "temperature: 0 given"),
    ],
)
def test_wrong_options_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool))


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "smooth_ap"])
def test_a_relevance_is_refused_where_only_bool_has_a_meaning(name):
    with pytest.raises(ValueError, match=r"positive: dtype torch.float32 given, expected torch.bool"):
        LOSSES[name](torch.zeros(2, 3), torch.zeros(2, 3))


@pytest.mark.parametrize("loss", [ranking.triplet_alignment, ranking.sdm, ranking.info_nce])
def test_a_negative_of_minus_infinity_is_no_negative(loss):
    similarity = torch.tensor([[0.9, 0.5, -torch.inf]], requires_grad=True)
    positive = torch.tensor([[True, False, False]])
    value = loss(similarity, positive)
    value.backward()
    assert similarity.grad is not None
    assert torch.isfinite(similarity.grad).all()
    torch.testing.assert_close(value, loss(similarity[:, :2], positive[:, :2]))


@pytest.mark.parametrize(
    "loss", [ranking.triplet_alignment, ranking.sdm, ranking.info_nce, ranking.smooth_ap], ids=lambda f: f.__name__
)
def test_similarities_far_from_zero_keep_their_digits(loss):
    similarity = torch.randn(5, 8, generator=torch.Generator().manual_seed(0)) + 1e4
    positive = torch.arange(8) % 3 == 0
    rows = positive.expand(5, 8)
    exact = loss(similarity.double(), rows)
    torch.testing.assert_close(loss(similarity, rows).double(), exact, rtol=1e-5, atol=1e-6)
