"""Authors' files become checkpoints of ours."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import zoo.domains
from zoo._version import __version__
from zoo.checkpoint import card, convert, load
from zoo.errors import InputError

from .conftest import RECIPE, helpers

CONVERTER = '''
"""Renames the layers of the released file."""

import torch

from zoo.errors import InputError

NAMES = {"first": "0", "norm": "1", "last": "2"}


def convert(released):
    if "w" in released:
        released = {"first.weight": torch.from_numpy(released["w"]).float()}
    state = {f"network.{NAMES.get(name.partition('.')[0])}.{name.partition('.')[2]}": tensor
             for name, tensor in released.items() if not name.startswith("head")}
    if "bad" in released:
        raise InputError("the tensor 'bad' is unexpected")
    return state, [f"dropped {name}: of no use" for name in released if name.startswith("head")]
'''


DETECTOR = """\
model:
  class_path: zoo.domains.anomaly.MILRanking
  init_args:
    features: 4096
data:
  class_path: zoo.domains.anomaly.UCFCrime
optimizer:
  class_path: torch.optim.Adagrad
"""


class Official(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.last = nn.Linear(8, 3)
        self.head = nn.Linear(1, 1)


@pytest.fixture
def recipe(method: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A recipe of the user, and a domain with a converter for it."""
    folder = tmp_path / "domains" / "nowhere"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "convert.py").write_text(CONVERTER)
    monkeypatch.setattr(zoo.domains, "__path__", [*zoo.domains.__path__, str(folder.parent)])
    (tmp_path / "mine.yaml").write_text(RECIPE)
    yield "mine.yaml"
    for name in ("zoo.domains.nowhere.convert", "zoo.domains.nowhere"):
        sys.modules.pop(name, None)


@pytest.fixture
def official(tmp_path: Path) -> Callable[..., Path]:
    def write(value: Any, name: str = "official.pth") -> Path:
        torch.save(value, tmp_path / name)
        return tmp_path / name

    return write


def refusal(*args: Any, **keywords: Any) -> str:
    with pytest.raises(InputError) as caught:
        convert(*args, **keywords)
    return str(caught.value)


def test_a_wrapped_state_dict_is_converted(recipe: str, official: Callable[..., Path], tmp_path: Path) -> None:
    net = Official()
    path = official({"model": nn.DataParallel(net).state_dict(), "epoch": 3})
    out = tmp_path / "out" / "x.safetensors"
    assert convert(recipe, path, out) == [
        "took 'model', set aside: epoch",
        "removed 'module.' (DataParallel) before every name",
        "dropped head.weight: of no use",
        "dropped head.bias: of no use",
    ]
    module = load(out, trust=("small_method",))
    assert torch.equal(module.network[0].weight, net.first.weight)
    assert torch.equal(module.network[1].running_var, net.norm.running_var)
    said = card(out)
    assert said["version"] == __version__
    assert said["source"] == f"official.pth sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert said["preprocess"] == {"size": [4], "mean": 0.5}
    assert "small_method.Small" in said["recipe"]


def test_a_whole_module_in_half_precision(recipe: str, official: Callable[..., Path], tmp_path: Path) -> None:
    net = Official().half()
    convert(recipe, official(net), tmp_path / "x.safetensors")
    module = load(tmp_path / "x.safetensors", trust=("small_method",))
    assert module.network[0].weight.dtype == torch.float32
    assert torch.equal(module.network[0].weight, net.first.weight.float())


def test_a_matlab_file_comes_as_its_variables(recipe: str, tmp_path: Path) -> None:
    from scipy.io import savemat

    savemat(tmp_path / "w.mat", {"w": np.ones((8, 4))})
    message = refusal(recipe, tmp_path / "w.mat", tmp_path / "x.safetensors")
    assert "tensors do not fit Small" in message
    assert "network.0.weight" not in message
    assert "network.0.bias: missing in the file, (8,) in the model" in message
    assert not (tmp_path / "x.safetensors").exists()


def test_every_tensor_that_does_not_fit_is_named(recipe: str, official: Callable[..., Path], tmp_path: Path) -> None:
    state = Official().state_dict()
    state["last.weight"] = torch.zeros(9, 8)
    del state["first.bias"]
    state["last.more"] = torch.zeros(1)
    path = official(state)
    assert refusal(recipe, path, tmp_path / "x.safetensors") == (
        f"{path}: 3 tensors do not fit Small:\n"
        "  network.0.bias: missing in the file, (8,) in the model\n"
        "  network.2.weight: (9, 8) in the file, (3, 8) in the model\n"
        "  network.2.more: (1,) in the file, not in the model"
    )


def test_nothing_is_written_over(recipe: str, official: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    out.write_text("precious")
    path = official(Official().state_dict())
    assert "exists already" in refusal(recipe, path, out)
    assert out.read_text() == "precious"
    convert(recipe, path, out, overwrite=True)
    assert card(out)["source"].startswith("official.pth")


def test_what_else_can_be_wrong(recipe: str, official: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    assert "ends in .safetensors" in refusal(recipe, official({}), tmp_path / "x.ckpt")
    assert "there is no such file" in refusal(recipe, tmp_path / "nothing.pth", out)
    path = official({"epoch": 1})
    assert refusal(recipe, path, out) == f"{path}: the file holds no weights by name; it has the keys 'epoch'"
    (tmp_path / "page.pth").write_text("<html>")
    assert "web page" in refusal(recipe, tmp_path / "page.pth", out)
    assert refusal(recipe, official({"bad": torch.zeros(1)}), out) == f"{path}: the tensor 'bad' is unexpected"
    (tmp_path / "wrong.yaml").write_text(RECIPE.replace("width", "widht"))
    assert "wrong.yaml:4: " in refusal("wrong.yaml", official(Official()), out)


def test_a_domain_without_converter(method: Any, official: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    message = refusal("mine.yaml", official(Official()), tmp_path / "x.safetensors")
    assert message == "Small: the domain 'nowhere' has no converter for released files"


def test_a_hostile_file_is_not_run(recipe: str, tmp_path: Path) -> None:
    import os

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"state_dict": Evil()}))
    assert "no weights by name" in refusal(recipe, tmp_path / "x.pkl", tmp_path / "x.safetensors")
    assert not (tmp_path / "ran").exists()


@pytest.mark.facts
@pytest.mark.parametrize("layout", ["module", "matlab", "plain", "module.", "model."])
def test_the_released_detectors_give_the_expected_scores(check_files: Path, tmp_path: Path, layout: str) -> None:
    """Both published files of the anomaly sheet, and the prefixes it names."""
    fill, writers = helpers(check_files)
    document = fill.load(check_files / "anomaly.json")
    state = fill.make_checkpoint(document)
    official = tmp_path / ("weights.mat" if layout == "matlab" else "weights.pt")
    if layout == "matlab":
        writers.write_keras_mat(official, state)
    elif layout == "module":
        writers.write_pickled_module(official, state)
    else:
        prefix = "" if layout == "plain" else layout
        torch.save({f"{prefix}{name}": tensor for name, tensor in state.items()}, official)
    (tmp_path / "detector.yaml").write_text(DETECTOR)
    notes = convert(str(tmp_path / "detector.yaml"), official, tmp_path / "x.safetensors")
    assert bool(notes) is (layout != "plain")
    module = load(tmp_path / "x.safetensors")
    features = torch.relu(fill.inputs(document)["features_raw"] - 0.7)
    features = features / features.norm(dim=-1, keepdim=True)
    with torch.no_grad():
        scores = module.network(features).scores
    assert not fill.compare(document["expected"], {"scores": scores}, **document["tolerance"])
