"""Type annotations, as written in source, to what a recipe may give."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence

from zoo.recipe.kinds import (
    Anything,
    Choice,
    Field,
    Kind,
    Limited,
    Many,
    Name,
    Record,
    Row,
    Simple,
    Slot,
    Table,
    Word,
    either,
)
from zoo.recipe.modules import Module, Outside
from zoo.recipe.nodes import Scalar
from zoo.recipe.signatures import Parameter, fields, is_dataclass
from zoo.recipe.symbols import Class, Function, Symbols, Value

_WORDS: dict[str, Word] = {
    "builtins.int": "int",
    "builtins.float": "float",
    "builtins.bool": "bool",
    "builtins.str": "str",
    "types.NoneType": "null",
    "pathlib.Path": "path",
    "pathlib.PurePath": "path",
    "os.PathLike": "path",
}
_LISTS = {
    *("list", "tuple", "set", "frozenset", "List", "Tuple", "Set", "FrozenSet", "Sequence", "MutableSequence"),
    *("Iterable", "Collection", "Container", "Reversible", "AbstractSet", "MutableSet", "Deque", "deque"),
}
_MAPPINGS = {"dict", "Dict", "Mapping", "MutableMapping", "OrderedDict"}
_WRAPPERS = {"Annotated", "Final", "Required", "NotRequired", "ReadOnly", "InitVar"}
_HOMES = {"builtins", "typing", "typing_extensions", "collections", "collections.abc", "dataclasses"}
_DEEP = 12
_TIME = re.compile(r"([-\d]+ days?, )?\d+:\d+:\d")


class Annotations:
    """Reads annotations.

    Args:
        symbols: Where names are looked up.
    """

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols
        self._known: dict[Parameter, Kind] = {}

    def of(self, parameter: Parameter, depth: int = 0) -> Kind:
        """What a constructor parameter takes; a default of None means that null is fine too."""
        if parameter.annotation is None:
            return Anything()
        if depth == 0 and parameter in self._known:
            return self._known[parameter]
        kind = self.read(parameter.annotation, parameter.module, depth)
        if isinstance(parameter.default, ast.Constant) and parameter.default.value is None:
            kind = either([kind, Simple("null")])
        if depth == 0:
            self._known[parameter] = kind
        return kind

    def read(self, node: ast.expr, module: Module, depth: int = 0) -> Kind:
        """What an annotation expression of a module stands for."""
        if depth > _DEEP:
            return Anything()
        if isinstance(node, ast.Constant):
            return self._constant(node, module, depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return either([self.read(side, module, depth + 1) for side in (node.left, node.right)])
        if isinstance(node, ast.Subscript):
            return self._subscript(node, module, depth)
        found = self.symbols.expression(module, node)
        if isinstance(found, Class):
            return self._class(found, depth)
        if isinstance(found, Value):
            return self._alias(found, depth)
        return _outside(found.name) if isinstance(found, Outside) else Anything()

    def _constant(self, node: ast.Constant, module: Module, depth: int) -> Kind:
        if node.value is None:
            return Simple("null")
        if not isinstance(node.value, str):
            return Anything()
        try:
            inner = ast.parse(node.value.strip(), mode="eval").body
        except SyntaxError:
            return Anything()
        return self.read(inner, module, depth + 1)

    def _subscript(self, node: ast.Subscript, module: Module, depth: int) -> Kind:
        found = self.symbols.expression(module, node.value)
        if isinstance(found, Class):
            return self._class(found, depth)
        if not isinstance(found, Outside):
            return Anything()
        home, _, name = found.name.rpartition(".")
        if home not in _HOMES:
            return _outside(found.name)
        parts = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Literal":
            return self._literal(parts, module)
        if name in ("Callable", "Type", "type"):
            return _outside(found.name)
        dots = [isinstance(part, ast.Constant) and part.value is Ellipsis for part in parts]
        kinds = [self.read(part, module, depth + 1) for part, dot in zip(parts, dots, strict=True) if not dot] or [
            Anything()
        ]
        if name == "Optional":
            return either([kinds[0], Simple("null")])
        if name == "Union":
            return either(kinds)
        if name in _WRAPPERS:
            return kinds[0]
        if name in ("tuple", "Tuple") and not any(dots):
            return Row(tuple(kinds))
        if name in _LISTS:
            return Many(kinds[0])
        if name in _MAPPINGS and len(kinds) == 2:
            return Table(kinds[0], kinds[1])
        return Anything()

    def _literal(self, parts: list[ast.expr], module: Module) -> Kind:
        values: list[Scalar] = []
        for part in parts:
            try:
                value = ast.literal_eval(part)
            except ValueError:
                return Anything()
            if not (value is None or isinstance(value, str | int | bool)):
                return Anything()
            values.append(value)
        return Choice(tuple(values))

    def _alias(self, value: Value, depth: int) -> Kind:
        node = value.node
        if not isinstance(node, ast.Call):
            return self.read(node, value.module, depth + 1)
        maker = self.symbols.expression(value.module, node.func)
        if isinstance(maker, Outside) and maker.name.endswith(".NewType") and len(node.args) == 2:
            return self.read(node.args[1], value.module, depth + 1)
        if isinstance(maker, Function) and maker.module.name == "jsonargparse.typing":
            return _restricted(maker.node.name, node)
        return Anything()

    def _class(self, cls: Class, depth: int) -> Kind:
        line = list(self.symbols.lineage(cls))
        roots = {step.name for step in line if isinstance(step, Outside)}
        if roots & {"typing.TypedDict", "typing_extensions.TypedDict"}:
            return Record(cls.name, self._keys(line, depth), cls)
        if any(root.startswith("enum.") for root in roots):
            return Choice(tuple(_members(cls)))
        if roots - {"builtins.object"}:
            return Anything()
        if is_dataclass(self.symbols, cls):
            keys = {
                name: Field(self.of(parameter, depth + 1), parameter.required, parameter)
                for name, parameter in fields(self.symbols, cls).items()
            }
            return Record(cls.name, keys, cls, built=True)
        return Slot(cls, cls.name)

    def _keys(self, line: Sequence[object], depth: int) -> dict[str, Field]:
        found: dict[str, Field] = {}
        for step in reversed(line):
            if not isinstance(step, Class):
                continue
            total = not any(
                word.arg == "total" and isinstance(word.value, ast.Constant) and word.value.value is False
                for word in step.node.keywords
            )
            for statement in step.node.body:
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    required = _says(statement.annotation, "Required") or (
                        total and not _says(statement.annotation, "NotRequired")
                    )
                    kind = self.read(statement.annotation, step.module, depth + 1)
                    found[statement.target.id] = Field(kind, required)
        return found


def _says(node: ast.expr, word: str) -> bool:
    """Whether an annotation is wrapped in ``Required[...]`` or ``NotRequired[...]``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.search(rf"\b{word}\[", node.value) is not None
    return isinstance(node, ast.Subscript) and re.search(rf"\b{word}$", ast.unparse(node.value)) is not None


