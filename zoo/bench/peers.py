"""Packages that compute the same as the zoo, for ``zoo bench``; ``make bench-env`` installs them beside it."""

from __future__ import annotations

import sys
import types
from importlib import import_module
from importlib.util import find_spec
from typing import Any

UNUSED_BY_ALLRANK = ("gcsfs", "pkg_resources")  # it reads files of cloud stores with them; no loss does


def allrank() -> Any:
    """The losses of allRank."""
    for name in UNUSED_BY_ALLRANK:
        if name not in sys.modules and find_spec(name) is None:
            sys.modules[name] = types.ModuleType(name)
    return import_module("allrank.models.losses")


def libauc() -> Any:
    """The losses of LibAUC."""
    return import_module("libauc.losses")


def metric_learning() -> Any:
    """The losses of pytorch-metric-learning."""
    return import_module("pytorch_metric_learning.losses")
