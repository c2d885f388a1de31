"""Blocks of rows give the value and the gradient of the dense form, from a matrix and from embeddings."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo import ranking
from zoo.ranking import row_engines

LOSSES = {
    "triplet": ranking.triplet,
    "triplet all": partial(ranking.triplet, mining="all"),
    "triplet semihard": partial(ranking.triplet, mining="semihard"),
    "triplet_alignment": ranking.triplet_alignment,
    "set_wise": ranking.set_wise,
    "info_nce": partial(ranking.info_nce, temperature=0.1),
    "sdm": partial(ranking.sdm, temperature=0.1),
    "multi_similarity": ranking.multi_similarity,
    "multi_similarity wide": partial(ranking.multi_similarity, beta=10.0, margin=math.inf),
    "smooth_ap": partial(ranking.smooth_ap, temperature=0.1),
    "thresholds": partial(ranking.threshold_consistent_margin, positive_margin=0.4, negative_margin=-0.2),
}
KINDS = {"matrix": None, "cosine": ranking.Cosine, "dot": ranking.Dot, "euclidean": ranking.Euclidean}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks small enough that a test has several, whole and cut ones."""
    monkeypatch.setattr(row_engines, "LEAST_ROWS", 3)
    monkeypatch.setattr(row_engines, "BLOCK", 12)
    monkeypatch.setattr(row_engines, "CUBIC_BLOCK", 40)


@pytest.fixture(params=LOSSES)
def loss(request):
    return LOSSES[request.param]


def embeddings(seed, rows, gallery, features=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(n, features, generator=generator, dtype=torch.float64) for n in (rows, gallery)]
    return [x.to(dtype).requires_grad_() for x in made]


def value_and_gradients(loss, kind, tensors, positive, **options):
    similarity = tensors[0] if KINDS[kind] is None else KINDS[kind](*tensors)
    value = loss(similarity, positive, **options)
    share = torch.arange(1.0, value.numel() + 1, dtype=value.dtype).view(value.shape)
    return value.detach(), *torch.autograd.grad((value * share).sum(), tensors)


def assert_equal(loss, kind, tensors, positive, relative, **options):
    """Value and gradients, each relative to its largest entry."""
    for found, expected in zip(
        value_and_gradients(partial(loss, engine="tiled"), kind, tensors, positive, **options),
        value_and_gradients(partial(loss, engine="dense"), kind, tensors, positive, **options),
        strict=True,
    ):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        assert (found - expected).abs().max() <= relative * max(float(expected.abs().max()), 1e-9)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("extras", ["", "mask+weight"])
@pytest.mark.parametrize("kind", KINDS)
def test_tiled_equals_dense(loss, kind, extras, reduction, similarity_case):
    for seed, (rows, gallery) in enumerate([(8, 11), (1, 2)]):
        case = similarity_case(seed, rows, gallery, extras)
        tensors = [case.similarity.requires_grad_()] if kind == "matrix" else embeddings(seed, rows, gallery)
        assert_equal(loss, kind, tensors, case.positive, 1e-10, reduction=reduction, **case.options)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_scales_ties_and_outliers(loss, scale, similarity_case):
    case = similarity_case(3, 9, 14, "mask")
    tied = (case.similarity * 4).round() / 4
    one_out = case.similarity.clone()
    one_out[2, 3], one_out[4, 1] = 1e6, -1e6
    for dtype, relative in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        for similarity in (case.similarity, tied, one_out):
            leaf = (similarity * scale).to(dtype).requires_grad_()
            assert_equal(loss, "matrix", [leaf], case.positive, relative, **case.options)


def test_relevances():
    generator = torch.Generator().manual_seed(4)
    relevance = (3 * torch.rand(8, 11, generator=generator) - 2).clamp(min=0)
    mask = torch.rand(8, 11, generator=generator) < 0.8
    for kind in ("matrix", "cosine"):
        tensors = [torch.randn(8, 11).double().requires_grad_()] if kind == "matrix" else embeddings(5, 8, 11)
        assert_equal(LOSSES["smooth_ap"], kind, tensors, relevance, 1e-10, mask=mask)


