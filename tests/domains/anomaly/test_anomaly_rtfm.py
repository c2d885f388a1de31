"""RTFM: network and objective against a plain rewriting of their description, training, and refusals."""

import importlib.util
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from zoo.domains.anomaly import RTFM, RTFMNetwork, UCFCrime, rtfm_network, rtfm_terms, select_top
from zoo.errors import InputError

place = Path(__file__).with_name("rtfm_reference.py")
spec = importlib.util.spec_from_file_location("rtfm_reference", place)
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


def filled(features=16, seed=0):
    """A network in which every tensor matters, the running statistics and the last norm of the attention too."""
    generator = torch.Generator().manual_seed(seed)
    network = RTFMNetwork(features).double().eval()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            draw = torch.rand(value.shape, generator=generator, dtype=torch.float64)
            value.copy_(0.5 + draw if "running_var" in name else (draw - 0.5) * 2 / max(1, value[0].numel() ** 0.5))
    return network


@pytest.fixture
def batch(crime):
    data = UCFCrime(root=str(crime), batch_size=6, steps_per_epoch=1, val_fraction=0.25)
    return next(iter(data.train_dataloader()))


def test_parameters_and_initialisation_are_those_of_the_sheet():
    network = RTFMNetwork()
    assert sum(parameter.numel() for parameter in network.parameters()) == 24_718_849
    assert network.Aggregate.non_local.g.weight.shape == (256, 512, 1)
    attention = network.Aggregate.non_local.W[1]
    assert not attention.weight.any()
    assert not attention.bias.any()
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            assert module.bias is None or not module.bias.any()
            fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(module.weight)
            bound = (6 / (fan_in + fan_out)) ** 0.5
            assert module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


@pytest.mark.parametrize("length", [1, 2, 7, 32])
def test_network_against_the_description(length):
    network = filled()
    crops = torch.rand(3, length, 2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    out = network(crops)
    for index in range(3):
        expected = reference.one_video(crops[index], network.state_dict())
        for found, wanted in zip((out.scores, out.features, out.magnitudes), expected, strict=True):
            torch.testing.assert_close(found[index], wanted, rtol=1e-9, atol=1e-11)
    single = network(crops[:, :, 0])
    torch.testing.assert_close(single.features[:, 0], out.features[:, 0])


def test_long_videos_take_the_other_order_of_products(monkeypatch):
    network, rows = filled(), torch.rand(2, 50, 16, dtype=torch.float64)
    dense = network(rows)
    monkeypatch.setattr(rtfm_network, "CHUNK", 10)
    torch.testing.assert_close(network(rows), dense)


def test_the_largest_are_chosen_and_some_are_dropped():
    magnitudes = torch.tensor([[1.0, 5.0, 3.0, 4.0], [9.0, 2.0, 8.0, 7.0]])
    assert select_top(magnitudes, 2).tolist() == [[1, 3], [0, 2]]
    torch.manual_seed(0)
    first = torch.cat([select_top(magnitudes, 1, 0.7) for _ in range(300)])[::2]
    # the largest is there in three of ten draws; where all four are dropped, any is as good
    assert 0.2 < (first == 1).float().mean() < 0.6
    assert set(first.flatten().tolist()) == {0, 1, 2, 3}


def drawn(videos=6, length=9, crops=2, width=5, k=3):
    generator = torch.Generator().manual_seed(3)
    scores = torch.rand(videos, length, generator=generator, dtype=torch.float64)
    features = 30 * torch.rand(videos, crops, length, width, generator=generator, dtype=torch.float64)
    chosen = torch.stack([torch.randperm(length, generator=generator)[:k] for _ in range(videos)])
    return scores, features, chosen, torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0][:videos])


def test_objective_against_the_description():
    scores, features, chosen, label = drawn()
    expected = reference.objective(scores, features, chosen.tolist(), label.tolist())
    found = rtfm_terms(scores, features, chosen, label)
    assert {name: term.item() for name, term in found.items()} == pytest.approx(
        {name: term.item() for name, term in expected.items()}, rel=1e-12
    )


def test_corrected_variant_keeps_within_videos():
    scores, features, chosen, label = drawn()
    found = rtfm_terms(scores, features, chosen, label, "corrected", smoothness=1.0, sparsity=1.0)
    rows = [row for row, y in zip(scores.tolist(), label, strict=True) if y == 1]
    rough = sum((after - before) ** 2 for row in rows for before, after in pairwise(row))
    assert found["smoothness"].item() == pytest.approx(rough)
    assert found["sparsity"].item() == pytest.approx(np.mean([sum(s * s for s in row) ** 0.5 for row in rows]))
    official = rtfm_terms(scores, features, chosen, label, "official", smoothness=1.0, sparsity=1.0)
    borders = (rows[1][0] - rows[0][-1]) ** 2 + (rows[2][0] - rows[1][-1]) ** 2
    assert official["smoothness"].item() == pytest.approx(rough + borders)
    assert official["classification"].item() == found["classification"].item()


