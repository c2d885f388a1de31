"""Arguments that were renamed: recipes and options go on with the old name for a while, checkpoints for ever."""

from __future__ import annotations

import re
from collections.abc import Iterator

from zoo._version import __version__
from zoo.recipe.classes import Classes
from zoo.recipe.kinds import Arguments, Kind, options
from zoo.recipe.light import Frozen
from zoo.recipe.mistakes import Mistake
from zoo.recipe.nodes import Node
from zoo.recipe.steps import inside
from zoo.recipe.symbols import Class


class Renamed(Frozen):
    """One argument of a class, and of what descends from it.

    Attributes:
        path: Dotted path of the class, where it is defined.
        old: Its former name.
        new: Its name.
        since: The version that renamed it.
        until: The version from which the old name is a mistake in a recipe file; at least two minor versions later.
    """

    path: str
    old: str
    new: str
    since: str
    until: str


RENAMED: list[Renamed] = []
"""Every renaming since 0.1; a row is never taken out, for checkpoints carry the old names."""


def renamed(classes: Classes, kind: Kind, key: str) -> Renamed | None:
    """The renaming of an argument.

    Args:
        classes: Resolves class paths.
        kind: What is wanted of the mapping that has the key.
        key: The key.
    """
    if not any(row.old == key for row in RENAMED):
        return None
    for option in options(kind):
        if isinstance(option, Arguments) and option.cls is not None:
            lineage = {step.path for step in classes.symbols.lineage(option.cls) if isinstance(step, Class)}
            return next((row for row in RENAMED if row.old == key and row.path in lineage), None)
    return None


def taken(row: Renamed, classes: Classes) -> bool:
    """Whether the old name still does: always in a recipe that a checkpoint carries."""
    return not classes.trust.whole or _numbers(__version__) < _numbers(row.until)


def said(row: Renamed) -> str:
    """What is said of the old name."""
    name = row.path.rpartition(".")[2]
    return f"{name}'s '{row.old}' is called '{row.new}' since {row.since}"


def rename(classes: Classes, root: Node, kind: Kind) -> tuple[list[str], list[Mistake]]:
    """Brings the keys of a tree to their names of today, in place.

    Args:
        classes: Resolves class paths.
        root: The tree.
        kind: What is wanted of it.

    Returns:
        What the user should know, and mistakes: names that are taken no longer, and old beside new.
    """
    notes: list[str] = []
    mistakes: list[Mistake] = []
    for node, wanted in _mappings(classes, root, kind) if RENAMED else ():
        table = node.table or {}
        for key in [key for key in table if isinstance(key, str)]:
            row = renamed(classes, wanted, key)
            if row is None:
                continue
            place = table[key].place
            if row.new in table:
                mistakes.append(Mistake(place, f"{said(row)}; here are both"))
            elif not taken(row, classes):
                mistakes.append(Mistake(place, said(row)))
            elif classes.trust.whole:
                notes.append(f"{place}: {said(row)}; it is taken until {row.until}")
            node.content = {row.new if name == key and row.new not in table else name: v for name, v in table.items()}
            table = node.content
            table.pop(key, None)
    return notes, mistakes


def _mappings(classes: Classes, node: Node, kind: Kind) -> Iterator[tuple[Node, Kind]]:
    """All mappings of a tree with what is wanted of each, the outer ones first."""
    if node.table is not None:
        yield node, kind
    for key, value in list(node.entries()):
        yield from _mappings(classes, value, inside(classes, node, kind, key))
    for index, item in enumerate(node.items or []):
        yield from _mappings(classes, item, inside(classes, node, kind, index))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
