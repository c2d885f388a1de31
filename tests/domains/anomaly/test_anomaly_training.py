"""The demo as its recipe says: the first losses as recorded, and an evaluation far from chance; and the real data."""

import pandas as pd
import pytest

import zoo

# losses of the first ten steps of anomaly/demo at its seed (float32, CPU); what changes them changes the training
GOLDEN = [
    16.326284, 15.579089, 15.624688, 15.02909, 15.72362, 15.318766, 15.358911, 14.963168, 13.2702, 13.896592,
]  # fmt: skip


@pytest.fixture
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_first_losses_of_the_demo(inside):
    folder = zoo.train("anomaly/demo", {"trainer.max_epochs": 1, "trainer.log_every_n_steps": 1})
    losses = pd.read_csv(folder / "metrics.csv")["train/loss"].iloc[:10]
    assert losses.tolist() == pytest.approx(GOLDEN, abs=1e-4), [round(loss, 6) for loss in losses]


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        *(
            pytest.param(one, marks=pytest.mark.long)
            for one in ({"model.variant": "paper"}, {"model.ranking": "Logistic"})
        ),
    ],
)
def test_the_demo_learns(inside, demo, overrides):
    as_it_is = demo("anomaly")[0] / "runs" / "anomaly" / "demo"
    metrics = zoo.evaluate(zoo.train("anomaly/demo", overrides) if overrides else as_it_is)
    assert metrics["auc"] > 0.85
    assert metrics["video_auc"] > 0.85


@pytest.mark.realdata
@pytest.mark.slow
def test_real_fights_are_found(inside, real_data, monkeypatch):
    monkeypatch.setenv("ZOO_DATA", str(real_data))
    folder = zoo.train("anomaly/surv_camera_fight", {"trainer.max_epochs": 3})
    metrics = zoo.evaluate(folder)
    assert metrics["auc"] > 0.75
    assert {"ap", "false_alarms", "video_auc"} < set(metrics)
