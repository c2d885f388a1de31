"""What a checkpoint carries: reading, checking, loading, publishing, and the authors' files turned into ours.

The public names are imported when first used, so that those which need no torch (``locate``, ``header``, ``card``)
stay without it. The modules are named by topic, never like a function: importing a submodule binds its name here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.checkpoint.content import Card, Checkpoint
    from zoo.checkpoint.conversion import convert
    from zoo.checkpoint.files import read, write_safetensors
    from zoo.checkpoint.loading import Opened, initialise, load, open_target
    from zoo.checkpoint.migration import migrate
    from zoo.checkpoint.released import read_released, state_dict
    from zoo.checkpoint.target import locate
    from zoo.checkpoint.tensorfile import card, header

_PLACES = {
    "Card": "content",
    "Checkpoint": "content",
    "Opened": "loading",
    "card": "tensorfile",
    "convert": "conversion",
    "header": "tensorfile",
    "initialise": "loading",
    "load": "loading",
    "locate": "target",
    "migrate": "migration",
    "open_target": "loading",
    "read": "files",
    "read_released": "released",
    "state_dict": "released",
    "write_safetensors": "files",
}

__all__ = [
    "Card",
    "Checkpoint",
    "Opened",
    "card",
    "convert",
    "header",
    "initialise",
    "load",
    "locate",
    "migrate",
    "open_target",
    "read",
    "read_released",
    "state_dict",
    "write_safetensors",
]


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module 'zoo.checkpoint' has no attribute {name!r}")
    return getattr(import_module(f"zoo.checkpoint.{_PLACES[name]}"), name)
