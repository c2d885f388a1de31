"""From a value of a recipe to the values inside it, with what source code asks of them."""

from __future__ import annotations

from zoo.recipe.classes import Classes, ClassPath
from zoo.recipe.kinds import (
    IMPORTABLE,
    Anything,
    Arguments,
    Choice,
    Kind,
    Known,
    Limited,
    Many,
    Name,
    Record,
    Row,
    Simple,
    Slot,
    Table,
    options,
)
from zoo.recipe.mistakes import Place
from zoo.recipe.modules import Outside
from zoo.recipe.nodes import Node, Scalar
from zoo.recipe.scalars import accepts, read_value, settle
from zoo.recipe.symbols import Class

CALLABLE = Slot(Outside("builtins.object"), "callable")


def slots(kind: Kind) -> list[Slot]:
    """The objects among a kind's alternatives; a dataclass or something that can be called may be written as one."""
    found = [option for option in options(kind) if isinstance(option, Slot)]
    found += [Slot(o.cls, o.name) for o in options(kind) if isinstance(o, Record) and o.built]
    return found + [CALLABLE for option in options(kind) if isinstance(option, Name)]


def names_object(classes: Classes, kind: Kind, node: Node) -> bool:
    """Whether a text is to be understood as the class path of an object.

    It is, where nothing else fits: it is dotted, or the name of a class that fits, or no other text is wanted at all.
    """
    text = node.content
    if not isinstance(text, str) or "${" in text or not slots(kind) or accepts(kind, node):
        return False
    scalars = [o for o in options(kind) if isinstance(o, Simple | Limited | Choice | Known) and o != Simple("null")]
    if IMPORTABLE.fullmatch(text) or not scalars:
        return True
    path = slot_of(classes, kind, node)[1]
    return path is not None and path.problem is None


def slot_of(classes: Classes, kind: Kind, text: Node) -> tuple[Slot | None, ClassPath | None]:
    """The alternative that a class path stands for, and what the path means in it.

    Args:
        classes: Resolves class paths.
        kind: What is wanted.
        text: The class path.
    """
    if not isinstance(text.content, str):
        return None, None
    typed = text.place.line == 0
    choices: list[Slot | None] = list(slots(kind)) or [None]
    found = [(slot, classes.resolve(text.content, slot, typed)) for slot in choices]
    return next(((slot, path) for slot, path in found if path.problem is None), found[0])


def inside(classes: Classes, node: Node, kind: Kind, key: Scalar) -> Kind:
    """What is wanted at a key or index of a value.

    Args:
        classes: Resolves class paths.
        node: The value.
        kind: What is wanted of the value as a whole.
        key: A key of the mapping, or an index of the list.
    """
    text = node.child("class_path") if node.table is not None else None
    if text is not None and (slots(kind) or _loose(kind)):
        _, path = slot_of(classes, kind, text)
        cls = path.found if path is not None else None
        name = path.name if path is not None else ""
        return Arguments(cls if isinstance(cls, Class) else None, name) if key == "init_args" else Anything()
    for option in options(kind):
        if node.items is not None and isinstance(option, Many):
            return option.item
        if node.items is not None and isinstance(option, Row) and isinstance(key, int) and key < len(option.items):
            return option.items[key]
        if node.table is not None and isinstance(option, Record | Arguments):
            return fields(classes, option).get(str(key), Anything())
        if node.table is not None and isinstance(option, Table):
            return option.value
    return Anything()


def fields(classes: Classes, kind: Record | Arguments) -> dict[str, Kind]:
    """What each key of a mapping takes."""
    if isinstance(kind, Record):
        return {name: entry.kind for name, entry in kind.fields.items()}
    parameters = classes.signature(kind.cls).parameters.values()
    return {parameter.name: classes.annotations.of(parameter) for parameter in parameters} | kind.better


def _loose(kind: Kind) -> bool:
    return any(isinstance(option, Anything) for option in options(kind))


def object_node(text: Node, place: Place) -> Node:
    """An object without arguments, from its class path."""
    return Node({"class_path": Node(text.content, text.place, text.typed)}, place)


def expand(classes: Classes, node: Node, kind: Kind) -> None:
    """Writes objects out in full: a bare class path becomes a mapping, a short class name its full path.

    Args:
        classes: Resolves class paths; what cannot be resolved stays as it is.
        node: The value, changed in place.
        kind: What is wanted of it.
    """
    if node.void:
        return
    _unquote(classes, node, kind)
    if names_object(classes, kind, node):
        _, path = slot_of(classes, kind, node)
        if path is not None and path.problem is None:
            node.content, node.typed = object_node(node, node.place).content, None
    settle(node, kind)
    text = node.child("class_path") if node.table is not None else None
    if text is not None and (slots(kind) or _loose(kind)):
        _, path = slot_of(classes, kind, text)
        if path is not None and path.problem is None:
            text.content = path.path
    for key, value in list(node.entries()):
        expand(classes, value, inside(classes, node, kind, key))
    for index, item in enumerate(node.items or []):
        expand(classes, item, inside(classes, node, kind, index))


def _unquote(classes: Classes, node: Node, kind: Kind) -> None:
    """Reads ``"[1, 2]"`` as a list where no text is wanted, as jsonargparse does; not in text nobody vouches for."""
    if not isinstance(node.content, str) or not classes.trust.whole or accepts(kind, node):
        return
    if any(isinstance(option, Many | Row | Table | Record) for option in options(kind)):
        read = read_value(node.content, node)
        if isinstance(read.content, dict | list):
            node.content, node.typed = read.content, None
