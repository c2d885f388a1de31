"""Names to definitions, by reading source: follows imports, re-exports, aliases and lazy tables, imports nothing."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from zoo.recipe.light import Frozen
from zoo.recipe.modules import Finder, Imported, Module, Opaque, Outside, absolute, mentions


class Class(Frozen):
    """A class statement."""

    module: Module
    node: ast.ClassDef
    qualname: str

    @property
    def name(self) -> str:
        """Name without its module."""
        return self.node.name

    @property
    def path(self) -> str:
        """Full dotted path of the definition."""
        return f"{self.module.name}.{self.qualname}"


class Function(Frozen):
    """A function statement."""

    module: Module
    node: ast.FunctionDef | ast.AsyncFunctionDef


class Value(Frozen):
    """A name assigned an expression that is no plain alias."""

    module: Module
    node: ast.expr


Found = Module | Class | Function | Value | Outside | Opaque
_HOLLOW = {
    "builtins.object",
    "abc.ABC",
    *(f"{module}.{name}" for module in ("typing", "typing_extensions") for name in ("Generic", "Protocol")),
}
_PROTOCOLS = {"typing.Protocol", "typing_extensions.Protocol"}


class Symbols:
    """Looks names up.

    Args:
        folders: Searched for modules after ``sys.path``, e.g. the current folder.

    Attributes:
        maybe: Classes met by a name that only a branch binds: they may not be there.
        whole: Names of modules of which all that they import is there.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self.finder = Finder(folders)
        self.maybe: set[Class] = set()
        self.whole: set[str] = set()
        self._bases: dict[Class, list[Class | Outside | Opaque]] = {}

    def member(self, owner: Found, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> Found | None:
        """What ``owner.name`` is; None where the owner has no such name."""
        if isinstance(owner, Module):
            return self._in_module(owner, name, seen)
        if isinstance(owner, Class):
            return self._in_class(owner, name)
        if isinstance(owner, Outside):
            return Outside(f"{owner.name}.{name}")
        return Opaque(f"{name} is not the name of a class")

    def _in_class(self, owner: Class, name: str) -> Found | None:
        for statement in owner.node.body:
            if isinstance(statement, ast.ClassDef) and statement.name == name:
                return Class(owner.module, statement, f"{owner.qualname}.{name}")
        plain = all(isinstance(base, Outside) and base.name in _HOLLOW for base in self.bases(owner))
        return (
            None if plain and not mentions(owner.module, name) else Opaque(f"{owner.path}.{name} is no class statement")
        )

    def _in_module(self, module: Module, name: str, seen: frozenset[tuple[str, str]]) -> Found | None:
        if (module.name, name) in seen:  # ``from . import name`` inside the package itself: the submodule is meant
            return self._submodule(module, name)
        seen = seen | {(module.name, name)}
        opaque: Found | None = None
        value: Found | None = None
        for binding in module.bindings.get(name):
            found = self._follow(module, binding, name, seen)
            if isinstance(found, Class | Function | Module | Outside):
                if isinstance(found, Class) and name in module.maybe:
                    self.maybe.add(found)
                return found
            opaque = found if isinstance(found, Opaque) else opaque
            value = found if isinstance(found, Value) else value
        if name in module.bindings:
            return opaque or value or Opaque(f"{module.name}.{name} is imported from somewhere unknown")
        return (
            self._submodule(module, name) or self._through_stars(module, name, seen) or self._lazily(module, name, seen)
        )

    def _submodule(self, module: Module, name: str) -> Found | None:
        return self.finder.module(f"{module.name}.{name}") if module.folders else None

    def _follow(self, module: Module, binding: object, name: str, seen: frozenset[tuple[str, str]]) -> Found | None:
        if isinstance(binding, ast.ClassDef):
            return Class(module, binding, binding.name)
        if isinstance(binding, ast.FunctionDef | ast.AsyncFunctionDef):
            return Function(module, binding)
        if isinstance(binding, Imported):
            origin = self.finder.module(binding.module)
            if binding.name is None or origin is None:
                return origin
            return self.member(origin, binding.name, seen)
        if isinstance(binding, ast.Name | ast.Attribute):
            return self.expression(module, binding, seen) or Opaque(f"{name} cannot be followed")
        return Value(module, binding) if isinstance(binding, ast.expr) else Opaque(f"{name} is set while running")

    def _through_stars(self, module: Module, name: str, seen: frozenset[tuple[str, str]]) -> Found | None:
        for star in module.stars:
            origin = self.finder.module(star)
            if isinstance(origin, Opaque):
                return Opaque(f"{star} is not readable: {origin.why}", guessed=True)
            if isinstance(origin, Outside) and hasattr(sys.modules.get(star), name):
                return Outside(f"{star}.{name}")
            if isinstance(origin, Module) and (
                name in origin.exports if origin.exports is not None else not name.startswith("_")
            ):
                found = self._in_module(origin, name, seen)
                if found is not None:
                    return found
        return None

    def _lazily(self, module: Module, name: str, seen: frozenset[tuple[str, str]]) -> Found | None:
        if not module.dynamic:
            return None
        if name in module.lazy:
            target, attribute = module.lazy[name]
            level = len(target) - len(target.lstrip("."))
            for whole in (
                absolute(module.name, bool(module.folders), target.lstrip("."), level),
                f"{module.name}.{target}",
            ):
                origin = self.finder.module(whole) if all(whole.split(".")) else None
                found = self.member(origin, attribute or name, seen) if origin is not None else None
                if found is not None:
                    return found
        known = module.exports is not None and name not in module.exports
        return None if known else Opaque(f"{module.name} gives {name} while running, if at all", guessed=True)

    def expression(
        self, module: Module, node: ast.expr, seen: frozenset[tuple[str, str]] = frozenset()
    ) -> Found | None:
        """What a name or dotted name means inside a module; None for other expressions and unknown names."""
        if isinstance(node, ast.Name):
            found = self._in_module(module, node.id, seen)
            if found is None and hasattr(builtins, node.id):
                return Outside(f"builtins.{node.id}")
            return found
        if isinstance(node, ast.Attribute):
            owner = self.expression(module, node.value, seen)
            return None if owner is None else self.member(owner, node.attr, seen)
        return None

    def bases(self, cls: Class) -> list[Class | Outside | Opaque]:
        """The bases of a class in order."""
        if cls not in self._bases:
            self._bases[cls] = [self._base(cls, node) for node in cls.node.bases]
        return self._bases[cls]

    def _base(self, cls: Class, node: ast.expr) -> Class | Outside | Opaque:
        if isinstance(node, ast.Subscript):
            node = node.value
        found = self.expression(cls.module, node)
        return found if isinstance(found, Class | Outside) else Opaque(f"a base of {cls.path} cannot be read")

    def lineage(self, cls: Class, below: frozenset[Class] = frozenset()) -> Iterator[Class | Outside | Opaque]:
        """The class and its bases in method resolution order, as far as asked for; ``below`` is where it came from."""
        if cls in below:
            yield Opaque(f"{cls.path} is its own base")
            return
        below = below | {cls}
        yield cls
        bases = [base for base in self.bases(cls) if not (isinstance(base, Outside) and base.name in _HOLLOW)]
        if len(bases) == 1 and isinstance(bases[0], Class):
            yield from self.lineage(bases[0], below)
        elif len(bases) == 1:
            yield bases[0]
        elif bases:
            lines: list[list[Class | Outside | Opaque]]
            lines = [list(self.lineage(base, below)) if isinstance(base, Class) else [base] for base in bases]
            yield from _merge(lines, bases)

    def is_subclass(self, cls: Class, wanted: Class | Outside) -> bool | None:
        """Whether a class descends from another; None where only an import can tell."""
        if wanted == Outside("builtins.object"):
            return True
        doubt = isinstance(wanted, Class) and self._has_structural_test(wanted)
        todo, seen = [cls], {cls}
        while todo:
            current = todo.pop()
            if current == wanted:
                return True
            for base in self.bases(current):
                if base == wanted:
                    return True
                if isinstance(base, Class) and base not in seen:
                    seen.add(base)
                    todo.append(base)
                elif isinstance(base, Opaque):
                    doubt = True
        return None if doubt else False

    def _has_structural_test(self, wanted: Class) -> bool:
        hooks = any(getattr(statement, "name", "") == "__subclasshook__" for statement in wanted.node.body)
        return hooks or self.is_protocol(wanted)

    def is_protocol(self, cls: Class) -> bool:
        """Whether the class is a protocol: anything of its shape is a subclass."""
        return any(isinstance(base, Outside) and base.name in _PROTOCOLS for base in self.bases(cls))

    def names(self, owner: Found) -> list[str]:
        """The public names of a module, submodules and star imports included; of a class, its inner classes."""
        if isinstance(owner, Class):
            return [node.name for node in owner.node.body if isinstance(node, ast.ClassDef)]
        if not isinstance(owner, Module):
            return []
        found = {*owner.bindings, *owner.submodules(), *(owner.exports or ()), *(owner.lazy if owner.dynamic else ())}
        for star in owner.stars:
            origin = self.finder.module(star)
            if isinstance(origin, Module) and origin is not owner:
                found.update(origin.exports if origin.exports is not None else origin.bindings)
        return sorted(name for name in found if name.isidentifier() and not name.startswith("_"))


def _merge(
    lines: list[list[Class | Outside | Opaque]], bases: list[Class | Outside | Opaque]
) -> Iterator[Class | Outside | Opaque]:
    """The C3 linearization; an order that does not exist ends in :class:`Opaque`."""
    rows = [row for row in [*(list(line) for line in lines), list(bases)] if row]
    while rows:
        head = next((row[0] for row in rows if not any(row[0] in other[1:] for other in rows)), None)
        if head is None:
            yield Opaque("no consistent order of bases")
            return
        yield head
        rows = [[entry for entry in row if entry != head] for row in rows]
        rows = [row for row in rows if row]
