"""What zoo eval --out adds: tables per video and class and the curves, worked by hand and against the metrics."""

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
from zoo.cli import main
from zoo.domains.anomaly import MeanPooling, MILRanking, UCFCrime
from zoo.domains.anomaly.report import Frames, curves, draw_curves, frames_of, per_class, per_video
from zoo.errors import InputError


def video(name, kind, scores, truth):
    return Frames(
        name, kind, int(kind != "Normal"), np.array(scores, dtype=np.float32), np.array(truth, dtype=np.uint8)
    )


VIDEOS = [
    video("a", "Fight", [0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0]),
    video("b", "Fight", [0.6, 0.3], [0, 1]),
    video("c", "Theft", [0.7, 0.4], [1, 1]),
    video("d", "Normal", [0.5, 0.1, 0.0], [0, 0, 0]),
]


def test_measures_per_video_by_hand():
    rows = {row["id"]: row for row in per_video(VIDEOS, 0.5)}
    assert rows["a"] == {
        "id": "a", "kind": "Fight", "label": 1, "frames": 4, "event_frames": 2, "auc": 1.0, "ap": 1.0,
        "highest": pytest.approx(0.9), "recall": 1.0, "false_alarms": 0.0,
    }  # fmt: skip
    assert (rows["b"]["auc"], rows["b"]["ap"], rows["b"]["recall"], rows["b"]["false_alarms"]) == (0, 0.5, 0, 1)
    assert (rows["c"]["auc"], rows["c"]["recall"], rows["c"]["false_alarms"]) == (None, 0.5, None)
    assert (rows["d"]["auc"], rows["d"]["recall"], rows["d"]["false_alarms"]) == (None, None, pytest.approx(1 / 3))


def test_measures_per_class_by_hand():
    rows = {row["kind"]: row for row in per_class(VIDEOS, 0.5)}
    assert list(rows) == ["Fight", "Theft", "Normal", "all"]
    # Fight with Normal: positives .9 .8 .3, negatives .1 .2 .6 .5 .1 0; .3 stands above four of six
    assert rows["Fight"]["auc"] == pytest.approx((6 + 6 + 4) / 18)
    assert rows["Fight"]["auc_within"] == pytest.approx((3 + 3 + 2) / 9)
    assert rows["Theft"]["auc"] == pytest.approx((3 + 2) / 6)
    assert rows["Theft"]["auc_within"] is None
    assert [row["videos"] for row in rows.values()] == [2, 1, 1, 4]
    assert [row["frames"] for row in rows.values()] == [6, 2, 3, 11]
    assert rows["all"]["false_alarms"] == pytest.approx(2 / 6)


def test_curves_by_hand():
    points = curves([video("a", "Fight", [0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])])
    roc = [(row["false_positive_rate"], row["recall"]) for row in points["roc"]]
    assert roc == [(0, 0), (0, 0.5), (0.5, 1), (1, 1)]
    best = {round(row["threshold"], 3): (row["recall"], row["precision"]) for row in points["pr"]}
    assert best[0.9] == (0.5, 1.0)
    assert best[0.5] == (1.0, pytest.approx(2 / 3))
    figure = draw_curves(points, 0.875, 0.83, 0.5)
    assert [axis.get_title() for axis in figure.axes] == [
        "ROC over frames: AUC 0.875", "precision and recall: AP 0.830",
    ]  # fmt: skip
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[0, 0], [0, 0.5], [0.5, 1], [1, 1]]


@pytest.mark.parametrize("protocol", ["official", "ekosman"])
def test_rows_tell_the_frames_exactly(crime, protocol):
    """The tables come from rows, the metrics from frames: they agree to the last digit."""
    torch.manual_seed(0)
    model = MILRanking(features=16, protocol=protocol).eval()
    data = UCFCrime(root=str(crime), val_fraction=0.25)
    metrics = torch.nn.ModuleDict(model.build_metrics())
    with torch.no_grad():
        rows = [row for batch in data.test_dataloader() for row in model.evaluate_batch(batch, metrics)]
    tables, figures = model.report(rows)
    total = tables["per_class"][-1]
    expected = metrics["videos"].compute()
    assert total["auc"] == expected["auc"].item()
    assert total["ap"] == expected["ap"].item()
    normal = next(row for row in tables["per_class"] if row["kind"] == "Normal")
    assert normal["false_alarms"] == pytest.approx(expected["false_alarms"].item())
    assert len(tables["per_video"]) == 8
    assert set(figures) == {"curves"}
    assert frames_of({key: value for key, value in rows[0].items() if key != "events"}, protocol) is None
    assert model.report([{"id": "a", "kind": "", "label": 1, "score": 0.5, "scores": "0.5"}]) == ({}, {})


def test_zoo_eval_writes_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    overrides = {"model": "zoo.domains.anomaly.MeanPooling", "model.features": 64, "trainer.max_epochs": 3}
    folder = zoo.train("anomaly/demo", overrides)
    assert main(["eval", str(folder), "--out", "out"]) == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "metrics.json", "predictions.csv", "picture.png", "per_video.csv", "per_class.csv", "roc.csv", "pr.csv",
        "curves.png",
    }  # fmt: skip
    classes = pd.read_csv(tmp_path / "out/per_class.csv")
    assert classes["kind"].tolist() == ["Abuse", "Explosion", "Robbery", "Stealing", "Normal", "all"]
    printed = capsys.readouterr().out
    assert "auc_low" in printed
    assert f"{classes['auc'].iloc[-1]:.6g}" in printed
    assert (tmp_path / "out/curves.png").stat().st_size > 10_000


def test_mean_pooling_learns_bags_as_single_rows(crime):
    batch = next(iter(UCFCrime(root=str(crime), batch_size=6, steps_per_epoch=1).train_dataloader()))
    model = MeanPooling(features=16, regulariser=0.5).eval()
    scores = model.network(batch["features"].mean(dim=1, keepdim=True)).scores[:, 0]
    crossed = -(batch["label"] * scores.log() + (1 - batch["label"]) * (1 - scores).log()).mean()
    terms = model.terms(batch)
    assert terms["classification"].item() == pytest.approx(crossed.item(), rel=1e-5)
    squares = sum(layer.weight.square().sum() for layer in model.network.layers)
    assert terms["weights"].item() == pytest.approx(0.5 * squares.item(), rel=1e-5)
    crops = torch.stack([batch["features"], batch["features"]], dim=2)
    assert model.terms({**batch, "features": crops})["classification"].item() == pytest.approx(crossed.item(), rel=1e-5)
    with pytest.raises(InputError, match=r"model\.regulariser must not be negative, got -1\.0"):
        MeanPooling(regulariser=-1.0)
