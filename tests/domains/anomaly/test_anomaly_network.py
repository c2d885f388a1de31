"""The detector against the sheet: sizes, order of operations, initialisation, the released outputs stage by stage."""

import math

import pytest
import torch
from torch import nn

from zoo.domains.anomaly import Detector


def inputs(check, doc):
    x = check.fill.inputs(doc)
    state = check.fill.make_checkpoint(doc)
    check.fill.check_fill(doc, state, x)
    rows = torch.relu(x["features_raw"] - 0.7)
    return state, rows / rows.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize(("features", "count"), [(4096, 2_114_113), (2048, 1_065_537), (1024, 541_249)])
def test_parameter_count_is_that_of_the_sheet(features, count):
    assert sum(parameter.numel() for parameter in Detector(features).parameters()) == count


@pytest.mark.facts
def test_scores_are_those_of_the_released_code(check):
    doc = check.load("anomaly.json")
    state, rows = inputs(check, doc)
    network = Detector(4096).eval()
    network.load_state_dict(state)
    with torch.no_grad():
        assert not check.fill.compare(doc["expected"]["scores"], network(rows).scores, **doc["tolerance"])


@pytest.mark.facts
def test_every_stage_is_that_of_the_released_code(check):
    doc = check.load("stages_anomaly.json")
    state, rows = inputs(check, doc)
    network = Detector(4096).eval()
    network.load_state_dict(state)
    got = {"features": check.stages.digest(rows)}
    for name in ("fc1", "fc2", "fc3"):
        getattr(network, name).register_forward_hook(
            lambda module, given, out, name=name: got.update({f"{name}.linear": check.stages.digest(out)})
        )
        following = {"fc1": "fc2", "fc2": "fc3"}.get(name)
        if following:  # dropout is off: what enters the next layer is what left the activation
            getattr(network, following).register_forward_pre_hook(
                lambda module, given, name=name: got.update({f"{name}.after_activation": check.stages.digest(given[0])})
            )
    with torch.no_grad():
        got["scores"] = network(rows).scores.tolist()
    assert set(got) == set(doc["expected"])
    assert check.stages.first_departure(doc, got) is None, check.stages.report(doc, got)


def test_initialisation_is_glorot_normal_with_zero_biases():
    torch.manual_seed(0)
    network = Detector(1024)
    for layer in network.layers:
        assert layer.bias.abs().max() == 0
    for layer in network.layers[:2]:
        fan_out, fan_in = layer.weight.shape
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (fan_in + fan_out)), rel=0.02)
        # a normal distribution has 31.7 % beyond one deviation, a uniform one 42.3 %
        beyond = (layer.weight.abs() > layer.weight.std()).float().mean().item()
        assert beyond == pytest.approx(0.317, abs=0.01)


def test_each_row_is_scored_by_itself():
    network = Detector(12).eval()
    rows = torch.randn(2, 5, 12)
    with torch.no_grad():
        scores = network(rows).scores
        alone = torch.stack([network(row[None, None]).scores[0, 0] for row in rows.flatten(0, 1)])
    assert scores.shape == (2, 5)
    torch.testing.assert_close(scores.flatten(), alone)
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_dropout_stands_before_the_second_and_the_third_layer():
    network = Detector(8, dropout=0.6).train()
    seen = {}
    for name in ("fc2", "fc3"):
        getattr(network, name).register_forward_pre_hook(lambda module, given, name=name: seen.update({name: given[0]}))
    network(torch.rand(50, 32, 8))
    # half of the hidden units are off by the ReLU at zero bias; 60 % of the rest are dropped
    assert (seen["fc2"] == 0).float().mean().item() > 0.7
    assert (seen["fc3"] == 0).float().mean().item() == pytest.approx(0.6, abs=0.02)
    assert isinstance(network.dropout, nn.Dropout)


@pytest.mark.parametrize("shape", [(2, 3, 7), (3, 8), (8,), (1, 2, 3, 8)])
def test_a_wrong_shape_names_expected_and_given(shape):
    with pytest.raises(ValueError, match=r"expected shape \(B, T, 8\), got ") as caught:
        Detector(8)(torch.zeros(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("wrong", [{"features": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_wrong_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Detector(**wrong)
