"""The classifiers: parameter counts, torchvision with the same surgery, initialisation, the check files."""

import math
import sys

import pytest
import torch
from torch import nn
from torchvision.models import resnet34, resnet50, resnet101

from zoo.domains.calibration.network import ClassifierOutput, build
from zoo.errors import InputError


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "layout", "classes", "parameters"),
    [
        ("resnet50", "cifar", 10, 23_520_842),
        ("resnet50", "cifar", 100, 23_705_252),
        ("resnet101", "cifar", 10, 42_512_970),
        ("resnet50", "tiny", 200, 25_138_952),
        ("resnet101", "tiny", 200, 44_131_080),
        ("resnet50", "imagenet", 200, 23_917_832),
        ("wrn26_10", "cifar", 10, 36_481_434),
        ("wrn26_10", "tiny", 200, 36_987_224),
        ("resnet8", "cifar", 10, 78_042),
    ],
)
def test_parameter_counts_of_the_sheet(name, layout, classes, parameters):
    with torch.device("meta"):
        network = build(name, classes, layout)
    assert count(network) == parameters


@pytest.mark.parametrize("layout", ["cifar", "tiny", "imagenet"])
@pytest.mark.parametrize("name", ["resnet34", "resnet50", "resnet101", "wrn26_10"])
def test_every_network_stands_in_every_layout(name, layout):
    side = {"cifar": 32, "tiny": 64, "imagenet": 224}[layout]
    with torch.device("meta"):
        output = build(name, 7, layout)(torch.empty(2, 3, side, side))
    assert isinstance(output, ClassifierOutput)
    assert output.logits.shape == (2, 7)


def surgery(layout, kind, classes):
    """torchvision's network, changed as the sheet says."""
    network = kind(num_classes=classes)
    if layout != "imagenet":
        network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        network.maxpool = nn.Identity()
    if layout == "tiny":
        network.avgpool = nn.AdaptiveAvgPool2d(2)
        network.fc = nn.Linear(network.fc.in_features * 4, classes)
    return network


