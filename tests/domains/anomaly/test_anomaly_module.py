"""MILRanking: loss terms, evaluation, prediction in memory and on files, pictures, and its refusals."""

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

from zoo.domains.anomaly import (
    MILRanking,
    UCFCrime,
    frame_scores,
    frame_truth,
    mil_terms,
    segment_features,
    weight_penalty,
)
from zoo.domains.anomaly.bags import collate_bags
from zoo.errors import InputError
from zoo.metrics import average_precision, roc_auc
from zoo.ranking import Logistic


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MILRanking(features=16, threshold=0.5)


@pytest.fixture
def batch(crime):
    data = UCFCrime(root=str(crime), batch_size=6, steps_per_epoch=1, val_fraction=0.25)
    return next(iter(data.train_dataloader()))


def items(crime, split, **more):
    found = UCFCrime(root=str(crime), val_fraction=0.25, **more).items(split)
    return [found[(0, index)] for index in range(len(found))]


def evaluate(model, batches):
    metrics = MetricCollection(model.build_metrics(), compute_groups=False)
    model.eval()
    with torch.no_grad():
        rows = [row for batch in batches for row in model.evaluate_batch(batch, metrics)]
    return rows, {name: value.item() for name, value in metrics.compute().items()}


@pytest.mark.parametrize("variant", ["official", "paper", "diagonal"])
def test_terms_are_those_of_the_objective(batch, variant):
    model = MILRanking(features=16, variant=variant, margin=0.7, sparsity=0.1, smoothness=0.2, regulariser=0.3).eval()
    terms = model.terms(batch)
    scores = model.network(batch["features"]).scores
    expected = mil_terms(scores, batch["label"], variant, None, 0.7, 0.1, 0.2)
    expected["weights"] = 0.3 * weight_penalty(model.network, variant)
    assert {name: term.item() for name, term in terms.items()} == {name: term.item() for name, term in expected.items()}


def test_another_score_loss_can_be_named(batch):
    model = MILRanking(features=16, ranking=Logistic(temperature=0.1)).eval()
    maxima = model.network(batch["features"]).scores.amax(1)
    assert model.terms(batch)["ranking"].item() == Logistic(temperature=0.1)(maxima, batch["label"]).item()


def test_scores_of_crops_are_averaged(batch):
    model = MILRanking(features=16).eval()
    crops = torch.stack([batch["features"], batch["features"].flip(0), batch["features"] * 0.5], dim=2)
    alone = torch.stack([model.network(crops[:, :, crop]).scores for crop in range(3)]).mean(0)
    terms = model.terms({**batch, "features": crops})
    expected = mil_terms(alone, batch["label"])
    assert terms["ranking"].item() == pytest.approx(expected["ranking"].item(), abs=1e-6)
    torch.testing.assert_close(model.predict(crops).scores, alone)


