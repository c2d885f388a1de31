"""The recipes: the sheet's settings, every objective in the slot, mistakes, the demo clearly better than chance."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

import zoo.domains.calibration as calibration
from zoo.domains.calibration import Objective
from zoo.recipe import build_data, build_model, build_optimizer, build_scheduler, check, read
from zoo.training import MultiStep, Span

RECIPES = Path(__file__).parents[3] / "recipes" / "calibration"
OBJECTIVES = [
    name
    for name in calibration.__all__
    if isinstance(getattr(calibration, name), type)
    and issubclass(getattr(calibration, name), Objective)
    and name != "Objective"
]
# optimizer steps of an epoch, from the sheet; (classes, batch, epochs, milestones, size, margin, mixup_alpha)
SETTINGS = {
    "cifar10": (351, 10, 128, 200, (80, 120), 32, 2.0, 2.0),
    "cifar100": (352, 100, 128, 200, (80, 120), 32, 2.0, 2.0),
    "tiny": (1407, 200, 64, 100, (40, 60), 64, 1.0, 1.0),
}


@pytest.mark.parametrize("network", ["r50", "r101"])
@pytest.mark.parametrize("loss", ["mrl", "mndcg"])
@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_the_paper(name, loss, network):
    steps, classes, batch, epochs, milestones, size, margin, mixup_alpha = SETTINGS[name]
    recipe = read(RECIPES / f"{loss}_{name}_{network}.yaml")
    assert not check(recipe)
    with torch.device("meta"):
        module = build_model(recipe)
    data = build_data(recipe)
    objective = module.objective
    assert type(objective).__name__ == {"mrl": "MRL", "mndcg": "MNDCG"}[loss]
    assert (objective.alpha, objective.mixup_alpha) == (0.1, mixup_alpha)
    assert objective.copies == {"mrl": 1, "mndcg": 3}[loss]
    if loss == "mrl":
        assert (objective.margin, objective.variant, objective.scores) == (margin, "official", "logits")
    blocks = sum(len(module.network.get_submodule(stage)) for stage in module.network.stages)
    assert blocks == {"r50": 16, "r101": 33}[network]
    assert module.network.fc.out_features == classes == module.classes
    assert (module.mix, module.one_forward, module.monitor, module.temperature_by) == ("input", False, "val/acc", "ece")
    assert recipe.tree["trainer"]["max_epochs"] == epochs
    assert recipe.tree["trainer"]["gradient_clip_val"] == 2.0
    assert data.batch_size == batch
    assert (data.size, data.mean, data.std) == (size, module.inputs.mean, module.inputs.std)
    assert (data.train_view.padding, data.train_view.flip, data.train_view.crop) == (4, True, True)
    held = 45_000 if name != "tiny" else 90_000
    assert (held // batch if data.drop_last else -(-held // batch)) == steps
    optimizer = build_optimizer(recipe)([torch.nn.Parameter(torch.zeros(1))])
    settings = optimizer.param_groups[0]
    assert (settings["lr"], settings["momentum"], settings["weight_decay"]) == (0.1, 0.9, 5e-4)
    assert not settings["nesterov"]
    assert not module.groups
    schedule = build_scheduler(recipe)(optimizer, Span(steps, steps * epochs))
    assert isinstance(schedule, MultiStep)
    rates = [schedule.factor(steps * epoch) for epoch in (0, milestones[0] - 1, *milestones, epochs - 1)]
    assert rates == pytest.approx([1, 1, 0.1, 0.01, 0.01])


def test_there_are_recipes_for_the_long_tail_for_cub_and_for_two_cores():
    names = {file.stem for file in RECIPES.glob("*.yaml")}
    assert {"mndcg_cifar10lt_r50", "mndcg_cifar100lt_r50", "mndcg_cub_r50", "mndcg_cifar10_jpeg_r8", "demo"} <= names
    cub = build_data(read(RECIPES / "mndcg_cub_r50.yaml"))
    assert (cub.size, cub.resize, cub.stretch, cub.batch_size) == (224, 256, True, 32)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_any_objective_can_be_named_and_trains_a_step(name):
    recipe = read(RECIPES / "demo.yaml", {"model.objective": name, "model.width": 4})
    assert not check(recipe)
    module, data = build_model(recipe), build_data(recipe)
    assert type(module.objective) is getattr(calibration, name)
    optimizer = build_optimizer(recipe)(module.parameters())
    before = module.network.conv1.weight.clone()
    loss = module.training_step(next(iter(data.train_dataloader())), 0)["loss"]
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert not torch.equal(module.network.conv1.weight, before)


def test_all_objectives_of_the_table_are_there():
    assert set(OBJECTIVES) == {
        "Brier", "CrossEntropy", "EntropyPenalty", "FLSD53", "Focal", "L1Penalty", "LabelSmoothing", "MDCA", "MMCE",
        "MNDCG", "MRL", "MbLS", "Mixup", "RegMixup",
    }  # fmt: skip


def test_a_score_loss_of_the_ranking_core_can_be_named():
    recipe = read(RECIPES / "demo.yaml", {"model.objective.ranking": "Fidelity"})
    assert not check(recipe)
    assert type(build_model(recipe).objective.ranking).__name__ == "Fidelity"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"model.objective": "Focall"}, "Focal"),
        ({"model.objective.alfa": 0.5}, "alpha"),
        ({"model.objective.ranking": "Triplet"}, "Triplet"),
        ({"model.layout": "cifr"}, "cifar"),
        ({"data.spilt_seed": 2}, "split_seed"),
    ],
)
def test_mistakes_are_named(overrides, words):
    (mistake,) = check(read(RECIPES / "demo.yaml", overrides))
    assert words in str(mistake)


def test_three_copies_with_mrl_are_refused():
    overrides = {"model.objective": "MRL", "model.objective.copies": 3}
    with pytest.raises(calibration.module.InputError, match="MRL compares an image with one mixed copy"):
        build_model(read(RECIPES / "demo.yaml", overrides))


def test_demo_is_clearly_better_than_chance(demo, zoo, tmp_path):
    folder = demo("calibration")[0] / "runs" / "calibration" / "demo"
    evaluated = zoo("eval", folder, "--json", "--predictions", "rows.csv", "--out", "out", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    result = json.loads(evaluated.stdout)
    assert (result["data"], result["protocol"]) == ("calibration/digits", "15 bins")
    assert result["metrics"]["acc"] > 0.9
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert (rows.label == rows.predicted).mean() == pytest.approx(result["metrics"]["acc"])
    assert (tmp_path / "out" / "picture.png").stat().st_size > 10_000
