"""Python modules as text: where their files lie and which names they bind, without importing any of them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import invalidate_caches
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Outside:
    """Something of the standard library, by its full name; never read."""

    name: str


@dataclass(frozen=True)
class Opaque:
    """Something that only an import can tell: compiled or built while running.

    ``broken``: its source has a syntax error, and ``why`` says where. ``guessed``: it may as well not exist.
    """

    why: str
    broken: bool = False
    guessed: bool = False


@dataclass(frozen=True)
class Imported:
    """A name bound by an import: ``module`` (absolute), and the name in it or None for the module itself."""

    module: str
    name: str | None


Binding = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.expr | Imported | Opaque


@dataclass(eq=False)
class Module:
    """A parsed module.

    Attributes:
        name: Dotted name.
        path: Its file; None for a package without ``__init__.py``.
        folders: Where its submodules lie; empty unless it is a package.
        bindings: What each name may be bound to; more than one where branches bind it.
        stars: Absolute names of the modules it imports everything from.
        exports: Its literal ``__all__``, None where there is none.
        lazy: Names that its ``__getattr__`` table maps to ``module`` or ``(module, name)``.
        dynamic: Whether it may have names that the text does not show.
    """

    name: str
    path: Path | None
    folders: tuple[Path, ...] = ()
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    exports: list[str] | None = None
    lazy: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    dynamic: bool = False

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
            found = _inside(folder, last, name)
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


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _inside(folder: Path, last: str, name: str) -> Module | Opaque | None:
    inner = folder / last
    if (inner / "__init__.py").is_file():
        return load(name, inner / "__init__.py", (inner,))
    if any((folder / f"{last}{suffix}").is_file() for suffix in (*EXTENSION_SUFFIXES, ".pyc")):
        return Opaque(f"{name} is compiled")
    if (folder / f"{last}.py").is_file():
        return load(name, folder / f"{last}.py", ())
    return Module(name, None, (inner,)) if inner.is_dir() and last.isidentifier() else None


def load(name: str, path: Path, folders: tuple[Path, ...]) -> Module | Opaque:
    """Parses a module's file, once for each version of it."""
    try:
        state = path.stat()
    except OSError as error:
        return Opaque(str(error))
    return _parsed(name, path, folders, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2048)
def _parsed(name: str, path: Path, folders: tuple[Path, ...], mtime: int, size: int) -> Module | Opaque:
    try:
        source = path.read_bytes()
        tree = ast.parse(source, str(path))
    except SyntaxError as error:
        return Opaque(f"{path}:{error.lineno}: {error.msg}", broken=True)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return Opaque(f"{path}: {error}")
    module = Module(name, path, folders)
    module.dynamic = b"globals()" in source or b"sys.modules[__name__]" in source
    _bind(module, tree.body, certain=True)
    return module


def _bind(module: Module, body: Sequence[ast.stmt], certain: bool) -> None:
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _add(module, statement.name, statement, certain)
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                _add(module, alias.asname or whole, Imported(whole, None), certain)
        elif isinstance(statement, ast.ImportFrom):
            _bind_from(module, statement, certain)
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                _bind_target(module, target, statement.value, certain)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            _bind_target(module, statement.target, statement.value, certain)
        elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            if statement.target.id == "__all__" and module.exports is not None:
                more = texts(statement.value)
                module.exports = None if more is None else module.exports + more
        else:
            for name in ("body", "orelse", "finalbody"):
                _bind(module, getattr(statement, name, []), certain=False)
            for handler in getattr(statement, "handlers", []):
                _bind(module, handler.body, certain=False)


def _add(module: Module, name: str, binding: Binding, certain: bool) -> None:
    if name == "__getattr__":
        module.dynamic = True
    if certain:
        module.bindings[name] = [binding]
    else:
        module.bindings.setdefault(name, []).append(binding)


def _bind_from(module: Module, statement: ast.ImportFrom, certain: bool) -> None:
    origin = absolute(module, statement.module, statement.level)
    for alias in statement.names:
        if alias.name == "*":
            module.stars.append(origin)
        else:
            _add(module, alias.asname or alias.name, Imported(origin, alias.name), certain)


def absolute(module: Module, name: str | None, level: int) -> str:
    """The absolute name of ``from <level dots><name>`` in a module."""
    if level == 0:
        return name or ""
    parts = module.name.split(".")
    drop = level - 1 if module.folders else level
    base = parts[: len(parts) - drop] if drop else parts
    return ".".join([*base, *([name] if name else [])])


def _bind_target(module: Module, target: ast.expr, value: ast.expr, certain: bool) -> None:
    if isinstance(target, ast.Tuple | ast.List):
        values = value.elts if isinstance(value, ast.Tuple | ast.List) else []
        for index, part in enumerate(target.elts):
            if len(values) == len(target.elts):
                _bind_target(module, part, values[index], certain)
            elif isinstance(part, ast.Name):
                _add(module, part.id, Opaque(f"{part.id} is unpacked while running"), certain)
    elif isinstance(target, ast.Name):
        _add(module, target.id, value, certain)
        if target.id == "__all__":
            module.exports = texts(value)
        _read_table(module, value)


def texts(value: ast.expr) -> list[str] | None:
    """The texts of a literal list, tuple or set of texts; None for anything else."""
    if not isinstance(value, ast.List | ast.Tuple | ast.Set):
        return None
    items = [item.value for item in value.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return items if len(items) == len(value.elts) else None


def _read_table(module: Module, value: ast.expr) -> None:
    """Remembers a table that a lazy ``__getattr__`` may read: name -> module, (module, name), or module -> names."""
    if not isinstance(value, ast.Dict):
        return
    for key, item in zip(value.keys, value.values, strict=True):
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            continue
        names = texts(item) or []
        for name in names:
            module.lazy.setdefault(name, (key.value, name))
        if isinstance(item, ast.Constant) and isinstance(item.value, str):
            module.lazy[key.value] = (item.value, None)
        elif isinstance(item, ast.Tuple) and len(names) == 2:
            module.lazy[key.value] = (names[0], names[1])
