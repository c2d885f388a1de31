"""Released weights: files in the authors' layout through ``zoo convert``'s function, and what does not fit."""

import pytest
import torch

import zoo
from zoo.checkpoint import convert as convert_file
from zoo.domains.outfit import OfficialOutfit, convert
from zoo.domains.outfit.convert import NAMES
from zoo.errors import InputError

RECIPES = ("outfit/outfittransformer_polyvore_clip", "outfit/outfittransformer_polyvore_clip_cir")


def names():
    """Tensors of one number each under the released names: renaming does not look at shapes."""
    return {name: torch.full((1,), float(number)) for number, name in enumerate(NAMES)}


def test_the_names_are_those_of_the_network():
    with torch.device("meta"):
        assert set(NAMES) == set(OfficialOutfit().state_dict())
    assert len(NAMES) == 79


@pytest.mark.facts
@pytest.mark.parametrize(("recipe", "clip", "prefix"), [(RECIPES[0], True, "module."), (RECIPES[1], False, "")])
def test_released_file_gives_the_released_outputs(check, tmp_path, recipe, clip, prefix):
    doc = check.load("outfit_transformer.json")
    state = check.fill.make_checkpoint(doc)
    if clip:
        state["item_enc.image_enc.model.visual_projection.weight"] = torch.ones(512, 768)
        state["item_enc.text_enc.model.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    file, out = tmp_path / "compatibillity_clip_best.pth", tmp_path / "ours.safetensors"
    torch.save(check.fill.wrap(state, {**doc["wrapper"], "prefix": prefix}), file)
    notes = convert_file(recipe, file, out)
    dropped = "dropped 2 tensors under item_enc (image_enc 1, text_enc 1): the frozen CLIP"
    assert any(note.startswith(dropped) for note in notes) == clip
    model = zoo.load(out)
    items = check.fill.inputs(doc)["items"]
    outfits = [items[rows] for rows in doc["outfits"]]
    assert not check.fill.compare(doc["expected"]["cp_scores"], model.score(outfits), **doc["tolerance"])
    query = model.predict(outfits).query
    item = model.network.embed_item(items[doc["single_items"]])
    distances = torch.cdist(query, item, compute_mode="donot_use_mm_for_euclid_dist")
    assert not check.fill.compare(doc["expected"]["query_item_distances"], distances, **doc["tolerance"])
    assert model.fill(outfits[1], items[doc["single_items"]]).order.tolist() == [2, 1, 0]
    with pytest.warns(UserWarning, match="only the first 16 are used"):
        model.score([items[:20]])


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
def test_prefixes_and_half_precision(prefix):
    halves = {f"{prefix}{name}": value.half() for name, value in names().items()}
    tensors, notes = convert(halves)
    assert {name: float(value) for name, value in tensors.items()} == {
        f"network.{name}": float(value) for name, value in names().items()
    }
    assert {value.dtype for value in tensors.values()} == {torch.float32}
    parts = [f"{part}." for part in prefix.split(".")[:-1]]
    assert notes[: len(parts)] == [f"removed {part!r} before every name" for part in parts]
    assert "turned 79 tensors from torch.float16 to float32" in notes


def without(*gone):
    return {name: value for name, value in names().items() if name not in gone}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (without("pad_emb"), "tensor names differ: missing 'pad_emb'"),
        ({**names(), "style_enc.norm.weight": torch.ones(1)}, "unexpected 'style_enc.norm.weight'"),
        ({**without("task_emb"), "task_embb": torch.ones(1)}, "missing 'task_emb'; unexpected 'task_embb'"),
        ({**names(), "pad_emb": torch.tensor([float("inf")])}, "pad_emb: holds values that are not finite"),
        ({**names(), "pad_emb": "none"}, "pad_emb: expected a tensor of numbers, found a str"),
        ({}, "this is no released outfit transformer: tensor names differ: missing 'task_emb'"),
    ],
)
def test_what_does_not_fit_is_named(values, message):
    with pytest.raises(InputError, match=message):
        convert(values)


def test_a_misshapen_tensor_is_named(tmp_path):
    file = tmp_path / "wrong.pth"
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in OfficialOutfit().state_dict().items()}
    state = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    state["embed_ffn.0.weight"] = torch.zeros(64, 1024)
    state = {name: value.clone() if name == "embed_ffn.0.weight" else value for name, value in state.items()}
    torch.save({"config": {}, "model": state}, file)
    with pytest.raises(InputError, match=r"embed_ffn\.0\.weight"):
        convert_file(RECIPES[0], file, tmp_path / "out.safetensors")
