"""Training: the demo beats chance, stages follow one another, picture networks train, models leave the house."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import zoo as package
from zoo.domains.outfit import ItemEncoder, OutfitTransformer
from zoo.recipe import read

SMALL = ("--model.layers", 1, "--trainer.max_epochs", 1, "--data.limit", 48)


@pytest.fixture
def trained(demo):
    return demo("outfit")[0] / "runs" / "outfit" / "demo"


def test_the_demo_is_far_better_than_chance(trained):
    found = package.evaluate(trained)
    assert found["auc"] > 0.85
    assert found["fitb"] > 0.6
    assert found["recall10"] > 0.75  # of 24; guessing gives 0.42
    assert abs(found["auc_same_length"] - found["auc"]) < 0.05
    epochs = pd.read_csv(trained / "metrics.csv")["train/compatibility"].dropna()
    assert epochs.iloc[-1] < 0.7 * epochs.iloc[0]


def test_matching_outfits_score_higher_in_a_prediction(trained, polyvore):
    samples = [polyvore / "samples" / f"{name}.csv" for name in ("matching", "mixed")]
    table = package.predict(trained, samples)
    scores = {name: group["score"] for name, group in table.groupby(table["outfit"].str.split().str[0])}
    assert scores["matching"].mean() > scores["mixed"].mean() + 0.3


def test_retrieval_starts_from_the_compatibility_checkpoint(trained, tmp_path, zoo):
    result = zoo("train", "outfit/demo", "--init", trained, "--data.task", "retrieval", *SMALL[2:], cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    first = pd.read_csv(tmp_path / "runs/outfit/demo/metrics.csv")
    assert "train/retrieval" in first.columns
    assert "train/compatibility" not in first.columns
    assert first["train/retrieval"].iloc[0] < 4.0  # at random it starts above 4


def test_a_picture_network_trains_along(tmp_path, zoo):
    recipe = yaml.safe_load(yaml.safe_dump(read("outfit/demo").tree))  # without anchors
    arguments = {"image": "test_vit", "pretrained": False, "size": 160, "text": "words", "words": 16}
    encoder = {"class_path": "zoo.domains.outfit.ItemEncoder", "init_args": arguments}
    recipe["model"]["init_args"] |= {"encoder": encoder, "train_images": True, "layers": 1}
    recipe["data"]["init_args"] |= {"encoder": encoder, "pixels": True, "limit": 8, "gallery": 0, "batch_size": 4}
    recipe["data"]["init_args"] |= {"task": "compatibility"}
    recipe["model"]["init_args"]["monitor"] = "val/auc"
    recipe["trainer"] |= {"max_epochs": 1}
    (tmp_path / "pixels.yaml").write_text(yaml.safe_dump(recipe))
    result = zoo("train", "pixels.yaml", "--name", "one", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    torch.manual_seed(0)
    trained = package.load(tmp_path / "runs" / "one")
    weights = trained.network.image_encoder.state_dict()
    assert all(torch.isfinite(value).all() for value in weights.values())
    again = zoo("train", "pixels.yaml", "--name", "two", "--model.train_images", "false", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    frozen = package.load(tmp_path / "runs" / "two").network.image_encoder.state_dict()
    moved = [name for name, value in weights.items() if not torch.equal(value, frozen[name])]
    assert len(moved) > len(weights) / 2  # both started from the seed's weights; one was left there
    picture = torch.rand(3, 40, 30)
    assert 0 < float(trained.score([[(picture, "red", ""), (picture.flip(1), "", "hat")]])) < 1


def test_a_frozen_picture_network_stays_as_it_is(polyvore, model):
    module = model(encoder=ItemEncoder("test_vit", False, 160, "words", 8))
    assert not any(parameter.requires_grad for parameter in module.network.image_encoder.parameters())
    module.train()
    assert module.network.training
    assert not module.network.image_encoder.training
    files = sorted((polyvore / "images").glob("*.jpg"))[:3]
    first = module.score([files])
    module.train()
    torch.testing.assert_close(module.score([files]), first)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_exported_networks_give_the_same(tmp_path, variant, encoder):
    torch.manual_seed(0)
    sizes = {"half": 16, "layers": 2, "heads": 4, "ffn": 20}
    module = OutfitTransformer(variant, encoder(), **sizes).eval()
    inputs = module.export_inputs()
    batch, items = torch.export.Dim("batch", min=1), torch.export.Dim("items", min=1)
    dynamic = {name: {0: batch, 1: items} if name in module.export_dynamic else {0: batch} for name in inputs}
    exported = torch.export.export(module.network, (), kwargs=inputs, dynamic_shapes=dynamic).module()
    features, mask = torch.randn(5, 7, 80), torch.rand(5, 7) < 0.6
    mask[:, 0] = True
    more = {"target": torch.randn(5, 32)} if "target" in inputs else {}
    ours, theirs = module.network(features, mask, **more), exported(features=features, mask=mask, **more)
    torch.testing.assert_close(theirs[0], ours.score, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(theirs[1], ours.query, rtol=1e-4, atol=1e-4)


def test_features_are_computed_once_and_changes_are_noticed(polyvore, tmp_path, encoder, data, capsys):
    import shutil

    shutil.copytree(polyvore, tmp_path / "set")
    given = {"root": str(tmp_path / "set"), "encoder": encoder(size=17)}
    data(**given).items("test")
    assert "polyvore_outfits pictures: " in capsys.readouterr().err
    data(**given).items("test")
    assert "pictures" not in capsys.readouterr().err
    used = data(**given)
    number = used.whole(tmp_path / "set").outfits["test"][0].items[0]
    file = used.whole(tmp_path / "set").catalogue.items[number].image
    before = used.items("test").items.table.image[number].copy()
    other = next(item.image for item in used._read.catalogue.items if item.group == "hats")
    shutil.copy(other, file)
    changed = data(**given)
    after = changed.items("test").items.table.image[number]
    assert "1 files changed since their features were made; they are made anew" in capsys.readouterr().err
    assert not np.array_equal(before, after)
