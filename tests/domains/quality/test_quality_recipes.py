"""The recipes: the paper's setting, every pair plan and loss by override, the demo clearly better than chance."""

from pathlib import Path

import pandas as pd
import pytest
import torch

import zoo
from zoo.domains.quality import DNPIQA
from zoo.metrics.agreement import FIGURES
from zoo.recipe import build_data, build_model, build_optimizer, check, read

RECIPES = Path(__file__).parents[3] / "recipes" / "quality"
PAPER = sorted(file.name for file in RECIPES.glob("dnpiqa_piq23_*.yaml"))


def test_there_is_a_recipe_per_split_and_attribute():
    assert (
        sorted(
            f"dnpiqa_piq23_{split}_{attribute}.yaml"
            for split in ("scene", "device")
            for attribute in ("details", "exposure", "overall")
        )
        == PAPER
    )


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_setting(name):
    tree = read(RECIPES / name).tree
    split, attribute = name.removesuffix(".yaml").split("_")[2:]
    model, data = tree["model"]["init_args"], tree["data"]["init_args"]
    assert (data["split"], data["attribute"]) == (split, attribute)
    assert data["aux"] == f"LIQE_feature/{attribute.capitalize()}"
    assert (data["pairs"], data["batch_size"], data["partners"]) == ("csv", 6, 2)
    assert tree["trainer"]["max_epochs"] == 10
    assert tree["optimizer"]["class_path"] == "torch.optim.Adam"
    assert {key: float(value) for key, value in tree["optimizer"]["init_args"].items()} == {
        "lr": 1e-5,
        "weight_decay": 1e-7,
    }
    assert tree["lr_scheduler"]["init_args"] == {"every": "2 epochs", "gamma": 0.9}
    for key in ("resize", "crop", "faces", "margin"):
        assert model[key] == data[key], key
    assert (model["resize"], model["crop"], model["crops"], model["liqe"]) == (448, 384, "five", True)


@pytest.mark.parametrize(
    "overrides",
    [
        {"data.pairs": "csv"},
        {"data.pairs": "epoch"},
        {"data.pairs": "batch"},
        {"model.ranking": "ListMLE"},
        {"model.ranking": "Hinge", "data.pairs": "epoch"},
        {"model.ranking": "zoo.domains.quality.L1"},
        {"model.ranking": "zoo.domains.quality.L2", "data.pairs": "epoch"},
        {"model.ranking": "zoo.domains.quality.PLCC"},
        {"model.branches": "face"},
        {"data.where": "window"},
    ],
    ids=str,
)
def test_plans_and_losses_train_a_step(overrides):
    recipe = read(RECIPES / "demo.yaml", {**overrides, "data.batch_size": 8, "data.scenes_per_batch": 2})
    assert [str(mistake) for mistake in check(recipe)] == []
    module, data = build_model(recipe), build_data(recipe)
    assert isinstance(module, DNPIQA)
    optimizer = build_optimizer(recipe)(module.parameters())
    loss = module.training_step(next(iter(data.train_dataloader())), 0)["loss"]
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    assert any(bool((gradient != 0).any()) for gradient in gradients)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"data.pair": "csv"}, "pairs"),
        ({"data.kinds": ["blurr"]}, "blur"),
        ({"model.rankin": "Hinge"}, "ranking"),
        ({"model.crops": "five_crops"}, "five"),
        ({"data.where": "windows"}, "window"),
    ],
)
def test_mistakes_are_named(overrides, words):
    (mistake,) = check(read(RECIPES / "demo.yaml", overrides))
    assert words in str(mistake)


def test_demo_is_clearly_better_than_chance(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = demo("quality")[0] / "runs" / "quality" / "demo"
    metrics = zoo.evaluate(folder, predictions="rows.csv")
    assert metrics["srcc_mean"] > 0.5  # an untrained network gives about -0.2
    assert metrics["srcc_mean_low"] > 0.4
    assert metrics["scenes"] == 12
    kinds = {f"{name}_{kind}" for name in FIGURES for kind in ("mean", "median", "global")}
    assert kinds <= set(metrics)
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert len(rows) == 12 * 36
    means = [group["score"].rank().corr(group["target"].rank()) for _, group in rows.groupby("scene")]
    assert sum(means) / 12 == pytest.approx(metrics["srcc_mean"], abs=1e-5)  # Spearman, by another library
