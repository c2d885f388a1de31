"""TensorBoard: the recipe as text, settings as hparams, the learning rate of every group."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from toy import ToyData, ToyModule

from zoo.training.fit import prepare
from zoo.training.settings import flat

RECIPE = """\
seed_everything: 3
model:
  class_path: toy.ToyModule
  init_args: {dropout: 0.3, groups: [{pattern: bias}]}
optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1, nesterov: false}}
lr_scheduler: null
"""


def test_settings_have_the_names_of_options():
    import yaml

    assert flat(yaml.safe_load(RECIPE)) == {
        "seed_everything": 3,
        "model": "ToyModule",
        "model.dropout": 0.3,
        "model.groups": "[{'pattern': 'bias'}]",
        "optimizer": "SGD",
        "optimizer.lr": 0.1,
        "optimizer.nesterov": False,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    for resume, epochs in ((False, 1), (True, 2)):
        module = ToyModule(groups=[{"pattern": "bias$", "lr_scale": 0.5}])
        module.optimizer, module.recipe_text = partial(torch.optim.SGD, lr=0.1), RECIPE
        data = ToyData()
        data.seed = 3
        prepare(folder, 3, {"max_epochs": epochs, "log_every_n_steps": 2, "accelerator": "cpu"}, resume).run(
            module, data
        )
    return folder


def test_the_events_hold_recipe_settings_and_rates_once(run):
    events = EventAccumulator(str(run), size_guidance={"tensors": 0, "scalars": 0}).Reload()
    (text,) = events.Tensors("recipe/text_summary")
    said = text.tensor_proto.string_val[0].decode()
    assert [line.removeprefix("    ") for line in said.splitlines()] == RECIPE.splitlines()
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["model.dropout"].number_value == 0.3
    assert settings["optimizer"].string_value == "SGD"
    content = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    assert [info.name.tag for info in HParamsPluginData.FromString(content).experiment.metric_infos] == ["val/error"]
    assert {"train/loss", "train/lr", "train/lr_1", "val/error"} <= set(events.Tags()["scalars"])


def test_groups_of_another_rate_have_a_column(run):
    table = pd.read_csv(run / "metrics.csv").dropna(subset="train/lr")
    assert set(table["train/lr"]) == {0.1}
    assert set(table["train/lr_1"]) == {0.05}
