"""What every score loss promises: masks, groups, weights, ties, empties, reductions, dtypes, gradients."""

from functools import partial

import pytest
import torch

from zoo import ranking

LOSSES = {
    "hinge": ranking.hinge,
    "squared_hinge": ranking.squared_hinge,
    "logistic": ranking.logistic,
    "fidelity": ranking.fidelity,
    "fidelity binary": partial(ranking.fidelity, target_probability="binary"),
    "mann_whitney": ranking.mann_whitney,
    "mann_whitney sigmoid": partial(ranking.mann_whitney, surrogate="sigmoid"),
    "listnet": ranking.listnet,
    "listmle": ranking.listmle,
    "listmle order": partial(ranking.listmle, ties="order"),
    "lambda_ndcg": ranking.lambda_ndcg,
    "lambda_ndcg k": partial(ranking.lambda_ndcg, k=2),
    "approx_ndcg": ranking.approx_ndcg,
    "confidence_ndcg": ranking.confidence_ndcg,
}
PAIRWISE = ["hinge", "squared_hinge", "logistic", "fidelity", "fidelity binary", "mann_whitney", "mann_whitney sigmoid"]


@pytest.fixture(params=LOSSES)
def loss(request):
    return LOSSES[request.param]


def value_and_gradient(loss, scores, target, **options):
    scores = scores.clone().requires_grad_()
    value = loss(scores, target, **options)
    (gradient,) = torch.autograd.grad(value.sum(), scores)
    return value, gradient


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4), (2, 0, 4), (0, 0)], ids=str)
def test_empty_input_is_zero_and_keeps_the_graph(loss, shape):
    target = torch.zeros(shape)
    for options in ({}, {"group": torch.zeros(shape, dtype=torch.long), "mask": target > 0, "weight": target}):
        value, gradient = value_and_gradient(loss, torch.zeros(shape), target, reduction="none", **options)
        assert value.shape == shape[:-1]
        assert gradient.shape == shape
        for reduction in ("mean", "sum"):
            value = loss(torch.zeros(shape, requires_grad=True), target, reduction=reduction, **options)
            assert value.shape == ()
            assert value == 0
            assert value.requires_grad


NOTHING = {
    "one item": ([[1.0]], [[2.0]], None),
    "equal targets": ([[1.0, 5.0, -2.0]], [[2.0, 2.0, 2.0]], None),
    "one real item": ([[1.0, 5.0]], [[2.0, 1.0]], [[True, False]]),
    "no real item": ([[1.0, 5.0]], [[2.0, 1.0]], [[False, False]]),
    "equal real targets": ([[1.0, 5.0, 3.0]], [[2.0, 1.0, 2.0]], [[True, False, True]]),
}


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", NOTHING)
def test_a_list_with_nothing_to_rank_is_exactly_zero_and_not_averaged_over(loss, name, grouped):
    scores, target, mask = (None if x is None else torch.tensor(x) for x in NOTHING[name])
    options = {"mask": mask, "group": torch.zeros_like(target, dtype=torch.long) if grouped else None}
    for reduction in ("none", "sum", "mean"):
        value, gradient = value_and_gradient(loss, scores, target, **options, reduction=reduction)
        assert (value == 0).all()
        assert (gradient == 0).all()

    items = scores.shape[-1]
    width = max(items, 3)
    two = torch.zeros(2, width), torch.zeros(2, width), torch.zeros(2, width, dtype=torch.bool)
    two[0][0, :items], two[1][0, :items], two[2][0, :items] = scores, target, True if mask is None else mask
    two[0][1], two[1][1], two[2][1] = torch.randn(width), torch.arange(width), True
    group = torch.zeros(2, width, dtype=torch.long) if grouped else None
    alone = loss(two[0][1], two[1][1])
    torch.testing.assert_close(loss(two[0], two[1], mask=two[2], group=group), alone)
    torch.testing.assert_close(loss(two[0], two[1], mask=two[2], group=group, reduction="sum"), alone)