def test_one_batch_is_learnt_by_heart(batch):
    torch.manual_seed(0)
    model = MILRanking(features=16, dropout=0.0, regulariser=0.0).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(200):
        loss = sum(model.terms(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    maxima = model.predict(batch["features"]).scores.amax(1)
    assert maxima[:3].min() > 0.99
    assert maxima[3:].max() < 0.01


@pytest.mark.parametrize("protocol", ["official", "ekosman"])
def test_evaluation_against_the_functions(crime, protocol):
    torch.manual_seed(0)
    model = MILRanking(features=16, protocol=protocol)
    videos = items(crime, "test")
    rows, metrics = evaluate(model, [collate_bags(videos[:5]), collate_bags(videos[5:])])
    assert [row["id"] for row in rows] == [video["id"] for video in videos]
    scores, truth, tops = [], [], []
    for video, row in zip(videos, rows, strict=True):
        own = model.predict(video["features"]).scores[0].numpy()
        scores.append(frame_scores(own, video["frames"], protocol))
        truth.append(frame_truth(video["events"], video["frames"], protocol, len(scores[-1])))
        tops.append(own.max())
        assert row["score"] == pytest.approx(own.max(), abs=1e-6)
        assert [float(word) for word in row["scores"].split()] == pytest.approx(own.tolist(), abs=1e-5)
    together, marks = torch.from_numpy(np.concatenate(scores)), torch.from_numpy(np.concatenate(truth))
    assert metrics["auc"] == pytest.approx(roc_auc(together, marks).item(), abs=1e-9)
    assert metrics["ap"] == pytest.approx(average_precision(together, marks).item(), abs=1e-9)
    normal = np.concatenate([part for part, mark in zip(scores, truth, strict=True) if not mark.any()])
    assert metrics["false_alarms"] == pytest.approx((normal >= 0.5).mean(), abs=1e-9)
    labels = torch.tensor([video["label"] for video in videos])
    assert metrics["video_auc"] == pytest.approx(roc_auc(torch.tensor(np.array(tops)), labels).item())


def test_evaluation_of_snippets_under_every_protocol():
    rng = np.random.default_rng(0)
    video = {"id": "a", "label": 1, "features": rng.random((50, 16)).astype(np.float32), "frames": 805,
             "events": [(100, 300)]}  # fmt: skip
    short = {**video, "id": "b", "features": video["features"][:20], "frames": 320}
    for protocol, mode in (("official", "matlab"), ("ekosman", "numpy"), ("snippet16", None)):
        model = MILRanking(features=16, protocol=protocol)
        rows, metrics = evaluate(model, [collate_bags([video, short])])
        expected = video["features"] if mode is None else segment_features(video["features"], 32, mode)
        own = model.predict(expected).scores[0].numpy()
        assert [float(word) for word in rows[0]["scores"].split()] == pytest.approx(own.tolist(), abs=1e-5)
        together, marks = [], []
        for one in (video, short):
            rows_of = one["features"] if mode is None else segment_features(one["features"], 32, mode)
            spread = frame_scores(
                model.predict(rows_of).scores[0].numpy(), one["frames"], protocol, len(one["features"])
            )
            together.append(spread)
            marks.append(frame_truth(one["events"], one["frames"], protocol, len(spread)))
        auc = roc_auc(*(torch.from_numpy(np.concatenate(parts)) for parts in (together, marks)))
        assert metrics["auc"] == pytest.approx(auc.item(), abs=1e-9)


def test_videos_without_events_are_measured_by_video_alone(crime, model):
    rows, metrics = evaluate(model, [collate_bags(items(crime, "val"))])
    assert set(metrics) == {"video_auc"}
    assert set(rows[0]) == {"id", "kind", "label", "score", "scores"}


def test_scores_do_not_depend_on_the_batch(crime, model):
    videos = items(crime, "test")
    apart = evaluate(model, [collate_bags([video]) for video in videos])
    assert apart == evaluate(model, [collate_bags(videos)])


def test_segments_do_not_pass_for_snippets(crime):
    model = MILRanking(features=16, protocol="snippet16")
    with pytest.raises(
        InputError, match=r"Abuse/Abuse101_x264: protocol snippet16: 32 rows cover 512 frames .* look li"
    ):
        evaluate(model, [collate_bags(items(crime, "test"))])


@pytest.mark.parametrize("shape", [(2, 7, 16), (7, 16), (2, 7, 3, 16), (1, 1, 16)])
@pytest.mark.parametrize("kind", ["float32", "float16", "float64", "numpy", "integers"])
def test_predict_gives_a_score_per_row_whatever_it_is_given(model, shape, kind):
    rows = torch.randint(0, 9, shape).float()
    given = {"float32": rows, "float16": rows.half(), "float64": rows.double(), "numpy": rows.numpy().astype(">f8"),
             "integers": rows.numpy().astype(np.uint8)}[kind]  # fmt: skip
    model.train()
    out = model.predict(given)
    assert model.network.training
    assert not out.scores.requires_grad
    full = rows if rows.ndim > 2 else rows[None]
    model.eval()
    expected = model.network(full).scores if full.ndim == 3 else torch.stack(
        [model.network(full[:, :, crop]).scores for crop in range(3)]).mean(0)  # fmt: skip
    torch.testing.assert_close(out.scores, expected)
    assert torch.equal(out.scores, model.predict(given, preprocess=False).scores)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(3, 15), r"expected shape \(B, T, 16\) or \(T, 16\) with at least one row, got \(3, 15\)"),
        (torch.zeros(16), r"got \(16,\)"),
        (np.zeros((0, 16)), r"got \(0, 16\)"),
        (torch.zeros(0, 4, 16), r"got \(0, 4, 16\)"),
        (torch.zeros(1, 1, 1, 1, 16), "expected shape"),
        (
            torch.tensor([[0.0] * 16, [float("nan")] + [0.0] * 15]),
            r"batch 0, row 1 \(from 0\) holds a value that is not",
        ),
        (np.array([["a"] * 16]), "expected a tensor or a numpy array of numbers, got an array of <U1"),
        ([[0.0] * 16], "expected a tensor or a numpy array of numbers, got list"),
        (torch.zeros(2, 16, dtype=torch.complex64), "expected a tensor or a numpy array of numbers, got Tensor"),
    ],
)
def test_predict_refuses(model, given, message):
    with pytest.raises(InputError, match=message):
        model.predict(given)


