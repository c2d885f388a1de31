"""Both networks: exact against the released outputs, and what makes a set transformer one."""

import pytest
import torch

from zoo.domains.outfit import OfficialOutfit, PaperOutfit
from zoo.domains.outfit.loss import distances
from zoo.domains.outfit.network import unit_halves
from zoo.errors import InputError


def some(network, *sizes):
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(size, network.features, generator=generator) for size in sizes]


@pytest.fixture
def released(check):
    def build(name):
        doc = check.load(name)
        state, inputs = check.fill.make_checkpoint(doc), check.fill.inputs(doc)
        check.fill.check_fill(doc, state, inputs)
        network = OfficialOutfit()
        network.load_state_dict(state, strict=True)
        return doc, network.eval(), inputs["items"]

    return build


@pytest.mark.facts
def test_released_outputs(check, released):
    doc, network, items = released("outfit_transformer.json")
    outfits = [items[rows] for rows in doc["outfits"]]
    with torch.no_grad():
        query, item = network.embed_query(outfits), network.embed_item(items[doc["single_items"]])
        got = {
            "cp_scores": network.score(outfits),
            "cp_scores_one_by_one": torch.cat([network.score(outfit) for outfit in outfits]),
            "cir_query_embeddings": {"first8": query[:, :8], "sum": query.sum(1), "norm": query.norm(dim=1)},
            "item_embeddings": {"first8": item[:, :8], "sum": item.sum(1), "norm": item.norm(dim=1)},
            "query_item_distances": distances(query, item),
        }
    assert check.fill.compare(doc["expected"], got, **doc["tolerance"]) == []


@pytest.mark.facts
def test_released_stages(check, released):
    doc, network, items = released("stages_outfit_transformer.json")
    outfits = [items[rows] for rows in doc["outfits"]]
    singles = items[doc["single_items"]]
    digest, got = check.stages.digest, {}
    stage = ""
    hooks = [
        layer.register_forward_hook(
            lambda _, __, out, number=number: got.__setitem__(f"{stage}.layer{number}.position0", digest(out[:, 0]))
        )
        for number, layer in enumerate(network.style_enc.layers)
    ]
    with torch.no_grad():
        for stage, token in (("cp", network.predict_emb), ("cir", network.embed_emb)):
            sequence, real = network.sequence(*network.pad(outfits), token)
            got[f"{stage}.normalised_sequence"] = digest(sequence)
            got[f"{stage}.real_positions"] = real.sum(1).tolist()
            got["cp.scores" if stage == "cp" else "cir.query_embeddings"] = (
                network.score(outfits).tolist() if stage == "cp" else digest(network.embed_query(outfits))
            )
        stage = "item"
        embedded = network.embed_item(singles)
        for hook in hooks:
            hook.remove()
        got["item.normalised_sequence"] = digest(unit_halves(singles, 512).unsqueeze(1))
        got["item.real_positions"] = [1] * len(singles)
        got["item.embeddings"] = digest(embedded)
        got["distances_query_rows_item_columns"] = distances(network.embed_query(outfits), embedded).tolist()
        got["cp.scores_one_by_one"] = [float(network.score(outfit)) for outfit in outfits]
    assert set(got) == set(doc["expected"])
    assert {name: bad for name, bad in check.stages.check(doc, got).items() if bad} == {}


def test_released_size():
    with torch.device("meta"):
        network = OfficialOutfit()
    assert sum(parameter.numel() for parameter in network.parameters()) == 50_238_833
    assert len(network.state_dict()) == 79


def test_paper_size():
    # ResNet-18 (512) and MiniLM (384) to 64 each; six layers of width 128, 16 heads, feed-forward 512
    network = PaperOutfit()
    projections = 512 * 64 + 64 + 384 * 64 + 64
    layer = 3 * 128 * 128 + 3 * 128 + 128 * 128 + 128 + 128 * 512 + 512 + 512 * 128 + 128 + 4 * 128
    heads = 2 * (128 * 128 + 128) + 128 + 1 + 128 * 128 + 128
    assert sum(parameter.numel() for parameter in network.parameters()) == projections + 6 * layer + heads + 128
    assert (len(network.encoder.layers), network.encoder.layers[0].self_attn.num_heads) == (6, 16)