def test_lists_with_nothing_to_rank_may_hold_anything(loss):
    scores = torch.tensor([[torch.nan, torch.inf, 1.0], [0.5, -0.5, 0.1], [torch.inf, -torch.inf, torch.nan]])
    target = torch.tensor([[1, 1, 1], [2, 1, 0], [0, 0, 0]])
    value, gradient = value_and_gradient(loss, scores, target)
    torch.testing.assert_close(value, loss(scores[1], target[1]))
    assert (gradient[::2] == 0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("junk", [torch.nan, torch.inf, -torch.inf, 1e30])
@pytest.mark.parametrize("extras", ["mask", "mask+group", "mask+weight", "group+mask+weight"])
def test_masked_entries_may_hold_anything(loss, extras, junk, score_case):
    case = score_case(7, (3, 4, 6), extras)
    clean, clean_gradient = value_and_gradient(loss, case.scores, case.target.double(), **case.options)
    real = case.options["mask"]
    options = dict(case.options)
    if "weight" in options:
        options["weight"] = options["weight"].where(real, junk)
    if "group" in options:
        options["group"] = options["group"].where(real, -(2**62))
    dirty, gradient = value_and_gradient(
        loss, case.scores.where(real, junk), case.target.double().where(real, junk), **options
    )
    assert torch.equal(dirty, clean)
    assert torch.equal(gradient, clean_gradient)
    assert (gradient[~real] == 0).all()


def test_padding_changes_nothing(loss, score_case):
    case = score_case(8, (5, 6))
    padded = torch.full((5, 9), torch.nan, dtype=torch.float64)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))[:6].sort().values
    scores, target = padded.clone(), padded.clone()
    scores[:, order], target[:, order] = case.scores, case.target.double()
    mask = ~scores.isnan()
    value, gradient = value_and_gradient(loss, case.scores, case.target)
    got, padded_gradient = value_and_gradient(loss, scores, target, mask=mask)
    torch.testing.assert_close(got, value, rtol=1e-12, atol=0)
    torch.testing.assert_close(padded_gradient[:, order], gradient, rtol=1e-9, atol=1e-15)


def test_weight_zero_is_the_same_as_masked(loss, score_case):
    case = score_case(9, (6, 5), "mask")
    masked = value_and_gradient(loss, case.scores, case.target, mask=case.options["mask"])
    weighted = value_and_gradient(loss, case.scores, case.target, weight=case.options["mask"].float())
    torch.testing.assert_close(weighted, masked, rtol=0, atol=0)


def test_weights_of_one_change_nothing(loss, score_case):
    case = score_case(10, (6, 5))
    plain = value_and_gradient(loss, case.scores, case.target)
    ones = value_and_gradient(loss, case.scores, case.target, weight=torch.ones(6, 5, dtype=torch.int64))
    torch.testing.assert_close(ones, plain, rtol=0, atol=0)


@pytest.mark.parametrize("name", [*PAIRWISE, "listnet", "approx_ndcg", "confidence_ndcg"])
def test_weighted_means_do_not_see_the_scale_of_the_weights(name, score_case):
    case = score_case(11, (6, 5), "weight")
    weight = case.options["weight"]
    one = LOSSES[name](case.scores, case.target, weight=weight)
    torch.testing.assert_close(LOSSES[name](case.scores, case.target, weight=7 * weight), one)


def test_groups_are_lists_of_their_own(loss, score_case):
    case = score_case(12, (4, 12), "group+mask+weight")
    group, mask, weight = (case.options[name] for name in ("group", "mask", "weight"))
    got = loss(case.scores, case.target, **case.options, reduction="none")
    for row in range(4):
        values = []
        for name in group[row].unique():
            real = mask[row] & (group[row] == name)
            if len(case.target[row][real & (weight[row] != 0)].unique()) > 1:
                values.append(loss(case.scores[row][real], case.target[row][real], weight=weight[row][real]))
        torch.testing.assert_close(got[row], torch.stack(values).mean() if values else torch.zeros_like(got[row]))
    same = loss(case.scores, case.target, **{**case.options, "group": -3 * group + 1}, reduction="none")
    torch.testing.assert_close(same, got)


def test_many_groups_of_very_different_sizes(loss):
    generator = torch.Generator().manual_seed(3)
    sizes = torch.tensor([1, 1, 2, 3, 4, 5, 8, 9, 30])
    group = torch.repeat_interleave(torch.arange(9), sizes)[torch.randperm(63, generator=generator)]
    scores, target = torch.rand(63, generator=generator), torch.randint(0, 3, (63,), generator=generator)
    values = [loss(scores[group == g], target[group == g]) for g in range(9) if len(target[group == g].unique()) > 1]
    torch.testing.assert_close(loss(scores, target, group=group), torch.stack(values).mean())


def test_leading_dimensions_are_independent_lists(loss, score_case):
    case = score_case(13, (2, 3, 5), "mask+weight")
    got, gradient = value_and_gradient(loss, case.scores, case.target, **case.options, reduction="none")
    assert got.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            options = {name: tensor[i, j] for name, tensor in case.options.items()}
            value, own = value_and_gradient(loss, case.scores[i, j], case.target[i, j], **options)
            torch.testing.assert_close(got[i, j], value)
            torch.testing.assert_close(gradient[i, j], own)