def _members(cls: Class) -> list[str]:
    return [
        target.id
        for statement in cls.node.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name) and not target.id.startswith("_")
    ]


def _outside(name: str) -> Kind:
    """The kind of a bare name of the standard library."""
    if name in _WORDS:
        return Simple(_WORDS[name])
    if name == "datetime.timedelta":
        return Limited("str", "a time as 'h:m:s'", lambda value: isinstance(value, str) and bool(_TIME.match(value)))
    home, _, last = name.rpartition(".")
    if home not in _HOMES:
        return Anything()
    if last in _LISTS:
        return Many(Anything())
    if last in _MAPPINGS:
        return Table(Anything(), Anything())
    if last in ("Callable", "Type", "type"):
        return Name("import path of a function or class" if last == "Callable" else "import path of a class")
    return Anything(known=last in ("Any", "object"))


def _restricted(maker: str, call: ast.Call) -> Kind:
    """``PositiveInt`` and others made by ``jsonargparse.typing``, where all arguments are literals."""
    words = {word.arg: word.value for word in call.keywords if word.arg}
    names = ["name", "base_type", "restrictions", "join"] if maker == "restricted_number_type" else ["name", "regex"]
    words |= dict(zip(names, call.args, strict=False))
    try:
        title = ast.literal_eval(words["name"])
        told = ast.literal_eval(words.get("docstring", ast.Constant(None))) or title
        if maker == "restricted_string_type":
            pattern = re.compile(ast.literal_eval(words["regex"]))
            return Limited("str", str(told), lambda value: isinstance(value, str) and pattern.match(value) is not None)
        limits = ast.literal_eval(words["restrictions"])
        join = ast.literal_eval(words.get("join", ast.Constant("and")))
    except (KeyError, ValueError, re.error):
        return Anything()
    base = ast.unparse(words["base_type"])
    if base not in ("int", "float") or maker != "restricted_number_type":
        return Anything()
    pairs = [limits] if isinstance(limits, tuple) else list(limits)
    return Limited("int" if base == "int" else "float", str(told), _within(pairs, all if join == "and" else any))


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
    "==": lambda value, limit: value == limit,
    "!=": lambda value, limit: value != limit,
}


def _within(pairs: list[tuple[str, float]], join: Callable[[list[bool]], bool]) -> Callable[[Scalar], bool]:
    def test(value: Scalar) -> bool:
        return isinstance(value, int | float) and join([_COMPARE[sign](value, limit) for sign, limit in pairs])

    return test
