"""The objective: the sheet's numbers, an explicit loop, every loss of the core, regression, batches without a pair."""

import math

import pytest
import torch

import zoo.ranking
from zoo.domains.quality import L1, L2, PLCC, objective
from zoo.domains.quality.loss import paper_loss
from zoo.errors import InputError
from zoo.ranking import Fidelity, ScoreLoss

SCORE_LOSSES = [
    value
    for name in zoo.ranking.__all__
    if isinstance(value := getattr(zoo.ranking, name), type) and issubclass(value, ScoreLoss) and value is not ScoreLoss
]


def phi(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def fidelity_of(q: float, m: float) -> float:
    """The sheet's formula for one pair."""
    p, g = phi(q), phi(m)
    return 1 - math.sqrt(p * g + 1e-8) - math.sqrt((1 - p) * (1 - g) + 1e-8)


@pytest.mark.parametrize("loss", [L1(), L2(), PLCC(), PLCC("scene")])
@pytest.mark.parametrize("junk", [math.nan, math.inf, 1e30])
def test_what_is_masked_may_hold_anything(loss, junk):
    generator = torch.Generator().manual_seed(0)
    scores, target = torch.randn(2, 6, dtype=torch.float64, generator=generator).unbind()
    scene = torch.tensor([0, 0, 0, 1, 1, 1])
    short = scores.clone().requires_grad_()
    first = loss(short, target, group=scene)
    filled = torch.cat([scores, torch.full((2,), junk)]).requires_grad_()
    more = torch.cat([target, torch.full((2,), junk)]), torch.cat([scene, torch.tensor([0, 2])])
    for what in ({"mask": torch.arange(8) < 6}, {"weight": (torch.arange(8) < 6).double()}):
        value = loss(filled, more[0], group=more[1], **what)
        torch.testing.assert_close(value, first)
        (slope,) = torch.autograd.grad(value, filled)
        torch.testing.assert_close(
            slope, torch.cat([torch.autograd.grad(first, short, retain_graph=True)[0], torch.zeros(2)])
        )
    assert loss(filled, more[0], group=more[1], mask=torch.zeros(8, dtype=torch.bool)) == 0


def test_a_correlation_does_not_see_the_scale_of_the_scores():
    generator = torch.Generator().manual_seed(0)
    scores, target = torch.randn(2, 6, generator=generator).unbind()
    torch.testing.assert_close(PLCC()(1e30 * scores, target), PLCC()(scores, target))


def test_the_sheets_pairs():
    first = torch.tensor([0.3, 1.2, -0.7, 2.0], requires_grad=True)
    second = torch.tensor([0.1, 1.5, -0.7, -1.0], requires_grad=True)
    target = torch.tensor([1.0, 0.2, -3.9, 4.0, 0.0, 0.9, -3.9, -6.0])
    pair = torch.tensor([[row, row + 4] for row in range(4)])
    loss = objective(paper_loss(), torch.cat([first, second]), target, torch.zeros(8, dtype=torch.int64), pair)
    assert loss.item() == pytest.approx(0.01391114, abs=1e-7)
    loss.backward()
    expected = torch.tensor([-0.02889328, 0.01486542, 0.0, -0.00055436])
    torch.testing.assert_close(first.grad, expected, atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(second.grad, -expected, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize(("score", "label", "expected"), [(8.0, 9.0, -0.00010002), (9.0, -9.0, 0.99980003)])
def test_the_sheets_saturated_pairs(score, label, expected):
    scores = torch.tensor([score, 0.0], requires_grad=True)
    loss = objective(paper_loss(), scores, torch.tensor([label, 0.0]), torch.zeros(2, dtype=torch.int64))
    assert loss.item() == pytest.approx(expected, abs=2e-7)
    loss.backward()
    assert scores.grad.abs().max() < 1e-10


def test_all_pairs_of_a_scene_count_and_scenes_never_mix():
    generator = torch.Generator().manual_seed(0)
    scores, target = torch.randn(9, generator=generator), torch.randn(9, generator=generator) * 2
    scene = torch.tensor([7, 3, 7, 3, 3, 7, 1, 3, 7])  # scene 1 has one image: nothing to compare
    by_scene = []
    for name in (7, 3):
        rows = [row for row in range(9) if scene[row] == name]
        costs = [fidelity_of(float(scores[i] - scores[j]), float(target[i] - target[j]))
                 for place, i in enumerate(rows) for j in rows[place + 1 :]]  # fmt: skip
        by_scene.append(sum(costs) / len(costs))
    found = objective(paper_loss(), scores, target, scene)
    assert found.item() == pytest.approx(sum(by_scene) / 2, abs=1e-6)
    shifted = torch.where(scene == 7, target + 100, target)
    assert objective(paper_loss(), scores, shifted, scene).item() == pytest.approx(found.item(), abs=1e-5)


def test_a_pair_with_itself_costs_nothing_but_counts():
    scores, target = torch.tensor([0.3, 0.1, -0.7]), torch.tensor([1.0, 0.0, 2.0])
    scene = torch.zeros(3, dtype=torch.int64)
    one = objective(paper_loss(), scores, target, scene, torch.tensor([[0, 1]]))
    both = objective(paper_loss(), scores, target, scene, torch.tensor([[0, 1], [2, 2]]))
    assert both.item() == pytest.approx(one.item() / 2, abs=1e-7)


@pytest.mark.parametrize("loss", SCORE_LOSSES)
@pytest.mark.parametrize("plan", ["scene", "pair"])
def test_every_loss_of_the_core_prefers_the_right_order(loss, plan):
    target = torch.tensor([4.0, 3.0, 2.0, 1.0, 9.0, 8.0])
    scene = torch.tensor([0, 0, 0, 0, 1, 1])
    pair = torch.tensor([[0, 1], [3, 2], [4, 5]]) if plan == "pair" else None
    values = []
    for direction in (1.0, -1.0):
        scores = (direction * target / 4).requires_grad_()
        value = objective(loss(), scores, target, scene, pair)
        value.backward()
        assert torch.isfinite(scores.grad).all()
        values.append(value.item())
    # its discounts favour the first document of a list by gain; of two items lambdas of NDCG still do
    assert values[0] < values[1], f"{loss.__name__}: {values}"


def test_regression_looks_at_all_images_alike():
    scores, target = torch.tensor([1.0, 2.0, 4.0, 0.0]), torch.tensor([0.0, 2.0, 1.0, -1.0])
    scene = torch.arange(4)  # no two of one scene: regression does not mind
    assert objective(L1(), scores, target, scene).item() == pytest.approx((1 + 0 + 3 + 1) / 4)
    assert objective(L2(), scores, target, scene).item() == pytest.approx((1 + 0 + 9 + 1) / 4)
    correlation = torch.corrcoef(torch.stack([scores, target]))[0, 1].item()
    assert objective(PLCC(), scores, target, scene).item() == pytest.approx((1 - correlation) / 2, abs=1e-6)


def test_regression_takes_masks_and_weights():
    scores, target = torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.0, 0.0, float("nan")]])
    mask = torch.tensor([[True, True, False]])
    assert L1()(scores, target, mask=mask).item() == pytest.approx(1.5)
    assert L2()(scores, target, mask=mask, weight=torch.tensor([[3.0, 1.0, 1.0]])).item() == pytest.approx(7 / 4)
    assert L1()(scores, target, mask=~mask & False).item() == 0
    three, labels = torch.tensor([1.0, 2.0, 9.0]), torch.tensor([1.0, 2.0, -7.0])
    assert PLCC()(three, labels, mask=torch.tensor([True, True, False])).item() == pytest.approx(0, abs=1e-6)