@pytest.mark.parametrize("name", LOSSES)
def test_order_of_the_items_does_not_matter(name, score_case):
    case = score_case(14, (6, 7), "mask+group+weight")
    if name in ("listmle order", "confidence_ndcg"):  # these two take the given order of tied targets as meant
        case.target = case.scores.roll(3, -1).argsort(-1)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(2))
    options = {name: tensor[:, order] for name, tensor in case.options.items()}
    plain = value_and_gradient(LOSSES[name], case.scores, case.target, **case.options)
    shuffled = value_and_gradient(LOSSES[name], case.scores[:, order], case.target[:, order], **options)
    torch.testing.assert_close(shuffled[0], plain[0])
    torch.testing.assert_close(shuffled[1], plain[1][:, order])


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "confidence_ndcg"])
def test_adding_a_constant_to_a_list_does_not_matter(name, score_case):
    case = score_case(15, (6, 7), "mask+weight")
    plain = value_and_gradient(LOSSES[name], case.scores, case.target, **case.options)
    moved = value_and_gradient(LOSSES[name], case.scores + torch.arange(6).unsqueeze(1), case.target, **case.options)
    torch.testing.assert_close(moved, plain, rtol=1e-8, atol=1e-10)
    assert plain[1].sum(-1).abs().max() < 1e-12


@pytest.mark.parametrize("extras", ["", "group+mask+weight"])
def test_gradient(loss, extras, score_case):
    case = score_case(16, (3, 6), extras)
    weight = case.options.pop("weight", None)
    scores = (case.scores + torch.arange(18).reshape(3, 6) * 1e-2).requires_grad_()  # no two scores near a kink
    for reduction in ("mean", "none"):

        def value(x, w, reduction=reduction):
            weights = None if w is None else w.where(weight != 0, 0.0)
            return loss(x, case.target, **case.options, weight=weights, reduction=reduction)

        learned = None if weight is None else (weight + 0.1).requires_grad_()
        assert torch.autograd.gradcheck(value, (scores, learned))


def test_second_derivative(loss, score_case):
    case = score_case(23, (2, 5), "mask+weight")
    scores = (case.scores + torch.arange(10).reshape(2, 5) * 1e-2).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: loss(x, case.target, **case.options), scores)


def test_autocast_does_not_touch_the_loss(loss, score_case):
    case = score_case(24, (3, 6), "mask+weight+group")
    plain = value_and_gradient(loss, case.scores.float(), case.target, **case.options)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = value_and_gradient(loss, case.scores.float(), case.target, **case.options)
    torch.testing.assert_close(mixed, plain, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss, dtype, score_case):
    case = score_case(17, (3, 8), "mask+group+weight")
    scores = case.scores.to(dtype)
    value, gradient = value_and_gradient(loss, scores, case.target, **case.options)
    exact, exact_gradient = value_and_gradient(loss, scores.float(), case.target, **case.options)
    assert value.dtype == torch.float32
    assert torch.equal(value, exact)
    assert gradient.dtype == dtype
    assert torch.equal(gradient, exact_gradient.to(dtype))


def test_float32_is_close_to_float64_and_each_stays_what_it_is(loss, score_case):
    case = score_case(18, (3, 8), "mask+group+weight")
    exact = loss(case.scores, case.target, **case.options)
    single = loss(case.scores.float(), case.target, **case.options)
    assert exact.dtype == torch.float64
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_large_scores_and_targets_stay_finite(loss, dtype):
    generator = torch.Generator().manual_seed(5)
    scores = (1e4 * torch.randn(4, 9, generator=generator)).to(dtype)
    scores[0, :2], scores[1, 3] = torch.tensor([6e4, -6e4], dtype=dtype), 0.0
    for target in (torch.randint(0, 3, (4, 9), generator=generator), 1e4 * torch.rand(4, 9, generator=generator)):
        value, gradient = value_and_gradient(loss, scores, target)
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_all_scores_equal_gives_a_finite_gradient(loss):
    value, gradient = value_and_gradient(loss, torch.zeros(3, 5), torch.tensor([0, 1, 1, 2, 0]).expand(3, 5))
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_targets_of_any_real_dtype(loss, score_case):
    case = score_case(19, (4, 6), grades=2)
    wanted = loss(case.scores, case.target)
    for dtype in (torch.bool, torch.uint8, torch.int32, torch.float16, torch.bfloat16, torch.float32, torch.float64):
        torch.testing.assert_close(loss(case.scores, case.target.to(dtype)), wanted)


def test_targets_are_compared_in_their_own_precision(loss):
    scores = torch.tensor([0.2, 0.1])
    for target in (torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64), torch.tensor([2**40, 2**40 + 1])):
        _, gradient = value_and_gradient(partial(loss, reduction="none"), scores, target)
        equal = value_and_gradient(loss, scores, torch.zeros(2))[1]
        assert (equal == 0).all()
        if loss in (ranking.hinge, ranking.logistic, ranking.listmle):
            assert gradient[1] < 0


