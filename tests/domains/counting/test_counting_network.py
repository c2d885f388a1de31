"""The network: parameter counts, any size, any pyramid, tokens, initialisation."""

import pytest
import torch
from torch import nn

from zoo.domains.counting import TreeCounter
from zoo.domains.counting.encoder import PyramidTransformer, resize_positions
from zoo.domains.counting.perturbations import FeatureDrop, FeatureNoise, Perturbations
from zoo.errors import InputError
from zoo.layers import without_pretrained

SMALL = "test_resnet"


def test_parameters_and_layout():
    with torch.device("meta"):
        network = TreeCounter()
    released, dead = 141_370_987, 24_470_504
    assert sum(parameter.numel() for parameter in network.parameters()) == released - dead
    assert len(network.state_dict()) == 615 - 95


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return TreeCounter(SMALL, token="learned").eval()


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (50, 37), (448, 64), (5, 9), (1, 1)])
def test_any_size(small, size):
    out = small(torch.randn(2, 3, *size))
    height, width = size
    assert [tuple(y.shape) for y in out.maps] == [(2, 1, -(-height // 4), -(-width // 4))] * 3
    assert out.token_counts.shape == (2, 3)
    wanted = [(-(-height // stride), -(-width // stride)) for stride in (4, 8, 16, 32)]
    assert [tuple(feature.shape[2:]) for feature in out.features] == wanted
    assert all(bool((y >= 0).all()) for y in out.maps)


def test_the_size_that_stopped_the_released_code():
    torch.manual_seed(0)
    encoder = PyramidTransformer("learned", (8, 16, 32, 64), (1, 1, 1, 1), (1, 1, 1, 1))
    with torch.no_grad():
        for side in (224, 448):
            shapes = [tuple(feature.shape[1:]) for feature in encoder(torch.randn(1, 3, side, side)).features]
            assert shapes == [(8 * 2**k, side // 4 // 2**k, side // 4 // 2**k) for k in range(4)]


def test_positions_are_resized_by_their_grid():
    table = torch.arange(16.0).reshape(1, 16, 1)
    assert resize_positions(table, (4, 4)) is table
    wanted = nn.functional.interpolate(table.reshape(1, 1, 4, 4), (2, 8), mode="bilinear")
    torch.testing.assert_close(resize_positions(table, (2, 8)).flatten(), wanted.flatten())


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "pvt_v2_b0"])
@pytest.mark.parametrize("token", ["first_patch", "learned"])
def test_any_pyramid_of_timm(name, token):
    torch.manual_seed(0)
    network = TreeCounter(name, token=token).eval()
    image = torch.randn(1, 3, 64, 96)
    found = network.encoder(image)
    assert [feature.shape[2:] for feature in found.features] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    corners = [torch.equal(t, f[:, :, 0, 0]) for t, f in zip(found.tokens, found.features[1:], strict=True)]
    assert corners == [token == "first_patch"] * 3
    out = network(image)
    (out.maps[0].sum() + out.token_counts.sum()).backward()
    assert all(parameter.grad is not None for parameter in network.regression.conv4.parameters())
    learned = [parameter for name, parameter in network.named_parameters() if name.startswith("encoder.tokens.")]
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in learned)
    assert bool(learned) == (token == "learned")


def test_window_transformers_and_channels_last():
    network = TreeCounter("swin_tiny_patch4_window7_224").eval()
    with torch.no_grad():
        out = network(torch.randn(1, 3, 96, 64))
    assert [tuple(feature.shape) for feature in out.features] == [
        (1, 96, 24, 16), (1, 192, 12, 8), (1, 384, 6, 4), (1, 768, 3, 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vit_tiny_patch16_224",), r"'vit_tiny_patch16_224' has features at strides \[16, .*a pyramid has 4, 8, 16"),
        (("test_resnetty",), "timm has no model 'test_resnetty'; did you mean 'test_resnet'"),
        (("pvt_treeformer", True), "never published.*init_from"),
    ],
)
def test_what_is_no_pyramid_is_told(arguments, message):
    with pytest.raises(InputError, match=message), torch.device("meta"):
        TreeCounter(*arguments)


def test_pretrained_is_left_alone_while_a_checkpoint_is_loaded():
    with without_pretrained(), torch.device("meta"):
        assert TreeCounter("pvt_treeformer", True).encoder.channels == (128, 256, 512, 1024)


def test_initialisation():
    torch.manual_seed(0)
    network = TreeCounter(SMALL)
    head = network.regression
    for module in head.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            assert float(module.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            assert not module.bias.any()
    assert float(head.ca2[0].fc[0].weight.detach().std()) == pytest.approx(0.02, rel=0.2)
    encoder = PyramidTransformer("learned", (16, 32, 64, 128), (1, 1, 1, 1), (1, 1, 1, 1))
    assert float(encoder.pos_embed1.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert float(encoder.cls_token_3.detach().std()) == pytest.approx(0.02, rel=0.3)
    assert float(encoder.block3[0].attn.q.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert not encoder.block3[0].attn.q.bias.any()
    assert (encoder.block1[0].norm1.eps, encoder.patch_embed1.norm.eps, encoder.block1[0].attn.norm.eps) == (
        1e-6, 1e-5, 1e-5
    )  # fmt: skip


# -- perturbations


def test_noise_is_one_for_the_whole_batch_and_bounded():
    torch.manual_seed(0)
    x = torch.ones(2, 3, 8, 8)
    noisy = FeatureNoise(0.3)(x)
    assert torch.equal(noisy[0], noisy[1])
    assert 0.7 <= float(noisy.min()) < 0.75
    assert 1.25 < float(noisy.max()) <= 1.3
    assert len(noisy[0].unique()) > 100
    assert FeatureNoise(0.0)(x) is x


def test_the_most_active_places_are_dropped_per_image():
    x = torch.zeros(2, 2, 2, 2)
    x[0] = torch.tensor([[1.0, 0.5], [0.69, 0.91]])
    x[1] = 10 * torch.tensor([[0.1, 1.0], [0.2, 0.3]])
    dropped = FeatureDrop((0.8, 0.8))(x)
    assert torch.equal(dropped[0, 0], torch.tensor([[0.0, 0.5], [0.69, 0.0]]))
    assert torch.equal(dropped[1, 1], torch.tensor([[1.0, 0.0], [2.0, 3.0]]))
    assert torch.equal(dropped[:, 0], dropped[:, 1])


def test_dropping_places_of_a_single_place():
    drop = FeatureDrop((0.7, 0.9))
    assert not drop(torch.full((1, 4, 1, 1), 2.0)).any()  # released: the count of stage 3 gets nothing
    assert torch.equal(drop(torch.full((1, 4, 1, 1), -2.0)), torch.full((1, 4, 1, 1), -2.0))


def test_perturbations_act_in_training_only_and_on_their_own_regressor():
    torch.manual_seed(0)
    network = TreeCounter(SMALL, perturbations=Perturbations(0.0, None, 0.0))
    image = torch.randn(2, 3, 64, 64)
    for module in network.modules():  # statistics that do not move, so that two passes can be compared
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    plain = network(image)
    for field, changed in (({"noise": 0.3}, 0), ({"feature_drop": (0.7, 0.9)}, 1), ({"dropout": 0.5}, 2)):
        other = TreeCounter(SMALL, perturbations=Perturbations(**{"noise": 0.0, "feature_drop": None, "dropout": 0.0,
                                                                  **field}))  # fmt: skip
        other.load_state_dict(network.state_dict())
        for module in other.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        out = other(image)
        equal = [torch.equal(a, b) for a, b in zip(out.maps, plain.maps, strict=True)]
        assert equal == [index != changed for index in range(3)]
        assert torch.equal(out.token_counts, plain.token_counts)
        again = other.eval()(image)
        assert all(torch.equal(a, b) for a, b in zip(again.maps, plain.maps, strict=True))


def test_token_perturbations_are_those_of_the_released_order():
    torch.manual_seed(0)
    network = TreeCounter(SMALL, perturbations=Perturbations(noise=0.3, dropout=0.9, tokens=True))
    head = network.regression
    tokens = [torch.rand(2, channels) for channels in network.encoder.channels[1:]]
    with torch.no_grad():
        for conv in (head.conv1, head.conv2, head.conv3, head.conv4):
            conv.weight.fill_(1.0)
        counts, plain = head.counts(tokens), head.eval().counts(tokens)
    assert not counts[:, 1].any()  # stage 3: one place, positive mean, dropped
    ratio = counts[:, 0] / plain[:, 0]
    torch.testing.assert_close(ratio[0], ratio[1])  # stage 2: the noise of the batch
    assert 0.7 < float(ratio[0]) < 1.3
    assert not torch.allclose(counts[:, 2], plain[:, 2])  # stage 4: channels dropped


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise": -0.1}, "model.noise must not be negative, got -0.1"),
        ({"dropout": 1.0}, r"model.dropout must be in \[0, 1\), got 1.0"),
        ({"feature_drop": (0.9, 0.7)}, r"model.feature_drop must be 0 < low <= high <= 1, got \[0.9, 0.7\]"),
    ],
)
def test_perturbations_out_of_range(values, message):
    with pytest.raises(InputError, match=message):
        Perturbations(**values)
