"""A tiny method of a user's own module, a recipe for it, and checkpoints of it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo._version import __version__

SOURCE = '''
from typing import Literal

import torch
from torch import nn

from zoo.errors import InputError
from zoo.training import ParameterGroup, ZooData, ZooModule


class Small(ZooModule):
    """A method with a head per class."""

    domain = "nowhere"

    def __init__(
        self,
        width: int = 8,
        num_classes: int = 3,
        monitor: str = "val/error",
        mode: Literal["min", "max"] = "min",
        groups: list[ParameterGroup] | None = None,
    ) -> None:
        super().__init__(monitor, mode, groups)
        self.network = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, num_classes))
        self.num_classes = num_classes

    def set_classes(self, names: list[str]) -> None:
        if len(names) != self.num_classes:
            raise InputError(f"the network has {self.num_classes} classes, the names are {len(names)}: {names}")
        super().set_classes(names)

    @property
    def preprocess(self) -> dict:
        return {"size": [4], "mean": 0.5}


class Points(ZooData):
    """Nothing."""

    domain, dataset, source, terms, layout = "nowhere", "points", "made up", "none", "nothing"

    def __init__(self, root: str | None = None, batch_size: int = 4) -> None:
        super().__init__(root, batch_size, 0, False, None, "stop")


class Other:
    """Not a module at all."""
'''

RECIPE = """\
model:
  class_path: small_method.Small
  init_args:
    width: 8
    num_classes: 3
data:
  class_path: small_method.Points
  init_args:
    root: points
optimizer:
  class_path: torch.optim.Adam
trainer:
  max_epochs: 2
"""


@pytest.fixture
def method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The user's module, importable from the current folder only."""
    (tmp_path / "small_method.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import small_method

    yield small_method
    sys.modules.pop("small_method", None)


@pytest.fixture
def contents(method: Any) -> dict[str, Any]:
    """What Lightning would save for that method."""
    torch.manual_seed(0)
    module = method.Small()
    return {
        "state_dict": {name: torch.randn_like(t) if t.is_floating_point() else t for name, t in
                       module.state_dict().items()},
        "epoch": 1,
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}],
        "zoo_recipe": RECIPE,
        "zoo_version": __version__,
        "zoo_classes": ["cat", "dog", "eel"],
        "zoo_metrics": {"val/error": 0.25},
        "zoo_preprocess": {"size": [4], "mean": 0.5},
    }  # fmt: skip


@pytest.fixture
def save(tmp_path: Path, contents: dict[str, Any]) -> Callable[..., Path]:
    """Writes a checkpoint, with entries changed, or left out where the value is None."""

    def write(name: str = "best.ckpt", **changes: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {key: value for key, value in {**contents, **changes}.items() if value is not None}
        torch.save(values, path)
        return path

    return write


def helpers(folder: Path) -> tuple[Any, Any]:
    """The modules `fill` and `anomaly_files` that lie with the check files."""
    modules = []
    for name in ("fill", "anomaly_files"):
        spec = importlib.util.spec_from_file_location(f"check_{name}", folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        modules.append(module)
    return modules[0], modules[1]
