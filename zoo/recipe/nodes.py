"""The tree of a recipe: values that know where they were written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from zoo.recipe.mistakes import Place

Scalar = str | int | float | bool | None
Plain = Scalar | dict[Scalar, "Plain"] | list["Plain"]
Path = tuple[str | int, ...]


class Node:
    """One value of a recipe.

    Attributes:
        content: A scalar, a mapping or a list.
        place: Where its key (or list item) is written.
        typed: An option's text as given, where the content is a scalar read from it.
        again: In a mapping: earlier entries whose key stands a second time.
        void: Its value is unknown because of a mistake already reported.
    """

    __slots__ = ("again", "content", "place", "typed", "void")

    def __init__(
        self,
        content: Scalar | dict[Scalar, Node] | list[Node],
        place: Place,
        typed: str | None = None,
        again: list[tuple[Scalar, Node]] | None = None,
        void: bool = False,
    ) -> None:
        self.content, self.place, self.typed = content, place, typed
        self.again, self.void = [] if again is None else again, void

    def __repr__(self) -> str:
        return f"Node({self.content!r}, {self.place})"

    @property
    def table(self) -> dict[Scalar, Node] | None:
        """The entries of a mapping, None for anything else."""
        return self.content if isinstance(self.content, dict) else None

    @property
    def items(self) -> list[Node] | None:
        """The items of a list, None for anything else."""
        return self.content if isinstance(self.content, list) else None

    @property
    def text(self) -> str | None:
        """The text of a text scalar, None for anything else."""
        return self.content if isinstance(self.content, str) else None

    def entries(self) -> Iterator[tuple[Scalar, Node]]:
        """Every entry of a mapping, those whose key stands twice included."""
        yield from self.again
        yield from (self.table or {}).items()

    def child(self, key: Scalar) -> Node | None:
        """The entry or item at ``key``, None where there is none."""
        if isinstance(self.content, dict):
            return self.content.get(key)
        if isinstance(self.content, list) and isinstance(key, int) and 0 <= key < len(self.content):
            return self.content[key]
        return None


def plain(node: Node) -> Plain:
    """The bare values of a tree."""
    if isinstance(node.content, dict):
        return {key: plain(value) for key, value in node.content.items()}
    if isinstance(node.content, list):
        return [plain(item) for item in node.content]
    return node.content


MAX_DEPTH = 40


def node_of(value: object, place: Place, depth: int = 0) -> Node:
    """The tree of Python values, all of them at one place.

    Args:
        value: Text, numbers, None, paths, and lists, tuples and mappings of them.
        place: Where they come from.
        depth: How deep inside other values this one lies.

    Raises:
        TypeError: Anything else, which no recipe can hold.
    """
    if depth > MAX_DEPTH:
        raise TypeError(f"nested more than {MAX_DEPTH} levels deep")
    if value is None or isinstance(value, str | int | float | bool):
        return Node(value, place)
    if isinstance(value, os.PathLike):
        return Node(os.fspath(value), place)
    if isinstance(value, Mapping):
        return Node({_key(key): node_of(item, place, depth + 1) for key, item in value.items()}, place)
    if isinstance(value, list | tuple):
        return Node([node_of(item, place, depth + 1) for item in value], place)
    raise TypeError(f"a recipe holds text, numbers, lists and mappings, not {type(value).__name__} ({value!r:.60})")


def _key(key: object) -> Scalar:
    if key is None or isinstance(key, str | int | float | bool):
        return key
    raise TypeError(f"a recipe's keys are text, not {type(key).__name__}")


def copy(node: Node) -> Node:
    """A tree that shares nothing with the first."""
    again = [(key, copy(value)) for key, value in node.again]
    if isinstance(node.content, dict):
        return Node({key: copy(value) for key, value in node.content.items()}, node.place, node.typed, again)
    if isinstance(node.content, list):
        return Node([copy(item) for item in node.content], node.place, node.typed, again)
    return Node(node.content, node.place, node.typed, void=node.void)


def walk(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Every node of a tree with its path, the root first."""
    yield path, node
    for key, value in node.entries():
        yield from walk(value, (*path, key if isinstance(key, int) else str(key)))
    for index, item in enumerate(node.items or []):
        yield from walk(item, (*path, index))


def dotted(path: Path) -> str:
    """``trainer.callbacks[0].init_args.patience``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def label(node: Node, path: Path) -> str:
    """``model.init_args.margin: `` before a message about a value, unless the option's own name says it."""
    words = [str(part) for part in path if part != "init_args"]
    return "" if node.place == Place(f"--{'.'.join(words)}") else f"{dotted(path)}: "