def shake(network):
    """Statistics and weights that differ from unit to unit."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith(("running_mean", "running_var", "bn1.weight", "bn2.weight", "bn3.weight", "bias")):
            value.add_(0.2 * torch.rand(value.shape, generator=generator))


@pytest.mark.parametrize(
    ("name", "kind", "layout"),
    [
        ("resnet34", resnet34, "cifar"),
        ("resnet50", resnet50, "cifar"),
        ("resnet50", resnet50, "tiny"),
        ("resnet50", resnet50, "imagenet"),
        pytest.param("resnet101", resnet101, "cifar", marks=pytest.mark.facts),
    ],
)
def test_torchvision_with_the_same_surgery_gives_the_same(name, kind, layout):
    torch.manual_seed(0)
    peer = surgery(layout, kind, 11).eval()
    shake(peer)
    ours = build(name, 11, layout).eval()
    ours.load_state_dict(peer.state_dict())  # the names are the same
    side = {"cifar": 32, "tiny": 64, "imagenet": 96}[layout]
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        wanted = peer(images)
        assert wanted.std() > 0.01
        torch.testing.assert_close(ours(images).logits, wanted, rtol=1e-5, atol=1e-5)


def test_features_and_head_make_the_forward():
    torch.manual_seed(0)
    for name, side in (("resnet8", 32), ("timm/resnet18", 64)):
        network = build(name, 5).eval()
        images = torch.randn(2, 3, side, side)
        features = network.features(images)
        assert features.ndim == 4
        torch.testing.assert_close(network.head(features), network(images).logits)


def test_initialisation():
    """CIFAR's ResNet as torch leaves it, all others by He's fan-out deviation sqrt(2 / (k k out))."""
    torch.manual_seed(0)
    cifar, tiny, wide = build("resnet34", 10), build("resnet34", 10, "tiny"), build("wrn26_10", 10)
    for network in (tiny, wide):
        convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d) and part.weight.numel() > 5e4]
        assert len(convolutions) > 15
        for part in convolutions:
            deviation = math.sqrt(2 / (part.kernel_size[0] ** 2 * part.out_channels))
            assert part.weight.std().item() == pytest.approx(deviation, rel=0.02)
            assert abs(part.weight.mean().item()) < 0.05 * deviation
    weight = cifar.layer4[2].conv2.weight
    bound = 1 / math.sqrt(weight[0].numel())  # torch's default: uniform
    assert weight.abs().max().item() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    for part in tiny.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert (part.weight == 1).all()
            assert (part.bias == 0).all()
            assert (part.eps, part.momentum) == (1e-5, 0.1)


def test_dropout_stands_before_the_last_layer_of_the_large_layout_alone():
    for layout, given, wanted in (
        ("imagenet", None, 0.5),
        ("cifar", None, 0.0),
        ("tiny", None, 0.0),
        ("imagenet", 0.1, 0.1),
    ):
        with torch.device("meta"):
            assert build("resnet50", 10, layout, dropout=given).dropout.p == wanted


def test_any_timm_classifier():
    for name in ("convnext_atto", "timm/resnet34", "vit_tiny_patch16_224"):
        with torch.device("meta"):
            network = build(name, 13)
            assert network(torch.empty(2, 3, 224, 224)).logits.shape == (2, 13)


def test_pretrained_file_of_other_classes(tmp_path):
    """The file's own classifier stays behind, everything before it is taken."""
    import timm

    torch.manual_seed(0)
    peer = timm.create_model("resnet10t", num_classes=1000)
    torch.save(peer.state_dict(), tmp_path / "weights.pth")
    network = build("resnet10t", 6, pretrained=str(tmp_path / "weights.pth"))
    for name, value in network.model.state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(value, peer.state_dict()[name]), name
    assert network.model.fc.weight.shape == (6, 512)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet51"}, "model.network: there is no network 'resnet51'; did you mean 'resnet50'?"),
        ({"name": "timm/convnext_ato"}, "timm has no model 'convnext_ato'; did you mean 'convnext_atto'?"),
        ({"layout": "cifr"}, "model.layout must be one of cifar, tiny, imagenet, got 'cifr'; did you mean 'cifar'?"),
        ({"classes": 1}, "model.classes must be at least 2, got 1"),
        ({"dropout": 1.0}, r"model.dropout must lie in \[0, 1\), got 1.0"),
        ({"width": 8}, "model.width is the width of resnet8 alone, at least 1; got 8 for 'resnet50'"),
        ({"pretrained": True}, "model.pretrained: there are no weights for 'resnet50'"),
    ],
)
def test_bad_arguments_are_told(arguments, message):
    with pytest.raises(InputError, match=message), torch.device("meta"):
        build(**{"name": "resnet50", "classes": 10, **arguments})


@pytest.mark.facts
@pytest.mark.parametrize("layout", ["cifar", "tiny"])
def test_every_block_of_the_released_network(check_files, monkeypatch, layout):
    monkeypatch.setattr(sys, "path", [str(check_files), *sys.path])
    import fill
    import stages

    doc = fill.load(check_files / f"stages_rankmixup_resnet50_{layout}.json")
    state, inputs = fill.make_checkpoint(doc), fill.inputs(doc)
    fill.check_fill(doc, state, inputs)
    network = build("resnet50", 10 if layout == "cifar" else 200, layout).eval()
    network.load_state_dict({name.replace("shortcut", "downsample"): value for name, value in state.items()})
    got = {}

    def keep(name):
        return lambda part, given, output: got.__setitem__(name, stages.digest(output.clone()))

    network.conv1.register_forward_hook(keep("conv1"))
    network.bn1.register_forward_hook(keep("bn1"))
    for stage in network.stages:
        for number, block in enumerate(network.get_submodule(stage)):
            block.register_forward_hook(keep(f"{stage}.block{number}"))
    network.avgpool.register_forward_hook(
        lambda part, given, output: got.update(pooled=stages.digest(output.flatten(1)))
    )
    with torch.no_grad():
        logits = network(inputs["images"]).logits
    got["logits"] = stages.digest(logits)
    got["softmax_max"] = logits.softmax(-1).amax(-1).tolist()
    assert set(got) >= set(doc["expected"])
    assert stages.first_departure(doc, got) is None, stages.report(doc, got)