def test_weights_and_margin_reach_their_terms():
    scores, features, chosen, label = drawn()
    one, two = (rtfm_terms(scores, features, chosen, label, "official", *more) for more in
                ((100.0, 1e-4, 8e-4, 8e-3), (100.0, 3e-4, 16e-4, 32e-3)))  # fmt: skip
    ratio = {name: (two[name] / one[name]).item() for name in one}
    assert ratio == pytest.approx({"classification": 1, "magnitude": 3, "smoothness": 2, "sparsity": 4})
    other = rtfm_terms(scores, features, chosen, label, margin=50.0)
    assert other["magnitude"] < one["magnitude"]


@pytest.mark.parametrize("label", [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
def test_unpaired_batches_are_refused(label):
    scores, features, chosen, _ = drawn(3)
    counts = int(sum(label)), len(label) - int(sum(label))
    with pytest.raises(InputError, match=f"the batch has {counts[0]} anomalous and {counts[1]} normal videos"):
        rtfm_terms(scores, features, chosen, torch.tensor(label))


def test_terms_of_the_module(batch):
    torch.manual_seed(0)
    model = RTFM(
        features=16, variant="corrected", top=2, margin=7.0, magnitude=0.1, smoothness=0.2, sparsity=0.3
    ).eval()
    out = model.network(batch["features"])
    chosen = out.magnitudes.topk(2, dim=1).indices
    expected = rtfm_terms(out.scores, out.features, chosen, batch["label"], "corrected", 7.0, 0.1, 0.2, 0.3)
    found = model.terms(batch)
    assert {name: term.item() for name, term in found.items()} == {name: term.item() for name, term in expected.items()}
    model.train()
    assert model.terms(batch)["classification"].item() != found["classification"].item()


def test_one_batch_is_learnt_by_heart(batch):
    torch.manual_seed(0)
    model = RTFM(features=16, dropout=0.0, margin=3.0).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(80):
        loss = sum(model.terms(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        out = model.network(batch["features"])
        best = out.scores.gather(1, select_top(out.magnitudes, 3)).mean(1)
    assert best[:3].min() > 0.9
    assert best[3:].max() < 0.1


def test_gradients_reach_every_parameter(batch):
    model = RTFM(features=16, dropout=0.0)
    nn.init.ones_(model.network.Aggregate.non_local.W[1].weight)
    sum(model.terms(batch).values()).backward()
    silent = [
        name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert not silent


def test_evaluation_and_prediction_see_whole_videos():
    torch.manual_seed(0)
    model = RTFM(features=16).eval()
    rows = torch.rand(20, 16)
    whole = model.predict(rows).scores[0]
    torch.testing.assert_close(whole, model.network(rows[None]).scores[0])
    assert not torch.allclose(whole[:10], model.predict(rows[:10]).scores[0])
    crops = torch.rand(2, 20, 10, 16)
    torch.testing.assert_close(model.predict(crops).scores, model.network(crops).scores)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"variant": "offical"},
            "model.variant must be one of official, corrected, got 'offical'; did you mean 'official'",
        ),
        ({"features": 30}, "model.features must be a multiple of 4, got 30"),
        ({"dropout": 1.0}, r"model.dropout must be in \[0, 1\), got 1.0"),
        ({"top": 0}, "model.top must be at least 1, got 0"),
        ({"margin": 0.0}, "model.margin must be above 0, got 0.0"),
        ({"magnitude": -1.0}, "model.magnitude must not be negative, got -1.0"),
        ({"bootstrap": -1}, "model.bootstrap must not be negative, got -1"),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(InputError, match=message):
        RTFM(**{"features": 16, **wrong})


def test_inputs_that_do_not_fit(batch):
    with pytest.raises(InputError, match="has 16 features per row, the model takes 20"):
        RTFM(features=20).terms(batch)
    with pytest.raises(InputError, match=r"model\.top asks for 40 snippets, the videos have 32"):
        RTFM(features=16, top=40).terms(batch)
    with pytest.raises(ValueError, match=r"expected shape \(B, T, 16\) or \(B, T, crops, 16\), got \(2, 16\)"):
        RTFMNetwork(16)(torch.zeros(2, 16))
