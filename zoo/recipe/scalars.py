"""Whether a scalar of a recipe is what a place asks for, as jsonargparse decides it."""

from __future__ import annotations

import re
from functools import lru_cache

import yaml

from zoo.recipe.document import compose, scalar
from zoo.recipe.kinds import IMPORTABLE, Anything, Choice, Kind, Known, Limited, Name, Simple, Word, options
from zoo.recipe.mistakes import near
from zoo.recipe.nodes import Node, Scalar

_WHOLE = re.compile(r"-?\d+")


@lru_cache(maxsize=4096)
def read_scalar(text: str) -> Scalar:
    """The value of quoted or typed text, e.g. ``"3"`` -> 3; the text itself where it is nothing else."""
    if _WHOLE.fullmatch(text) and text.isascii() and len(text) < 1000:
        return int(text)
    try:
        return scalar(text.strip()) if text.strip() else text
    except (ValueError, KeyError, yaml.YAMLError):
        return text


def read_value(text: str, node: Node) -> Node:
    """An option's text as a tree: YAML as jsonargparse reads it, plain text where it is no YAML.

    Args:
        text: What was typed.
        node: Gives the place; its content is replaced.
    """
    if not text.strip() or _WHOLE.fullmatch(text.strip()):
        return Node(read_scalar(text.strip()) if text.strip() else text, node.place, typed=text)
    tree, mistakes = compose(text, node.place.source)
    if tree is None or mistakes:
        return Node(text, node.place, typed=text)
    if tree.table is not None and all(value.content is None for value in tree.table.values()):
        return Node(text, node.place, typed=text)  # "a:" and "{a}" are text, as for jsonargparse
    value = _moved(tree, node, text)
    value.typed = text
    return value


def _moved(tree: Node, to: Node, text: str) -> Node:
    if tree.table is not None:
        return Node({key: _moved(value, to, "") for key, value in tree.table.items()}, to.place)
    if tree.items is not None:
        return Node([_moved(item, to, "") for item in tree.items], to.place)
    return Node(tree.content, to.place, typed=text or None)


def accepts(kind: Kind, node: Node) -> bool:
    """Whether one of the kind's alternatives takes a scalar as it is."""
    return any(_accepts(option, node) for option in options(kind))


def _accepts(kind: Kind, node: Node) -> bool:
    if isinstance(kind, Anything):
        return True
    if isinstance(kind, Simple):
        return _is(kind.word, node)
    if isinstance(kind, Limited):
        return _is(kind.word, node) and kind.test(as_word(kind.word, node))
    if isinstance(kind, Choice):
        given = [node.content, node.typed]
        if isinstance(node.content, str):
            given.append(read_scalar(node.content))
        return any(value == choice and type(value) is type(choice) for value in given for choice in kind.values)
    if isinstance(kind, Known):
        return isinstance(node.content, str) and (node.content in kind.words or not near(node.content, kind.words))
    return isinstance(kind, Name) and isinstance(node.content, str) and bool(IMPORTABLE.fullmatch(node.content))


def _is(word: Word, node: Node) -> bool:
    value = as_word(word, node)
    if word in ("str", "path"):
        return isinstance(value, str)
    if word == "null":
        return value is None
    if word == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (word == "float" and isinstance(value, float))


def as_word(word: Word, node: Node) -> Scalar:
    """A scalar read as a word asks: typed text stays text where that is wanted; quoted numbers count elsewhere."""
    value = node.content
    if isinstance(value, dict | list):
        return None
    if word in ("str", "path"):
        return node.typed if node.typed is not None and not isinstance(value, str) else value
    return read_scalar(value) if isinstance(value, str) else value


def settle(node: Node, kind: Kind) -> None:
    """Turns an option's value back into the text that was typed, where nothing but text is wanted there."""
    if node.typed is None or isinstance(node.content, str):
        return
    alternatives = options(kind)
    if isinstance(node.content, dict | list):
        plain_only = all(isinstance(option, Simple | Limited | Choice | Known) for option in alternatives)
        if plain_only and accepts(kind, Node(node.typed, node.place)):
            node.content, node.typed = node.typed, None
    elif not any(_accepts(option, Node(node.content, node.place)) for option in alternatives) and accepts(kind, node):
        node.content = node.typed
