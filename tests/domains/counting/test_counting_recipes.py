"""The recipes: the released setting, shares of labels, every objective by override, the demo better than chance."""

import csv
from pathlib import Path

import pandas as pd
import pytest
import torch

import zoo
from zoo.domains.counting import TreeFormer
from zoo.recipe import build_data, build_model, build_optimizer, check, read

RECIPES = Path(__file__).parents[3] / "recipes" / "counting"
KCL = {"treeformer_kcl": 1.0, "treeformer_kcl_10": 0.1, "treeformer_kcl_30": 0.3, "treeformer_kcl_50": 0.5}


@pytest.mark.parametrize("name", [*KCL, "treeformer_jiangsu", "treeformer_yosemite"])
def test_the_released_setting(name):
    tree = read(RECIPES / f"{name}.yaml").tree
    model, data = tree["model"]["init_args"], tree["data"]["init_args"]
    assert (model["backbone"], model["token"], model["variant"], model["tiling"]) == (
        "pvt_treeformer", "first_patch", "official", "official"
    )  # fmt: skip
    assert (model["pretrained"], model["crop"], data["crop"]) == (False, 256, 256)
    assert (data["batch_size"], data["unlabelled_batch"]) == (16, 16)
    assert data["labelled_fraction"] == KCL.get(name, 0.3)
    assert tree["trainer"]["max_epochs"] == 4001
    assert tree["optimizer"]["class_path"] == "torch.optim.AdamW"
    rates = {key: float(value) for key, value in tree["optimizer"]["init_args"].items()}
    assert rates == {"lr": 1e-5, "weight_decay": 1e-4}
    assert "lr_scheduler" not in tree


def test_the_small_recipe_is_that_of_the_claim():
    tree = read(RECIPES / "treeformer_kcl_lite0.yaml").tree
    model, data = tree["model"]["init_args"], tree["data"]["init_args"]
    assert (model["backbone"], model["pretrained"], model["variant"]) == ("tf_efficientnet_lite0", True, "paper")
    assert (data["crop"], data["val"], data["root"]) == (192, 12, "counting/kcl_london")
    assert model["window"] == model["crop"]  # a token counts what lies in a window, so both have one size


@pytest.mark.parametrize(
    "overrides",
    [
        {"model.variant": "official", "model.token": "first_patch"},
        {"model.ranking": "Logistic"},
        {"model.weights.ranking": 0, "model.weights.consistency": 0},
        {"model.transport_eps": 1.0, "model.transport_normalised": True},
        {"model.feature_drop": None, "model.noise": 0, "model.dropout": 0},
        {"data.labelled_fraction": 1.0},
    ],
    ids=str,
)
def test_objectives_train_a_step(overrides):
    recipe = read(RECIPES / "demo.yaml", {**overrides, "data.batch_size": 2, "data.unlabelled_batch": 2})
    assert [str(mistake) for mistake in check(recipe)] == []
    module, data = build_model(recipe), build_data(recipe)
    assert isinstance(module, TreeFormer)
    optimizer = build_optimizer(recipe)(module.parameters())
    loss = module.training_step(next(iter(data.train_dataloader())), 0)["loss"]
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert any(p.grad is not None and bool(p.grad.any()) for p in module.network.encoder.parameters())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"model.varant": "paper"}, "did you mean 'variant'"),
        ({"model.variant": "papr"}, "paper"),
        ({"model.weights.rankin": 0}, "Weights takes no 'rankin'; did you mean 'ranking'"),
        ({"model.ranking": "Hing"}, "Hinge"),
        ({"data.labeled_fraction": 0.1}, "did you mean 'labelled_fraction'"),
    ],
)
def test_mistakes_are_named(overrides, words):
    (mistake,) = check(read(RECIPES / "demo.yaml", overrides))
    assert words in str(mistake)


def test_demo_is_clearly_better_than_chance(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = demo("counting")[0] / "runs" / "counting" / "demo"
    metrics = zoo.evaluate(folder, predictions="rows.csv")
    rows = pd.read_csv(tmp_path / "rows.csv")
    constant = (rows["trees"] - rows["trees"].mean()).abs().mean()  # the best constant of the test itself, about 13
    assert metrics["mae"] < 0.6 * constant
    assert metrics["r2"] > 0.5
    assert metrics["mae"] == pytest.approx((rows["count"] - rows["trees"]).abs().mean(), rel=1e-4)
    with (folder / "split.csv").open() as stream:
        marked = [row["labelled"] for row in csv.DictReader(stream) if row["split"] == "train"]
    assert (marked.count("yes"), marked.count("no")) == (16, 16)
