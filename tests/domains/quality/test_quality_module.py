"""DNPIQA: terms of a batch, one step with every loss, overfitting, evaluation over crops, arguments, export."""

import math
import re

import pytest
import torch
from torchmetrics import MetricCollection

import zoo.ranking
from zoo.domains.quality import DNPIQA, L1, L2, PLCC
from zoo.domains.quality.loss import paper_loss
from zoo.errors import InputError
from zoo.export import export
from zoo.ranking import ScoreLoss
from zoo.training import NonFiniteLoss

SCORE_LOSSES = [
    value
    for name in zoo.ranking.__all__
    if isinstance(value := getattr(zoo.ranking, name), type) and issubclass(value, ScoreLoss) and value is not ScoreLoss
]
SIDE = 48


def small(ranking=None, **arguments) -> DNPIQA:
    torch.manual_seed(0)
    settings = {"backbone": "test_efficientnet", "liqe": False, "resize": 56, "crop": SIDE, **arguments}
    return DNPIQA(ranking, **settings)


def batch(count=8, scenes=2, views=None, aux=False, seed=0):
    """Noise on a grey ground: less of it is better."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.linspace(2, 0, count // scenes).repeat(scenes)
    shape = (count, *([] if views is None else [views]), 3, SIDE, SIDE)
    strength = (2.2 - label).view(-1, *[1] * (len(shape) - 1))
    image = torch.randn(shape, generator=generator) * strength
    scene = torch.arange(scenes).repeat_interleave(count // scenes)
    found = {
        "image": image,
        "face": image.flip(-1),
        "score": label + 10 * scene,
        "scene": scene,
        "scene_name": [f"scene {number}" for number in scene.tolist()],
        "id": [f"{number}.jpg" for number in range(count)],
    }
    if aux:
        found["aux"] = 20 + 3 * torch.randn(count, 495, generator=generator)
    return found


def losses(module, given, steps, lr):
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    values = []
    for step in range(steps):
        loss = module.training_step(given, step)["loss"]
        values.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return values


@pytest.mark.parametrize("loss", [None, L1, L2, PLCC, *SCORE_LOSSES])
def test_one_step_with_every_loss_moves_both_branches(loss):
    module = small(None if loss is None else loss(), branches="both")
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    (value,) = losses(module, batch(), 1, 1e-3)
    assert math.isfinite(value)
    still = [name for name, value in module.named_parameters() if torch.equal(before[name], value)]
    # a shift of all scores is no error to a loss of differences
    assert set(still) <= {"network.head.3.bias"}


def test_terms_are_named_after_what_they_are():
    assert list(small().terms(batch())) == ["ranking"]
    assert list(small(L1()).terms(batch())) == ["regression"]


def test_the_loss_is_the_papers_over_the_scenes_of_the_batch():
    module, given = small(dropout=0.0).eval(), batch()
    scores = module.network(given["image"], given["face"]).score
    expected = [zoo.ranking.fidelity(scores[rows], given["score"][rows], tied_lists="keep")
                for rows in (slice(0, 4), slice(4, 8))]  # fmt: skip
    torch.testing.assert_close(module.terms(given)["ranking"], sum(expected) / 2)
    given["pair"] = torch.tensor([[0, 3], [6, 5]])
    pairs = [zoo.ranking.fidelity(scores[rows], given["score"][rows]) for rows in ([0, 3], [6, 5])]
    torch.testing.assert_close(module.terms(given)["ranking"], sum(pairs) / 2)


def test_overfits_a_batch():
    module = small(dropout=0.0)
    values = losses(module, batch(), 30, 2e-3)
    assert values[-1] < 0.25 * values[0], values
    module.eval()
    given = batch(views=1)
    metrics = MetricCollection(module.build_metrics(), compute_groups=False)
    module.evaluate_batch(given, metrics)
    assert float(metrics.compute()["srcc_mean"]) > 0.9


@pytest.mark.parametrize(("crops", "protocol"), [("five", "five crops"), ("centre", "centre crop")])
def test_evaluation_averages_the_crops(crops, protocol):
    module, given = small(crops=crops, liqe=True).eval(), batch(views=5, aux=True)
    assert module.protocol == protocol
    metrics = MetricCollection(module.build_metrics(), compute_groups=False)
    with torch.no_grad():
        rows = module.evaluate_batch(given, metrics)
        views = range(5) if crops == "five" else [4]
        each = [module.network(given["image"][:, v], given["face"][:, v], given["aux"]).score for v in views]
    expected = torch.stack(each).mean(0)
    torch.testing.assert_close(torch.tensor([row["score"] for row in rows]), expected)
    assert rows[5] == {
        "id": "5.jpg",
        "scene": "scene 1",
        "target": pytest.approx(11 + 1 / 3),
        "score": rows[5]["score"],
    }
    assert float(metrics.compute()["scenes"]) == 2


def test_a_batch_without_logits_is_an_error_never_zeros():
    module = small(liqe=True)
    for given, call in ((batch(), module.terms), (batch(views=5), lambda b: module.evaluate_batch(b, {}))):
        with pytest.raises(InputError) as caught:
            call(given)
        assert str(caught.value) == (
            "0.jpg: this model joins 495 LIQE logits and gets none; make them: zoo data make liqe --from PHOTOS --out "
            "FOLDER --data.weights LIQE.pt, then give aux (in a recipe data.init_args.aux: FOLDER, for zoo predict "
            "--model.aux FOLDER); or train without that branch: model.init_args.liqe: false"
        )


def test_a_batch_without_a_pair_is_refused():
    with pytest.raises(InputError, match="a batch needs two images of one scene to rank, this one has 2 images of 2"):
        small().terms(batch(2, 2))
    assert torch.isfinite(small(L1()).terms(batch(2, 2))["regression"])


def test_values_that_are_not_finite_stop_the_training():
    given = batch()
    given["image"][3, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteLoss, match=r"loss term ranking = nan .* samples: 0\.jpg, 1\.jpg"):
        small().training_step(given, 0)


def test_scores_without_an_order_are_told_in_one_line():
    module, given = small().eval(), batch(views=5)
    given["score"] = given["scene"].float()
    module.on_validation_epoch_start()
    module.validation_step(given, 0)
    with pytest.raises(InputError, match=r"the val split cannot be evaluated: none of 2 scenes \(8 images\)"):
        module.on_validation_epoch_end()


def test_picture_of_a_batch():
    module = small()
    figure = module.picture(batch(views=5))
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert len(titles) == 8
    shown = [float(title.split()[0]) for title in titles]
    assert shown == sorted(shown, reverse=True)
    assert module.network.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop": 64}, "model.crop must be 1 to model.resize, got 64 and 56"),
        ({"crops": "ten"}, "model.crops: 'ten' given, expected one of five, centre"),
        ({"margin": -1}, "model.margin must not be negative, got -1"),
        ({"branches": "none"}, "model.branches: 'none' given, expected one of both, full, face"),
        ({"dropout": 1.0}, "model.hidden must be at least 1, dropout and drop_path in [0, 1); got 128, 1.0, None"),
        ({"ranking": zoo.ranking.Hinge(reduction="none")}, "model.ranking: reduction 'none' gives a value per list"),
        ({"init_from": {"liqe": "clip.safetensors"}}, "model.init_from: 'liqe' is no part of this network, whose LIQE"),
        ({"init_from": {"ful": "x"}}, "model.init_from: 'ful' is no part of this network; did you mean 'full'?"),
        ({"init_from": {"liqe": "no.pt"}, "liqe": True}, "model.init_from.liqe: no.pt is no part file of LIQE's CLIP"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        small(**arguments)


def test_defaults_are_the_papers():
    with torch.device("meta"):
        module = DNPIQA()
    assert sum(parameter.numel() for parameter in module.network.parameters()) == 174_082_929
    assert module.ranking.options() == paper_loss().options()
    assert (module.monitor, module.mode, module.protocol) == ("val/srcc_mean", "max", "five crops")
    assert {name: module.preprocess[name] for name in ("resize", "crop", "crops", "mean")} == {
        "resize": 448, "crop": 384, "crops": "five", "mean": [0.485, 0.456, 0.406]}  # fmt: skip


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_exports_with_any_batch(form, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path / ("network.pt2" if form == "torch" else "network.onnx")
    done = export(small(liqe=True).eval(), path, form)
    assert done.outputs == ["score", "full_features", "face_features", "hidden"]
    assert done.inputs == {"image": (None, 3, SIDE, SIDE), "face": (None, 3, SIDE, SIDE), "aux": (None, 495)}
    assert done.difference < 1e-4
