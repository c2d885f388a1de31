"""MLPRanker: first losses, one step with every loss, overfitting a batch, padding, metrics, prediction, bad input."""

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torchmetrics import MetricCollection

import zoo.ranking
from zoo.domains.ltr import MQ2008, MLPRanker
from zoo.errors import InputError
from zoo.ranking import ScoreLoss

SCORE_LOSSES = [
    value
    for name in zoo.ranking.__all__
    if isinstance(value := getattr(zoo.ranking, name), type) and issubclass(value, ScoreLoss) and value is not ScoreLoss
]
# loss before each of three Adam steps at 0.01 on the first validation batch, weights as conftest's `fixed` sets them
GOLDEN = {
    "regression": [1.9601, 1.3666, 1.1696],
    "ApproxNDCG": [0.4378, 0.4003, 0.3800],
    "ConfidenceNDCG": [1.2020, 0.5128, 0.1942],
    "Fidelity": [0.1655, 0.1305, 0.1033],
    "Hinge": [1.3123, 1.1474, 1.0185],
    "LambdaNDCG": [2.4088, 2.0315, 1.8313],
    "ListMLE": [25.7105, 23.9447, 22.8398],
    "ListNet": [2.7493, 2.5644, 2.4526],
    "Logistic": [0.9557, 0.8330, 0.7465],
    "MannWhitney": [0.9557, 0.8330, 0.7465],
    "SquaredHinge": [2.7487, 1.9482, 1.4294],
}


def losses(module: MLPRanker, batch, steps: int, lr: float) -> list[float]:
    """The loss before each of some Adam steps on one batch."""
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    values = []
    for step in range(steps):
        loss = module.training_step(batch, step)["loss"]
        values.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return values


@pytest.mark.parametrize("loss", [None, *SCORE_LOSSES])
def test_golden_first_losses(loss, batch, fixed):
    name = "regression" if loss is None else loss.__name__
    module = fixed(None if loss is None else loss())
    found = losses(module, batch, 3, 0.01)
    assert found == pytest.approx(GOLDEN[name], abs=5e-4), f"{name!r}: {[round(value, 4) for value in found]},"


@pytest.mark.parametrize("loss", [None, *SCORE_LOSSES])
def test_one_step_moves_every_parameter_by_a_finite_loss(loss, batch):
    module = MLPRanker(None if loss is None else loss())
    before = [parameter.detach().clone() for parameter in module.parameters()]
    (value,) = losses(module, batch, 1, 0.01)
    assert math.isfinite(value)
    # a shift of all scores is no error to a loss of differences: it leaves the last bias alone
    moved = [not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True)]
    assert all(moved[:-1])


def test_overfits_one_batch(batch):
    torch.manual_seed(0)
    module = MLPRanker(zoo.ranking.LambdaNDCG(), dropout=0.0)

    def ndcg() -> float:
        metrics = MetricCollection(module.build_metrics(), compute_groups=False)
        module.evaluate_batch(batch, metrics)
        return float(metrics.compute()["ndcg10"])

    has_relevant = batch["target"].gt(0).any(1).float().mean()
    assert ndcg() < 0.7
    losses(module, batch, 200, 0.01)
    assert ndcg() == pytest.approx(float(has_relevant), abs=1e-6)


def test_terms_are_named_after_what_they_are(batch):
    assert list(MLPRanker(zoo.ranking.Hinge()).terms(batch)) == ["ranking"]
    assert list(MLPRanker().terms(batch)) == ["regression"]


@pytest.mark.parametrize("loss", [None, zoo.ranking.ListNet])
def test_padding_changes_nothing_not_even_dropout(loss, batch):
    module = MLPRanker(None if loss is None else loss(), dropout=0.5)
    wide = dict(batch)
    wide["features"] = torch.cat([batch["features"], torch.full((8, 5, 46), 3.0)], 1)
    wide["target"] = torch.cat([batch["target"], torch.full((8, 5), 2)], 1)
    wide["mask"] = torch.cat([batch["mask"], torch.zeros(8, 5, dtype=torch.bool)], 1)
    values = []
    for given in (batch, wide):
        torch.manual_seed(0)
        values.append(module.training_step(given, 0)["loss"])
    torch.testing.assert_close(values[0], values[1])
    rows = []
    for given in (batch, wide):
        metrics = MetricCollection(module.eval().build_metrics(), compute_groups=False)
        rows.append((module.evaluate_batch(given, metrics), metrics.compute()))
    assert [row["ndcg10"] for row in rows[0][0]] == [row["ndcg10"] for row in rows[1][0]]
    assert rows[0][1] == rows[1][1]


