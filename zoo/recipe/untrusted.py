"""A recipe out of a checkpoint: nobody vouches for it, so it is checked as text before anything is imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from zoo.errors import InputError
from zoo.recipe.checking import section_mistakes
from zoo.recipe.mistakes import Mistake, RecipeError, in_order
from zoo.recipe.nodes import walk
from zoo.recipe.overrides import Overrides
from zoo.recipe.recipe import Recipe, read_text
from zoo.recipe.shape import REQUIRED
from zoo.recipe.symbols import Class
from zoo.recipe.trust import Trust, refusal
from zoo.recipe.values import Check

MAX_CARRIED = 200_000


def carried(text: str, origin: str, trust: Sequence[str] = (), overrides: Overrides = ()) -> Recipe:
    """Reads the recipe that a checkpoint carries.

    Sections ``model`` and ``data`` are checked as strictly as a user's recipe. The others are never built from it,
    so there only what could be imported matters. No interpolation and no alias is followed.

    Args:
        text: The carried text.
        origin: The checkpoint file.
        trust: Modules whose classes may be named too (``--trust``).
        overrides: Options of the user, as for :func:`zoo.recipe.read`; classes named there are trusted.

    Raises:
        InputError: It is no such recipe, or names a class that may not be imported.
    """
    if not isinstance(text, str) or len(text) > MAX_CARRIED:
        raise InputError(f"{origin}: this carries no recipe (text of at most {MAX_CARRIED} characters)")
    for module in trust:
        if not all(part.isidentifier() for part in module.split(".")):
            raise InputError(f"--trust {module}: this is no module")
    recipe = read_text(text, PurePath(origin).stem, origin, Trust(False, tuple(trust)), overrides)
    mistakes = list(recipe.found)
    for name in REQUIRED:
        mistakes += section_mistakes(recipe, name)
    mistakes += _forbidden(recipe) + _refused(recipe)
    if mistakes:
        raise RecipeError(in_order(mistakes))
    return recipe


def _refused(recipe: Recipe) -> list[Mistake]:
    """What the other sections could import that nobody vouches for."""
    seen = Check(recipe.classes)
    for name, entry in recipe.kind.fields.items():
        node = recipe.node((name,))
        if node is not None and name not in REQUIRED:
            seen.value(node, entry.kind, (name,))
    return seen.refusals


def _forbidden(recipe: Recipe) -> list[Mistake]:
    """Class paths anywhere that may not be imported."""
    mistakes = []
    for path, node in walk(recipe.root):
        if path[-1:] != ("class_path",) or not isinstance(node.content, str) or node.place.line == 0:
            continue
        found = recipe.classes.resolve(node.content).found
        for name in (node.content, found.path if isinstance(found, Class) else node.content):
            if "." in name and not recipe.trust.allows(name):
                mistakes.append(Mistake(node.place, refusal(name)))
                break
    return mistakes
