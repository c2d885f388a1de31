"""The module: terms, evaluation, what people call, and what must not change a result."""

import numpy as np
import pytest
import torch

from zoo.domains.outfit import Gallery, ItemEncoder, OutfitItem, OutfitTransformer
from zoo.domains.outfit.loss import focal_loss, set_wise_loss
from zoo.domains.outfit.samples import BLANK, LABELLED
from zoo.errors import InputError
from zoo.ranking import InfoNCE, Triplet
from zoo.training import read_image


@pytest.fixture
def batch(data):
    """A training batch of both kinds of samples."""
    return next(iter(data(task="joint", negatives=5, batch_size=6).train_dataloader()))


def features(batch, rows):
    return torch.cat([batch["image"], batch["text"]], 1)[[row for row in rows.tolist() if row >= 0]]


def test_terms_equal_the_losses_outfit_by_outfit(model, batch):
    module = model()
    found = module.terms(batch)
    assert set(found) == {"compatibility", "retrieval"}
    network, labelled, blanks = module.network, batch["kind"] == LABELLED, batch["kind"] == BLANK
    assert (int(labelled.sum()), int(blanks.sum())) == (12, 6)
    scores = torch.cat([network.score(features(batch, rows)) for rows in batch["outfit"][labelled]])
    torch.testing.assert_close(found["compatibility"], focal_loss(scores, batch["label"][labelled]))
    values = []
    for rows, candidates, target in zip(
        batch["outfit"][blanks], batch["candidates"][blanks], batch["target"][blanks], strict=True
    ):
        query = network.embed_query(features(batch, rows), target.unsqueeze(0))
        items = network.embed_item(features(batch, candidates))
        values.append(set_wise_loss(query, items[:1], items[1:].unsqueeze(0)))
    torch.testing.assert_close(found["retrieval"], torch.stack(values).mean())


def test_weights_pool_and_losses_by_name(model, batch):
    one = model().terms(batch)
    other = model(compatibility_weight=0.5, retrieval_weight=3.0).terms(batch)
    torch.testing.assert_close(other["compatibility"], one["compatibility"] * 0.5)
    torch.testing.assert_close(other["retrieval"], one["retrieval"] * 3.0)
    pooled = model(pool="batch", ranking=Triplet(margin=2.0, mining="hardest")).terms(batch)["retrieval"]
    assert pooled != one["retrieval"]
    model(ranking=InfoNCE(temperature=1.0)).terms(batch)["retrieval"].backward()
    legacy = model(focal="legacy").terms(batch)["compatibility"]
    assert legacy != one["compatibility"]


def test_the_official_variant_trains_on_the_same_batches(model, batch):
    module = model(variant="official", half=16, heads=4, ffn=20, pool="batch", max_items=2)
    terms = module.terms(batch)
    sum(terms.values()).backward()
    assert module.network.task_emb.grad.abs().sum() > 0
    assert module.network.truncated > 0


def test_curriculum_goes_from_coarse_to_fine(data):
    stages = [{"level": "coarse"}, {"level": "fine", "from_epoch": 2}]
    items = data(task="retrieval", negatives=4, curriculum=stages).items("train")
    catalogue = items.items.table.catalogue

    def alike(epoch):
        same = []
        for index in range(40):
            (sample,) = items[epoch, index]["samples"]
            answer, *negatives = sample.candidates
            assert len(set(sample.candidates)) == 5
            assert not set(negatives) & set(sample.items)
            assert {catalogue.coarse[n] for n in negatives} == {catalogue.coarse[answer]}
            same += [catalogue.fine[n] == catalogue.fine[answer] for n in negatives]
        return np.mean(same)

    assert alike(0) < 0.9
    assert alike(1) < 0.9
    assert alike(2) == 1.0


def test_fresh_negatives_change_with_the_epoch_and_listed_ones_do_not(data):
    for questions, changes in (("fresh", True), ("listed", False)):
        items = data(questions=questions).items("train")
        first, again, later = ([items[epoch, i]["samples"][0].items for i in range(40)] for epoch in (0, 0, 1))
        assert first == again
        assert (first != later) == changes
        assert [items[0, i]["samples"][0].label for i in range(4)] == [1, 0, 1, 0]