@pytest.mark.parametrize("engine", ["dense", "tiled"])
def test_ids_stand_for_matrices(loss, engine):
    label, index = torch.tensor([0, 1, 0, 2, 1, 0, 2]), torch.arange(7)
    (x, _) = embeddings(6, 7, 7)
    found = loss(ranking.Cosine(x, x), ranking.Same(label, label), mask=ranking.Different(index, index), engine=engine)
    unit = torch.nn.functional.normalize(x, dim=1)
    similarity, positive = unit @ unit.T, label.unsqueeze(1) == label
    expected = loss(similarity, positive, mask=~torch.eye(7, dtype=torch.bool), engine="dense")
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(torch.autograd.grad(found, x), torch.autograd.grad(expected, x), rtol=1e-8, atol=1e-12)
    turned = loss(ranking.Cosine(x, x[:5]).T, ranking.Same(label, label[:5]).T, engine=engine)
    torch.testing.assert_close(turned, loss(similarity[:5], positive[:5]), rtol=1e-10, atol=0)


def test_half_precision_embeddings_are_compared_in_float32(loss):
    label = torch.arange(9) % 3
    for dtype in (torch.bfloat16, torch.float16):
        tensors = embeddings(7, 9, 9, dtype=dtype)
        value, *gradients = value_and_gradients(
            partial(loss, engine="tiled"), "cosine", tensors, ranking.Same(label, label)
        )
        wide = [x.detach().float().requires_grad_() for x in tensors]
        with torch.autocast("cpu", torch.bfloat16):
            exact, *expected = value_and_gradients(
                partial(loss, engine="dense"), "cosine", wide, label == label[:, None]
            )
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact, rtol=1e-5, atol=1e-6)
        for found, gradient in zip(gradients, expected, strict=True):
            assert found.dtype == dtype
            torch.testing.assert_close(found.float(), gradient, rtol=0.02, atol=0.01 * float(gradient.abs().max()))


