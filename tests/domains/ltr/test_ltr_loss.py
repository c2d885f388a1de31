"""The objective: regression by a loop, ranking as the core's loss, padding, nothing to rank."""

import pytest
import torch

import zoo.ranking
from zoo.domains.ltr import objective
from zoo.ranking import ScoreLoss

SCORE_LOSSES = [
    value
    for name in zoo.ranking.__all__
    if isinstance(value := getattr(zoo.ranking, name), type) and issubclass(value, ScoreLoss) and value is not ScoreLoss
]


def queries() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    target = torch.tensor([[0, 2, 1, 0, 1, 0], [0, 1, 0, 2, 2, 2], [2, 2, 0, 1, 0, 0], [1, 0, 0, 0, 0, 2]])
    mask = torch.arange(6) < torch.tensor([6, 3, 4, 5]).unsqueeze(1)
    return scores, target, mask


def test_regression_is_the_mean_over_documents():
    scores, target, mask = queries()
    squares = [
        (float(scores[row, column]) - int(target[row, column])) ** 2
        for row in range(4)
        for column in range(6)
        if mask[row, column]
    ]
    assert float(objective(scores, target, mask)) == pytest.approx(sum(squares) / 18, abs=1e-12)


def test_ranking_is_the_mean_over_queries():
    scores, target, mask = queries()
    hinge = zoo.ranking.Hinge(margin=0.5)
    values = []
    for row, size in enumerate((6, 3, 4, 5)):
        s, t = scores[row, :size].tolist(), target[row, :size].tolist()
        costs = [max(0.0, 0.5 - (s[i] - s[j])) for i in range(size) for j in range(size) if t[i] > t[j]]
        values.append(sum(costs) / len(costs))
    assert float(objective(scores, target, mask, hinge)) == pytest.approx(sum(values) / 4, abs=1e-12)


@pytest.mark.parametrize("loss", [None, *SCORE_LOSSES])
def test_padding_changes_nothing(loss):
    scores, target, mask = queries()
    ranking = None if loss is None else loss()
    short, long = scores.clone().requires_grad_(), torch.cat([scores, torch.full((4, 3), torch.nan)], 1)
    long = long.requires_grad_()
    first = objective(short, target, mask, ranking)
    second = objective(
        long,
        torch.cat([target, torch.full((4, 3), 9)], 1),
        torch.cat([mask, torch.zeros(4, 3, dtype=torch.bool)], 1),
        ranking,
    )
    first.backward()
    second.backward()
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(long.grad[:, :6], short.grad)
    assert not long.grad[:, 6:].any()


@pytest.mark.parametrize("loss", SCORE_LOSSES)
def test_queries_without_a_relevant_document_teach_nothing(loss):
    scores, _, mask = queries()
    scores = scores.requires_grad_()
    value = objective(scores, torch.zeros_like(mask, dtype=torch.int64), mask, loss())
    value.backward()
    assert value == 0
    assert not scores.grad.any()


def test_queries_without_a_document_teach_nothing():
    scores, target, mask = queries()
    assert objective(scores, target, mask & False) == 0


def test_every_score_loss_is_here():
    assert len(SCORE_LOSSES) >= 10