@pytest.mark.parametrize("protocol", ["standard", "letor4"])
def test_metrics_do_not_depend_on_the_batch_size(made, fixed, protocol):
    module = fixed(protocol=protocol).eval()
    found = []
    for size in (1, 5, 32):
        metrics = MetricCollection(module.build_metrics(), compute_groups=False)
        rows = []
        for batch in MQ2008(root=str(made), batch_size=size).test_dataloader():
            rows += module.evaluate_batch(batch, metrics)
        values = {name: float(value) for name, value in metrics.compute().items()}
        assert values["ndcg10"] == pytest.approx(np.mean([row["ndcg10"] for row in rows]), abs=1e-12)
        found.append(values)
    assert found[0] == found[1] == found[2]
    assert 0 < found[0]["ndcg10"] < 1


def test_map_by_hand(fixed):
    # one query: relevant at ranks 1 and 3 of scores below 0; another without a relevant document counts 0
    module = fixed().eval()
    metrics = MetricCollection(module.build_metrics(), compute_groups=False)
    batch = {
        "id": ["a", "b"],
        "index": torch.tensor([0, 1]),
        "features": torch.rand(2, 3, 46),
        "mask": torch.ones(2, 3, dtype=torch.bool),
        "documents": [["", "", ""]] * 2,
    }
    with torch.no_grad():
        module.network.layers[-1].bias.sub_(100)
    order = module.network(batch["features"]).scores[0].argsort(descending=True)
    batch["target"] = torch.zeros(2, 3, dtype=torch.int64)
    batch["target"][0, order[0]], batch["target"][0, order[2]] = 1, 2
    module.evaluate_batch(batch, metrics)
    assert float(metrics.compute()["map"]) == pytest.approx((1 + 2 / 3) / 2 / 2)


def test_protocols_differ_as_documented(fixed):
    module, script = fixed().eval(), fixed(protocol="letor4").eval()
    assert (module.protocol, script.protocol) == ("standard", "letor4")
    features = torch.rand(1, 12, 46)
    order = module.network(features).scores[0].argsort(descending=True)
    target = torch.zeros(1, 12, dtype=torch.int64)
    target[0, order[1]] = 1  # the second place is as good as the first for the script
    batch = {
        "id": ["a"],
        "index": torch.tensor([0]),
        "features": features,
        "target": target,
        "mask": torch.ones(1, 12, dtype=torch.bool),
        "documents": [[""] * 12],
    }
    values = []
    for ranker in (module, script):
        metrics = MetricCollection(ranker.build_metrics(), compute_groups=False)
        ranker.evaluate_batch(batch, metrics)
        values.append(float(metrics.compute()["ndcg10"]))
    assert values == pytest.approx([1 / math.log2(3), 1])
    # fewer than 10 documents: the script counts the query 0
    batch = {**batch, "mask": torch.arange(12).unsqueeze(0) < 9, "documents": [[""] * 9]}
    metrics = MetricCollection(script.build_metrics(), compute_groups=False)
    script.evaluate_batch(batch, metrics)
    assert metrics.compute()["ndcg10"] == 0


def test_rows_hold_the_scores_in_the_order_of_the_file(batch, fixed):
    module = fixed().eval()
    rows = module.evaluate_batch(batch, MetricCollection(module.build_metrics(), compute_groups=False))
    assert [row["id"] for row in rows] == batch["id"]
    for row, scores, mask in zip(rows, module.network(batch["features"]).scores, batch["mask"], strict=True):
        assert row["documents"] == int(mask.sum())
        assert [float(score) for score in row["scores"].split()] == pytest.approx(scores[mask].tolist(), rel=1e-5)


