"""Every mistake of a recipe at once: first those that its text shows, then those that an import shows."""

from __future__ import annotations

import ast

from zoo.recipe.mistakes import Mistake, Place, RecipeError, in_order, nearest
from zoo.recipe.modules import Outside
from zoo.recipe.nodes import Path
from zoo.recipe.recipe import Recipe
from zoo.recipe.symbols import Class
from zoo.recipe.values import Check


def check(recipe: Recipe, *, imports: bool = False) -> list[Mistake]:
    """All mistakes of a recipe, in the order of the file.

    Nothing is imported as long as source text alone shows what is wrong, or that nothing is: see
    :mod:`zoo.recipe.sure`. Otherwise what it leaves open is imported and its own types asked.

    Args:
        recipe: As read.
        imports: Whether every class is imported and asked, although the text shows no mistake.
    """
    seen = static(recipe)
    if not recipe.readable or (seen.mistakes and not seen.doubts):
        return in_order(seen.mistakes)
    paths: list[Path] | None = seen.doubts
    if not seen.mistakes:
        around = [path[:length] for path in (*seen.doubts, *seen.unsure) for length in range(1, len(path) + 1)]
        paths = None if imports else around
    if paths == []:
        return []
    from zoo.recipe.validate import validate

    return in_order([*seen.mistakes, *validate(recipe, paths)])


def static(recipe: Recipe) -> Check:
    """What the text shows: mistakes, and the places where it cannot tell."""
    seen = Check(recipe.classes, list(recipe.found))
    if recipe.readable:
        seen.value(recipe.root, recipe.kind, ())
        seen.mistakes += _untrainable(recipe)
    return seen


def section_mistakes(recipe: Recipe, name: str) -> list[Mistake]:
    """What the text shows of one section, and of the recipe's form as a whole."""
    seen = Check(recipe.classes, list(recipe.found))
    node, kind = recipe.node((name,)), recipe.kind.fields[name]
    if node is not None:
        seen.value(node, kind.kind, (name,))
    elif kind.required and recipe.readable:
        seen.say(Place(recipe.origin, 1), f"the section '{name}' is missing")
    return in_order(seen.mistakes)


def ensure(recipe: Recipe) -> None:
    """Passes if a recipe has no mistake.

    Raises:
        RecipeError: It has some; carries all of them.
    """
    mistakes = check(recipe, imports=True)
    if mistakes:
        raise RecipeError(mistakes)


def _untrainable(recipe: Recipe) -> list[Mistake]:
    """A recipe without optimizer trains only a model that makes its own."""
    table = recipe.root.table or {}
    known = [key for key in table if isinstance(key, str)]
    section = table.get("optimizer")
    if (section is not None and section.content is not None) or _misspelt("optimizer", known, recipe):
        return []
    text = recipe.node(("model", "class_path"))
    if text is None or not isinstance(text.content, str) or _configures(recipe, text.content):
        return []
    return [Mistake(Place(recipe.origin, 1), "the section 'optimizer' is missing: training needs one")]


def _misspelt(name: str, known: list[str], recipe: Recipe) -> bool:
    return any(nearest(key, recipe.kind.fields) == name for key in known if key not in recipe.kind.fields)


def _configures(recipe: Recipe, path: str) -> bool:
    """Whether a model class defines ``configure_optimizers`` below ZooModule, or may do so."""
    model = recipe.kind.fields["model"].kind
    found = recipe.classes.resolve(path).found
    base = getattr(model, "base", None)
    if not isinstance(found, Class) or base is None or isinstance(base, Outside):
        return True
    for step in recipe.classes.symbols.lineage(found):
        if step == base:
            return False
        if not isinstance(step, Class):
            return True
        if any(isinstance(node, ast.FunctionDef) and node.name == "configure_optimizers" for node in step.node.body):
            return True
    return True
