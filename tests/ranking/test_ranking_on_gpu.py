"""Every loss and engine on a GPU against float64 on the processor: the losses are those that `zoo.ranking` offers.

ZOO_TEST_DEVICE=cpu runs the same on a processor.
"""

import inspect
import os
from functools import partial

import pytest
import torch

from zoo import ranking
from zoo.ranking import row_engines, smooth_pairs, tiles

DEVICE = os.environ.get("ZOO_TEST_DEVICE", "cuda")
gpu = pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="no GPU")

VARIANTS = {
    "hinge": [{}, {"margin": -0.3, "pairs": "sum"}],
    "mann_whitney": [{"surrogate": name} for name in ("logistic", "hinge", "squared_hinge", "sigmoid")],
    "fidelity": [{}, {"tied_lists": "keep"}, {"target_probability": "binary"}],
    "listmle": [{}, {"ties": "order"}],
    "lambda_ndcg": [{}, {"k": 3}],
    "approx_ndcg": [{"temperature": 0.5}],
    "confidence_ndcg": [{}, {"tied_lists": "keep"}],
    "triplet": [{"mining": name} for name in ("hardest", "semihard", "all")],
    "info_nce": [{"temperature": 0.1}],
    "sdm": [{"temperature": 0.1}],
    "smooth_ap": [{"temperature": 0.1}],
    "multi_similarity": [{}, {"beta": 10.0, "margin": float("inf")}],
    "threshold_consistent_margin": [{"positive_margin": 0.4, "negative_margin": -0.2}],
}


def functions(base):
    """Names of the functions behind all modules of a kind."""
    found = [getattr(ranking, name) for name in ranking.__all__]
    modules = [x for x in found if isinstance(x, type) and issubclass(x, base) and x is not base]
    return sorted(module.function.__name__ for module in modules)


def engines(loss, *empty):
    """Those that a loss has; None for one that has no choice."""
    if "engine" not in inspect.signature(loss).parameters:
        return [None]
    found = []
    for engine in ("dense", "sorted", "tiled"):
        try:
            loss(*empty, engine=engine)
        except ValueError:  # it has no such engine
            continue
        found.append(engine)
    return found


def cases(base, *empty):
    """Every loss with its options and every engine it has, by name."""
    found = {}
    for name in functions(base):
        for options in VARIANTS.get(name, [{}]):
            loss = partial(getattr(ranking, name), **options)
            for engine in engines(loss, *empty):
                words = [name, *map(str, options.values()), *([engine] if engine else [])]
                found[" ".join(words)] = partial(loss, engine=engine) if engine else loss, loss
    return found


