"""ROC AUC and average precision against pair counting and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from zoo.metrics import average_precision, roc_auc
from zoo.metrics.binary import OneClassError


def draw(seed, size, levels):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, size)
    truth[:2] = [0, 1]
    scores = rng.integers(0, levels, size) / levels
    return torch.from_numpy(scores), torch.from_numpy(truth)


@pytest.mark.parametrize("levels", [2, 5, 10_000])
@pytest.mark.parametrize("size", [2, 17, 200])
def test_against_pairs_and_scikit_learn(size, levels):
    scores, truth = draw(size, size, levels)
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high in scores[truth == 1].tolist()
        for low in scores[truth == 0].tolist()
    ]
    assert roc_auc(scores, truth).item() == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    assert roc_auc(scores, truth).item() == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert average_precision(scores, truth).item() == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


def test_ties_in_the_order_given():
    scores, truth = torch.tensor([0.5, 0.5, 0.5, 0.1]), torch.tensor([1, 0, 1, 0])
    assert roc_auc(scores, truth, ties="order").item() == 0.75
    assert roc_auc(scores, truth).item() == 0.75
    assert roc_auc(scores, torch.tensor([0, 1, 1, 0]), ties="order").item() == 0.5
    # trapezoids over the curve that moves one item at a time, as the authors' script does
    scores, truth = draw(1, 300, 7)
    order = torch.argsort(scores, descending=True, stable=True)
    positive = truth[order].double()
    recall, fallout = positive.cumsum(0) / positive.sum(), (1 - positive).cumsum(0) / (1 - positive).sum()
    area = torch.trapezoid(torch.cat([torch.zeros(1), recall]), torch.cat([torch.zeros(1), fallout]))
    assert roc_auc(scores, truth, ties="order").item() == pytest.approx(area.item(), abs=1e-12)


@pytest.mark.parametrize("truth", [[1, 1, 1], [0, 0, 0]])
def test_one_class_alone_is_an_error(truth):
    for function in (roc_auc, average_precision):
        with pytest.raises(OneClassError, match=f"there are {sum(truth)} positives and {3 - sum(truth)} negatives"):
            function(torch.rand(3), torch.tensor(truth))


@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        (torch.rand(3), torch.tensor([0, 1]), "shapes"),
        (torch.rand(1, 2), torch.tensor([[0, 1]]), "shapes"),
        (torch.tensor([0.1, float("nan")]), torch.tensor([0, 1]), "1 of 2 are not finite"),
        (torch.rand(2), torch.tensor([0, 2]), "expected 0 and 1 only"),
    ],
)
def test_wrong_input_is_named(scores, truth, message):
    for function in (roc_auc, average_precision):
        with pytest.raises(ValueError, match=message):
            function(scores, truth)
    with pytest.raises(ValueError, match="ties: 'up' given"):
        roc_auc(torch.rand(2), torch.tensor([0, 1]), ties="up")


def test_a_million_frames_with_ties_are_exact():
    truth = torch.zeros(1_000_000)
    truth[::10] = 1
    scores = torch.full((1_000_000,), 0.25)
    assert roc_auc(scores, truth).item() == 0.5
    assert average_precision(scores, truth).item() == pytest.approx(0.1, abs=1e-12)
