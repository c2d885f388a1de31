"""The objective: the numbers of the sheet, plain loops, the released reductions, pairs left out."""

import pytest
import torch
from torch import nn

from zoo.domains.reid.loss import (
    TRL,
    batch_losses,
    objective,
    pair_losses,
    positive_pairs,
    released_positives,
    released_reduction,
)
from zoo.domains.reid.network import Embeddings, similarities
from zoo.errors import InputError
from zoo.ranking import SDM, InfoNCE, Triplet, TripletAlignment

S = torch.tensor([[0.50, 0.45, 0.30], [0.48, 0.52, 0.20], [0.35, 0.50, 0.55]])
DISTINCT, TWICE = torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1])


@pytest.mark.parametrize(
    ("ranking", "identity", "expected"),
    [
        (TripletAlignment(0.1, 0.015), DISTINCT, [0.1300032288, 0.1405258626, 0.0500007048]),
        (TripletAlignment(0.1, 0.015), TWICE, [0.0, 0.0806520954, 0.0500007048]),
        (TripletAlignment(0.2, 0.1), DISTINCT, [0.3742421865, 0.3933110535, 0.1701412946]),
        (TRL(0.1), DISTINCT, [0.13, 0.14, 0.05]),
        (SDM(1 / 50), TWICE, [0.5396844, 5.0118237, 1.1291031]),
        (InfoNCE(1 / 50), TWICE, [0.1962989, 0.2310129, 0.0394677]),
    ],
    ids=["TAL", "TAL twice", "TAL soft", "TRL", "SDM", "InfoNCE"],
)
def test_numbers_of_the_sheet(ranking, identity, expected):
    positive = positive_pairs(identity, released_positives(ranking))
    got = pair_losses(S, positive, ranking)
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-5, atol=2e-7)
    assert ranking.reduction == "mean"  # asked for rows, left as it was


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_hardest_negative_against_a_plain_loop(variant):
    torch.manual_seed(0)
    similarity, identity = 2 * torch.rand(6, 6) - 1.4, torch.tensor([0, 1, 1, 2, 3, 3])  # mostly negative numbers
    positive = positive_pairs(identity, "identity")

    def direction(s, p):
        values = []
        for row, own in zip(s, p, strict=True):
            alpha = (row[own] / 0.015).softmax(0)
            hardest = row[~own].max()
            hardest = max(hardest.item(), 0.0) if variant == "official" else hardest.item()
            values.append(max(0.0, 0.1 - (alpha * row[own]).sum().item() + hardest))
        return torch.tensor(values)

    expected = direction(similarity, positive) + direction(similarity.T, positive.T)
    torch.testing.assert_close(pair_losses(similarity, positive, TRL(variant=variant)), expected)


def test_hardest_negative_pulls_only_through_positive_and_hardest():
    similarity = S.clone().requires_grad_()
    TRL(reduction="sum")(similarity, torch.eye(3, dtype=torch.bool)).backward()
    expected = torch.tensor([[-1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
    torch.testing.assert_close(similarity.grad, expected)


def test_nothing_to_rank_is_worth_nothing():
    one = torch.tensor([[0.3]])
    assert TRL()(one, torch.ones(1, 1, dtype=torch.bool)) == 0
    assert pair_losses(S, torch.ones(3, 3, dtype=torch.bool), TripletAlignment()).tolist() == [0, 0, 0]
    assert TRL()(S, torch.eye(3, dtype=torch.bool), mask=torch.eye(3, dtype=torch.bool)) == 0


def test_wrong_variant_is_named():
    with pytest.raises(ValueError, match="variant: 'ours' given, expected 'official' or 'paper'"):
        TRL(variant="ours")


def test_released_reductions_and_positives():
    assert [released_reduction(loss) for loss in (TripletAlignment(), TRL(), Triplet(), SDM(), InfoNCE())] == [
        "sum", "sum", "sum", "mean", "mean",
    ]  # fmt: skip
    assert [released_positives(loss) for loss in (TripletAlignment(), SDM(), InfoNCE())] == [
        "identity", "identity", "pair",
    ]  # fmt: skip
    losses, kept = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 0.0, 1.0])
    assert objective(losses, kept, "sum") == 5
    assert objective(losses, kept, "mean") == 2.5
    assert objective(losses, torch.zeros(3), "mean") == 0


def test_a_pair_left_out_still_is_a_negative_of_the_others():
    torch.manual_seed(0)
    images, texts = (Embeddings(torch.randn(4, 8, requires_grad=True), torch.randn(4, 8)) for _ in range(2))
    bge, tse = batch_losses(images, texts, torch.arange(4), TripletAlignment(), "identity")
    kept = torch.tensor([1.0, 0.0, 1.0, 1.0])
    objective(bge + tse, kept, "sum").backward()
    assert images.bge.grad[1].abs().sum() > 0
    alone = pair_losses(
        torch.nn.functional.normalize(texts.bge[[0, 2, 3]]) @ torch.nn.functional.normalize(images.bge[[0, 2, 3]]).T,
        torch.eye(3, dtype=torch.bool),
        TripletAlignment(),
    )
    assert not torch.allclose(alone, bge[[0, 2, 3]])


def test_embeddings_of_any_length_cost_the_same():
    torch.manual_seed(0)
    images, texts = (Embeddings(torch.randn(4, 8), torch.randn(4, 6)) for _ in range(2))
    longer = Embeddings(7 * images.bge, 0.2 * images.tse)
    one, two = (batch_losses(i, texts, torch.arange(4), TripletAlignment(), "identity") for i in (images, longer))
    torch.testing.assert_close(one, two)


def test_mixed_precision_changes_no_loss_and_no_similarity():
    """Under autocast a product has 8 bits: 0.004 of a cosine, a quarter of the temperature."""
    torch.manual_seed(0)
    images, texts = (Embeddings(torch.randn(8, 32), torch.randn(8, 24)) for _ in range(2))
    wanted = *batch_losses(images, texts, torch.arange(8), TripletAlignment(), "identity"), *similarities(images, texts)
    with torch.autocast("cpu", torch.bfloat16):
        found = (
            *batch_losses(images, texts, torch.arange(8), TripletAlignment(), "identity"),
            *similarities(images, texts),
        )
    assert all(torch.equal(one, two) and two.dtype == torch.float32 for one, two in zip(wanted, found, strict=True))


def test_a_loss_without_rows_is_an_error():
    class Scalar(nn.Module):
        def forward(self, similarity, positive):
            return similarity.sum()

    with pytest.raises(InputError, match=r"model.ranking: Scalar gives shape \(\), a value per row is needed"):
        pair_losses(S, torch.eye(3, dtype=torch.bool), Scalar())