SCORES = cases(ranking.ScoreLoss, torch.empty(0, 0), torch.empty(0, 0))
SIMILARITIES = cases(ranking.SimilarityLoss, torch.empty(0, 0), torch.empty(0, 0, dtype=torch.bool))
KINDS = {"cosine": ranking.Cosine, "dot": ranking.Dot, "euclidean": ranking.Euclidean}
EXACT = [("dot", torch.float64), ("euclidean", torch.float64)]
# of the largest entry; half-precision input is computed in float32, its gradient is rounded to the input's dtype
VALUE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 1e-5, torch.float16: 1e-5}
GRADIENT = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 5e-3, torch.float16: 1e-3}


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks so small that a test has several, whole and cut ones."""
    for module, names in (
        (tiles, {"ROWS": 5, "COLUMNS": 7, "WIDE_ROWS": 5, "WIDE_COLUMNS": 7}),
        (smooth_pairs, {"GROUP": 8}),
        (row_engines, {"LEAST_ROWS": 3, "MOST_ROWS": 4, "BLOCK": 12, "CUBIC_BLOCK": 40, "ON_GPU": 1}),
    ):
        for name, value in names.items():
            monkeypatch.setattr(module, name, value)


def on(device, options):
    return {name: x.to(device) if isinstance(x, torch.Tensor) else x for name, x in options.items()}


def slopes(value, tensors):
    """Of a sum that weighs every value differently."""
    share = torch.arange(1, value.numel() + 1, device=value.device, dtype=value.dtype).view(value.shape)
    return torch.autograd.grad((value * share).sum(), tensors)


def assert_close(found, expected, relative, name="value"):
    found, expected = found.detach().cpu().double(), expected.detach().double()
    assert found.shape == expected.shape
    if expected.numel():
        assert torch.equal(found.isnan(), expected.isnan()), name
        wrong = (found - expected).nan_to_num().abs().max()
        assert wrong <= relative * max(float(expected.nan_to_num().abs().max()), 1e-6), f"{name}: {wrong:.2g}"


def check_scores(losses, scores, target, dtype, device=DEVICE, looser=1.0, **options):
    """The loss on the device against the reference in float64 on the processor."""
    loss, plain = losses
    reference = partial(plain, engine="dense") if "engine" in inspect.signature(plain).parameters else plain
    leaf = scores.to(device=device, dtype=dtype).requires_grad_()
    exact = leaf.detach().cpu().double().requires_grad_()
    value = loss(leaf, target.to(device), **on(device, options))
    expected = reference(exact, target, **options)
    assert value.device.type == torch.device(device).type
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_close(value, expected, looser * VALUE[dtype])
    (gradient,), (wanted,) = slopes(value, [leaf]), slopes(expected, [exact])
    assert gradient.dtype == dtype
    assert_close(gradient, wanted, looser * GRADIENT[dtype], "gradient")


def check_similarities(losses, kind, tensors, positive, dtype, device=DEVICE, **options):
    """The same for a similarity loss of embeddings, or of a matrix."""
    leaves = [x.to(device=device, dtype=dtype).requires_grad_() for x in tensors]
    exact = [x.detach().cpu().double().requires_grad_() for x in leaves]
    make = KINDS.get(kind, lambda matrix: matrix)
    value = losses[0](make(*leaves), positive.to(device), **on(device, options))
    expected = losses[1](make(*exact), positive, engine="dense", **options)
    looser = 1.0 if kind == "matrix" else 20.0  # the matrix itself is rounded too
    assert value.device.type == torch.device(device).type
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_close(value, expected, looser * VALUE[dtype])
    for name, gradient, wanted in zip(
        ("first", "second"), slopes(value, leaves), slopes(expected, exact), strict=False
    ):
        assert gradient.dtype == dtype
        assert_close(gradient, wanted, max(looser * VALUE[dtype], GRADIENT[dtype]), f"{name} gradient")


def embeddings(seed, rows, gallery, features=5):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, features, generator=generator, dtype=torch.float64) for n in (rows, gallery)]


def test_every_loss_is_here():
    assert set(VARIANTS) <= {*functions(ranking.ScoreLoss), *functions(ranking.SimilarityLoss)}
    assert any(name.startswith("hinge") and name.endswith("tiled") for name in SCORES)
    assert any(name.startswith("triplet") and name.endswith("dense") for name in SIMILARITIES)


def test_the_checks_hold_on_a_processor(small_blocks, score_case, similarity_case):
    case = score_case(1, (3, 17), "mask+group+weight")
    check_scores(SCORES["hinge tiled"], case.scores, case.target, torch.float32, "cpu", **case.options)
    rows = similarity_case(1, 8, 11, "mask")
    check_similarities(
        SIMILARITIES["info_nce 0.1 tiled"], "cosine", embeddings(1, 8, 11), rows.positive, torch.float32, "cpu"
    )
    with pytest.raises(AssertionError, match="value"):
        check_scores((SCORES["hinge tiled"][0], ranking.logistic), case.scores, case.target, torch.float32, "cpu")


@gpu
@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("dtype", list(VALUE))
def test_scores(name, dtype, small_blocks, score_case):
    for seed, extras in enumerate(["", "mask", "group", "weight", "group+mask+weight"]):
        case = score_case(seed, (3, 17), extras)
        reduction = ("mean", "sum", "none")[seed % 3]
        check_scores(SCORES[name], case.scores, case.target, dtype, reduction=reduction, **case.options)


@gpu
@pytest.mark.parametrize("name", SCORES)
def test_ties_outliers_empties_and_what_does_not_count(name, score_case):
    losses = SCORES[name]
    case = score_case(7, (4, 33), "weight")
    tied = (case.scores * 4).round() / 4
    for scale in (1e-3, 1.0, 1e3):
        check_scores(losses, tied * scale, case.target, torch.float64, **case.options)
    outlier = case.scores.clone()
    outlier[0, 3], outlier[1, 5] = 1e6, -1e6
    check_scores(losses, outlier, case.target, torch.float64)
    check_scores(losses, case.scores, torch.ones_like(case.target), torch.float32, reduction="none")  # nothing to rank
    for shape in ((0, 5), (3, 0), (0, 0), (2, 1)):
        check_scores(losses, torch.zeros(shape), torch.zeros(shape, dtype=torch.long), torch.float32, reduction="none")
    mask = torch.arange(33).expand(4, 33) % 3 > 0
    dirty = torch.where(mask, case.scores, torch.nan)
    leaf = dirty.to(DEVICE).requires_grad_()
    value = losses[0](leaf, case.target.to(DEVICE), mask=mask.to(DEVICE))
    (gradient,) = torch.autograd.grad(value, leaf)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert (gradient.cpu()[~mask] == 0).all()


@gpu
@pytest.mark.parametrize("name", [name for name in SCORES if not name.endswith(" dense")])
def test_long_lists(name, score_case):
    """In blocks of their own size, against the same on the processor, which other tests hold against the dense form."""
    case, (loss, _) = score_case(8, (2, 1500), "", grades=5), SCORES[name]
    results = []
    for device, dtype in ((DEVICE, torch.float32), ("cpu", torch.float64)):
        leaf = case.scores.float().to(device=device, dtype=dtype).requires_grad_()
        value = loss(leaf, case.target.to(device))
        results.append((value, *torch.autograd.grad(value, leaf)))
    for found, expected in zip(*results, strict=True):
        assert_close(found, expected, 2e-5)


@gpu
@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize(("kind", "dtype"), [(kind, dtype) for kind in ("matrix", "cosine") for dtype in VALUE] + EXACT)
def test_similarities(name, kind, dtype, small_blocks, similarity_case):
    for seed, extras in enumerate(["", "mask", "weight", "mask+weight"]):
        case = similarity_case(seed, 8, 11, extras)
        tensors = [case.similarity] if kind == "matrix" else embeddings(seed, 8, 11)
        reduction = ("mean", "sum", "none")[seed % 3]
        check_similarities(SIMILARITIES[name], kind, tensors, case.positive, dtype, reduction=reduction, **case.options)


@gpu
@pytest.mark.parametrize("name", SIMILARITIES)
def test_rows_without_anything_to_rank_and_ids(name, similarity_case):
    losses, case = SIMILARITIES[name], similarity_case(5, 6, 9)
    for positive in (torch.ones(6, 9, dtype=torch.bool), torch.zeros(6, 9, dtype=torch.bool)):
        check_similarities(losses, "matrix", [case.similarity], positive, torch.float32, reduction="none")
    for rows, gallery in ((0, 4), (4, 0), (0, 0)):
        positive = torch.zeros(rows, gallery, dtype=torch.bool)
        check_similarities(losses, "cosine", embeddings(1, rows, gallery), positive, torch.float32, reduction="none")
    label, index = torch.arange(7, device=DEVICE) % 3, torch.arange(7, device=DEVICE)
    x = embeddings(6, 7, 7)[0].to(DEVICE).requires_grad_()
    found = losses[0](ranking.Cosine(x, x), ranking.Same(label, label), mask=ranking.Different(index, index))
    exact = x.detach().cpu().requires_grad_()
    host, others = label.cpu(), ~torch.eye(7, dtype=torch.bool)
    expected = losses[1](ranking.Cosine(exact, exact), host.unsqueeze(1) == host, mask=others, engine="dense")
    assert_close(found, expected, 1e-9)
    assert_close(*torch.autograd.grad(found, x), *torch.autograd.grad(expected, exact), 1e-8, "gradient")


@gpu
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("name", functions(ranking.SimilarityLoss))
def test_both_ways(name, dtype, relative, similarity_case):
    case, loss = similarity_case(9, 140, 99, "mask"), getattr(ranking, name)
    leaves = [tensor.to(device=DEVICE, dtype=dtype).requires_grad_() for tensor in embeddings(9, 140, 99)]
    exact = [tensor.detach().cpu().double().requires_grad_() for tensor in leaves]
    expected = ranking.both_ways(loss, ranking.Cosine(*exact), case.positive, engine="dense", **case.options)
    wanted = torch.autograd.grad(expected[0] + 2 * expected[1], exact)
    for engine in ("dense", "tiled"):
        found = ranking.both_ways(
            loss, ranking.Cosine(*leaves), case.positive.to(DEVICE), engine=engine, **on(DEVICE, case.options)
        )
        for ours, value in zip(found, expected, strict=True):
            assert_close(ours, value, relative)
        for ours, gradient in zip(torch.autograd.grad(found[0] + 2 * found[1], leaves), wanted, strict=True):
            assert_close(ours, gradient, relative, "gradient")


@gpu
@pytest.mark.parametrize("name", functions(ranking.SimilarityLoss))
def test_large_batches(name):
    """A batch of many classes against itself, in blocks of their own size, float32 against float64."""
    loss, label = getattr(ranking, name), torch.arange(600) // 4
    x = torch.randn(600, 64, generator=torch.Generator().manual_seed(2))
    results = []
    for device, dtype, engine in ((DEVICE, torch.float32, "tiled"), ("cpu", torch.float64, "auto")):
        leaf, ids = x.to(device=device, dtype=dtype).requires_grad_(), label.to(device)
        index = torch.arange(600, device=device)
        others = ranking.Different(index, index)
        value = loss(ranking.Cosine(leaf, leaf), ranking.Same(ids, ids), mask=others, engine=engine)
        results.append((value, *torch.autograd.grad(value, leaf)))
    for found, expected in zip(*results, strict=True):
        assert_close(found, expected, 2e-4)


@gpu
def test_second_derivatives_and_autocast(score_case):
    case = score_case(3, (2, 9))
    scores, target = case.scores.to(DEVICE).requires_grad_(), case.target.to(DEVICE)
    (gradient,) = torch.autograd.grad(ranking.hinge(scores, target, engine="tiled"), scores, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative; compute with engine='dense'"):
        gradient.sum().backward()
    label = torch.arange(8, device=DEVICE) // 2
    x = embeddings(4, 8, 8)[0].float().to(DEVICE)
    found = []
    for enabled in (False, True):
        with torch.autocast(DEVICE, torch.bfloat16, enabled=enabled):
            found.append(ranking.info_nce(ranking.Cosine(x, x), ranking.Same(label, label), engine="tiled"))
    assert found[0] == found[1]


@gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", ["hinge", "logistic", "listnet"])
def test_compiled(name, score_case):
    case, loss = score_case(6, (4, 33), "mask"), getattr(ranking, name)
    scores, mask = case.scores.float().to(DEVICE).requires_grad_(), case.options["mask"].to(DEVICE)
    found = []
    for work in (torch.compile(loss), loss):
        value = work(scores, case.target.to(DEVICE), mask=mask)
        found.append((value, *torch.autograd.grad(value, scores)))
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-7)
