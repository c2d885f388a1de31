"""A PyTorch Lightning model zoo whose domains share one ranking-loss core."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from zoo._version import __version__

if TYPE_CHECKING:
    from zoo.cli.eval import evaluate
    from zoo.cli.predict import predict
    from zoo.cli.training import train
    from zoo.hub import list_models, load, pretrained

_PLACES = {
    "evaluate": "zoo.cli.eval",
    "list_models": "zoo.hub",
    "load": "zoo.hub",
    "predict": "zoo.cli.predict",
    "pretrained": "zoo.hub",
    "train": "zoo.cli.training",
}

__all__ = ["__version__", "cache_dir", "evaluate", "list_models", "load", "predict", "pretrained", "train"]


def cache_dir() -> Path:
    """Where zoo keeps what can be had again: downloaded models, made-up data, features.

    ``$ZOO_CACHE``, else ``rankzoo`` in the platform's cache folder: ``$XDG_CACHE_HOME`` or ``~/.cache``,
    ``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on Windows.
    """
    if os.environ.get("ZOO_CACHE"):
        return Path(os.environ["ZOO_CACHE"]).expanduser()
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "rankzoo"
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "rankzoo"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "rankzoo"


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used, so that ``import zoo`` stays light."""
    if name not in _PLACES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
