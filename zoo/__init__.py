"""A PyTorch Lightning model zoo whose domains share one ranking-loss core."""

from importlib import import_module
from typing import TYPE_CHECKING

from zoo._version import __version__

if TYPE_CHECKING:
    from zoo.checkpoint import load
    from zoo.cli.eval import evaluate
    from zoo.cli.predict import predict
    from zoo.cli.training import train

_PLACES = {
    "load": "zoo.checkpoint",
    "train": "zoo.cli.training",
    "evaluate": "zoo.cli.eval",
    "predict": "zoo.cli.predict",
}

__all__ = ["__version__", "evaluate", "load", "predict", "train"]


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used, so that ``import zoo`` stays light."""
    if name not in _PLACES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
