"""Classes and functions at the top of source files, read without importing them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.recipe.light import Frozen, field

DATA_ATTRIBUTES = ("domain", "dataset", "source", "terms", "layout")
_FAMILIES = {"scores": "score", "similarity": "similarity"}


class Definition(Frozen):
    """A class or function of the zoo.

    Attributes:
        name: Its name.
        file: Where it stands.
        line: On which line.
        module: Dotted name of that file.
        domain: Folder under ``zoo/domains``, empty elsewhere.
        is_class: Whether it is a class.
        bases: Names of the base classes, as they are called where they come from.
        summary: The first paragraph of the docstring, on one line, references as plain names.
        reference: What the docstring says after ``Source:``, on one line; empty where it says nothing.
        family: Family of a loss by its first argument; empty for any other function and for classes.
        values: Of :data:`DATA_ATTRIBUTES`, those that a class assigns: the text (None for anything else) and the line.
    """

    name: str
    file: Path
    line: int
    module: str
    domain: str
    is_class: bool
    bases: tuple[str, ...]
    summary: str
    reference: str
    family: str
    values: dict[str, tuple[str | None, int]] = field(compare=False)


def statements(tree: ast.Module, file: Path, module: str, domain: str) -> Iterator[Definition]:
    """The classes and functions at the top of a file."""
    original = {
        alias.asname: alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        doc, family, bases, values = ast.get_docstring(node) or "", "", list[str](), dict[str, tuple[str | None, int]]()
        if isinstance(node, ast.FunctionDef):
            family = _FAMILIES.get(node.args.args[0].arg, "") if node.args.args else ""
        else:
            bases = [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]
            given = _assigned(node.body)
            values = {name: (_text(given[name]), given[name].lineno) for name in DATA_ATTRIBUTES if name in given}
        yield Definition(
            node.name,
            file,
            node.lineno,
            module,
            domain,
            isinstance(node, ast.ClassDef),
            tuple(original.get(name, name) for name in bases),
            re.sub(r":\w+:`~?([^`]*)`", r"`\1`", " ".join(doc.split("\n\n")[0].split())),
            _reference(doc),
            family,
            values,
        )


def _reference(doc: str) -> str:
    found = re.search(r"^Source:[ \n]*(.*?)(?:\n\n|\n\w+:\n|\Z)", doc, re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _assigned(body: list[ast.stmt]) -> Mapping[str, ast.expr]:
    """Names that are assigned plainly in a block, with the expressions; tuples are matched part by part."""
    pairs: list[tuple[ast.expr, ast.expr]] = []
    for statement in body:
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            pairs.append((statement.target, statement.value))
        elif isinstance(statement, ast.Assign):
            pairs += [(target, statement.value) for target in statement.targets]
    found: dict[str, ast.expr] = {}
    for target, value in pairs:
        both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        parts = zip(target.elts, value.elts, strict=False) if both else [(target, value)]  # type: ignore[attr-defined]
        found.update({name.id: part for name, part in parts if isinstance(name, ast.Name)})
    return found


def exported(file: Path) -> list[str]:
    """The names in ``__all__``.

    Raises:
        ZooError: It is not written as a list of texts.
    """
    node = _assigned(parse(file, read_text(file)).body).get("__all__")
    if node is None:
        return []
    names = _literal(node)
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ZooError(
            f"{file}:{node.lineno}: __all__ must be written as a list of names, it is read without importing"
        )
    return list(names)


def _literal(node: ast.expr) -> object:
    """The value of a literal; None for any other expression."""
    try:
        value: object = ast.literal_eval(node)
    except ValueError:
        return None
    return value


def _text(node: ast.expr) -> str | None:
    """The value of a literal text; None for any other expression."""
    value = _literal(node)
    return value if isinstance(value, str) else None


def read_text(file: Path) -> str:
    """Text of a source file."""
    return file.read_text(encoding="utf-8")


def parse(file: Path, text: str) -> ast.Module:
    """A source file's statements.

    Raises:
        ZooError: It is no Python; names file and line.
    """
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise ZooError(f"{file}:{error.lineno}: this is not Python: {error.msg}") from error


def definition_of(row: list[Any]) -> Definition:
    """A definition of its parts in order, lists for tuples, as JSON keeps them."""
    name, file, line, module, domain, is_class, bases, summary, reference, family, values = row
    pairs = {key: (value, at) for key, (value, at) in values.items()}
    of = Path(file)
    return Definition(name, of, line, module, domain, is_class, tuple(bases), summary, reference, family, pairs)
