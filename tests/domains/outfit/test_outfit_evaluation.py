"""The metrics by hand, against scikit-learn, with ties, and over batches."""

import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from zoo.domains.outfit import Compatibility, FillInTheBlank, Retrieval
from zoo.domains.outfit.evaluation import blank_credit, gallery_ranks
from zoo.errors import InputError

GROUPS = ["Tops", "Bags & more"]


def values(metric):
    return {name: float(value) for name, value in metric.compute().items()}


def test_compatibility_numbers_of_the_sheet():
    metric = Compatibility()
    metric.update(torch.tensor([0.9, 0.2, 0.6, 0.35, 0.5]), torch.tensor([1, 0, 0, 1, 1]), torch.full((5,), 3))
    found = values(metric)
    expected = {"accuracy": 0.4, "precision": 0.5, "recall": 1 / 3, "f1": 0.4, "auc": 2 / 3}
    assert found == pytest.approx(expected, abs=1e-7)


def test_compatibility_equals_scikit_learn_over_uneven_batches():
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(101, generator=generator).mul(20).round() / 20
    labels = (torch.rand(101, generator=generator) < 0.4).long()
    metric = Compatibility()
    for first in range(0, 101, 7):
        part = slice(first, first + 7)
        metric.update(scores[part], labels[part], torch.full_like(labels[part], 2))
    found = values(metric)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores))
    three = precision_recall_fscore_support(labels, scores > 0.5, average="binary")[:3]
    assert [found[name] for name in ("precision", "recall", "f1")] == pytest.approx(three)


def test_a_score_that_only_grows_with_the_length_is_told():
    lengths = torch.tensor([2, 3, 4, 5] * 50)
    labels = torch.tensor([0, 0, 1, 1] * 50)  # long outfits are the compatible ones here
    labels[::9] = 1 - labels[::9]
    metric = Compatibility(details=True)
    metric.update(lengths.double() / 10, labels, lengths)
    found = values(metric)
    assert found["auc"] > 0.8
    assert found["auc_same_length"] == 0.5
    assert found["length_correlation_compatible"] == pytest.approx(1.0)
    assert {name for name in found if name.startswith("auc_length_")} == {f"auc_length_0{n}" for n in (2, 3, 4, 5)}


def test_same_length_auc_by_a_loop():
    generator = torch.Generator().manual_seed(1)
    scores, labels = torch.rand(60, generator=generator), torch.randint(0, 2, (60,), generator=generator)
    lengths = torch.randint(2, 5, (60,), generator=generator)
    won = pairs = 0
    for i in range(60):
        for j in range(60):
            if labels[i] > labels[j] and lengths[i] == lengths[j]:
                won, pairs = won + int(scores[i] > scores[j]), pairs + 1
    metric = Compatibility(details=True)
    metric.update(scores, labels, lengths)
    assert values(metric)["auc_same_length"] == pytest.approx(won / pairs, abs=1e-6)


def test_one_label_alone_is_an_error_and_nothing_is_nothing():
    metric = Compatibility()
    assert values(metric) == {}
    metric.update(torch.tensor([0.5, 0.6]), torch.tensor([1, 1]), torch.tensor([2, 2]))
    with pytest.raises(InputError, match="all 2 outfits have label 1"):
        metric.compute()


def test_blanks_by_hand():
    distances = torch.tensor([[3.0, 1.0, 2.0, 4.0], [1.0, 1.0, 2.0, 1.0], [5.0, 2.0, 0.0, 0.0], [1.0, 1, 1, 1]])
    real = torch.ones(4, 4, dtype=torch.bool)
    real[2, 2:] = False  # two candidates only; what stands beyond does not count
    correct = torch.tensor([1, 3, 0, 0])
    assert blank_credit(distances, real, correct).tolist() == pytest.approx([1, 1 / 3, 0, 1 / 4])
    assert blank_credit(distances, real, correct, "first").tolist() == [1, 0, 0, 1]
    metric = FillInTheBlank(details=True)
    groups, given = torch.tensor([0, 1, 1, 0]), torch.tensor([3, 3, 4, 4])
    metric.update(distances, real, correct, groups, given, GROUPS)
    found = values(metric)
    assert found["fitb"] == pytest.approx((1 + 1 / 3 + 1 / 4) / 4)
    assert found["fitb_tops"] == pytest.approx((1 + 1 / 4) / 2)
    assert found["fitb_bags_more"] == pytest.approx(1 / 6)
    assert found["fitb_length_04"] == pytest.approx(1 / 8)


def test_recall_by_a_loop_and_in_the_right_gallery():
    generator = torch.Generator().manual_seed(2)
    items = torch.randn(120, 6, generator=generator)
    galleries = torch.arange(120) % 2
    wanted = torch.randint(0, 120, (40,), generator=generator)
    queries = items[wanted] + 1.2 * torch.randn(40, 6, generator=generator)
    lengths = 2 + torch.arange(40) % 3
    metric = Retrieval(details=True)
    zeros = torch.zeros(120, dtype=torch.bool)
    metric.update(items, torch.arange(120), galleries, zeros, galleries, zeros.long(), GROUPS)
    for part in (slice(0, 13), slice(13, 40)):
        chosen, asked = wanted[part], torch.ones(len(wanted[part]), dtype=torch.bool)
        said = galleries[chosen], asked, galleries[chosen], lengths[part], GROUPS
        metric.update(queries[part], chosen, *said)
    ranks = []
    for query, want in zip(queries, wanted.tolist(), strict=True):
        own = (query - items[want]).norm()
        ranks.append(1 + sum(int((query - items[i]).norm() < own) for i in range(120) if i % 2 == want % 2))
    found = values(metric)
    for k in (10, 30, 50):
        assert found[f"recall{k}"] == pytest.approx(sum(rank <= k for rank in ranks) / 40)
    for index, name in enumerate(("tops", "bags_more")):
        own = [rank <= 10 for rank, want in zip(ranks, wanted.tolist(), strict=True) if want % 2 == index]
        assert found[f"recall10_{name}"] == pytest.approx(sum(own) / len(own))
    for length in (2, 3, 4):
        own = [rank <= 10 for rank, given in zip(ranks, lengths.tolist(), strict=True) if given == length]
        assert found[f"recall10_length_0{length}"] == pytest.approx(sum(own) / len(own))
    assert found["recall_questions"] == 40
    assert found["recall_galleries"] == 2
    assert 0 < found["recall10"] < 1


def offer(metric, embeddings, keys, gallery, queries):
    """Items of one gallery, or queries for it, of one category and length."""
    keys = torch.tensor(list(keys))
    same = torch.full_like(keys, gallery), torch.full_like(keys, queries, dtype=torch.bool)
    metric.update(embeddings, keys, *same, torch.zeros_like(keys), torch.full_like(keys, 3), GROUPS)


def test_equal_distances_share_a_place():
    above, level = gallery_ranks(torch.zeros(1, 2), torch.ones(20, 2), torch.tensor([7]), torch.arange(20))
    assert (above.tolist(), level.tolist()) == ([0], [20])
    metric = Retrieval()
    offer(metric, torch.ones(20, 2), range(20), 0, False)
    offer(metric, torch.zeros(1, 2), [7], 0, True)
    assert values(metric)["recall10"] == 0.5


def test_a_question_whose_answer_is_missing_is_not_asked():
    metric = Retrieval(details=True)
    offer(metric, torch.ones(3, 2), range(3), 0, False)
    offer(metric, torch.zeros(2, 2), [1, 9], 0, True)
    offer(metric, torch.zeros(1, 2), [1], 5, True)  # an empty gallery
    assert values(metric)["recall_questions"] == 1