def test_no_gradient_reaches_the_target(loss, score_case):
    case = score_case(20, (3, 5))
    target = case.target.double().requires_grad_()
    value = loss(case.scores.requires_grad_(), target)
    value.backward()
    assert target.grad is None
    assert not loss(case.scores.detach(), target).requires_grad


def test_nan_in_a_real_entry_is_passed_on_for_its_list_only(loss, score_case):
    case = score_case(21, (3, 5))
    case.target = torch.arange(5).expand(3, 5)
    scores = case.scores.clone()
    scores[1, 4] = torch.nan
    values = loss(scores, case.target, reduction="none")
    clean = loss(case.scores, case.target, reduction="none")
    assert values.isnan().tolist() == [False, True, False]
    torch.testing.assert_close(values[[0, 2]], clean[[0, 2]])
    assert loss(scores, case.target).isnan()


def test_layout_does_not_matter_and_input_is_left_alone(loss, score_case):
    case = score_case(22, (5, 6), "mask+weight+group")
    options = {name: tensor.T.contiguous().T for name, tensor in case.options.items()}
    before = case.scores.clone()
    got = loss(case.scores.T.contiguous().T, case.target.T.contiguous().T, **options)
    torch.testing.assert_close(got, loss(case.scores, case.target, **case.options), rtol=0, atol=0)
    assert torch.equal(case.scores, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": torch.zeros(2, 4)}, r"target: shape \(2, 4\) given, expected \(2, 3\)"),
        ({"target": [[1, 2, 3]] * 2}, "target: list given, expected a torch.Tensor"),
        ({"target": torch.zeros(2, 3, dtype=torch.complex64)}, "target: dtype torch.complex64 given"),
        ({"target": None}, "target: NoneType given"),
        ({"scores": torch.zeros(2, 3, dtype=torch.long)}, "scores: dtype torch.int64 given, expected a floating"),
        ({"scores": torch.tensor(1.0)}, r"scores: shape \(\) given, expected \(\.\.\., N\)"),
        ({"group": torch.zeros(2, 3)}, "group: dtype torch.float32 given, expected an integer dtype"),
        ({"group": torch.zeros(2, 3, dtype=torch.bool)}, "group: dtype torch.bool given, expected an integer dtype"),
        ({"group": torch.zeros(3, dtype=torch.long)}, r"group: shape \(3,\) given, expected \(2, 3\)"),
        ({"mask": torch.ones(2, 3)}, "mask: dtype torch.float32 given, expected torch.bool"),
        ({"mask": torch.ones(2, 1, dtype=torch.bool)}, r"mask: shape \(2, 1\) given, expected \(2, 3\)"),
        ({"weight": torch.ones(2)}, r"weight: shape \(2,\) given, expected \(2, 3\)"),
        ({"weight": torch.ones(2, 3, device="meta")}, "weight: lies on meta, expected cpu"),
        ({"reduction": "avg"}, "reduction: 'avg' given, expected one of 'mean', 'sum', 'none'"),
        ({"reduction": "summ"}, "did you mean 'sum'"),
        ({"pairs": "none"}, "pairs: 'none' given, expected one of 'mean', 'sum'"),
    ],
)
def test_wrong_input_is_named(loss, change, message):
    tensors = {"scores": torch.zeros(2, 3), "target": torch.zeros(2, 3)}
    with pytest.raises((ValueError, TypeError), match=message):
        loss(**{**tensors, **change})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(ranking.logistic, temperature=0.0), "temperature: 0.0 given, expected a number above 0"),
        (partial(ranking.mann_whitney, temperature=-1), "temperature: -1 given"),
        (partial(ranking.mann_whitney, surrogate="hing"), "surrogate: 'hing' given.*did you mean 'hinge'"),
        (partial(ranking.fidelity, scale=float("nan")), "scale: nan given"),
        (partial(ranking.fidelity, target_probability="thurston"), "did you mean 'thurstone'"),
        (partial(ranking.fidelity, tied_lists="drop"), "tied_lists: 'drop' given"),
        (partial(ranking.listmle, ties="random"), "ties: 'random' given, expected one of 'efron', 'order'"),
        (partial(ranking.lambda_ndcg, k=0), "k: 0 given, expected None or a whole number"),
        (partial(ranking.lambda_ndcg, gain="exp"), "gain: 'exp' given, expected one of 'exp2', 'linear'"),
        (partial(ranking.approx_ndcg, temperature=0), "temperature: 0 given"),
        (partial(ranking.confidence_ndcg, tied_lists="keeps"), "did you mean 'keep'"),
    ],
)
def test_wrong_options_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 3), torch.zeros(2, 3))