@pytest.mark.parametrize("ending", ["txt", "npy", "npz"])
def test_predict_on_a_file(model, tmp_path, ending):
    rows = np.random.default_rng(0).random((7, 16)).astype(np.float32).round(6)
    path = tmp_path / f"camera.{ending}"
    if ending == "txt":
        np.savetxt(path, rows, fmt="%.6f")
    else:
        (np.save if ending == "npy" else np.savez)(path, rows)
    table, figure = model.predict_file(path)
    assert [row["row"] for row in table] == list(range(7))
    np.testing.assert_allclose([row["score"] for row in table], model.predict(rows).scores[0], atol=1e-6)
    assert [row["alarm"] for row in table] == [row["score"] >= 0.5 for row in table]
    (panel,) = figure.axes
    assert panel.get_xlabel() == "frame (16 per row)"
    assert panel.get_xlim() == (0, 112)
    figure.savefig(tmp_path / "out.png")


def test_predict_on_crops_and_on_many_videos(model, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "crops.npy", crops := rng.random((5, 10, 16)))
    table, _ = model.predict_file(tmp_path / "crops.npy")
    expected = np.mean([model.predict(crops[:, crop]).scores[0].numpy() for crop in range(10)], axis=0)
    np.testing.assert_allclose([row["score"] for row in table], expected, atol=1e-6)
    np.savez(tmp_path / "many.npz", **{f"v{index:02d}": rng.random((32, 16)) for index in range(15)})
    table, figure = model.predict_file(tmp_path / "many.npz")
    assert len(table) == 15 * 32
    assert [row["video"] for row in table[::32]] == [f"v{index:02d}" for index in range(15)]
    assert len(figure.axes) == 12
    assert "12 of 15 videos" in [text.get_text() for text in figure.texts]
    assert figure.axes[0].get_xlabel() == "segment of 32"


def test_predict_refuses_files_that_do_not_fit(model, tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((3, 20)))
    with pytest.raises(InputError, match=r"wide\.npy: has 20 features per row, the model takes 16"):
        model.predict_file(tmp_path / "wide.npy")
    (tmp_path / "bad.txt").write_text("0.1 " * 16 + "\n" + "0.1 " * 15 + "nan\n")
    with pytest.raises(InputError, match=r"bad\.txt:2: number 16 is 'nan', not a finite number"):
        model.predict_file(tmp_path / "bad.txt")


def test_training_on_data_of_another_width_is_told(batch):
    with pytest.raises(InputError, match="has 16 features per row, the model takes 20"):
        MILRanking(features=20).terms(batch)


def test_pictures_show_curve_threshold_and_events(crime, model, tmp_path):
    figure = model.picture(collate_bags(items(crime, "test")))
    assert len(figure.axes) == 4
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["annotated event", "threshold 0.5", "anomaly score"]
    assert figure.axes[0].get_xlabel() == "frame"
    assert figure.axes[0].get_title(loc="left").startswith("Abuse101_x264 (anomalous): highest score ")
    weak = model.picture(collate_bags(items(crime, "val")))
    assert weak.axes[0].get_xlabel() == "segment of 32"
    assert weak.axes[1].get_legend_handles_labels()[1] == ["threshold 0.5", "anomaly score"]
    assert model.network.training
    for name, drawn in (("a.png", figure), ("b.png", weak)):
        drawn.savefig(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sparsity": -1.0}, "model.sparsity must not be negative, got -1.0"),
        ({"regulariser": -1.0}, "model.regulariser"),
        ({"features": 0}, "model.features must be at least 1, got 0"),
        ({"dropout": 1.0}, r"model.dropout must be in \[0, 1\), got 1.0"),
        ({"threshold": 1.1}, "model.threshold must be in"),
        ({"variant": "offical"}, "model.variant must be one of .*, got 'offical'; did you mean 'official'"),
        (
            {"protocol": "snippet"},
            "model.protocol must be one of official, ekosman, snippet16, got 'snippet'; did you me",
        ),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(InputError, match=message):
        MILRanking(**wrong)


def test_what_a_checkpoint_says(model):
    assert model.protocol == "official"
    assert model.preprocess == {"features": 16, "rows": "as stored, one score each", "segments": 32}


@pytest.mark.realdata
def test_a_new_detector_takes_the_released_features(real_data):
    torch.manual_seed(0)
    file = real_data / "anomaly/ucf_crime_c3d_samples/features_c3d_32seg_fp16.npz"
    table, figure = MILRanking().predict_file(file)
    assert len(table) == 320
    assert len(figure.axes) == 10
    assert all(0 < row["score"] < 1 for row in table)