def test_evaluation_equals_a_loop(model, data):
    module = model()
    given = data(task="joint", gallery=20)
    metrics = module.build_metrics()
    rows = [row for batch in given.test_dataloader() for row in module.evaluate_batch(batch, metrics)]
    found = {name: float(value) for metric in metrics.values() for name, value in metric.compute().items()}
    samples = given.items("test").items.samples
    table = given.items("test").items.table
    both = torch.from_numpy(np.concatenate([table.image, table.text], 1))
    network, hits = module.network, []
    for sample, row in zip(samples, rows, strict=False):
        if sample.kind == LABELLED:
            assert row["score"] == pytest.approx(float(module.score(both[list(sample.items)])), abs=1e-6)
        elif sample.kind == BLANK:
            target = torch.from_numpy(given._targets[sample.candidates[sample.correct]]).unsqueeze(0)
            query = network.embed_query(both[list(sample.items)], target)
            distances = (query - network.embed_item(both[list(sample.candidates)])).norm(dim=1)
            assert row["chosen"] == int(distances.argmin())
            hits.append(row["chosen"] == sample.correct)
    assert found["fitb"] == pytest.approx(np.mean(hits))
    assert len(rows) == 180
    assert {"auc", "auc_same_length", "f1", "fitb", "fitb_tops", "recall10", "recall50", "median_rank"} <= set(found)
    assert {"recall10_tops", "recall10_length_04"} <= set(found)
    assert found["recall_galleries"] == 8


def test_results_do_not_depend_on_the_batch_size(model, data):
    found = []
    for size in (7, 64):
        module = model()
        metrics = module.build_metrics()
        for batch in data(task="joint", gallery=20, batch_size=size).test_dataloader():
            module.evaluate_batch(batch, metrics)
        values = {name: float(value) for metric in metrics.values() for name, value in metric.compute().items()}
        found.append(values)
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_a_batch_without_anything_to_learn(model, data):
    batch = next(iter(data(task="retrieval", negatives=0, batch_size=4).train_dataloader()))
    with pytest.raises(InputError, match=r"'sampled' needs sampled negatives \(data.negatives >= 1\)"):
        model().terms(batch)
    alone = next(iter(data(task="retrieval", negatives=0, batch_size=1).train_dataloader()))
    value = model(pool="batch").terms(alone)["retrieval"]
    assert value == 0
    value.backward()


def test_encoders_that_differ_are_told(model, data, encoder):
    batch = next(iter(data(encoder=encoder(words=8)).train_dataloader()))
    with pytest.raises(InputError, match=r"48 \+ 8 features, the model takes 48 \+ 32: data.encoder and model.encoder"):
        model().terms(batch)


# -- what people call


@pytest.fixture
def things(polyvore):
    """Five items as people have them."""
    files = sorted((polyvore / "images").glob("*.jpg"))[:5]
    texts = ["red shirt", "", "boots", "hat", "bag"]
    return [OutfitItem(file, text, "shoes") for file, text in zip(files, texts, strict=True)]


def test_every_way_to_give_an_outfit_scores_the_same(model, things):
    module = model()
    picture = read_image(things[0].image)
    first = module.score([things])
    assert first.shape == (1,)
    tuples = [tuple(item) for item in things]
    dictionaries = [item._asdict() for item in things]
    mixed = [(picture, *things[0][1:]), (str(things[1].image), "", "shoes"), *things[2:]]
    floats = [OutfitItem(picture.numpy().astype(np.float32) / 255, *things[0][1:]), *things[1:]]
    for other in (tuples, dictionaries, mixed, floats, module.features_of(things)):
        torch.testing.assert_close(module.score(other), first, rtol=0, atol=1e-5)
    both = module.score([things, things[:2]])
    torch.testing.assert_close(both[1:], module.score(things[:2]), rtol=0, atol=1e-6)
    padded = torch.stack([module.features_of(things)] * 2)
    torch.testing.assert_close(module.score(padded), first.expand(2), rtol=0, atol=1e-6)
    output = module.predict(things)
    torch.testing.assert_close(output.score, first)
    raw = module.predict([module.features_of(things)], preprocess=False)
    torch.testing.assert_close(raw.query, output.query)


def test_fill_ranks_candidates(model, things):
    module = model()
    ranking = module.fill(things[:2], things[2:])
    query = module.network.embed_query([module.features_of(things[:2])])
    expected = (query - module.network.embed_item(module.features_of(things[2:]))).norm(dim=1)
    torch.testing.assert_close(ranking.distance, expected)
    assert ranking.order.tolist() == expected.argsort().tolist()
    by_score = model(fill="score").fill(things[:2], things[2:])
    scores = module.score([[*things[:2], item] for item in things[2:]])
    torch.testing.assert_close(-by_score.distance, scores, rtol=0, atol=1e-6)
    assert by_score.order.tolist() == scores.argsort(descending=True).tolist()


