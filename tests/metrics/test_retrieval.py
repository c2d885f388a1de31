"""CMC, mAP, mINP: the sheet's numbers, plain loops, ties, cameras, blocks, batches and processes."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from zoo.metrics.retrieval import Ranks, Side, TextImageRetrieval, blocked_ranks, rank_values, summary

SHEET = torch.tensor([[0.9, 0.1, 0.4, 0.3], [0.2, 0.8, 0.7, 0.6], [0.5, 0.6, 0.55, 0.1]])


def test_numbers_of_the_sheet():
    ranks = rank_values(SHEET, torch.tensor([[1], [2], [3]]) == torch.tensor([1, 2, 2, 3]))
    shares = [100 * float((ranks.first <= k).double().mean()) for k in (1, 2, 3, 4)]
    assert shares == pytest.approx([66.667, 66.667, 66.667, 100], abs=1e-3)
    values = summary(ranks)
    assert values["map"] == values["minp"] == 75
    assert values["rank1"] == pytest.approx(200 / 3)
    assert values["rsum"] == pytest.approx(200 / 3 + 100 + 100)
    assert ranks.best.tolist() == [0, 1, 1]


def plain(row, right):
    """Rank, AP and INP of one query, as one would write them down."""
    order = sorted(range(len(row)), key=lambda i: (-row[i], right[i]))  # equal: what is wrong stands first
    places = [place for place, i in enumerate(order, start=1) if right[i]]
    if not places:
        return 0, 0, 0
    return places[0], sum((n + 1) / place for n, place in enumerate(places)) / len(places), len(places) / places[-1]


def test_against_a_plain_loop_with_ties_and_masks():
    rng = np.random.default_rng(0)
    similarity = torch.from_numpy(rng.integers(0, 6, (40, 12)) / 6).float()
    right, mask = torch.from_numpy(rng.random((40, 12)) < 0.3), torch.from_numpy(rng.random((40, 12)) < 0.8)
    for given in (None, mask):
        ranks = rank_values(similarity, right, given)
        for q in range(40):
            kept = range(12) if given is None else torch.nonzero(given[q])[:, 0].tolist()
            expected = plain([similarity[q, i].item() for i in kept], [bool(right[q, i]) for i in kept])
            assert (ranks.first[q].item(), ranks.ap[q].item(), ranks.inp[q].item()) == pytest.approx(expected)
            assert bool(ranks.counted[q]) == (expected[0] > 0)


def test_average_precision_is_that_of_scikit_learn():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(1)
    scores, right = rng.random((20, 30)), rng.random((20, 30)) < 0.2
    right[:, 0] = True
    ours = rank_values(torch.from_numpy(scores), torch.from_numpy(right)).ap
    assert ours.tolist() == pytest.approx([average_precision_score(r, s) for r, s in zip(right, scores, strict=True)])


def test_a_network_that_tells_nothing_apart_gets_the_worst_ranks():
    ranks = rank_values(torch.zeros(3, 5), torch.eye(3, 5, dtype=torch.bool))
    assert ranks.first.tolist() == [5, 5, 5]


def test_queries_without_a_relevant_item_do_not_count():
    right = torch.tensor([[True, False], [False, False]])
    values = summary(rank_values(torch.tensor([[0.9, 0.1], [0.9, 0.1]]), right))
    assert values["rank1"] == values["map"] == 100
    assert math.isnan(summary(rank_values(torch.rand(1, 2), torch.zeros(1, 2, dtype=torch.bool)))["map"])


@pytest.mark.parametrize(
    ("similarity", "relevant", "message"),
    [
        (torch.rand(3), torch.ones(3, dtype=torch.bool), r"similarity: shape \(3,\) given"),
        (torch.rand(2, 0), torch.ones(2, 0, dtype=torch.bool), r"expected \(Q, G\) with G at least 1"),
        (torch.rand(2, 3), torch.ones(3, 2, dtype=torch.bool), r"relevant: torch.bool \(3, 2\) given"),
        (torch.rand(2, 3), torch.ones(2, 3), r"relevant: torch.float32 \(2, 3\) given, expected bool"),
        (torch.tensor([[torch.nan, 1.0]]), torch.ones(1, 2, dtype=torch.bool), "1 values are not finite"),
    ],
)
def test_wrong_input_is_named(similarity, relevant, message):
    with pytest.raises(ValueError, match=message):
        rank_values(similarity, relevant)


def world(captions=60, images=25, seed=0, cameras=True):
    generator = torch.Generator().manual_seed(seed)

    def features(count):
        return torch.randn(count, 8, generator=generator), torch.randn(count, 12, generator=generator)

    identity = torch.arange(images) // 3
    camera = torch.arange(images) % 2 if cameras else torch.full((images,), -1)
    owner = torch.randint(images, (captions,), generator=generator).sort().values
    number = torch.arange(captions) - torch.searchsorted(owner, owner)
    image_marks = torch.stack([torch.arange(images), identity, camera], 1)
    return (*features(images), image_marks), (
        *features(captions),
        torch.cat([image_marks[owner], number[:, None]], 1),
    )


def feed(metric, images, texts, image_order, text_order, step):
    for start in range(0, max(len(image_order), len(text_order)), step):
        i, t = image_order[start : start + step], text_order[start : start + step]
        metric.update(*(part[i] for part in images), *(part[t] for part in texts))
    return {name: value.item() for name, value in metric.compute().items()}


def test_blocks_give_what_one_matrix_gives():
    images, texts = world()
    sides = [Side(normalize(bge), normalize(tse), marks[:, 1], marks[:, 2]) for bge, tse, marks in (texts, images)]
    whole, blocks = blocked_ranks(*sides, cameras=True), blocked_ranks(*sides, cameras=True, block=40)
    assert whole.keys() == blocks.keys() == {"bge", "tse", "fused", "same_camera", "other_camera"}
    for name in whole:
        assert all(torch.equal(one, two) for one, two in zip(whole[name], blocks[name], strict=True))
    fused = (sides[0].bge @ sides[1].bge.T + sides[0].tse @ sides[1].tse.T) / 2
    direct = rank_values(fused, sides[0].identity[:, None] == sides[1].identity)
    assert all(torch.equal(one, two) for one, two in zip(direct, whole["fused"], strict=True))


def test_cameras_leave_the_others_right_images_out():
    images, texts = world()
    found = feed(TextImageRetrieval(), images, texts, torch.arange(25), torch.arange(60), 100)
    fused = (normalize(texts[0]) @ normalize(images[0]).T + normalize(texts[1]) @ normalize(images[1]).T) / 2
    right = texts[2][:, 1:2] == images[2][:, 1]
    same = texts[2][:, 2:3] == images[2][:, 2]
    for name, wanted in (("same_camera", same), ("other_camera", ~same)):
        rows = [
            plain([fused[q, i].item() for i in kept], [bool(right[q, i]) for i in kept])
            for q in range(60)
            if (kept := [i for i in range(25) if not right[q, i] or wanted[q, i]])
        ]
        rows = [row for row in rows if row[0]]
        assert found[f"map_{name}"] == pytest.approx(100 * np.mean([row[1] for row in rows]))
        assert found[f"rank1_{name}"] == pytest.approx(100 * np.mean([row[0] == 1 for row in rows]))
    unknown = feed(TextImageRetrieval(), *world(cameras=False), torch.arange(25), torch.arange(60), 100)
    assert not [name for name in unknown if "camera" in name]


def test_neither_batches_nor_their_order_change_a_digit():
    images, texts = world()
    one = feed(TextImageRetrieval(intervals=True), images, texts, torch.arange(25), torch.arange(60), 100)
    two = feed(TextImageRetrieval(intervals=True), images, texts, torch.randperm(25), torch.randperm(60), 7)
    assert one == two
    assert one["rank1_low"] <= one["rank1"] <= one["rank1_high"]
    assert {"i2t_rank1", "tse_map", "i2t_bge_minp", "rsum"} <= set(one)


def test_image_to_text_is_the_transpose():
    images, texts = world()
    found = feed(TextImageRetrieval(), images, texts, torch.arange(25), torch.arange(60), 100)
    similarity = normalize(images[0]) @ normalize(texts[0]).T
    values = summary(rank_values(similarity, images[2][:, 1:2] == texts[2][:, 1]))
    assert {name: found[f"i2t_bge_{name}"] for name in values} == pytest.approx(values)


def test_what_became_of_each_caption_is_kept_in_order():
    images, texts = world()
    metric = TextImageRetrieval()
    feed(metric, images, texts, torch.arange(25), torch.randperm(60), 9)
    assert metric.queries["owner"].tolist() == texts[2][:, 0].tolist()
    assert metric.queries["number"].tolist() == texts[2][:, 3].tolist()
    fused = (normalize(texts[0]) @ normalize(images[0]).T + normalize(texts[1]) @ normalize(images[1]).T) / 2
    assert metric.queries["best"].tolist() == fused.argmax(1).tolist()


def test_embeddings_that_cannot_be_compared_are_named():
    images, texts = world()
    broken = images[0].clone()
    broken[3] = 0
    with pytest.raises(ValueError, match="image_bge: row 3 is not finite or 0"):
        TextImageRetrieval().update(broken, *images[1:], *texts)
    with pytest.raises(ValueError, match=r"text_tse: shape \(2, 12\) with marks of \(60, 4\)"):
        TextImageRetrieval().update(*images, texts[0], texts[1][:2], texts[2])
    metric = TextImageRetrieval()
    metric.update(*images, texts[0][:0], texts[1][:0], texts[2][:0])
    with pytest.raises(ValueError, match="there is no text"):
        metric.compute()


def test_ranks_are_a_named_tuple_of_one_length():
    ranks = rank_values(SHEET, torch.ones(3, 4, dtype=torch.bool))
    assert isinstance(ranks, Ranks)
    assert {len(part) for part in ranks} == {3}
    assert ranks.ap.tolist() == [1, 1, 1]
