"""Python modules as text: where their files lie and which names they bind, without importing any of them."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib import invalidate_caches
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

from zoo.recipe import remembered
from zoo.recipe.light import Fields, Frozen, field
from zoo.recipe.outline import Bindings, Imported, Opaque, absolute, outline
from zoo.recipe.remembered import Stamp, stamp_of

__all__ = ["Finder", "Imported", "Module", "Opaque", "Outside", "absolute", "load", "mentions"]

_PACKAGE = Path(__file__).resolve().parents[1]


class Outside(Frozen):
    """Something of the standard library, by its full name; never read."""

    name: str


class Module(Fields, eq=False):
    """A parsed module.

    Attributes:
        name: Dotted name.
        path: Its file; None for a package without ``__init__.py``.
        folders: Where its submodules lie; empty unless it is a package.
        bindings: What each name may be bound to.
        stars: Absolute names of the modules it imports everything from.
        exports: Its literal ``__all__``, None where there is none.
        lazy: Names that its ``__getattr__`` table maps to ``module`` or ``(module, name)``.
        dynamic: Whether it may have names that the text does not show.
        maybe: Names that only a branch binds.
        methods: What the body of each class binds; abstract functions begin with ``@``.
    """

    name: str
    path: Path | None
    folders: tuple[Path, ...] = ()
    bindings: Bindings = field(default_factory=lambda: Bindings({}))
    stars: list[str] = field(default_factory=list)
    exports: list[str] | None = None
    lazy: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    dynamic: bool = False
    maybe: frozenset[str] = frozenset()
    methods: dict[str, list[str]] = field(default_factory=dict)

    def submodules(self) -> list[str]:
        """Names of the modules and packages inside."""
        found = set()
        for folder in self.folders:
            for entry in _entries(folder):
                if entry.suffix == ".py" and entry.stem != "__init__":
                    found.add(entry.stem)
                elif "." not in entry.name and entry.name.isidentifier() and entry.is_dir():
                    found.add(entry.name)
        found.discard("__pycache__")
        return sorted(found)


class Finder:
    """Finds modules by name the way an import would, by looking at files only.

    Args:
        folders: Searched after ``sys.path``, as if appended to it.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._folders = [str(folder) for folder in folders]
        self._known: dict[str, Module | Outside | Opaque | None] = {}
        self._listed: dict[Path, frozenset[str]] = {}

    def module(self, name: str) -> Module | Outside | Opaque | None:
        """The module of an absolute dotted name, None where there is none."""
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def tops(self) -> list[str]:
        """Names of all importable top-level modules, for suggestions."""
        found = {"zoo"}
        for folder in [*sys.path, *self._folders]:
            found.update(Module("", None, (Path(folder),)).submodules())
        return sorted(found)

    def _find(self, name: str) -> Module | Outside | Opaque | None:
        parent, _, last = name.rpartition(".")
        if not parent:
            return self._top(name)
        package = self.module(parent)
        if isinstance(package, Outside):
            return Outside(name)
        if not isinstance(package, Module):
            return package
        for folder in package.folders:
            found = self._inside(folder, last, name)
            if found is not None:
                return found
        return Opaque(f"{parent} sets its own path") if "__path__" in package.bindings else None

    def _top(self, name: str) -> Module | Outside | Opaque | None:
        if name == "zoo":  # ours, whatever else is called so
            return load(name, _PACKAGE / "__init__.py", (_PACKAGE,))
        if name in sys.stdlib_module_names:
            return Outside(name)
        try:
            # a top-level name alone imports nothing; a dotted one would import its parents
            spec: ModuleSpec | None = find_spec(name)
        except (ValueError, ImportError) as error:
            return Opaque(str(error))
        if spec is None:
            invalidate_caches()  # the module may just have been written
            spec = find_spec(name) or PathFinder.find_spec(name, self._folders)
        if spec is None:
            return None
        folders = tuple(Path(folder) for folder in spec.submodule_search_locations or ())
        if spec.origin is not None and spec.origin.endswith(".py"):
            return load(name, Path(spec.origin), folders)
        return Module(name, None, folders) if folders else Opaque(f"{name} is not written in Python")

    def _inside(self, folder: Path, last: str, name: str) -> Module | Opaque | None:
        names = self._names(folder)
        inner = folder / last if last in names else None
        if inner is not None and "__init__.py" in self._names(inner):
            return load(name, inner / "__init__.py", (inner,))
        if any(f"{last}{suffix}" in names for suffix in (*EXTENSION_SUFFIXES, ".pyc")):
            return Opaque(f"{name} is compiled")
        if f"{last}.py" in names:
            return load(name, folder / f"{last}.py", ())
        return Module(name, None, (inner,)) if inner is not None and inner.is_dir() and last.isidentifier() else None

    def _names(self, folder: Path) -> frozenset[str]:
        """What a folder holds; asked once."""
        if folder not in self._listed:
            try:
                self._listed[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._listed[folder] = frozenset()
        return self._listed[folder]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def load(name: str, path: Path, folders: tuple[Path, ...]) -> Module | Opaque:
    """Parses a module's file, once for each version of it."""
    try:
        state = path.stat()
    except OSError as error:
        return Opaque(str(error))
    return _parsed(name, path, folders, stamp_of(state))


@lru_cache(maxsize=2048)
def _parsed(name: str, path: Path, folders: tuple[Path, ...], state: Stamp) -> Module | Opaque:
    key = f"{name} {path}"
    found = remembered.get(key, state)
    if found is None:
        try:
            source = path.read_bytes()
            found = outline(source, ast.parse(source, str(path)), name, bool(folders))
        except SyntaxError as error:
            return Opaque(f"{path}:{error.lineno}: {error.msg}", broken=True)
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            return Opaque(f"{path}: {error}")
        remembered.put(key, state, found)
    lazy = {key: (target[0], target[1]) for key, target in found["lazy"].items()}
    return Module(
        name,
        path,
        folders,
        Bindings(found["names"]),
        found["stars"],
        found["exports"],
        lazy,
        found["dynamic"],
        frozenset(found["maybe"]),
        found["methods"],
    )


def mentions(module: Module, word: str) -> bool:
    """Whether a module's text has a name anywhere but in comments and texts."""
    if module.path is None:
        return False
    try:
        tree = ast.parse(module.path.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return True
    return any(isinstance(node, ast.Name) and node.id == word for node in ast.walk(tree))
