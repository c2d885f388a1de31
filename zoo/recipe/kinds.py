"""What may stand at a place of a recipe, as far as source code tells."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from zoo.recipe.light import Frozen, field
from zoo.recipe.modules import Outside
from zoo.recipe.nodes import Scalar
from zoo.recipe.signatures import Parameter
from zoo.recipe.symbols import Class

Word = Literal["int", "float", "bool", "str", "null", "path"]


class Anything(Frozen):
    """No statement; ``known`` where the annotation says so (``Any``), else it could not be read."""

    known: bool = False


class Simple(Frozen):
    """A scalar of one type."""

    word: Word


class Limited(Frozen):
    """A number or text with a condition (``jsonargparse.typing``), described in words."""

    word: Word
    words: str
    test: Callable[[Scalar], bool] = field(compare=False)


class Choice(Frozen):
    """One of some scalars."""

    values: tuple[Scalar, ...]


class Known(Frozen):
    """Text that is usually one of some words; another passes unless it looks like one of them misspelt."""

    words: tuple[str, ...]


class Many(Frozen):
    """A list (or tuple, set, sequence) of equal items."""

    item: Kind


class Row(Frozen):
    """A tuple with one kind for each item."""

    items: tuple[Kind, ...]


class Table(Frozen):
    """A mapping with free keys."""

    key: Kind
    value: Kind


class Field(Frozen):
    """One key of a :class:`Record`."""

    kind: Kind
    required: bool
    parameter: Parameter | None = None


class Record(Frozen):
    """A mapping with fixed keys: a TypedDict, a dataclass, or the recipe itself.

    Attributes:
        name: What messages call it.
        fields: Its keys.
        cls: The class that defines it, if any.
        built: Whether it is a dataclass, which may also be written with ``class_path``.
        sections: Whether it is the recipe itself.
    """

    name: str
    fields: dict[str, Field] = field(compare=False)
    cls: Class | None = None
    built: bool = False
    sections: bool = False


class Arguments(Frozen):
    """The constructor arguments of one class, written without ``class_path`` (the trainer section).

    Attributes:
        cls: The class; None where it cannot be found.
        name: What messages call it.
        owned: Arguments that a recipe must not write, with the reason.
        better: Arguments about which more is known than their annotation says.
    """

    cls: Class | None
    name: str
    owned: dict[str, str] = field(default_factory=dict, compare=False)
    better: dict[str, Kind] = field(default_factory=dict, compare=False)


class Slot(Frozen):
    """An object: ``class_path`` and ``init_args`` of a subclass of ``base``.

    Attributes:
        base: What its class must descend from; None where that cannot be found.
        name: What messages call the base.
        given: Arguments that are passed while running, never by a recipe.
    """

    base: Class | Outside | None
    name: str
    given: frozenset[str] = frozenset()


class Name(Frozen):
    """The import path of a function, class or module, as text; or an object that can be called."""

    what: str


class OneOf(Frozen):
    """Any of several kinds."""

    options: tuple[Kind, ...]


IMPORTABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
"""A dotted name that an import could be asked for."""

Kind = Anything | Simple | Limited | Choice | Known | Many | Row | Table | Record | Arguments | Slot | Name | OneOf


def options(kind: Kind) -> tuple[Kind, ...]:
    """The alternatives of a kind; itself where there is one."""
    return kind.options if isinstance(kind, OneOf) else (kind,)


def either(kinds: list[Kind]) -> Kind:
    """One of several kinds, nested alternatives laid flat, each once."""
    flat = list(dict.fromkeys(option for kind in kinds for option in options(kind)))
    return flat[0] if len(flat) == 1 else OneOf(tuple(flat))


def is_plain(kind: Kind) -> bool:
    """Whether no text of this kind can ever lead to an import."""
    if isinstance(kind, OneOf):
        return all(is_plain(option) for option in kind.options)
    if isinstance(kind, Many):
        return is_plain(kind.item)
    if isinstance(kind, Row):
        return all(is_plain(item) for item in kind.items)
    if isinstance(kind, Table):
        return is_plain(kind.key) and is_plain(kind.value)
    return isinstance(kind, Simple | Limited | Choice | Known)


def describe(kind: Kind) -> str:
    """A kind in a few words: ``float``, ``int or null``, ``'a' or 'b'``, ``list of float``.

    Tensors among other kinds are left out: no recipe can write one.
    """
    return _or(_words(kind))


def _words(kind: Kind) -> list[str]:
    if isinstance(kind, OneOf):
        told = [option for option in kind.options if not (isinstance(option, Slot) and option.name == "Tensor")]
        words = [word for option in told or kind.options for word in _words(option)]
        return [word for word in words if word != "null"] + (["null"] if "null" in words else [])
    if isinstance(kind, Choice):
        return [shown(value) for value in kind.values]
    if isinstance(kind, Known):
        return [shown(word) for word in kind.words]
    return [_one(kind)]


def _one(kind: Kind) -> str:
    if isinstance(kind, Simple):
        return kind.word
    if isinstance(kind, Limited):
        return kind.words
    if isinstance(kind, Many):
        return "list" if isinstance(kind.item, Anything) else f"list of {_group(kind.item)}"
    if isinstance(kind, Row):
        return f"list of {len(kind.items)} ({', '.join(_group(item) for item in kind.items)})"
    if isinstance(kind, Table):
        plain = isinstance(kind.value, Anything)
        return "mapping" if plain else f"mapping of {_group(kind.key)} to {_group(kind.value)}"
    if isinstance(kind, Record):
        return f"mapping with {', '.join(kind.fields)}"
    if isinstance(kind, Arguments):
        return f"mapping of {kind.name}'s arguments"
    if isinstance(kind, Slot):
        return f"{a(kind.name)} (class_path)"
    return kind.what if isinstance(kind, Name) else "anything"


def _group(kind: Kind) -> str:
    words = _words(kind)
    return words[0] if len(words) == 1 else f"({_or(words)})"


def _or(words: list[str]) -> str:
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def a(name: str) -> str:
    """A class name with its article."""
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


def shown(value: Scalar) -> str:
    """A scalar as a recipe writes it, text in quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]}...{text[-1]}"
