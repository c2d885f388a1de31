"""Sorted and tiled engines give the value and the gradient of the dense one."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo import ranking
from zoo.ranking import banded_pairs, smooth_pairs, smooth_sums, tiles, top_pairs

LOSSES = {
    "hinge": (ranking.hinge, ("sorted", "tiled")),
    "hinge, negative margin": (partial(ranking.hinge, margin=-0.3), ("sorted", "tiled")),
    "squared_hinge": (ranking.squared_hinge, ("sorted", "tiled")),
    "logistic": (partial(ranking.logistic, temperature=0.7), ("sorted", "tiled")),
    "mann_whitney hinge": (partial(ranking.mann_whitney, surrogate="hinge", temperature=0.5), ("sorted", "tiled")),
    "mann_whitney squared": (
        partial(ranking.mann_whitney, surrogate="squared_hinge", temperature=2.0),
        ("sorted", "tiled"),
    ),
    "mann_whitney sigmoid": (partial(ranking.mann_whitney, surrogate="sigmoid"), ("tiled",)),
    "fidelity": (ranking.fidelity, ("tiled",)),
    "fidelity binary": (partial(ranking.fidelity, target_probability="binary", scale=0.8), ("tiled",)),
    "lambda_ndcg": (ranking.lambda_ndcg, ("tiled",)),
    "approx_ndcg": (partial(ranking.approx_ndcg, temperature=0.5), ("sorted", "tiled")),
}
LOSSES |= {
    "listmle": (ranking.listmle, ("sorted",)),
    "listmle order": (partial(ranking.listmle, ties="order"), ("sorted",)),
}
CASES = [(name, engine) for name, (_, engines) in LOSSES.items() for engine in engines]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks small enough that lists of a test have several, whole and cut ones."""
    monkeypatch.setattr(tiles, "ROWS", 5)
    monkeypatch.setattr(tiles, "COLUMNS", 7)
    monkeypatch.setattr(tiles, "SQUARE", 5)
    monkeypatch.setattr(tiles, "SHORT", 12)
    for name, size in (("ROWS", 5), ("COLUMNS", 7), ("BLOCK", 70)):
        monkeypatch.setattr(banded_pairs, name, size)
    monkeypatch.setattr(top_pairs, "ENTRIES", 70)
    monkeypatch.setattr(smooth_pairs, "GROUP", 8)


def value_and_gradient(loss, scores, target, **options):
    scores = scores.clone().requires_grad_()
    value = loss(scores, target, **options)
    (gradient,) = torch.autograd.grad((value * torch.arange(1, value.numel() + 1).view(value.shape)).sum(), scores)
    return value.detach(), gradient


def assert_equal(loss, engine, scores, target, relative, **options):
    """Value and gradient, relative to their largest entry."""
    for found, expected in zip(
        value_and_gradient(partial(loss, engine=engine), scores, target, **options),
        value_and_gradient(partial(loss, engine="dense"), scores, target, **options),
        strict=True,
    ):
        scale = expected.abs().max() if expected.numel() else torch.tensor(0.0)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        assert (found - expected).abs().max() <= relative * scale if expected.numel() else True


@pytest.mark.parametrize(("name", "engine"), CASES)
@pytest.mark.parametrize("extras", ["", "mask", "group", "weight", "group+mask+weight"])
@pytest.mark.parametrize("grades", [2, 3, 1000])
def test_engines_equal_dense(name, engine, extras, grades, score_case):
    loss = LOSSES[name][0]
    for seed, shape in enumerate([(1, 2), (3, 5), (2, 3, 17)]):
        case = score_case(seed, shape, extras, grades)
        target = case.target / 100 if grades == 1000 else case.target
        reduction = "none" if seed % 2 else "mean"
        assert_equal(loss, engine, case.scores, target, 1e-10, reduction=reduction, **case.options)


