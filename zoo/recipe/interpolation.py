"""``${...}`` in a recipe: resolved on the whole tree by OmegaConf, every one that leads nowhere reported."""

from __future__ import annotations

import re
from typing import Any

from zoo.recipe.mistakes import Mistake, meant
from zoo.recipe.nodes import Node, Path, Plain, dotted, label, node_of, plain, walk

_REFERENCE = re.compile(r"\$\{([^${}:]+)\}")


def interpolations(root: Node) -> list[tuple[Path, Node]]:
    """All texts with ``${`` in them."""
    return [(path, node) for path, node in walk(root) if isinstance(node.content, str) and "${" in node.content]


def resolve(root: Node) -> list[Mistake]:
    """Replaces every interpolation by its value.

    Args:
        root: The tree, changed in place; a text that cannot be resolved is marked void.

    Returns:
        One mistake for each of those.
    """
    found = interpolations(root)
    if not found:
        return []
    from omegaconf import OmegaConf
    from omegaconf.errors import GrammarParseError, OmegaConfBaseException

    mistakes: list[Mistake] = []
    for path, node in found:
        try:
            OmegaConf.create({"value": node.content})
        except GrammarParseError:
            text = f"{label(node, path)}'{node.content}' is no interpolation; it is written ${{section.key}}"
            mistakes.append(Mistake(node.place, text))
            node.content, node.void = None, True
    tree = OmegaConf.create(_named(plain(root)))
    values: list[tuple[Node, Any]] = []
    for path, node in found:
        if node.void:
            continue
        try:
            values.append((node, _at(tree, path)))
        except (OmegaConfBaseException, RecursionError, KeyError, IndexError, TypeError, ValueError) as error:
            mistakes.append(Mistake(node.place, f"{label(node, path)}{_why(root, path, str(node.content), error)}"))
            node.void = True
    for node, value in values:
        fresh = node_of(value, node.place)
        node.content, node.typed = fresh.content, None
    return mistakes


def _named(value: Plain) -> Any:
    """The same with every key that OmegaConf does not know as text."""
    if isinstance(value, dict):
        return {"null" if key is None else key: _named(item) for key, item in value.items()}
    return [_named(item) for item in value] if isinstance(value, list) else value


def _at(tree: Any, path: Path) -> Any:
    from omegaconf import OmegaConf

    for part in path:
        tree = tree[part]
    return OmegaConf.to_container(tree, resolve=True) if OmegaConf.is_config(tree) else tree


def _why(root: Node, path: Path, text: str, error: Exception) -> str:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, RecursionError) or "Recursive" in first or "parent node" in first:
        return f"'{text}' leads back to itself"
    for name in _REFERENCE.findall(text):
        missing = _missing(root, path, name.strip())
        if missing is not None:
            return f"'{text}' leads nowhere: {missing}"
    if "Unsupported interpolation type" in first:
        return f"'{text}': there is no resolver '{first.rpartition(' ')[2]}'; oc.env reads the environment"
    return f"'{text}' cannot be resolved: {first.partition('interpolation: ')[2] or first}"


def _missing(root: Node, path: Path, name: str) -> str | None:
    """What a plain reference lacks, None where it is found."""
    level = len(name) - len(name.lstrip("."))
    start = path[: len(path) - level] if level else ()
    node: Node | None = root
    for part in start:
        node = node.child(part) if node is not None else None
    done = list(start)
    for part in re.findall(r"[^.\[\]]+", name):
        if node is None:
            return None
        key: str | int = int(part) if node.items is not None and part.isdigit() else part
        inner = node.child(key)
        if inner is None and node.void:
            return None
        if inner is None:
            keys = [str(known) for known in node.table or {}]
            where = f"in {dotted(tuple(done))}" if done else "at the top"
            return f"nothing is written at '{part}' {where}{meant(part, keys)}"
        node, done = inner, [*done, key]
    return None
