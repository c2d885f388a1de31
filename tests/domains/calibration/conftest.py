"""Check files by name, small classifiers, small released files."""

import sys
from types import SimpleNamespace

import pytest
import torch

from zoo.domains.calibration import Digits, RankMixup
from zoo.domains.calibration.data_digits import DIGITS
from zoo.domains.calibration.network import build


@pytest.fixture
def check(check_files):
    """The modules ``fill`` and ``stages`` of the check folder, and ``load(name)``."""
    sys.path.insert(0, str(check_files))
    try:
        import fill
        import stages
    finally:
        sys.path.remove(str(check_files))
    return SimpleNamespace(fill=fill, stages=stages, load=lambda name: fill.load(check_files / name))


@pytest.fixture
def small():
    """A ResNet-8 of width 4 on images of 8 pixels; arguments are those of the module."""

    def make(seed=0, **arguments):
        torch.manual_seed(seed)
        statistics = {"mean": DIGITS.mean, "std": DIGITS.std}
        return RankMixup(**{"network": "resnet8", "width": 4, "size": 8, **statistics, **arguments})

    return make


@pytest.fixture
def digits():
    """scikit-learn's digits, a few of each split."""
    return Digits(batch_size=16, limit=48)


@pytest.fixture
def released():
    """Tensors of a small network under the names of the released CIFAR layout."""

    def make(classes=10, seed=0):
        torch.manual_seed(seed)
        state = build("resnet8", classes, width=4).state_dict()
        return {
            name.replace("downsample", "shortcut"): torch.rand_like(value) if value.is_floating_point() else value
            for name, value in state.items()
        }

    return make
