"""A recipe: its tree with overrides applied and interpolations resolved, and where each value was written."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from zoo.errors import InputError
from zoo.recipe import interpolation
from zoo.recipe.classes import Classes
from zoo.recipe.document import MAX_BYTES, compose, head_lines
from zoo.recipe.kinds import Record, shown
from zoo.recipe.light import Fields, field
from zoo.recipe.mistakes import Mistake, Place
from zoo.recipe.nodes import Node, Path, Scalar, plain
from zoo.recipe.overrides import Changes, Overrides
from zoo.recipe.renamed import rename
from zoo.recipe.shape import recipe_kind
from zoo.recipe.source import find, name_of, origin_of
from zoo.recipe.steps import expand
from zoo.recipe.symbols import Symbols
from zoo.recipe.trust import Trust


class Recipe(Fields):
    """A recipe that was read; :func:`zoo.recipe.check` says whether it can be used.

    Attributes:
        name: ``anomaly/demo`` for ``recipes/anomaly/demo.yaml``, else the file's stem.
        origin: What messages call the file.
        root: The tree with places.
        trust: What it may name.
        head: Comment lines at the top of the file.
        notes: What the user should know, e.g. arguments dropped with their class.
        found: Mistakes met while reading.
        classes: Resolves its class paths.
        readable: Whether there is a tree at all.
    """

    name: str
    origin: str
    root: Node
    trust: Trust
    classes: Classes
    head: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    found: list[Mistake] = field(default_factory=list)
    readable: bool = False

    @property
    def tree(self) -> dict[str, Any]:
        """The bare values, class paths in full."""
        values = plain(self.root)
        return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}

    @cached_property
    def kind(self) -> Record:
        """What it may hold."""
        return recipe_kind(self.classes)

    def node(self, path: Path) -> Node | None:
        """The value at a path, e.g. ``("model", "init_args", "margin")``; None where nothing is written."""
        node: Node | None = self.root
        for part in path:
            node = node.child(part) if node is not None else None
        return node

    def place(self, path: str | Path) -> Place:
        """Where the value at a key path was written, or the nearest thing around it.

        Args:
            path: ``"model.init_args.margin"``, or its parts.
        """
        parts: Path = tuple(int(p) if p.isdigit() else p for p in path.split(".")) if isinstance(path, str) else path
        for length in range(len(parts), 0, -1):
            node = self.node(parts[:length])
            if node is not None:
                return node.place
        return self.root.place


def read(
    source: str | os.PathLike[str],
    overrides: Overrides = (),
    *,
    trusted: bool = True,
    trust: tuple[str, ...] | list[str] = (),
    beside: Recipe | None = None,
) -> Recipe:
    """Reads a recipe file and applies overrides.

    Args:
        source: A path or a name, see :func:`zoo.recipe.find`.
        overrides: Pairs of option and text as typed, or a mapping of options to Python values.
        trusted: Whether everything in it may be imported: the user named the file.
        trust: Modules that may be imported if it is not trusted.
        beside: A recipe of the same trust, read just before: what it looked up in source files is not looked up again.

    Returns:
        The recipe, its mistakes (also those in the overrides) still to be asked for with ``check``.

    Raises:
        InputError: There is no such file, or it cannot be read.
    """
    path = find(source)
    origin = origin_of(path)
    try:
        if path.stat().st_size > 4 * MAX_BYTES:
            raise InputError(f"{origin}: too large for a recipe ({path.stat().st_size} bytes)")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{origin}: {error.strerror or error}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wrong = Mistake(Place(origin, line), f"this is no UTF-8 text (byte {data[error.start]:#04x})")
        return _bare(name_of(path), origin, Trust(trusted, tuple(trust)), [wrong])
    return read_text(text, name_of(path), origin, Trust(trusted, tuple(trust)), overrides, beside)


def _bare(name: str, origin: str, trust: Trust, found: list[Mistake]) -> Recipe:
    return Recipe(name, origin, Node({}, Place(origin, 1)), trust, Classes(Symbols(), trust), found=found)


def read_text(
    text: str, name: str, origin: str, trust: Trust, overrides: Overrides, beside: Recipe | None = None
) -> Recipe:
    """Reads a recipe from text.

    Args:
        text: The YAML text.
        name: Name of the recipe.
        origin: What messages call it.
        trust: What it may name; without whole trust no alias and no interpolation is followed.
        overrides: As for :func:`read`.
        beside: As for :func:`read`.
    """
    root, found = compose(text, origin, aliases=trust.whole)
    recipe = _bare(name, origin, trust, found)
    recipe.head = head_lines(text)
    if root is None or root.table is None:
        if not found:
            found.append(Mistake(Place(origin, 1), _no_mapping(root)))
        return recipe
    recipe.root, recipe.readable = root, True
    # the user's own modules lie in the current folder; a recipe that nobody vouches for must not reach them
    here = [FilePath.cwd()] if trust.whole or trust.modules else []
    known = beside.classes if beside is not None and beside.readable and beside.trust == trust else None
    recipe.classes = known or Classes(Symbols(here), trust)
    changes = Changes(recipe.classes, recipe.kind)
    notes, mistakes = rename(recipe.classes, root, recipe.kind)
    changes.apply(root, overrides)
    recipe.notes += notes + changes.notes
    recipe.found += mistakes + changes.mistakes
    recipe.found += interpolation.resolve(root) if trust.whole else _refuse_interpolations(root)
    expand(recipe.classes, root, recipe.kind)
    return recipe


def _no_mapping(root: Node | None) -> str:
    if root is None or root.content is None:
        return "the recipe is empty; it needs the sections model and data"
    what = "a list" if root.items is not None else shown(_scalar(root))
    return f"a recipe is a mapping with the sections model, data, ..., got {what}"


def _scalar(node: Node) -> Scalar:
    return None if isinstance(node.content, dict | list) else node.content


def _refuse_interpolations(root: Node) -> list[Mistake]:
    """Text out of a checkpoint has none left; ``\\${`` stands for the text ``${``."""
    mistakes = []
    for _, node in interpolation.interpolations(root):
        text = str(node.content)
        if "${" in text.replace("\\${", ""):
            mistakes.append(Mistake(node.place, f"'{text}': interpolations are not followed in a carried recipe"))
            node.void = True
        else:
            node.content = text.replace("\\${", "${")
    return mistakes
