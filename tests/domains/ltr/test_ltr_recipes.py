"""The recipes: any score loss in the slot, mistakes, the demo by the command line, clearly better than chance."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

import zoo.ranking
from zoo.domains.ltr import MQ2008, MLPRanker
from zoo.metrics import NDCG
from zoo.ranking import ScoreLoss
from zoo.recipe import build_data, build_model, build_optimizer, check, read

RECIPES = Path(__file__).parents[3] / "recipes" / "ltr"
LOSSES = [name for name in zoo.ranking.__all__ if name not in ("ScoreLoss", "SimilarityLoss") and name[0].isupper()]
KINDS = {name: issubclass(getattr(zoo.ranking, name), ScoreLoss) for name in LOSSES}


@pytest.mark.parametrize("name", [name for name, score in KINDS.items() if score])
@pytest.mark.parametrize("written", ["{}", "zoo.ranking.{}"])
def test_any_score_loss_can_be_named_and_trains_a_step(name, written):
    recipe = read(RECIPES / "demo.yaml", {"model.ranking": written.format(name)})
    assert not check(recipe)
    module, data = build_model(recipe), build_data(recipe)
    assert type(module.ranking) is getattr(zoo.ranking, name)
    optimizer = build_optimizer(recipe)(module.parameters())
    loss = module.training_step(next(iter(data.train_dataloader())), 0)["loss"]
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(parameter).all() for parameter in module.parameters())


def test_null_is_regression():
    recipe = read(RECIPES / "demo.yaml", {"model.ranking": None})
    assert not check(recipe)
    module = build_model(recipe)
    assert isinstance(module, MLPRanker)
    assert module.ranking is None


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"model.ranking": "ListNot"}, "ListNet"),
        ({"model.ranking": "zoo.ranking.Triplet"}, "Triplet"),
        ({"model.ranking.temprature": 1.0}, "temperature"),
        ({"model.hiden": [3]}, "hidden"),
        ({"data.folds": 2}, "fold"),
        ({"model.protocol": "letor"}, "letor4"),
    ],
)
def test_mistakes_are_named(overrides, words):
    (mistake,) = check(read(RECIPES / "demo.yaml", overrides))
    assert words in str(mistake)


def test_demo_is_clearly_better_than_chance(demo, zoo, tmp_path):
    folder = demo("ltr")[0] / "runs" / "ltr" / "demo"
    evaluated = zoo("eval", folder, "--json", "--predictions", "rows.csv", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    result = json.loads(evaluated.stdout)
    assert (result["data"], result["protocol"]) == ("ltr/mq2008", "standard")
    data, chance = MQ2008(synthesize=True, batch_size=8), NDCG()
    for batch in data.test_dataloader():
        chance.update(torch.zeros_like(batch["target"], dtype=torch.float32), batch["target"], batch["mask"])
    assert result["metrics"]["ndcg10"] > float(chance.compute()) + 0.25
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert len(rows) == 32
    assert rows.ndcg10.mean() == pytest.approx(result["metrics"]["ndcg10"], abs=1e-9)
    predicted = zoo("predict", folder, data.folder() / "S5.txt", "--out", "out", cwd=tmp_path)
    assert predicted.returncode == 0, predicted.stderr
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    first = table[table.qid == rows.id[0]]
    assert first.score.tolist() == pytest.approx([float(value) for value in rows.scores[0].split()], rel=1e-4)
    assert (tmp_path / "out" / "S5.png").stat().st_size > 10_000
