"""Released weights: the files as the check folder writes them, and every way in which one can be wrong."""

import numpy as np
import pytest
import torch

from zoo.domains.anomaly import Detector, MILRanking, convert
from zoo.errors import InputError


def state(features=12):
    torch.manual_seed(0)
    return {name: torch.randn_like(value) for name, value in Detector(features).state_dict().items()}


def keras(tensors):
    """What scipy gives for the authors' file: cells of weight (in, out) and bias (1, out)."""
    variables = {"__header__": b"MATLAB 5.0", "__version__": "1.0", "__globals__": []}
    for index, layer in (("0", "fc1"), ("2", "fc2"), ("4", "fc3")):
        cell = np.empty((1, 2), dtype=object)
        cell[0, 0] = tensors[f"{layer}.weight"].numpy().T
        cell[0, 1] = tensors[f"{layer}.bias"].numpy()[None]
        variables[index] = cell
    variables["1"] = variables["3"] = np.empty((0, 0), dtype=object)
    return variables


def check_loads(tensors, expected, features=12):
    model = MILRanking(features=features)
    model.load_state_dict(tensors, strict=True)
    for name, value in expected.items():
        assert torch.equal(tensors[f"network.{name}"], value)
    return model


@pytest.mark.facts
def test_both_released_files_give_the_released_scores(check, tmp_path):
    from scipy.io import loadmat

    doc = check.load("anomaly.json")
    released = check.fill.make_checkpoint(doc)
    rows = torch.relu(check.fill.inputs(doc)["features_raw"] - 0.7)
    rows = rows / rows.norm(dim=-1, keepdim=True)
    check.files.write_keras_mat(tmp_path / "weights_L1L2.mat", released)
    read = loadmat(tmp_path / "weights_L1L2.mat")
    shapes = doc["wrapper"]["keras_mat"]["shapes_after_loadmat"]["0"]
    assert list(read["0"].shape) == shapes["outer"]
    for values in (read, released):
        tensors, _ = convert(values)
        model = check_loads(tensors, released, 4096)
        assert not check.fill.compare(doc["expected"]["scores"], model.predict(rows).scores, **doc["tolerance"])


def test_keras_layout_and_its_notes():
    tensors, notes = convert(keras(state()))
    check_loads(tensors, state())
    assert notes == [
        "transposed the weights of layers '0', '2', '4': Keras keeps (in, out), torch (out, in)",
        "dropped layers '1', '3': dropout, without weights",
    ]
    flat = {name: np.squeeze(value) if name.isdigit() else value for name, value in keras(state()).items()}
    check_loads(convert(flat)[0], state())


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
def test_state_dicts_with_every_prefix(prefix):
    tensors, notes = convert({f"{prefix}{name}": value for name, value in state().items()})
    check_loads(tensors, state())
    assert notes == [f"removed {part + '.'!r} before every name" for part in prefix.split(".")[:-1]]


def test_arrays_and_half_precision():
    halves = {name: value.half() for name, value in state().items()}
    tensors, notes = convert({name: value.numpy() for name, value in halves.items()})
    check_loads(tensors, {name: value.float() for name, value in halves.items()})
    assert notes == ["turned 6 tensors from torch.float16 to float32"]


def without(values, *names):
    return {name: value for name, value in values.items() if name not in names}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (without(state(), "fc2.bias"), "tensor names differ: missing 'fc2.bias'"),
        ({**state(), "fc4.weight": torch.ones(1)}, "tensor names differ: unexpected 'fc4.weight'"),
        ({**without(state(), "fc1.bias"), "fc1.biass": torch.ones(1)},
         "tensor names differ: missing 'fc1.bias'; unexpected 'fc1.biass'"),
        ({}, "missing 'fc1.weight', 'fc1.bias'"),
        ({**state(), "fc2.weight": torch.ones(32, 511)}, r"fc2.weight: has shape \(32, 511\), expected \(32, 512\)"),
        ({**state(), "fc1.weight": torch.ones(12, 512)}, r"fc1.weight: has shape \(12, 512\), expected \(512, 512\)"),
        ({**state(), "fc1.weight": torch.ones(512)}, r"fc1.weight: has shape \(512,\), expected \(512, features\)"),
        ({**state(), "fc3.bias": torch.tensor([float("nan")])}, "fc3.bias: holds values that are not finite"),
        ({**state(), "fc3.bias": "zero"}, "fc3.bias: expected a tensor of numbers, found a str"),
        ({**state(), "fc3.bias": torch.tensor([1])}, "fc3.bias: expected a tensor of numbers, found a Tensor"),
        (without(keras(state()), "4"), "layer names differ: missing '4'"),
        ({**keras(state()), "6": np.empty((0, 0), dtype=object)}, "layer names differ: unexpected '6'"),
        ({**keras(state()), "1": keras(state())["0"]}, "layer '1': a dropout layer has no weights, found 2 arrays"),
        ({**keras(state()), "2": keras(state())["2"][:, :1]}, "layer '2': expected two arrays of numbers, weight"),
        ({**keras(state()), "4": np.array([["a", "b"]], dtype=object)}, "layer '4': expected two arrays of numbers"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(values, message):
    with pytest.raises(InputError, match=message):
        convert(values)


def test_a_transposed_keras_weight_is_misshapen():
    released = keras(state())
    released["2"][0, 0] = released["2"][0, 0].T
    with pytest.raises(InputError, match=r"fc2\.weight: has shape \(512, 32\), expected \(32, 512\)"):
        convert(released)
