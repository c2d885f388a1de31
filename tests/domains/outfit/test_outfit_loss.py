"""The objectives: the sheet's numbers, plain loops, and gradients."""

import pytest
import torch

from zoo.domains.outfit import focal_loss, in_batch_triplet, set_wise_loss
from zoo.domains.outfit.loss import batch_term, distances, focal_loss_with_logits, sampled_term
from zoo.ranking import InfoNCE, SetWise, Triplet

P, Y = torch.tensor([0.9, 0.2, 0.6, 0.35]), torch.tensor([1, 0, 0, 1])
QUERY = torch.tensor([[0.0, 0], [3, 0], [0, 5]])
ANSWER = torch.tensor([[1.0, 0], [3, 1], [0, 9]])
NEGATIVES = torch.tensor([[[2.0, 0], [0, 4]], [[3, 3], [7, 0]], [[0, 6], [1, 1]]])


@pytest.mark.parametrize(("variant", "expected"), [("legacy", 0.0792733431), ("corrected", 0.0979242250)])
def test_focal_numbers_of_the_sheet(variant, expected):
    assert focal_loss(P, Y, variant=variant).item() == pytest.approx(expected, abs=1e-8)
    assert focal_loss_with_logits(P.logit(), Y, variant=variant).item() == pytest.approx(expected, abs=1e-7)


def test_focal_equals_a_loop():
    total = 0.0
    for p, y in zip(P.tolist(), Y.tolist(), strict=True):
        right, weight = (p, 0.75) if y else (1 - p, 0.25)
        total -= weight * (1 - right) ** 1.5 * torch.log(torch.tensor(right)).item()
    assert focal_loss(P, Y, alpha=0.75, gamma=1.5).item() == pytest.approx(total / 4, rel=1e-6)


def test_a_confident_mistake_has_a_gradient():
    logits = torch.tensor([-120.0, 120.0], requires_grad=True)
    focal_loss_with_logits(logits, torch.tensor([1, 0])).backward()
    assert logits.grad.tolist() == pytest.approx([-0.25, 0.25])


def test_in_batch_triplet_number_of_the_sheet():
    assert in_batch_triplet(QUERY, ANSWER).item() == pytest.approx(0.6666667, abs=1e-6)
    assert batch_term(QUERY, ANSWER, torch.arange(3), Triplet(margin=2.0)).item() == pytest.approx(0.6666667, abs=1e-6)


def test_set_wise_number_of_the_sheet():
    assert set_wise_loss(QUERY, ANSWER, NEGATIVES).item() == pytest.approx(3.3128157, abs=1e-6)
    rows = [set_wise_loss(QUERY[i : i + 1], ANSWER[i : i + 1], NEGATIVES[i : i + 1]).item() for i in range(3)]
    assert rows == pytest.approx([0.5 + 1, 0.0, 3.438447 + 5], abs=1e-6)


def test_masked_negatives_do_not_count():
    mask = torch.tensor([[True, False], [True, True], [False, True]])
    kept = [NEGATIVES[0, :1], NEGATIVES[1], NEGATIVES[2, 1:]]
    rows = [set_wise_loss(q[None], a[None], n[None]) for q, a, n in zip(QUERY, ANSWER, kept, strict=True)]
    torch.testing.assert_close(set_wise_loss(QUERY, ANSWER, NEGATIVES, mask=mask), torch.stack(rows).mean())
    torch.testing.assert_close(sampled_term(QUERY, ANSWER, NEGATIVES, mask, SetWise()), torch.stack(rows).mean())


def test_another_querys_equal_answer_is_no_negative():
    keys = torch.tensor([4, 9, 4])
    answer = ANSWER.clone()
    answer[2] = answer[0]
    loss = Triplet(margin=2.0)
    first = torch.relu(3 - (QUERY[0] - answer[1]).norm())
    second = torch.relu(3 - (QUERY[1] - answer[0]).norm())
    third = torch.relu((QUERY[2] - answer[2]).norm() - (QUERY[2] - answer[1]).norm() + 2)
    expected = torch.stack([first, second, third]).mean()
    torch.testing.assert_close(batch_term(QUERY, answer, keys, loss), expected)
    released = batch_term(QUERY, answer, keys, loss, keep_duplicates=True)
    torch.testing.assert_close(released, in_batch_triplet(QUERY, answer))
    assert released > expected


@pytest.mark.parametrize("loss", [SetWise(), Triplet(mining="all"), InfoNCE(temperature=1.0)])
def test_any_similarity_loss_pulls_the_answer_nearer(loss):
    torch.manual_seed(0)
    query = QUERY.clone().requires_grad_(True)
    mask = torch.ones(3, 2, dtype=torch.bool)
    near = ANSWER + 4
    before = sampled_term(query, near, NEGATIVES, mask, loss)
    before.backward()
    with torch.no_grad():
        moved = query - 0.05 * query.grad
    assert sampled_term(moved, near, NEGATIVES, mask, loss) < before
    assert distances(moved[:1], near[:1]) < distances(query[:1], near[:1])


def test_distances_are_exact_and_finite_where_points_coincide():
    query = (torch.tensor([[1e3, 1.0]]) + torch.zeros(1, 2)).requires_grad_(True)
    items = torch.tensor([[1e3, 1.0], [1e3, 1.0 + 1e-3]])
    found = distances(query, items)
    torch.testing.assert_close(found, torch.tensor([[0.0, 1e-3]]), rtol=1e-3, atol=1e-9)
    (found.sum() + distances(query, items.unsqueeze(0)).sum()).backward()
    assert torch.isfinite(query.grad).all()


@pytest.mark.parametrize("junk", [float("nan"), float("inf"), 1e30])
def test_negatives_that_are_not_real_may_hold_anything(junk):
    generator = torch.Generator().manual_seed(0)
    query, positive = torch.randn(2, 3, 4, generator=generator).unbind()
    negatives, mask = torch.randn(3, 5, 4, generator=generator), torch.arange(5).expand(3, 5) < 3
    found = []
    for filler in (0.0, junk):
        q = query.clone().requires_grad_()
        value = set_wise_loss(q, positive, torch.where(mask[..., None], negatives, filler), mask=mask)
        found.append((value.detach(), *torch.autograd.grad(value, q)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
