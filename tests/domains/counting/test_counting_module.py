"""TreeFormer as a module: labelled and unlabelled batches, its switches, parts, export, wrong arguments."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from zoo.domains.counting import TreeFormer, TreeFormerOutput, Weights
from zoo.domains.counting.encoder import PyramidTransformer
from zoo.domains.counting.loss import LABELLED, UNLABELLED, VARIANTS
from zoo.errors import InputError
from zoo.ranking import Logistic
from zoo.training import NonFiniteLoss


def make_batch():
    spec = importlib.util.spec_from_file_location("counting_worker", Path(__file__).with_name("counting_worker.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.whole()


@pytest.fixture(scope="module")
def batch():
    return make_batch()


def build(**arguments):
    torch.manual_seed(0)
    return TreeFormer("test_resnet", crop=32, **arguments)


@pytest.fixture(scope="module")
def model():
    return build()


def test_terms_of_both_kinds(model, batch):
    torch.manual_seed(0)
    step = model.train().training_step(batch, 0)
    assert tuple(step["terms"]) == (*LABELLED, *UNLABELLED)
    assert float(step["loss"].detach()) == pytest.approx(float(sum(step["terms"].values())), rel=1e-5)
    step["loss"].backward()
    without = [name for name, p in model.network.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    model.zero_grad()


def test_without_unlabelled_images_their_terms_are_absent(model, batch):
    assert tuple(model.terms({**batch, "unlabelled": None})) == LABELLED
    assert tuple(model.terms({"labelled": batch["labelled"]})) == LABELLED


def test_the_two_kinds_go_through_the_network_one_after_the_other(batch):
    seen = []
    module = build().train()
    module.network.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    module.terms(batch)
    assert torch.equal(seen[0], batch["labelled"]["image"])
    assert torch.equal(seen[1], batch["unlabelled"]["image"])
    norm = next(m for m in module.network.regression.modules() if isinstance(m, nn.BatchNorm2d))
    assert int(norm.num_batches_tracked) == 2  # both move the statistics, as released
    seen.clear()
    only = build(weights=Weights(ranking=0, consistency=0, token_consistency=0))
    only.network.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    assert tuple(only.terms(batch)) == LABELLED
    assert len(seen) == 1  # nothing to learn from unlabelled images: no second pass


def test_no_term_at_all_is_told(batch):
    module = build(weights=Weights(0, 0, 0, 0, 0, 0, 0))
    with pytest.raises(InputError, match="every term of this batch has factor 0"):
        module.terms(batch)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_a_variant_sets_every_switch_and_each_can_be_turned(variant):
    module = build(variant=variant)
    assert module.switches == VARIANTS[variant]
    assert module.network.regression.perturb_tokens == (variant == "official")
    other = VARIANTS["paper" if variant == "official" else "official"]
    turned = build(
        variant=variant,
        transport_eps=other.transport.eps,
        transport_floor=False,
        transport_normalised=True,
        transport_batch=other.transport_batch,
        supervised=other.supervised,
        regions=other.regions,
        consistency_kind=other.consistency_kind,
        perturb_tokens=variant == "paper",
    )
    for name in ("transport_batch", "supervised", "regions", "consistency_kind"):
        assert getattr(turned.switches, name) == getattr(other, name) != getattr(module.switches, name)
    assert turned.switches.transport.eps == other.transport.eps != module.switches.transport.eps
    assert module.switches.transport.floor
    assert not turned.switches.transport.floor
    assert turned.switches.transport.normalised
    assert not module.switches.transport.normalised
    assert turned.network.regression.perturb_tokens == (variant == "paper")


def test_any_score_loss_takes_the_place_of_the_hinge(batch):
    weights = Weights(0, 0, 0, 0, 1, 0, 0)
    values = []
    for ranking in (None, Logistic(temperature=0.5)):
        module = build(weights=weights, ranking=ranking).eval()
        torch.manual_seed(0)
        values.append(float(module.terms(batch)["ranking"].detach()))
    assert values[1] > values[0] >= 0


def test_tokens_are_counted_in_evaluation_too(model):
    out = model.eval().network(torch.randn(2, 3, 32, 32))
    assert isinstance(out, TreeFormerOutput)
    assert out.token_counts.shape == (2, 3)
    assert [tuple(y.shape) for y in out.maps] == [(2, 1, 8, 8)] * 3


def test_parts_fill_the_encoder_alone(model):
    parts = model.parts()
    assert set(parts) == {"encoder", "regression"}
    whole = sum(p.numel() for p in model.network.parameters())
    assert sum(p.numel() for part in parts.values() for p in part.parameters()) == whole


@pytest.mark.parametrize("encoder", ["pyramid of timm", "released"])
def test_export_takes_any_batch(encoder):
    module = build().eval()
    if encoder == "released":
        dims = module.network.encoder.channels
        module.network.encoder = PyramidTransformer("learned", dims, (1, 1, 1, 1), (1, 1, 1, 1)).eval()
    inputs = module.export_inputs()
    batch = torch.export.Dim("batch", min=1, max=8)
    program = torch.export.export(module.network, tuple(inputs.values()), dynamic_shapes={"images": {0: batch}})
    three = torch.randn(3, 3, 32, 32)
    found, wanted = program.module()(three), module.network(three)
    torch.testing.assert_close(found.maps[0], wanted.maps[0])
    torch.testing.assert_close(found.token_counts, wanted.token_counts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"token": "first"}, "model.token must be one of first_patch, learned, got 'first'"),
        ({"variant": "papr"}, "model.variant must be one of paper, official, got 'papr'; did you mean 'paper'"),
        ({"tiling": "exakt"}, "model.tiling must be one of exact, official, got 'exakt'; did you mean 'exact'"),
        ({"window": 30}, "model.window must be a multiple of 4 from 32 on, got 30"),
        ({"overlap": 256}, r"model.overlap must be a multiple of 4 below model.window \(256\), got 256"),
        ({"peak_distance": 0}, "model.peak_distance must be at least 1 pixel, got 0"),
        ({"feature_drop": [0.9, 0.1]}, "model.feature_drop must be 0 < low <= high <= 1"),
        ({"transport_eps": -1.0}, "model.transport_eps must be positive, got -1.0"),
        ({"consistency_kind": "kl"}, "model.consistency_kind must be one of aligned, official, got 'kl'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        build(**arguments)


def test_a_density_that_is_not_finite_stops_the_training(batch):
    module = build(variant="official").train()
    nn.init.constant_(module.network.regression.res0[-2].bias, float("nan"))
    module.network.regression.res0[-1] = nn.Identity()
    with pytest.raises(NonFiniteLoss, match=r"loss term .*count = nan"):
        module.training_step({**batch, "id": ["a", "b"]}, 0)