def test_retrieve_searches_the_category_or_by_text(model):
    module = model()
    items = torch.randn(500, 80, generator=torch.Generator().manual_seed(0))
    kinds = ["hat" if n % 3 else "Shoes" for n in range(500)]
    gallery = module.index(items, ids=[f"i{n}" for n in range(500)], categories=kinds)
    partial = torch.randn(3, 80, generator=torch.Generator().manual_seed(1))

    def brute(target, allowed):
        text = torch.from_numpy(module.encoder.text_features([target]))
        query = module.network.embed_query([partial], text if target else None)
        distances = (query - module.network.embed_item(items)).norm(dim=1)
        distances[[n for n in range(500) if n not in allowed]] = torch.inf
        return distances.topk(7, largest=False)

    for target, allowed in (
        ("shoes", range(0, 500, 3)),
        ("HAT", [n for n in range(500) if n % 3]),
        ("a red coat", range(500)),
        ("", range(500)),
    ):
        found, wanted = module.retrieve(partial, target, gallery, k=7), brute(target, set(allowed))
        assert found.places.tolist() == wanted.indices.tolist()
        torch.testing.assert_close(found.distance, wanted.values)
        assert found.ids == [f"i{n}" for n in wanted.indices.tolist()]
    plain = module.retrieve(partial, "", items, k=1000)
    assert sorted(plain.places.tolist()) == list(range(500))


def test_a_target_that_means_nothing_is_told(model):
    module, partial = model(variant="official"), torch.randn(3, 80)
    with pytest.warns(UserWarning, match="'shoes' has no influence: the gallery names no categories, and this network"):
        found = module.retrieve(partial, "shoes", torch.randn(9, 80), 2)
    assert found.places.tolist()  # everything is searched all the same
    gallery = module.index(torch.randn(9, 80), categories=["shoes", "hat", "bag"] * 3)
    assert sorted(module.retrieve(partial, "shoes", gallery, 9).places.tolist()) == [0, 3, 6]
    with pytest.warns(UserWarning, match="the gallery has no such category"):
        module.retrieve(partial, "boots", gallery, 2)


def test_the_gallery_orders_near_equal_items_exactly():
    base = torch.full((300, 8), 50.0)
    base[:, 0] += torch.arange(300).flip(0) * 1e-4
    found = Gallery(base).search(torch.full((8,), 50.0), 5)
    assert found.places.tolist() == [299, 298, 297, 296, 295]
    torch.testing.assert_close(found.distance, torch.arange(5) * 1e-4, rtol=0.05, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "outfits: expected an outfit or a list of outfits, got list"),
        ([[]], "outfit 0: expected a list of items or features"),
        ("a.jpg", "outfit 0: expected a list of items or features"),
        ([[("nowhere.jpg", "", "")]], "nowhere.jpg: there is no such image"),
        ([[(None, "", "")]], "outfit 0: item 0: this model sees nothing of it"),
        ([[{"picture": 1}]], "outfit 0: item 0: an item has image, text and category, not 'picture'"),
        ([[(None, 3, "")]], "text and category must be texts, got 3 and ''"),
        ([[(torch.full((3, 4, 4), 7.0), "", "")]], r"outfit 0: item 0: image: float images lie in \[0, 1\]"),
        (torch.zeros(3, 5), r"outfit 0: shape \(3, 5\) given, expected \(items, 80\)"),
        (torch.full((2, 80), float("inf")), "outfit 0: item 0 is not finite"),
    ],
)
def test_outfits_that_cannot_be_used_are_named(model, given, message):
    with pytest.raises(InputError, match=message):
        model().score(given)


def test_galleries_that_cannot_be_used(model):
    module, partial = model(), torch.ones(2, 80)
    with pytest.raises(InputError, match=r"gallery: shape \(0, 80\) given"):
        module.retrieve(partial, "", torch.zeros(0, 80))
    with pytest.raises(InputError, match="gallery: 1 ids given for 2 items"):
        module.index(torch.ones(2, 80), ids=["a"])
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        module.retrieve(partial, "", torch.ones(2, 80), k=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "papers"}, "model.variant must be one of paper, official, got 'papers'"),
        ({"alpha": 1.5}, r"alpha must lie in \[0, 1\]"),
        ({"dropout": 1.0}, r"model.dropout must lie in \[0, 1\), got 1.0"),
        ({"train_images": True}, "encoder.image 'colours' is no timm model to train"),
        ({"ranking": Triplet(reduction="none")}, "reduction 'none' gives a value per query"),
        ({"heads": 5}, "5 heads do not divide the width 32"),
        ({"init_from": {"image_encoder": "x"}}, "'image_encoder' is no part of this network"),
    ],
)
def test_arguments_out_of_range(model, arguments, message):
    with pytest.raises(InputError, match=message):
        model(**arguments)


def test_encoder_arguments():
    for arguments, message in (
        ({"text": "word"}, "encoder.text: 'word' given"),
        ({"image": None, "text": None}, "an item needs an image or a text"),
        ({"size": 0}, "size and words must be at least 1, got 0 and 256"),
    ):
        with pytest.raises(InputError, match=message):
            ItemEncoder(**arguments)
    with pytest.raises(InputError, match="timm has no model 'resnet81'"):
        OutfitTransformer(encoder=ItemEncoder("resnet81", False))