@torch.no_grad()
def test_order_means_nothing(network):
    (outfit,) = some(network, 7)
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    torch.testing.assert_close(network.score(outfit[order]), network.score(outfit), rtol=0, atol=1e-6)
    torch.testing.assert_close(network.embed_query(outfit[order]), network.embed_query(outfit), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("fast", [True, False])
def test_padding_means_nothing(network, fast):
    outfits = some(network, 3, 1, 9, 16)
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast)
    try:
        together, alone = network.score(outfits), torch.cat([network.score(outfit) for outfit in outfits])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
        features, mask = network.pad(outfits)
        features[~mask] = 1e4  # whatever stands where nothing is real
        output = network(features, mask)
        torch.testing.assert_close(output.score, together, rtol=0, atol=1e-6)
        torch.testing.assert_close(output.query, network.embed_query(outfits), rtol=0, atol=1e-5)
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@torch.no_grad()
def test_scale_of_the_halves_means_nothing(network):
    (outfit,) = some(network, 4)
    scaled = outfit.clone()
    scaled[:, : network.image_features] *= 7.0
    scaled[:, network.image_features :] *= 0.2
    torch.testing.assert_close(network.score(scaled), network.score(outfit), rtol=0, atol=1e-6)
    torch.testing.assert_close(network.embed_item(scaled), network.embed_item(outfit), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_every_item_matters_and_shapes(network):
    outfits = some(network, 5, 2)
    changed = [outfits[0].clone(), outfits[1]]
    changed[0][3] += 1.0
    first, second = network.score(outfits), network.score(changed)
    assert first.shape == (2,)
    assert ((first > 0) & (first < 1)).all()
    assert (first != second).tolist() == [True, False]
    assert network.embed_query(outfits).shape == (2, network.embedding)
    assert network.embed_item(outfits[0]).shape == (5, network.embedding)
    stacked = torch.stack([outfits[0], changed[0]])
    torch.testing.assert_close(network.score(stacked), torch.cat([first[:1], second[:1]]), rtol=0, atol=1e-6)


@torch.no_grad()
def test_only_the_first_items_count_and_it_is_told():
    torch.manual_seed(0)
    limited = OfficialOutfit(8, 8, half=8, layers=1, heads=2, ffn=8, embedding=4).eval()
    (outfit,) = some(limited, 20)
    with pytest.warns(UserWarning, match=r"1 of 2 outfits have more than 16 items; only the first 16 are used"):
        score = limited.score([outfit, outfit[:3]])
    assert limited.truncated == 1
    torch.testing.assert_close(score[:1], limited.score(outfit[:16]), rtol=0, atol=1e-6)
    free = PaperOutfit(8, 8, half=8, layers=1, heads=2, ffn=8).eval()
    assert free.score(outfit) != free.score(outfit[:16])
    assert free.truncated == 0


@torch.no_grad()
def test_the_paper_is_told_what_is_looked_for():
    torch.manual_seed(0)
    network = PaperOutfit(12, 6, half=8, layers=1, heads=2, ffn=8).eval()
    (outfit,) = some(network, 3)
    target = torch.randn(1, 6)
    assert not torch.allclose(network.embed_query([outfit], target), network.embed_query([outfit]))
    torch.testing.assert_close(network.embed_query([outfit], torch.zeros(1, 6)), network.embed_query([outfit]))
    with pytest.raises(InputError, match=r"target: shape \(2, 6\) given, expected \(1, 6\)"):
        network.embed_query([outfit], torch.zeros(2, 6))
    official = OfficialOutfit(8, 8, half=8, layers=1, heads=2, ffn=8)
    with pytest.raises(InputError, match="takes no description of the target"):
        official.embed_query(some(official, 2), torch.zeros(1, 8))


@torch.no_grad()
def test_without_pictures_texts_fill_the_whole_embedding():
    network = PaperOutfit(0, 6, half=8, layers=1, heads=2, ffn=8).eval()
    assert list(network.projections) == ["text"]
    assert network.embed_item(torch.randn(3, 6)).shape == (3, 16)
    official = OfficialOutfit(0, 8, half=8, layers=1, heads=2, ffn=8).eval()
    assert official.score(some(official, 2)).shape == (1,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "outfits: there is none"),
        ([torch.zeros(0, 80)], "outfit 0: has no item"),
        ([torch.zeros(2, 80), torch.zeros(2, 79)], r"outfit 1: shape \(2, 79\) given, expected \(items, 80\)"),
        ([torch.zeros(80)], r"outfit 0: shape \(80,\) given"),
        ([torch.full((3, 80), float("nan"))], "outfit 0: item 0 is not finite"),
    ],
)
def test_what_cannot_be_used_is_named(network, given, message):
    with pytest.raises(InputError, match=message):
        network.score(given)


def test_impossible_sizes():
    with pytest.raises(InputError, match="3 heads do not divide the width 1024"):
        OfficialOutfit(heads=3)
    with pytest.raises(InputError, match="an item needs features, got 0 of its image and 0 of text"):
        PaperOutfit(0, 0)
    with pytest.raises(InputError, match="max_items must be at least 1, got 0"):
        PaperOutfit(max_items=0)