@pytest.mark.parametrize(("name", "engine"), CASES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_scale_outliers_and_ties(name, engine, scale, score_case):
    loss = LOSSES[name][0]
    for dtype, relative in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        case = score_case(11, (2, 33), "weight")
        tied = (case.scores * 4).round() / 4 * scale
        one_out = tied.clone()
        one_out[0, 3], one_out[1, 5] = 1e6, -1e6
        for scores in (case.scores * scale, tied, one_out):
            assert_equal(loss, engine, scores.to(dtype), case.target, relative, **case.options)


@pytest.mark.parametrize("name", [name for name, (_, engines) in LOSSES.items() if "sorted" in engines])
@pytest.mark.parametrize("grades", [2, 4])
def test_scores_far_outside_the_others_leave_them_their_digits(name, grades, score_case):
    """As -1e9 for what somebody else masks: beside its square nothing was left of the others in a running sum."""
    case = score_case(17, (1, 60), grades=grades)
    order = case.target.argsort(stable=True)
    scores, target = case.scores.gather(-1, order), case.target.gather(-1, order)
    for far in (-1e6, -1e9, -1e30):
        for count in (1, 9):
            for dtype, relative in ((torch.float64, 1e-8), (torch.float32, 1e-4)):
                out = scores.to(dtype)
                out[0, :count] = far  # the lowest of all, as it should be: it costs nothing
                assert_equal(LOSSES[name][0], "sorted", out, target, relative)
    for far in (1e30, -1e30):
        assert_equal(LOSSES[name][0], "sorted", torch.full_like(scores, far), target, 1e-10)


@pytest.mark.parametrize(("name", "engine"), CASES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name, engine, dtype, score_case):
    case = score_case(12, (2, 30))
    loss = partial(LOSSES[name][0], engine=engine)
    value, gradient = value_and_gradient(loss, case.scores.to(dtype), case.target)
    wide, wide_gradient = value_and_gradient(loss, case.scores.to(dtype).float(), case.target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, wide)
    torch.testing.assert_close(gradient, wide_gradient.to(dtype))


@pytest.mark.parametrize(("name", "engine"), CASES)
def test_gradient_by_differences(name, engine, score_case):
    case = score_case(13, (2, 9), "mask+weight")
    loss = partial(LOSSES[name][0], target=case.target, engine=engine, **case.options)
    scores = (case.scores * 1.37).requires_grad_()  # no pair at the kink of a hinge
    assert torch.autograd.gradcheck(lambda x: loss(x), (scores,))


@pytest.mark.parametrize(("name", "engine"), CASES)
def test_a_second_derivative_is_refused_and_dense_gives_it(name, engine, score_case):
    case = score_case(14, (1, 6))
    scores = case.scores.requires_grad_()
    (gradient,) = torch.autograd.grad(LOSSES[name][0](scores, case.target, engine=engine), scores, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative; compute with engine='dense'"):
        gradient.sum().backward()
    with ranking.use_engine("dense"):
        (gradient,) = torch.autograd.grad(LOSSES[name][0](scores, case.target), scores, create_graph=True)
        gradient.sum().backward()


@pytest.mark.parametrize("ties", ["efron", "order"])
@pytest.mark.parametrize("scale", [1.0, 60.0, 500.0])
def test_plackett_luce_is_right_at_any_scale(ties, scale):
    """In float32 against float64; at 500 the sums no longer hold the range, and logarithms take over."""
    generator = torch.Generator().manual_seed(3)
    scores, target = (
        scale * torch.randn(4, 200, generator=generator),
        torch.randint(0, 9, (4, 200), generator=generator),
    )
    found = value_and_gradient(partial(ranking.listmle, ties=ties), scores, target)
    exact = value_and_gradient(partial(ranking.listmle, ties=ties, engine="dense"), scores.double(), target)
    torch.testing.assert_close(found[0].double(), exact[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(found[1].double(), exact[1], rtol=0, atol=1e-6 * float(exact[1].abs().max()))


@pytest.mark.parametrize("engine", ["sorted", "tiled"])
def test_a_weight_that_learns_is_left_to_the_dense_engine(engine, score_case):
    case = score_case(17, (1, 900))
    weight = torch.rand(1, 900, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(ranking.hinge(case.scores, case.target, weight=weight), weight)
    assert gradient.abs().max() > 0
    with pytest.raises(ValueError, match=f"engine: '{engine}' given, expected 'dense' for a weight that requires"):
        ranking.hinge(case.scores, case.target, weight=weight, engine=engine)


@pytest.mark.parametrize("pairs", ["mean", "sum"])
@pytest.mark.parametrize("name", ["mann_whitney hinge", "mann_whitney squared", "hinge, negative margin"])
def test_one_list_of_two_targets(name, pairs):
    loss = partial(LOSSES[name][0], pairs=pairs)
    generator = torch.Generator().manual_seed(7)
    for size in (2, 3, 40):
        scores = torch.randn(size, generator=generator, dtype=torch.float64)
        target = torch.arange(size) % 3 > 0
        for moved in (scores, (scores * 3).round() / 3, 1e4 + scores):
            for wanted in (target, target * 2.5 - 7):
                assert_equal(loss, "sorted", moved, wanted, 1e-10 if moved.abs().max() < 1e3 else 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("labels", ["binary", "skewed", "continuous"])
def test_smooth_sums_have_the_accuracy_of_the_dtype(labels, dtype, monkeypatch):
    monkeypatch.setattr(smooth_pairs, "GROUP", 32)
    generator = torch.Generator().manual_seed(5)
    uniform = torch.rand(2, 700, generator=generator, dtype=torch.float64)
    target = {"binary": (uniform < 0.2).long(), "skewed": (10 * uniform**6).long(), "continuous": uniform}[labels]
    scores = torch.randn(2, 700, generator=generator, dtype=torch.float64)
    scores[0, 3], scores[1] = 1e6, scores[1].mul(4).round() / 4
    for loss in (ranking.logistic, ranking.approx_ndcg):
        found = value_and_gradient(partial(loss, engine="sorted"), scores.to(dtype), target)
        exact = value_and_gradient(partial(loss, engine="dense"), scores.to(dtype).double(), target)
        for part, wanted in zip(found, exact, strict=True):
            relative = 1e-10 if dtype == torch.float64 else 1e-5
            assert (part - wanted).abs().max() <= relative * wanted.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0, 1e3, 1e6])
@pytest.mark.parametrize("labels", ["binary", "graded", "continuous"])
def test_hinge_and_band_are_the_logistic(labels, spread, dtype, monkeypatch):
    """Whatever the range: ties of scores, ragged lists, weights, an outlier."""
    monkeypatch.setattr(smooth_sums, "MOST_NODES", 0)
    generator = torch.Generator().manual_seed(8)
    uniform = torch.rand(3, 90, generator=generator, dtype=torch.float64)
    target = {"binary": (uniform < 0.3).long(), "graded": (4 * uniform).long(), "continuous": uniform}[labels]
    scores = (spread * torch.randn(3, 90, generator=generator, dtype=torch.float64)).to(dtype)
    scores[1] = (scores[1] / spread).round() * spread
    scores[2, 5] = 1e6
    weight = torch.rand(3, 90, generator=generator, dtype=torch.float64).to(dtype)
    for options in ({}, {"weight": weight}, {"mask": weight > 0.4}, {"pairs": "sum", "group": (5 * weight).long()}):
        loss = partial(ranking.logistic, temperature=0.9, reduction="sum", **options)
        found = value_and_gradient(partial(loss, engine="sorted"), scores, target)
        exact = value_and_gradient(partial(loss, engine="dense"), scores.double(), target)
        for part, wanted in zip(found, exact, strict=True):
            relative = 1e-10 if dtype == torch.float64 else 1e-5
            assert (part - wanted).abs().max() <= relative * wanted.abs().max()


@pytest.mark.parametrize("nearest", [0.0, 15.0, 60.0, 300.0])
def test_band_of_scores_in_perfect_order(nearest, monkeypatch):
    """Nothing of the hinge is left: the value is the rest alone, however small."""
    monkeypatch.setattr(smooth_sums, "MOST_NODES", 0)
    target = torch.arange(12) // 4
    scores = 3.0 * torch.arange(12).double() + nearest * target
    found = value_and_gradient(partial(ranking.logistic, engine="sorted"), scores, target)
    exact = value_and_gradient(partial(ranking.logistic, engine="dense"), scores, target)
    for part, wanted in zip(found, exact, strict=True):
        torch.testing.assert_close(part, wanted, rtol=1e-10, atol=0)
    assert exact[0] > 0


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_list(data):
    name, engine = data.draw(st.sampled_from(CASES))
    size = data.draw(st.integers(1, 40))
    scores = data.draw(st.lists(st.integers(-8, 8), min_size=size, max_size=size))
    target = data.draw(st.lists(st.integers(-5, 5), min_size=size, max_size=size))
    mask = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    weight = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=size, max_size=size))
    options = {"mask": torch.tensor(mask), "weight": torch.tensor(weight)}
    chosen = {key: value for key, value in options.items() if data.draw(st.booleans())}
    assert_equal(LOSSES[name][0], engine, torch.tensor(scores).double() / 4, torch.tensor(target), 1e-10, **chosen)


def test_a_loss_without_the_engine_names_those_it_has():
    scores, target = torch.randn(4), torch.arange(4)
    with pytest.raises(ValueError, match=r"engine: 'sorted' given, expected one of 'auto', 'dense', 'tiled'"):
        ranking.fidelity(scores, target, engine="sorted")
    with pytest.raises(ValueError, match=r"did you mean 'sorted'\?"):
        ranking.hinge(scores, target, engine="sort")
    with pytest.raises(ValueError, match="engine"), ranking.use_engine("fast"):
        pass


def test_context_chooses_and_an_argument_comes_first(monkeypatch, score_case):
    from zoo.ranking import pairwise_engines

    taken = []
    for name in ("pair_value", "sorted_pair_value", "smooth_pair_value", "banded_pair_value", "tiled_pair_value"):
        inner = getattr(pairwise_engines, name)
        monkeypatch.setattr(
            pairwise_engines, name, lambda *a, name=name, inner=inner, **o: taken.append(name) or inner(*a, **o)
        )
    case = score_case(15, (1, 8))
    ranking.hinge(case.scores, case.target)
    with ranking.use_engine("sorted"):
        ranking.hinge(case.scores, case.target)
        ranking.hinge(case.scores, case.target, engine="tiled")
        ranking.mann_whitney(case.scores, case.target, surrogate="sigmoid")  # has no sorted form: as by itself
    ranking.hinge(torch.randn(600), torch.randn(600))
    ranking.logistic(torch.randn(900), torch.randn(900))
    ranking.logistic(1e4 * torch.randn(1100), torch.randn(1100))
    ranking.logistic(1e4 * torch.randn(900), torch.randn(900), engine="sorted")
    ranking.hinge(torch.tensor([float("inf"), *range(599)]), torch.arange(600.0))
    assert taken == [
        "pair_value",
        "sorted_pair_value",
        "tiled_pair_value",
        "pair_value",
        "sorted_pair_value",
        "smooth_pair_value",
        "banded_pair_value",
        "banded_pair_value",
        "tiled_pair_value",
    ]


def test_truncated_lambda_equals_an_explicit_loop(score_case):
    from math import log2

    case = score_case(16, (9,), "weight")
    scores, target, weight = (x.tolist() for x in (case.scores, case.target, case.options["weight"]))
    kept = [i for i in range(9) if weight[i]]
    gain = {i: 2.0 ** target[i] - 1 for i in kept}
    by_score = sorted(kept, key=lambda i: -scores[i])
    discount = {i: (1 / log2(2 + r) if r < 3 else 0.0) for r, i in enumerate(by_score)}
    ideal = sum(g / log2(2 + r) for r, g in enumerate(sorted(gain.values(), reverse=True)[:3]))
    from math import exp, log1p

    total = sum(
        weight[i]
        * weight[j]
        * abs(gain[i] - gain[j])
        * abs(discount[i] - discount[j])
        * log1p(exp(scores[j] - scores[i]))
        for i in kept
        for j in kept
        if target[i] > target[j]
    )
    found = ranking.lambda_ndcg(case.scores, case.target, weight=case.options["weight"], k=3)
    torch.testing.assert_close(found, torch.tensor(total / ideal, dtype=torch.float64))


def test_compiled_values_are_the_same():
    scores, target = torch.randn(2, 600), torch.randint(0, 3, (2, 600))
    compiled = torch.compile(ranking.hinge, backend="eager")
    torch.testing.assert_close(compiled(scores, target), ranking.hinge(scores, target))


def test_large_lists_stay_small_in_memory():
    """A list of 30,000 would need 3.6 GB a copy in dense form."""
    scores, target = torch.randn(30_000, requires_grad=True), torch.randint(0, 5, (30_000,))
    value = ranking.hinge(scores, target)
    value.backward()
    assert scores.grad.isfinite().all()
    above = (scores.detach().double()[None] - scores.detach().double()[:500, None]).add(1).relu()
    counted = target[:500, None] > target[None]
    partial_sum = (above * counted).sum()
    everything = ranking.hinge(scores.detach().double(), target, pairs="sum")
    assert partial_sum < everything


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_differences_of_wide_targets_are_exact_in_blocks(dtype):
    """Two targets a billion high and one apart are one apart, whatever the dtype of the scores."""
    target = (10**9 + torch.arange(30) % 4).to(dtype)
    scores = torch.randn(30, generator=torch.Generator().manual_seed(3))
    for found, expected in zip(
        value_and_gradient(partial(ranking.fidelity, engine="tiled"), scores, target),
        value_and_gradient(partial(ranking.fidelity, engine="dense"), scores, target - 10**9),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_truncated_lambda_of_infinite_scores_is_that_of_the_dense_form():
    scores, target = torch.randn(40, generator=torch.Generator().manual_seed(4)), torch.arange(40) % 4
    scores[[8, 12]] = torch.inf  # of one target: their difference is nan, and does not count
    scores[3] = -torch.inf
    mask = torch.arange(40) != 20
    for options in ({}, {"mask": mask}):
        found, expected = (
            ranking.lambda_ndcg(scores, target, k=5, engine=engine, **options) for engine in ("tiled", "dense")
        )
        torch.testing.assert_close(found, expected, equal_nan=True)
