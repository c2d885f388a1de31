"""Top floor: YAML -> checked -> objects.

``read`` finds and reads a recipe, ``check`` names every mistake, the ``build_*`` functions make objects, ``text`` gives
what a checkpoint carries and ``carried`` reads that back. Importing this package imports no torch.
"""

from zoo.recipe.build import build_data, build_model, build_optimizer, build_scheduler, build_trainer_arguments
from zoo.recipe.checking import check, ensure
from zoo.recipe.mistakes import Mistake, Place, RecipeError
from zoo.recipe.recipe import Recipe, read
from zoo.recipe.source import find, names
from zoo.recipe.untrusted import carried
from zoo.recipe.writing import text

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
