"""Top floor: YAML -> checked -> objects.

``read`` finds and reads a recipe, ``check`` names every mistake, the ``build_*`` functions make objects, ``text`` gives
what a checkpoint carries and ``carried`` reads that back. Importing this package imports no torch; the public names are
imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.recipe.build import build_data, build_model, build_optimizer, build_scheduler, build_trainer_arguments
    from zoo.recipe.checking import check, ensure
    from zoo.recipe.mistakes import Mistake, Place, RecipeError
    from zoo.recipe.recipe import Recipe, read
    from zoo.recipe.source import find, names
    from zoo.recipe.untrusted import carried
    from zoo.recipe.writing import text

_PLACES = {
    "Mistake": "mistakes",
    "Place": "mistakes",
    "Recipe": "recipe",
    "RecipeError": "mistakes",
    "build_data": "build",
    "build_model": "build",
    "build_optimizer": "build",
    "build_scheduler": "build",
    "build_trainer_arguments": "build",
    "carried": "untrusted",
    "check": "checking",
    "ensure": "checking",
    "find": "source",
    "names": "source",
    "read": "recipe",
    "text": "writing",
}

__all__ = [
    "Mistake",
    "Place",
    "Recipe",
    "RecipeError",
    "build_data",
    "build_model",
    "build_optimizer",
    "build_scheduler",
    "build_trainer_arguments",
    "carried",
    "check",
    "ensure",
    "find",
    "names",
    "read",
    "text",
]


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module 'zoo.recipe' has no attribute {name!r}")
    return getattr(import_module(f"zoo.recipe.{_PLACES[name]}"), name)
