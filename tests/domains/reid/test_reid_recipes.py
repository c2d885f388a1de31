"""The recipes: the paper's settings, every objective by name, mistakes, the demo clearly better than chance."""

from pathlib import Path

import pandas as pd
import pytest
import torch

import zoo
from zoo.domains.reid import RDE, TRL
from zoo.ranking import SDM, InfoNCE, Triplet, TripletAlignment
from zoo.recipe import build_data, build_model, build_optimizer, check, read

RECIPES = Path(__file__).parents[3] / "recipes" / "reid"
PAPER = ("rde_cuhkpedes", "rde_icfgpedes", "rde_rstpreid")


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize("noise", [0, 20, 50, 80])
def test_the_papers_settings(name, noise):
    tree = read(RECIPES / f"{name}{f'_noise{noise}' if noise else ''}.yaml").tree
    model, data = tree["model"]["init_args"], tree["data"]["init_args"]
    assert tree["trainer"]["max_epochs"] == 60
    assert tree["optimizer"]["init_args"] == {"lr": 1e-5, "betas": [0.9, 0.999], "eps": 1e-3, "weight_decay": 4e-5}
    assert tree["lr_scheduler"]["init_args"] == {"warmup": "5 epochs", "warmup_factor": 0.1, "final": 0.0}
    assert (data["batch_size"], data["image_size"], data["noise"]) == (64, [384, 128], noise / 100)
    assert data["augment_image"]
    assert data["augment_text"]
    assert data["select_on"] == ("test" if name == "rde_icfgpedes" else "val")
    assert (model["ratio"], model["tse"], model["reduction"]) == (0.3, 1024, "sum")
    assert model["mixture"] == ("tight" if noise > 40 or name == "rde_rstpreid" else "loose")
    assert model["bn_eval_during_training"]
    assert model["weights"] == "float16"
    assert model["ranking"]["init_args"] == {"margin": 0.1, "temperature": 0.015}


@pytest.mark.parametrize("kind", [TripletAlignment, TRL, SDM, InfoNCE, Triplet], ids=lambda kind: kind.__name__)
def test_objectives_are_named_and_train_a_step(kind):
    place = f"zoo.domains.reid.{kind.__name__}" if kind is TRL else kind.__name__
    recipe = read(RECIPES / "demo.yaml", {"model.ranking": place, "data.batch_size": 16})
    assert [str(mistake) for mistake in check(recipe)] == []
    module, data = build_model(recipe), build_data(recipe)
    assert isinstance(module, RDE)
    assert type(module.ranking) is kind
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
        ({"model.rankin": "SDM"}, "ranking"),
        ({"model.mixture": "wide"}, "loose"),
        ({"data.nois": 0.5}, "noise"),
        ({"data.select_on": "train"}, "test"),
        ({"model.image": "zoo.domains.reid.VisionTransforme"}, "VisionTransformer"),
    ],
)
def test_mistakes_are_named(overrides, words):
    (mistake,) = check(read(RECIPES / "demo.yaml", overrides))
    assert words in str(mistake)


def test_demo_is_clearly_better_than_chance(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = demo("reid")[0] / "runs" / "reid" / "demo"
    metrics = zoo.evaluate(folder, predictions="rows.csv")
    assert metrics["rank1"] > 12.5  # guessing gives 2.5
    assert metrics["rank1_low"] > 5
    assert metrics["i2t_rank1"] > 12.5
    assert len(pd.read_csv(tmp_path / "rows.csv")) == 240
    summary = pd.read_csv(folder / "division" / "summary.csv")
    assert summary["auroc"].iloc[0] < 0.6  # untrained towers cannot tell a shuffled caption
    assert summary["auroc"].iloc[-1] > 0.75
