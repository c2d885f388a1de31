"""What a module's text binds, in a short form that JSON can hold: bodies that nobody asks for are left out.

A class keeps its head, its fields, its inner classes and the constructor (with a body only where that takes
``**kwargs``); a function its head. Each stands there as source text and is parsed when it is asked for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from zoo.recipe.light import Frozen

Outline = dict[str, Any]
_KEPT = ("__init__", "__new__", "__subclasshook__", "configure_optimizers")
_NOTHING: list[ast.stmt] = [ast.Expr(ast.Constant(...))]


class Opaque(Frozen):
    """Something that only an import can tell: compiled or built while running.

    ``broken``: its source has a syntax error, and ``why`` says where. ``guessed``: it may as well not exist.
    """

    why: str
    broken: bool = False
    guessed: bool = False


class Imported(Frozen):
    """A name bound by an import: ``module`` (absolute), and the name in it or None for the module itself."""

    module: str
    name: str | None


Binding = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.expr | Imported | Opaque


class Bindings:
    """What each name of a module may be bound to; more than one where branches bind it.

    Args:
        rows: Of an outline.
    """

    def __init__(self, rows: dict[str, list[list[Any]]]) -> None:
        self._rows = rows
        self._read: dict[str, list[Binding]] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def get(self, name: str) -> list[Binding]:
        """What a name may be bound to, nothing where it is not."""
        if name not in self._read:
            self._read[name] = [_binding(row) for row in self._rows.get(name, ())]
        return self._read[name]

    def imports(self) -> list[tuple[str, str, str | None]]:
        """The names that imports bind, with module and name of :class:`Imported`; nothing is parsed for it."""
        return [(name, row[1], row[2]) for name, rows in self._rows.items() for row in rows if row[0] == "import"]


def _binding(row: list[Any]) -> Binding:
    kind, text = row[0], row[1]
    if kind == "import":
        return Imported(text, row[2])
    if kind == "opaque":
        return Opaque(text)
    if kind == "value":
        return ast.parse(text, mode="eval").body
    statement = ast.parse(text).body[0]
    assert isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return statement


def outline(source: bytes, tree: ast.Module, name: str, package: bool) -> Outline:
    """The short form of a module.

    Args:
        source: Its text.
        tree: The same, parsed.
        name: Its dotted name.
        package: Whether it is an ``__init__.py``.

    Returns:
        ``names`` (rows for :class:`Bindings`), ``maybe`` (those that a branch binds alone), ``methods`` (by class;
        abstract ones begin with ``@``), ``stars``, ``exports``, ``lazy`` and ``dynamic``, as :class:`Module` has them.
    """
    reader = _Reader(name, package)
    reader.found["dynamic"] = b"globals()" in source or b"sys.modules[__name__]" in source
    reader.bind(tree.body, certain=True)
    return reader.found


class _Reader:
    def __init__(self, name: str, package: bool) -> None:
        self.name, self.package = name, package
        self.found: Outline = {
            "names": {}, "maybe": [], "methods": {}, "stars": [], "exports": None, "lazy": {}, "dynamic": False,
        }  # fmt: skip

    def bind(self, body: Sequence[ast.stmt], certain: bool) -> None:
        for statement in body:
            if isinstance(statement, ast.ClassDef):
                self.add(statement.name, ["class", _text(_short_class(statement))], certain)
                self.found["methods"][statement.name] = _methods(statement.body)
            elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                self.add(statement.name, ["function", _text(_short_function(statement))], certain)
            elif isinstance(statement, ast.Import):
                for alias in statement.names:
                    whole = alias.name if alias.asname else alias.name.partition(".")[0]
                    self.add(alias.asname or whole, ["import", whole, None], certain)
            elif isinstance(statement, ast.ImportFrom):
                self.bind_from(statement, certain)
            elif isinstance(statement, ast.Assign):
                for target in statement.targets:
                    self.bind_target(target, statement.value, certain)
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                self.bind_target(statement.target, statement.value, certain)
            elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
                if statement.target.id == "__all__" and self.found["exports"] is not None:
                    more = texts(statement.value)
                    self.found["exports"] = None if more is None else self.found["exports"] + more
            else:
                for part in ("body", "orelse", "finalbody"):
                    self.bind(getattr(statement, part, []), certain=False)
                for handler in getattr(statement, "handlers", []):
                    self.bind(handler.body, certain=False)

    def add(self, name: str, row: list[Any], certain: bool) -> None:
        names, maybe = self.found["names"], self.found["maybe"]
        if name == "__getattr__":
            self.found["dynamic"] = True
        if certain:
            names[name] = [row]
            if name in maybe:
                maybe.remove(name)
            return
        if name not in names:
            maybe.append(name)
        names.setdefault(name, []).append(row)

    def bind_from(self, statement: ast.ImportFrom, certain: bool) -> None:
        origin = absolute(self.name, self.package, statement.module, statement.level)
        for alias in statement.names:
            if alias.name == "*":
                self.found["stars"].append(origin)
            else:
                self.add(alias.asname or alias.name, ["import", origin, alias.name], certain)

    def bind_target(self, target: ast.expr, value: ast.expr, certain: bool) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            values = value.elts if isinstance(value, ast.Tuple | ast.List) else []
            for index, part in enumerate(target.elts):
                if len(values) == len(target.elts):
                    self.bind_target(part, values[index], certain)
                elif isinstance(part, ast.Name):
                    self.add(part.id, ["opaque", f"{part.id} is unpacked while running"], certain)
        elif isinstance(target, ast.Name):
            self.add(target.id, ["value", _text(value)], certain)
            if target.id == "__all__":
                self.found["exports"] = texts(value)
            self.read_table(value)

    def read_table(self, value: ast.expr) -> None:
        """Remembers a table for a lazy ``__getattr__``: name -> module, (module, name), or module -> names."""
        if not isinstance(value, ast.Dict):
            return
        lazy = self.found["lazy"]
        for key, item in zip(value.keys, value.values, strict=True):
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                continue
            names = texts(item) or []
            for name in names:
                lazy.setdefault(name, [key.value, name])
            if isinstance(item, ast.Constant) and isinstance(item.value, str):
                lazy[key.value] = [item.value, None]
            elif isinstance(item, ast.Tuple) and len(names) == 2:
                lazy[key.value] = [names[0], names[1]]


def absolute(module: str, package: bool, name: str | None, level: int) -> str:
    """The absolute name of ``from <level dots><name>`` in a module."""
    if level == 0:
        return name or ""
    parts = module.split(".")
    drop = level - 1 if package else level
    base = parts[: len(parts) - drop] if drop else parts
    return ".".join([*base, *([name] if name else [])])


def texts(value: ast.expr) -> list[str] | None:
    """The texts of a literal list, tuple or set of texts; None for anything else."""
    if not isinstance(value, ast.List | ast.Tuple | ast.Set):
        return None
    items = [item.value for item in value.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return items if len(items) == len(value.elts) else None


# -- what is left of classes and functions


class _Plain(ast.NodeTransformer):
    """Formatted text as a tuple of what stands in it: not all of it can be written out again."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        parts = [self.visit(part.value) for part in node.values if isinstance(part, ast.FormattedValue)]
        return ast.Tuple(elts=parts, ctx=ast.Load())


