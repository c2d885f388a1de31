"""Released files: the layouts of the authors, wrappers and prefixes, and every way in which one can be wrong."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

import zoo
from zoo.checkpoint import convert as convert_file
from zoo.domains.calibration import convert
from zoo.errors import InputError

RECIPES = {"cifar": "calibration/mndcg_cifar10_r50", "tiny": "calibration/mndcg_tiny_r50"}


def wrapped(state, prefix=""):
    """The file as the released code writes it."""
    weights = {f"{prefix}{name}": value for name, value in state.items()}
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return {
        "epoch": 199, "state_dict": weights, "criterion": {}, "optimizer": optimizer, "scheduler": {"last_epoch": 200},
        "val_score": 0.95,
    }  # fmt: skip


@pytest.fixture
def recipe(tmp_path):
    """A recipe of the small network."""
    file = tmp_path / "small.yaml"
    file.write_text(
        "model: {class_path: zoo.domains.calibration.RankMixup, init_args: {network: resnet8, width: 4, size: 8, "
        "mean: [0.3, 0.3, 0.3], std: [0.4, 0.4, 0.4]}}\n"
        "data: {class_path: zoo.domains.calibration.Digits, init_args: {}}\n"
        "optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1}}\n"
    )
    return str(file)


@pytest.mark.parametrize(
    ("wrap", "says"),
    [
        (lambda state: state, []),
        (wrapped, ["criterion, optimizer, scheduler, val_score"]),
        (lambda state: wrapped(state, "module."), ["removed 'module.'"]),
        (lambda state: {"state_dict": wrapped(state)}, ["took 'state_dict'"]),
        (lambda state: {name.replace("shortcut", "downsample"): value for name, value in state.items()}, []),
        (lambda state: {name: v.half() if v.is_floating_point() else v for name, v in state.items()}, ["to float32"]),
        (
            lambda state: {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")},
            ["missing num_batches_tracked to 0"],
        ),
        (
            lambda state: {(f"module.{n}" if n.startswith("layer1") else n): v for n, v in state.items()},
            ["removed 'module.' before"],
        ),
    ],
    ids=["bare", "released", "parallel", "nested", "downsample", "half", "no counters", "some prefixes"],
)
def test_files_of_the_released_layout_convert(recipe, released, tmp_path, wrap, says):
    state = released()
    torch.save(wrap(state), tmp_path / "best.pth")
    notes = "\n".join(convert_file(recipe, tmp_path / "best.pth", tmp_path / "out.safetensors"))
    for words in [*says, "set temperature to 1"]:
        assert words in notes
    model = zoo.load(tmp_path / "out.safetensors")
    for name, value in model.network.state_dict().items():
        given = state[name.replace("downsample", "shortcut")]
        if value.is_floating_point():
            tolerance = 1e-3 if "to float32" in notes else 0
            torch.testing.assert_close(value, given, rtol=tolerance, atol=tolerance)
    assert float(model.temperature) == 1.0
    assert model.class_names == [str(digit) for digit in range(10)]
    image = torch.randint(256, (3, 8, 8), dtype=torch.uint8)
    assert model.predict(image).logits.shape == (1, 10)


def test_shortcut_is_renamed_and_nothing_else(released):
    state, notes = convert(released())
    assert "renamed shortcut to downsample in 12 names" in notes
    assert "network.layer2.0.downsample.1.running_var" in state
    assert not any("shortcut" in name for name in state)
    assert set(state) - {"temperature"} == {f"network.{name}".replace("shortcut", "downsample") for name in released()}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("layer3.0.bn2.weight"), r"1 tensors do not fit RankMixup:\n.*network.layer3.0.bn2.weight"),
        (lambda s: s.update({"fc.weight": torch.zeros(100, 16)}), "network.fc.weight"),
        (lambda s: s.update({"layer5.0.conv1.weight": torch.zeros(3)}), "network.layer5.0.conv1.weight"),
        (lambda s: s.update({"module.fc.bias": torch.zeros(10)}), "module.fc.bias and fc.bias both come to fc.bias"),
        (lambda s: s["bn1.weight"].fill_(torch.nan), "bn1.weight: holds values that are not finite"),
    ],
    ids=["missing", "other classes", "extra", "twice", "nan"],
)
def test_a_file_that_does_not_fit_is_told(recipe, released, tmp_path, spoil, message):
    state = released()
    spoil(state)
    torch.save(wrapped(state), tmp_path / "best.pth")
    with pytest.raises(InputError, match=message):
        convert_file(recipe, tmp_path / "best.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.facts
@pytest.mark.parametrize("layout", ["cifar", "tiny"])
def test_check_file_gives_the_released_logits(check, tmp_path, layout):
    """Both wrappers of the file, through ``zoo convert`` and ``zoo.load``."""
    doc = check.load(f"rankmixup_resnet50_{layout}.json")
    state, inputs = check.fill.make_checkpoint(doc), check.fill.inputs(doc)
    check.fill.check_fill(doc, state, inputs)
    file, out = tmp_path / "best.pth", tmp_path / "out.safetensors"
    wrappers = [doc["wrapper"], *(doc["wrapper"]["alternatives"] if layout == "cifar" else [])]
    for wrapper in wrappers:
        torch.save(check.fill.wrap(state, wrapper), file)
        convert_file(RECIPES[layout], file, out, overwrite=True)
    model = zoo.load(out)
    logits = model.predict(inputs["images"], preprocess=False).logits
    wanted = doc["expected"]
    got = {"logits_first10": logits[:, :10].tolist(), "argmax": logits.argmax(-1).tolist()}
    got |= {"max": logits.amax(-1).tolist()}
    for name, value in got.items():
        assert not check.fill.compare(wanted[name], value, **{k: doc["tolerance"][k] for k in ("rtol", "atol")}), name


@pytest.mark.facts
def test_torchvision_with_the_same_surgery_agrees_after_conversion(check, tmp_path):
    doc = check.load("rankmixup_resnet50_cifar.json")
    state, images = check.fill.make_checkpoint(doc), check.fill.inputs(doc)["images"]
    peer = resnet50(num_classes=10)
    peer.conv1, peer.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    peer.load_state_dict({name.replace("shortcut", "downsample"): value for name, value in state.items()})
    torch.save(check.fill.wrap(state, doc["wrapper"]), tmp_path / "best.pth")
    convert_file(RECIPES["cifar"], tmp_path / "best.pth", tmp_path / "out.safetensors")
    with torch.no_grad():
        wanted = peer.eval()(images)
        found = zoo.load(tmp_path / "out.safetensors").network(images).logits
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
