"""The hub: pretrained models by name, from the index to a verified file; publishing new ones. Imports no torch.

The public names are imported when first used; the modules are named by topic, never like a function.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.hub.cache import models_dir
    from zoo.hub.downloads import pretrained
    from zoo.hub.index import Backbone, Entry, Licence, backbones, entries, find, list_models
    from zoo.hub.publishing import Published, publish
    from zoo.hub.requirements import Need, needs
    from zoo.hub.targets import load, locate, open_target

_PLACES = {
    "Backbone": "index",
    "Entry": "index",
    "Licence": "index",
    "Need": "requirements",
    "Published": "publishing",
    "backbones": "index",
    "entries": "index",
    "find": "index",
    "list_models": "index",
    "load": "targets",
    "locate": "targets",
    "models_dir": "cache",
    "needs": "requirements",
    "open_target": "targets",
    "pretrained": "downloads",
    "publish": "publishing",
}

__all__ = [
    "Backbone",
    "Entry",
    "Licence",
    "Need",
    "Published",
    "backbones",
    "entries",
    "find",
    "list_models",
    "load",
    "locate",
    "models_dir",
    "needs",
    "open_target",
    "pretrained",
    "publish",
]


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module 'zoo.hub' has no attribute {name!r}")
    return getattr(import_module(f"zoo.hub.{_PLACES[name]}"), name)
