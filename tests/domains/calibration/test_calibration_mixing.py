"""The draws of mixing in the released order, the mixed copies, and the one- and two-pass forwards."""

import numpy as np
import pytest
import torch

from zoo.domains.calibration.mixing import Draw, Draws, by_image, mix, one_hot
from zoo.domains.calibration.module import run
from zoo.domains.calibration.network import build
from zoo.errors import InputError


def test_seeded_example_of_the_sheet():
    draws = Draws(3).draw(3, 1.0, [4])
    assert [draw.strength for draw in draws] == pytest.approx([0.36284521, 0.37732775, 0.82698022], abs=5e-9)
    assert [draw.partner.tolist() for draw in draws[:2]] == [[0, 3, 2, 1], [1, 0, 2, 3]]


def test_the_stream_is_numpys_own_and_nobody_elses():
    np.random.seed(7)
    wanted = [(np.random.beta(2.0, 2.0), np.random.permutation(6).tolist()) for _ in range(4)]
    draws = Draws(7)
    found = []
    for _ in range(2):
        np.random.seed(0)
        found += [(draw.strength, draw.partner.tolist()) for draw in draws.draw(2, 2.0, [6])]
    assert found == wanted


def test_a_non_positive_alpha_mixes_nothing_in():
    draws = Draws(0).draw(2, 0.0, [5])
    assert [draw.strength for draw in draws] == [1.0, 1.0]
    x = torch.randn(5, 2)
    torch.testing.assert_close(mix(x, draws), torch.cat([x, x]))


def test_state_is_plain_and_goes_on_exactly(tmp_path):
    draws = Draws(11)
    draws.draw(3, 0.4, [8])
    torch.save(draws.state(), tmp_path / "state.pt")
    wanted = draws.draw(5, 0.4, [8])
    other = Draws(0)
    other.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    for found, draw in zip(other.draw(5, 0.4, [8]), wanted, strict=True):
        assert found.strength == draw.strength
        assert torch.equal(found.partner, draw.partner)


def test_processes_share_lambda_and_the_stream_but_not_the_permutation():
    parts = [Draws(5), Draws(5)]
    found = [part.draw(2, 1.0, [4, 3], process) for process, part in enumerate(parts)]
    for first, second in zip(*found, strict=True):
        assert first.strength == second.strength
        assert sorted(first.partner.tolist()) == [0, 1, 2, 3]
        assert sorted(second.partner.tolist()) == [0, 1, 2]
    assert torch.equal(parts[0].state()["keys"], parts[1].state()["keys"])
    assert parts[0].state()["position"] == parts[1].state()["position"]


def test_mixed_copies_are_copy_major():
    x = torch.arange(3.0).unsqueeze(1)
    draws = [Draw(0.25, torch.tensor([1, 2, 0])), Draw(1.0, torch.tensor([2, 1, 0]))]
    wanted = torch.tensor([0.75, 1.75, 0.5, 0, 1, 2]).unsqueeze(1)
    torch.testing.assert_close(mix(x, draws), wanted)
    assert by_image(wanted, 2)[:, :, 0].tolist() == [[0.75, 0], [1.75, 1], [0.5, 2]]


def test_same_class_labels_sum_to_exactly_one():
    """What tells same-class mixes apart in MRL, over 20,000 draws each."""
    labels = one_hot(torch.tensor([1, 1]), 3)
    for alpha in (1.0, 2.0):
        soft = mix(labels, Draws(0).draw(20_000, alpha, [2]))
        assert (soft[:, 1] == 1.0).all()


def test_mixing_does_not_take_unlike_classes_for_one():
    soft = mix(one_hot(torch.tensor([0, 1]), 2), [Draw(s, torch.tensor([1, 0])) for s in (1 - 1e-6, 0.5, 1e-6)])
    assert not (soft == 1).any()


def test_seed_out_of_range():
    with pytest.raises(InputError, match=r"model.mix_seed must lie in \[0, 2\^32\), got -1"):
        Draws(-1)


def network():
    torch.manual_seed(0)
    return build("resnet8", 10, width=4)


def updates(net):
    return int(net.bn1.num_batches_tracked)


DRAWS = [Draw(0.3, torch.tensor([2, 0, 1, 3])), Draw(0.9, torch.tensor([1, 0, 3, 2]))]


def test_two_passes_have_statistics_of_their_own():
    """As in the released code: raw images first, then all mixed copies together; running statistics move twice."""
    images = torch.randn(4, 3, 32, 32)
    net, other = network(), network()
    logits, mixed = run(net, images, DRAWS)
    torch.testing.assert_close(logits, other(images).logits)
    torch.testing.assert_close(mixed, other(mix(images, DRAWS)).logits)
    assert updates(net) == updates(other) == 2
    torch.testing.assert_close(net.bn1.running_var, other.bn1.running_var)


def test_one_pass_shares_statistics():
    images = torch.randn(4, 3, 32, 32)
    net, other = network(), network()
    logits, mixed = run(net, images, DRAWS, one_forward=True)
    wanted = other(torch.cat([images, mix(images, DRAWS)])).logits
    torch.testing.assert_close(torch.cat([logits, mixed]), wanted)
    assert updates(net) == 1
    apart, _ = run(network(), images, DRAWS)
    assert (apart - logits).abs().max() > 1e-3
    # without batch statistics the two ways agree
    net, other = network().eval(), network().eval()
    for found, expected in zip(run(net, images, DRAWS, one_forward=True), run(other, images, DRAWS), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("one_forward", [False, True])
def test_features_are_mixed_after_the_last_stage(one_forward):
    images = torch.randn(4, 3, 32, 32)
    net, other = network(), network()
    logits, mixed = run(net, images, DRAWS, where="features", one_forward=one_forward)
    features = other.features(images)
    torch.testing.assert_close(logits, other.head(features))
    torch.testing.assert_close(mixed, other.head(mix(features, DRAWS)))
    assert updates(net) == (1 if one_forward else 2)


@pytest.mark.parametrize("where", ["input", "features"])
def test_mixed_copies_alone_take_one_pass(where):
    images = torch.randn(4, 3, 32, 32)
    net = network()
    logits, mixed = run(net, images, DRAWS[:1], raw=False, where=where)
    assert logits.shape == (0, 10)
    assert mixed.shape == (4, 10)
    assert updates(net) == 1
