"""RTFM as a whole: released weights by the command line, two processes, stopped and resumed, and it learns."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
from zoo.checkpoint import convert as convert_file
from zoo.domains.anomaly import RTFM, RTFMNetwork, convert
from zoo.errors import InputError

WORKER = Path(__file__).with_name("rtfm_worker.py")
RTFM_DEMO = {
    "model": "zoo.domains.anomaly.RTFM", "model.features": 64, "model.protocol": "official", "model.margin": 1.5,
    "model.magnitude": 0.01, "model.dropout": 0.2, "optimizer": "Adam", "optimizer.lr": 0.01,
    "data.steps_per_epoch": 10,
}  # fmt: skip


def load(name):
    spec = importlib.util.spec_from_file_location(name, WORKER.with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def released(features=2048):
    """A state dict of the released layout: every tensor drawn, counters as integers."""
    generator = torch.Generator().manual_seed(9)
    state = RTFMNetwork(features).state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            draw = torch.rand(value.shape, generator=generator)
            state[name] = 0.5 + draw if "running_var" in name else (draw - 0.5) * 4 / max(1, value[0].numel() ** 0.5)
        else:
            state[name] = torch.tensor(15000)
    return state


def test_the_released_file_converts_and_scores_as_described(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = released()
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "rtfmfinal.pkl")
    notes = convert_file("anomaly/rtfm_ucfcrime_i3d", tmp_path / "rtfmfinal.pkl", tmp_path / "rtfm.safetensors")
    assert any("'module.'" in note for note in notes)
    model = zoo.load(tmp_path / "rtfm.safetensors")
    assert isinstance(model, RTFM)
    assert model.network.Aggregate.conv_5[2].num_batches_tracked == 15000
    crops = torch.rand(9, 2, 2048, generator=torch.Generator().manual_seed(2))
    expected, _, _ = load("rtfm_reference").one_video(crops, state)
    found = model.predict(crops[None]).scores[0]
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_ways_in_which_a_released_file_can_be_wrong():
    state = released(16)
    tensors, notes = convert({f"module.{name}": value.half() for name, value in state.items()})
    assert notes == ["removed 'module.' before every name", "turned the tensors from torch.float16 to float32"]
    RTFM(features=16).load_state_dict(tensors, strict=True)

    def message(**changed):
        values = {name: value for name, value in {**state, **changed}.items() if value is not None}
        with pytest.raises(InputError) as caught:
            convert(values)
        return str(caught.value)

    name = "Aggregate.conv_4.0.weight"
    assert "missing 'Aggregate.conv_4.0.weight'" in message(**{name: None})
    assert "unexpected 'Aggregate.conv_6.0.weight'" in message(**{"Aggregate.conv_6.0.weight": torch.ones(1)})
    wrong = message(**{name: torch.ones(4, 16)})
    assert wrong == "Aggregate.conv_4.0.weight: has shape (4, 16), expected (4, 16, 1)"
    bad = torch.full((4, 16, 1), float("inf"))
    assert message(**{name: bad}) == "Aggregate.conv_4.0.weight: holds values that are not finite"
    assert message(**{"fc1.weight": torch.ones(512, 30)}).startswith("fc1.weight: expected a tensor of shape (512, fea")


def test_every_term_and_gradient_of_uneven_processes_is_that_of_one(ranks):
    worker, sizes = load("rtfm_worker"), [2, 6]
    plain = worker.network()
    expected = worker.run(plain, plain, *worker.videos(sizes))
    results = ranks(WORKER, "2,6")
    for got in results:
        for variant, (terms, gradients) in expected.items():
            for name, value in terms.items():
                torch.testing.assert_close(got[variant][0][name], value, rtol=1e-12, atol=0)
            for one, other in zip(got[variant][1], gradients, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)


def test_a_resumed_training_ends_as_one_that_was_never_stopped_and_it_learns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = zoo.train("anomaly/demo", {**RTFM_DEMO, "trainer.max_epochs": 4}, name="whole")
    zoo.train("anomaly/demo", {**RTFM_DEMO, "trainer.max_epochs": 2}, name="half")
    half = zoo.train("anomaly/demo", {**RTFM_DEMO, "trainer.max_epochs": 4}, name="half", resume=True)
    one, two = (pd.read_csv(folder / "metrics.csv").drop(columns="time") for folder in (whole, half))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    states = [torch.load(folder / "last.ckpt", weights_only=True)["state_dict"] for folder in (whole, half)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    terms = {"train/classification", "train/magnitude", "train/smoothness", "train/sparsity"}
    assert terms <= set(one.columns)
    metrics = zoo.evaluate(whole)
    assert metrics["auc"] > 0.8
    assert metrics["auc_low"] < metrics["auc"] < metrics["auc_high"]
    assert np.isfinite(list(metrics.values())).all()