def test_gradients_of_a_row_weight(loss, similarity_case):
    case = similarity_case(8, 7, 6, "weight")
    for kind in ("matrix", "cosine"):
        tensors = [case.similarity] if kind == "matrix" else [x.detach() for x in embeddings(8, 7, 6)]
        both = []
        for engine in ("tiled", "dense"):
            weight = case.options["weight"].clone().requires_grad_()
            similarity = tensors[0] if kind == "matrix" else ranking.Cosine(*tensors)
            both += torch.autograd.grad(loss(similarity, case.positive, weight=weight, engine=engine), weight)
        torch.testing.assert_close(*both, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["matrix", "cosine"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_second_derivative_is_refused(loss, kind, reduction, similarity_case):
    case = similarity_case(9, 6, 8)
    tensors = [case.similarity.requires_grad_()] if kind == "matrix" else embeddings(9, 6, 8)
    similarity = tensors[0] if kind == "matrix" else ranking.Cosine(*tensors)
    value = loss(similarity, case.positive, reduction=reduction, engine="tiled").sum()
    gradients = torch.autograd.grad(value, tensors, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative; compute with engine='dense'"):
        sum(g.sum() for g in gradients).backward()


def test_what_does_not_count_may_hold_anything(loss, similarity_case):
    case = similarity_case(2, 7, 6, "mask+weight")
    real = case.options["mask"] & (case.options["weight"] != 0).unsqueeze(1)
    loss = partial(loss, engine="tiled")
    clean = value_and_gradients(loss, "matrix", [case.similarity.requires_grad_()], case.positive, **case.options)
    for junk in (torch.nan, torch.inf, -torch.inf, 1e30):
        dirty = case.similarity.detach().where(real, junk).requires_grad_()
        found = value_and_gradients(loss, "matrix", [dirty], case.positive, **case.options)
        torch.testing.assert_close(found, clean, rtol=0, atol=0)
        assert (found[1][~real] == 0).all()


def test_a_nan_stays_in_its_row_and_all_rows_may_be_empty(loss):
    positive = torch.arange(5).expand(9, 5) < 2
    similarity = torch.randn(9, 5, generator=torch.Generator().manual_seed(1)).double()
    similarity[4, 0] = torch.nan
    leaf = similarity.requires_grad_()
    values, gradient = value_and_gradients(partial(loss, engine="tiled"), "matrix", [leaf], positive, reduction="none")
    assert values.isnan().nonzero().tolist() == [[4]]
    assert gradient[torch.arange(9) != 4].isfinite().all()
    for kind in ("matrix", "cosine"):
        tensors = [torch.randn(9, 5).requires_grad_()] if kind == "matrix" else embeddings(1, 9, 5)
        value, *gradients = value_and_gradients(
            partial(loss, engine="tiled"), kind, tensors, torch.ones(9, 5, dtype=torch.bool)
        )
        assert value == 0
        assert all((g == 0).all() for g in gradients)


SOFTMAX = {
    "info_nce": partial(ranking.info_nce, temperature=0.1),
    "sdm": partial(ranking.sdm, temperature=0.1),
    "triplet_alignment": partial(ranking.triplet_alignment, temperature=0.05),
    "module": ranking.TripletAlignment(margin=0.4, temperature=0.2, reduction="none"),
    "other": partial(ranking.triplet, margin=0.4),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", SOFTMAX)
def test_both_ways_are_two_calls(name, kind, masked, similarity_case):
    loss = SOFTMAX[name]
    case = similarity_case(12, 8, 11, "mask" if masked else "")
    positive, mask = case.positive.clone(), case.options.get("mask")
    positive[2], positive[:, 4], positive[5] = False, False, True  # nothing to rank in these
    for scale, reduction in ((1.0, "mean"), (40.0, "none")):
        options = {} if isinstance(loss, torch.nn.Module) else {"reduction": reduction}
        found = []
        for engine in ("tiled", "dense"):
            tensors = embeddings(12, 8, 11)
            similarity = KINDS[kind](*(scale * x for x in tensors))
            with ranking.use_engine(engine):
                values = ranking.both_ways(loss, similarity, positive, mask=mask, **options)
            total = sum((v * torch.arange(1, v.numel() + 1).view(v.shape)).sum() for v in values)
            found.append([*values, *torch.autograd.grad(total, tensors)])
        for tiled, dense in zip(*found, strict=True):
            assert tiled.shape == dense.shape
            torch.testing.assert_close(
                tiled, dense, rtol=1e-9, atol=1e-9 * max(float(dense.detach().abs().max()), 1e-3)
            )


def test_both_ways_takes_two_exponentials_where_one_is_not_enough():
    """One column far above all others: an exponential by the highest of all would leave nothing of the rest."""
    x, y = torch.eye(6), torch.eye(6)
    y[0] *= 1e4
    value = ranking.both_ways(ranking.info_nce, ranking.Dot(x, y), torch.eye(6, dtype=torch.bool), engine="tiled")
    exact = ranking.both_ways(ranking.info_nce, x @ y.T, torch.eye(6, dtype=torch.bool), engine="dense")
    torch.testing.assert_close(value, exact)


def test_both_ways_of_a_matrix_and_wrong_options(similarity_case):
    case = similarity_case(13, 5, 7)
    found = ranking.both_ways(ranking.sdm, case.similarity, case.positive, temperature=0.2)
    assert found[0] == ranking.sdm(case.similarity, case.positive, temperature=0.2)
    assert found[1] == ranking.sdm(case.similarity.T, case.positive.T, temperature=0.2)
    with pytest.raises(TypeError, match="margin"):
        ranking.both_ways(ranking.sdm, ranking.Dot(*embeddings(1, 5, 7)), case.positive, margin=1.0, engine="tiled")


def test_thresholds_equal_an_explicit_loop(similarity_case):
    case = similarity_case(14, 6, 7, "mask+weight")
    weight, mask = case.options["weight"], case.options["mask"]
    sums, counts = [0.0, 0.0], [0.0, 0.0]
    for i in range(6):
        real = [j for j in range(7) if mask[i, j]]
        if not weight[i] or len({bool(case.positive[i, j]) for j in real}) < 2:
            continue
        for j in real:
            s, side = float(case.similarity[i, j]), 0 if case.positive[i, j] else 1
            if (s <= 0.3) if side == 0 else (s >= -0.1):
                sums[side] += float(weight[i]) * (0.3 - s if side == 0 else s + 0.1)
                counts[side] += float(weight[i])
    expected = torch.tensor(sums[0] / counts[0] + sums[1] / counts[1], dtype=torch.float64)
    for engine in ("dense", "tiled"):
        found = ranking.threshold_consistent_margin(
            case.similarity, case.positive, positive_margin=0.3, negative_margin=-0.1, engine=engine, **case.options
        )
        torch.testing.assert_close(found, expected)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_rows(data):
    name = data.draw(st.sampled_from(sorted(LOSSES)))
    rows, gallery = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    cells = rows * gallery
    levels = data.draw(st.lists(st.integers(-4, 4), min_size=cells, max_size=cells))
    positive = data.draw(st.lists(st.booleans(), min_size=cells, max_size=cells))
    mask = data.draw(st.lists(st.booleans(), min_size=cells, max_size=cells))
    leaf = (torch.tensor(levels).double().view(rows, gallery) / 4).requires_grad_()
    positive, mask = (torch.tensor(x).view(rows, gallery) for x in (positive, mask))
    assert_equal(LOSSES[name], "matrix", [leaf], positive, 1e-10, mask=mask)


@pytest.mark.parametrize("name", ["triplet_alignment", "smooth_ap"])
def test_compiled_values_and_gradients_are_the_same(name):
    label, index = torch.arange(8) % 3, torch.arange(8)
    (x, _) = embeddings(10, 8, 1)

    def value(x):
        return LOSSES[name](ranking.Cosine(x, x), ranking.Same(label, label), mask=ranking.Different(index, index))

    found, expected = torch.compile(value, backend="eager")(x), value(x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, x), torch.autograd.grad(expected, x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ranking.Cosine(torch.zeros(3), torch.zeros(2, 3)), r"queries: shape \(3,\) given, expected \(n, D\)"),
        (lambda: ranking.Dot(torch.zeros(2, 3), torch.zeros(2, 4)), "gallery: 4 features given, expected 3"),
        (lambda: ranking.Dot(torch.zeros(2, 3), torch.zeros(2, 3).double()), "gallery: dtype torch.float64 given"),
        (lambda: ranking.Dot(torch.zeros(2, 3), torch.zeros(2, 3, device="meta")), "gallery: lies on meta"),
        (lambda: ranking.Cosine(torch.zeros(2, 3).long(), torch.zeros(2, 3)), "queries: dtype torch.int64 given"),
        (lambda: ranking.Same(torch.zeros(2, 2), torch.zeros(2)), r"queries: shape \(2, 2\) given, expected \(n,\)"),
        (lambda: ranking.Same(torch.zeros(2), torch.zeros(2).long()), "gallery: dtype torch.int64 given"),
        (lambda: ranking.Same([1, 2], torch.zeros(2)), "queries: list given, expected a torch.Tensor of ids"),
    ],
)
def test_wrong_embeddings_and_ids_are_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_what_does_not_fit_together_is_named():
    similarity = ranking.Cosine(torch.zeros(2, 3), torch.zeros(4, 3))
    ids = torch.arange(4)
    with pytest.raises(ValueError, match=r"positive: shape \(4, 4\) given, expected \(2, 4\)"):
        ranking.info_nce(similarity, ranking.Same(ids, ids))
    with pytest.raises(ValueError, match=r"positive: shape \(2, 3\) given, expected \(2, 4\)"):
        ranking.info_nce(similarity, torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="engine: 'sorted' given, expected one of 'auto', 'dense', 'tiled'"):
        ranking.info_nce(similarity, ranking.Same(ids[:2], ids), engine="sorted")