def test_predict_takes_one_query_or_many(fixed):
    module = fixed()
    module.train()
    features = np.random.default_rng(0).random((3, 5, 46))
    many = module.predict(features)
    assert many.scores.shape == (3, 5)
    assert not many.scores.requires_grad
    one = module.predict(torch.from_numpy(features[1]))
    assert one.scores.shape == (1, 5)
    torch.testing.assert_close(one.scores[0], many.scores[1])
    torch.testing.assert_close(module.network(torch.from_numpy(features).float()).scores, many.scores)


def test_preprocess_is_without_effect(fixed):
    module, features = fixed(), torch.rand(5, 46)
    assert torch.equal(module.predict(features, preprocess=False).scores, module.predict(features).scores)
    assert module.preprocess["features"] == 46


def test_equal_documents_get_equal_scores(fixed):
    features = torch.rand(7, 46)[torch.randint(0, 7, (101,))]
    (scores,) = fixed().predict(features).scores
    distinct, kind = features.unique(dim=0, return_inverse=True)
    assert all(len(scores[kind == number].unique()) == 1 for number in range(len(distinct)))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.rand(5, 45), "features: shape (5, 45) given, expected (N, 46) or (B, N, 46)"),
        (torch.rand(46), "features: shape (46,) given, expected (N, 46) or (B, N, 46)"),
        (torch.rand(2, 0, 46), "features: shape (2, 0, 46) given, there is no document to score"),
        (torch.full((1, 2, 46), torch.inf), "features: the value at (0, 0, 0) is not finite"),
    ],
)
def test_predict_refuses(features, message, fixed):
    with pytest.raises(InputError) as error:
        fixed().predict(features)
    assert str(error.value) == message


def test_predict_file(fixed, made, tmp_path):
    module = fixed()
    rows, figure = module.predict_file(made / "S2.txt")
    assert isinstance(figure, Figure)
    assert list(rows[0]) == ["qid", "row", "document", "score", "rank"]
    lines = (made / "S2.txt").read_text().splitlines()
    assert [row["row"] for row in rows] == list(range(1, len(lines) + 1))
    assert all(
        f" qid:{row['qid']} " in line and f"= {row['document']} " in line for row, line in zip(rows, lines, strict=True)
    )
    for qid in {row["qid"] for row in rows}:
        own = sorted((row for row in rows if row["qid"] == qid), key=lambda row: row["rank"])
        assert [row["rank"] for row in own] == list(range(1, len(own) + 1))
        assert [row["score"] for row in own] == sorted((row["score"] for row in own), reverse=True)


def test_predict_file_ranks_twins_in_the_order_of_the_file_and_needs_no_grades(fixed, line, tmp_path):
    file = tmp_path / "a.letor"
    file.write_text(line(-1, 5) * 3)
    rows, _ = fixed().predict_file(file)
    assert [row["rank"] for row in rows] == [1, 2, 3]


def test_predict_file_names_the_line(fixed, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("0 qid:1 1:0.5\n")
    with pytest.raises(InputError) as error:
        fixed().predict_file(file)
    assert str(error.value) == f"{file}:1: the line ends after 1 of 46 features (truncated file?)"


def test_picture_shows_six_queries(batch, fixed):
    figure = fixed().picture(batch)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert len(titles) == 6
    assert titles[0].startswith(f"query {batch['id'][0]}: {int(batch['mask'][0].sum())} documents, NDCG@10 ")
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert len(heights) == int(batch["mask"][0].sum())
    assert heights == sorted(heights, reverse=True)
    assert min(heights) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": 0}, "model: features and hidden widths must be at least 1, got 0 and (64, 32)"),
        ({"hidden": (8, 0)}, "model: features and hidden widths must be at least 1, got 46 and (8, 0)"),
        ({"dropout": 1.0}, "model.dropout must lie in [0, 1), got 1.0"),
        (
            {"ranking": zoo.ranking.Hinge(reduction="none")},
            "model.ranking: reduction 'none' gives a value per query; training needs 'mean' or 'sum'",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError) as error:
        MLPRanker(**arguments)
    assert str(error.value) == message
