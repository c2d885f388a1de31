"""The second check of a recipe: the classes are imported and jsonargparse asks their own types, key by key."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from zoo.recipe.imports import FAILURES, import_object, reach_user_modules
from zoo.recipe.kinds import Anything, Kind, options
from zoo.recipe.mistakes import Mistake, Place, meant_or_known
from zoo.recipe.nodes import Node, Path, dotted, label, plain
from zoo.recipe.recipe import Recipe
from zoo.recipe.shape import KNOWN, OBJECTS, OWNED, TRAINER
from zoo.recipe.steps import inside, slot_of, slots
from zoo.recipe.symbols import Class
from zoo.recipe.values import given


def validate(recipe: Recipe, paths: list[Path] | None, sections: tuple[str, ...] = ()) -> list[Mistake]:
    """Imports what a recipe names and checks it against the real classes.

    Args:
        recipe: A recipe whose text shows no mistake at the places to be checked.
        paths: The objects to be checked; None for all.
        sections: The sections to be checked; empty for all.

    Returns:
        All mistakes.
    """
    reach_user_modules(recipe.trust)
    mistakes: list[Mistake] = []
    bad: list[Path] = []
    for path, node, kind in _objects(recipe, recipe.root, recipe.kind, ()):
        if (paths is not None and path not in paths) or (sections and path[0] not in sections):
            continue
        inner = any(other[: len(path)] == path for other in bad)
        found = _trainer(node, bad) if path == ("trainer",) else _object(recipe, node, kind, path, bad)
        mistakes += found
        if found and not inner:
            bad.append(path)
    return mistakes


def _objects(recipe: Recipe, node: Node, kind: Kind, path: Path) -> Iterator[tuple[Path, Node, Kind]]:
    """All objects of a recipe, the inner ones before those that hold them."""
    for key in list(node.table or {}):
        inner = node.child(key)
        if inner is not None:
            part = key if isinstance(key, int) else str(key)
            yield from _objects(recipe, inner, inside(recipe.classes, node, kind, key), (*path, part))
    for index, item in enumerate(node.items or []):
        yield from _objects(recipe, item, inside(recipe.classes, node, kind, index), (*path, index))
    text = node.child("class_path") if node.table is not None else None
    wanted = bool(slots(kind)) or any(isinstance(option, Anything) for option in options(kind))
    if (text is not None and text.text is not None and wanted) or (path == ("trainer",) and node.table is not None):
        yield path, node, kind


def _trainer(node: Node, bad: list[Path]) -> list[Mistake]:
    mistakes = _Arguments("Trainer", import_object(TRAINER), set(OWNED), ("trainer",), node.place).check(node, bad)
    return mistakes or _unregistered(node)


def _unregistered(node: Node) -> list[Mistake]:
    """Names of accelerators and strategies that neither Lightning nor an installed plugin registers."""
    from lightning.pytorch.accelerators import AcceleratorRegistry
    from lightning.pytorch.strategies import StrategyRegistry

    registered = {
        "accelerator": AcceleratorRegistry.available_accelerators(),
        "strategy": StrategyRegistry.available_strategies(),
    }
    mistakes = []
    for key, names in registered.items():
        value = node.child(key)
        if value is None or not isinstance(value.content, str) or value.content in (*KNOWN[key].words, *names):
            continue
        words = ", ".join(repr(name) for name in sorted(names))
        mistakes.append(Mistake(value.place, f"{label(value, ('trainer', key))}expected {words}, got {given(value)}"))
    return mistakes


def _object(recipe: Recipe, node: Node, kind: Kind, path: Path, bad: list[Path]) -> list[Mistake]:
    text = node.child("class_path")
    if text is None or text.text is None:
        return []
    try:
        found = import_object(text.text)
    except FAILURES as error:
        what = f"{type(error).__name__}: {error}" if not isinstance(error, ImportError) else str(error)
        return [Mistake(text.place, f"'{text.text}' cannot be imported: {brief(what)}")]
    slot, _ = slot_of(recipe.classes, kind, text)
    wrong = _unfit(
        found, text.text, path, slot.base.path if slot is not None and isinstance(slot.base, Class) else None
    )
    if wrong is not None:
        return [Mistake(text.place, wrong)]
    skip = set(OBJECTS[str(path[0])].given) if len(path) == 1 and path[0] in OBJECTS else set()
    body = node.child("init_args")
    body = body if body is not None and body.table is not None else Node({}, text.place)
    name = text.text.rpartition(".")[2]
    loose = node.child("dict_kwargs") is not None
    return _Arguments(name, found, skip, (*path, "init_args"), text.place, loose).check(body, bad)


def _unfit(found: Any, name: str, path: Path, base: str | None) -> str | None:
    """Why an imported object cannot stand in its slot."""
    if not callable(found):
        return f"{name} is no class"
    if not inspect.isclass(found):
        return None
    wanted = OBJECTS[str(path[0])].base if len(path) == 1 and path[0] in OBJECTS else base
    if wanted is not None:
        asked = import_object(wanted)
        if not getattr(asked, "_is_protocol", False) and not issubclass(found, asked):
            return f"{name} is no {asked.__name__}"
    if inspect.isabstract(found):
        lacks = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        return f"{name} is abstract: it lacks {lacks}"
    return None


class _Arguments:
    """The arguments of one imported class or function."""

    def __init__(self, name: str, maker: Any, skip: set[str], path: Path, place: Place, loose: bool = False) -> None:
        self.name, self.maker, self.skip, self.path, self.place, self.loose = name, maker, skip, path, place, loose

    def check(self, body: Node, bad: list[Path]) -> list[Mistake]:
        """Mistakes of the arguments, one by one, then of them together."""
        try:
            names = self._parser(self.skip)[1]
        except FAILURES as error:
            return [Mistake(self.place, f"{self.name} cannot be used in a recipe: {brief(str(error))}")]
        mistakes: list[Mistake] = []
        broken = False
        for key, value in body.entries():
            path = (*self.path, str(key))
            if any(other[: len(path)] == path for other in bad):
                broken = True
            elif key not in names:
                free = [name for name in names if name not in (body.table or {})]
                mistakes.append(Mistake(value.place, f"{self.name} takes no '{key}'{meant_or_known(str(key), free)}"))
            else:
                wrong = self._error({str(key): plain(value)}, {*self.skip, *names} - {str(key)})
                if wrong is not None:
                    mistakes.append(Mistake(value.place, f"{dotted(path)}: {wrong}, got {given(value)}"))
        if not mistakes and not broken and not self.loose:
            wrong = self._error({str(key): plain(value) for key, value in body.entries()}, self.skip)
            if wrong is not None:
                mistakes.append(Mistake(self.place, f"{self.name}: {wrong}"))
        return mistakes

    def _parser(self, skip: set[str]) -> tuple[Any, list[str]]:
        from jsonargparse import ArgumentParser

        parser = ArgumentParser(exit_on_error=False, allow_abbrev=False, add_help=False)
        if inspect.isclass(self.maker):
            added = parser.add_class_arguments(self.maker, skip=set(skip), fail_untyped=False)
        else:
            added = parser.add_function_arguments(self.maker, skip=set(skip), fail_untyped=False)
        return parser, added

    def _error(self, values: dict[str, Any], skip: set[str]) -> str | None:
        from jsonargparse import ArgumentError

        try:
            self._parser(skip)[0].parse_object(deepcopy(values))
        except (ArgumentError, *FAILURES) as error:
            return brief(str(error))
        return None


def brief(message: str) -> str:
    """The telling lines of a message of jsonargparse, which tells the whole way there."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    telling = [line.partition(". Got value")[0] for line in lines if _tells(line)]
    words = [
        line.replace("Expected a ", "expected ").replace("<class '", "").replace("'>", "").replace("NoneType", "null")
        for line in telling
    ]
    if not words:
        return next((line for line in lines if line), "unusable")
    return "; ".join(dict.fromkeys(words))


def _tells(line: str) -> bool:
    starts = ("Expected", "Not of type", "Option", "Import path", "the following", "Type ", "No module", "Unexpected")
    return line.startswith((*starts, "Missing", "invalid", "Not a valid"))
