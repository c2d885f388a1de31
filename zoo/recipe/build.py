"""A checked recipe to objects, by jsonargparse."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.errors import InputError
from zoo.recipe.checking import section_mistakes
from zoo.recipe.imports import FAILURES, import_object, reach_user_modules
from zoo.recipe.mistakes import Mistake, RecipeError
from zoo.recipe.nodes import walk
from zoo.recipe.recipe import Recipe
from zoo.recipe.shape import OBJECTS, OWNED, TRAINER

if TYPE_CHECKING:
    from zoo.training import ZooData, ZooModule


def build_model(recipe: Recipe) -> ZooModule:
    """The recipe's model, a ``zoo.training.ZooModule``.

    Args:
        recipe: As read.

    Raises:
        RecipeError: Its section ``model`` has mistakes, or the constructor refuses a value.
    """
    model: ZooModule = _build_object(recipe, "model")
    return model


def build_data(recipe: Recipe) -> ZooData:
    """The recipe's data, a ``zoo.training.ZooData``, with the recipe's seed.

    Args:
        recipe: As read.

    Raises:
        RecipeError: Its section ``data`` has mistakes, or the constructor refuses a value.
    """
    data: ZooData = _build_object(recipe, "data")
    data.seed = int(recipe.tree.get("seed_everything") or 0)
    return data


def build_optimizer(recipe: Recipe) -> Callable[..., Any] | None:
    """The recipe's optimizer as a callable of parameter groups; None where it has none.

    Raises:
        RecipeError: Its section ``optimizer`` has mistakes.
    """
    return _build_callable(recipe, "optimizer")


def build_scheduler(recipe: Recipe) -> Callable[..., Any] | None:
    """The recipe's schedule as a callable of the optimizer (and the span, for zoo's own); None where it has none.

    Raises:
        RecipeError: Its section ``lr_scheduler`` has mistakes.
    """
    return _build_callable(recipe, "lr_scheduler")


def build_trainer_arguments(recipe: Recipe) -> dict[str, Any]:
    """The arguments of ``lightning.pytorch.Trainer`` that the recipe writes, callbacks and plugins built.

    Raises:
        RecipeError: Its section ``trainer`` has mistakes.
    """
    _ensure(recipe, "trainer")
    written = recipe.tree.get("trainer") or {}
    return _arguments(recipe, "trainer", import_object(TRAINER), written, set(OWNED), set()) if written else {}


def _ensure(recipe: Recipe, name: str) -> None:
    mistakes = section_mistakes(recipe, name)
    if mistakes:
        raise RecipeError(mistakes)
    reach_user_modules(recipe.trust)


def _refused(recipe: Recipe, name: str, error: Exception) -> RecipeError:
    """The most telling mistakes for a section that jsonargparse or a constructor refuses."""
    from zoo.recipe.validate import brief, validate

    mistakes = validate(recipe, None, (name,))
    place = recipe.place((name, "class_path"))
    return RecipeError(mistakes or [Mistake(place, f"{_title(recipe, name)}: {brief(str(error))}")])


def _title(recipe: Recipe, name: str) -> str:
    path = (recipe.tree.get(name) or {}).get("class_path")
    return path.rpartition(".")[2] if isinstance(path, str) else name


def _build_object(recipe: Recipe, name: str) -> Any:
    _ensure(recipe, name)
    maker, arguments = _made(recipe, name)
    makers = _Makers()
    try:
        built = makers(maker, **arguments)
    except (TypeError, ValueError) as error:
        raise _unmade(recipe, name, makers) from error
    base = import_object(OBJECTS[name].base)
    if not isinstance(built, base):
        place = recipe.place((name, "class_path"))
        raise RecipeError([Mistake(place, f"{_title(recipe, name)} is no {base.__name__}")])
    return built


def _build_callable(recipe: Recipe, name: str) -> Callable[..., Any] | None:
    if recipe.tree.get(name) is None:
        return None
    _ensure(recipe, name)
    maker, arguments = _made(recipe, name)
    return partial(maker, **arguments)


def _made(recipe: Recipe, name: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The class of a section and its built arguments."""
    spec = recipe.tree[name]
    try:
        maker: Callable[..., Any] = import_object(spec["class_path"])
    except FAILURES as error:
        raise _refused(recipe, name, error) from error
    free = spec.get("dict_kwargs") or {}
    written = {**(spec.get("init_args") or {}), **free}
    return maker, _arguments(recipe, name, maker, written, set(OBJECTS[name].given), set(free))


def _arguments(
    recipe: Recipe, name: str, maker: Any, written: dict[str, Any], skip: set[str], free: set[str]
) -> dict[str, Any]:
    """The written arguments of a class or function, converted to its types, with the objects in them built."""
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False, add_help=False)
    makers = _Makers()
    try:
        if inspect.isclass(maker):
            added = parser.add_class_arguments(maker, name, skip=set(skip), instantiate=False, fail_untyped=False)
        else:
            added = parser.add_function_arguments(maker, name, skip=set(skip), fail_untyped=False)
        known = {key: value for key, value in written.items() if key not in free or f"{name}.{key}" in added}
        config = parser.parse_object({name: deepcopy(known)})
        built = parser.instantiate(config, instantiators=[(makers, object, True)])[name]
    except (ArgumentError, *FAILURES) as error:
        raise (_unmade(recipe, name, makers) if makers.failed else _refused(recipe, name, error)) from error
    if makers.failed:  # a union of types may have swallowed it
        raise _unmade(recipe, name, makers)
    return {key: built[key] if key in known else value for key, value in written.items()}


class _Makers:
    """Makes objects and remembers which constructor refused its arguments, which jsonargparse buries in its words."""

    def __init__(self) -> None:
        self.failed: list[tuple[str, Exception]] = []

    def __call__(self, class_type: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return class_type(*args, **kwargs)
        except (InputError, TypeError, ValueError) as error:
            self.failed.append((getattr(class_type, "__name__", str(class_type)), error))
            raise


def _unmade(recipe: Recipe, name: str, makers: _Makers) -> RecipeError:
    """Says which constructor refused what, where its class is named."""
    title, error = makers.failed[0]
    node = recipe.node((name,)) or recipe.root
    places = [
        inner.place
        for path, inner in walk(node)
        if path[-1:] == ("class_path",) and str(inner.content).rpartition(".")[2] == title
    ]
    return RecipeError([Mistake(places[0] if places else recipe.place((name,)), f"{title}: {error}")])