def test_plcc_within_scenes():
    target = torch.tensor([1.0, 2.0, 3.0, 30.0, 20.0, 10.0])
    scores = torch.tensor([0.1, 0.2, 0.3, 0.6, 0.4, 0.2])
    scene = torch.tensor([0, 0, 0, 1, 1, 1])
    assert objective(PLCC("scene"), scores, target, scene).item() == pytest.approx(0, abs=1e-5)
    assert objective(PLCC("batch"), scores, target, scene).item() > 0.02
    with pytest.raises(ValueError, match="within: 'group' given, expected 'batch' or 'scene'"):
        PLCC("group")


def test_plcc_lives_where_nothing_varies():
    scores = torch.full((4,), 0.5, requires_grad=True)
    loss = PLCC()(scores, torch.tensor([1.0, 2.0, 3.0, 4.0]))
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert torch.isfinite(scores.grad).all()
    assert scores.grad.abs().max() > 0
    scores.grad = None
    flat = PLCC()(scores, torch.ones(4))
    flat.backward()
    assert flat.item() == 0
    assert scores.grad.abs().max() == 0


def test_a_batch_without_a_pair_is_refused():
    with pytest.raises(InputError) as caught:
        objective(paper_loss(), torch.zeros(3), torch.arange(3.0), torch.tensor([4, 5, 6]))
    assert str(caught.value) == (
        "a batch needs two images of one scene to rank, this one has 3 images of 3 scenes; "
        "use data.pairs csv or epoch, or a larger data.batch_size"
    )


def test_the_default_is_the_papers():
    loss = paper_loss()
    assert isinstance(loss, Fidelity)
    assert loss.options() == {"target_probability": "thurstone", "scale": 1.0, "tied_lists": "keep", "pairs": "mean",
                              "reduction": "mean", "engine": "auto"}  # fmt: skip