def _text(node: ast.AST) -> str:
    try:
        return ast.unparse(node)
    except ValueError:
        return ast.unparse(_Plain().visit(node))


def _short_class(node: ast.ClassDef) -> ast.ClassDef:
    body = _short_body(node.body)
    return ast.ClassDef(
        name=node.name, bases=node.bases, keywords=node.keywords, body=body, decorator_list=node.decorator_list
    )


def _short_body(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    kept: list[ast.stmt] = []
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            kept.append(_short_class(statement))
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            if statement.name in _KEPT:
                kept.append(_short_function(statement, statement.args.kwarg is not None))
        elif isinstance(statement, ast.Assign):
            kept.append(ast.Assign(targets=statement.targets, value=ast.Constant(...), lineno=1))
        elif isinstance(statement, ast.AnnAssign):
            kept.append(statement)
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            kept += _short_branches(statement)
    return kept or list(_NOTHING)


def _short_branches(statement: ast.If | ast.Try | ast.With) -> list[ast.stmt]:
    """Branches with a constructor in them, under a condition that says nothing."""
    body, other = _short_body(statement.body), _short_body(getattr(statement, "orelse", []))
    holds = any(isinstance(node, ast.FunctionDef) for part in (*body, *other) for node in ast.walk(part))
    return [ast.If(test=ast.Constant(...), body=body, orelse=other)] if holds else []


def _short_function(node: ast.FunctionDef | ast.AsyncFunctionDef, whole: bool = False) -> ast.stmt:
    body = node.body if whole else list(_NOTHING)
    made = type(node)(name=node.name, args=node.args, body=body, decorator_list=node.decorator_list, lineno=1)
    made.returns = None
    return made


def _methods(body: Sequence[ast.stmt]) -> list[str]:
    """What a class body binds, abstract functions marked by ``@``; in any branch."""
    found: list[str] = []
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            abstract = any("abstract" in ast.unparse(decorator) for decorator in statement.decorator_list)
            found.append(f"@{statement.name}" if abstract else statement.name)
        elif isinstance(statement, ast.ClassDef):
            found.append(statement.name)
        elif isinstance(statement, ast.Assign):
            found += [
                node.id for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)
            ]
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            found += [statement.target.id] if isinstance(statement.target, ast.Name) else []
        else:
            for part in ("body", "orelse", "finalbody"):
                found += _methods(getattr(statement, part, []))
    return found
