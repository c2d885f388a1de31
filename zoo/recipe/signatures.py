"""Constructor parameters of a class, by reading source: inherited, forwarded through ``**kwargs``, dataclasses."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from zoo.recipe.light import Frozen, field
from zoo.recipe.modules import Module, Opaque, Outside
from zoo.recipe.symbols import Class, Function, Symbols

_HOLLOW = {"builtins.object", "abc.ABC"}
_BUILT = {"attr", "attrs"}  # decorators of these write a constructor that the text does not show
_DATACLASS = "dataclasses.dataclass"
_MODULE = "torch.nn.modules.module.Module"  # declares **kwargs and refuses all of them


class Parameter(Frozen):
    """One constructor parameter.

    Attributes:
        name: Its name.
        annotation: Type expression, None where there is none.
        default: Default expression, None where there is none.
        required: Whether it must be given.
        module: Where its expressions are to be understood.
    """

    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    required: bool
    module: Module


class Signature(Frozen):
    """Parameters by name; ``open`` where there may be more that the text does not show."""

    parameters: dict[str, Parameter] = field(default_factory=dict)
    open: bool = False


_UNKNOWN = Signature(open=True)


def constructor(symbols: Symbols, cls: Class) -> Signature:
    """What a class takes.

    Args:
        symbols: Where names are looked up.
        cls: The class.
    """
    return _along(symbols, symbols.lineage(cls))


def function_signature(function: Function) -> Signature:
    """What a function takes; open where it has ``**kwargs``."""
    parameters = _own(function.node, function.module, bound=False)
    return Signature(parameters, open=function.node.args.kwarg is not None)


def _along(symbols: Symbols, line: Iterator[Class | Outside | Opaque]) -> Signature:
    for step in line:
        if isinstance(step, Outside) and step.name in _HOLLOW:
            continue
        if not isinstance(step, Class):
            return _UNKNOWN
        if step.path == _MODULE:
            return Signature()
        init = _method(step.node, "__init__")
        if init is not None:
            return _of_init(symbols, step, init, line)
        if _written_while_running(symbols, step):
            return _UNKNOWN
        if _dataclass(symbols, step) is not None:
            return Signature(fields(symbols, step))
    return Signature()


def _method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    """The last plain definition in the class body, those inside ``if`` and ``try`` included."""
    found = None
    todo: list[ast.stmt] = list(reversed(node.body))
    while todo:
        statement = todo.pop()
        if isinstance(statement, ast.FunctionDef) and statement.name == name:
            found = statement if not _overload(statement) else found
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            todo.extend(reversed(statement.body + getattr(statement, "orelse", [])))
    return found


def _overload(statement: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith("overload") for decorator in statement.decorator_list)


def _written_while_running(symbols: Symbols, cls: Class) -> bool:
    if _method(cls.node, "__new__") is not None:
        return True
    for statement in cls.node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id in ("__init__", "__new__") for target in targets):
            return True
    for decorator in cls.node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        found = symbols.expression(cls.module, called)
        name = found.name if isinstance(found, Outside) else getattr(getattr(found, "module", None), "name", "")
        if name.partition(".")[0] in _BUILT:
            return True
    return False


def _dataclass(symbols: Symbols, cls: Class) -> ast.expr | None:
    """The ``@dataclass`` decorator, unless it leaves the constructor alone."""
    for decorator in cls.node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if symbols.expression(cls.module, called) != Outside(_DATACLASS):
            continue
        words = decorator.keywords if isinstance(decorator, ast.Call) else []
        plain = any(
            word.arg == "init" and isinstance(word.value, ast.Constant) and word.value.value is False for word in words
        )
        return None if plain else decorator
    return None


def is_dataclass(symbols: Symbols, cls: Class) -> bool:
    """Whether a class is a dataclass, by its own decorator."""
    return _dataclass(symbols, cls) is not None


def fields(symbols: Symbols, cls: Class) -> dict[str, Parameter]:
    """The constructor parameters that a dataclass and its bases declare."""
    found: dict[str, Parameter] = {}
    lineage = [step for step in symbols.lineage(cls) if isinstance(step, Class) and is_dataclass(symbols, step)]
    for step in reversed(lineage):
        for statement in step.node.body:
            if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
                continue
            annotation = ast.unparse(statement.annotation)
            if "ClassVar" in annotation or annotation.endswith("KW_ONLY"):
                continue
            name, (given, default) = statement.target.id, _field_default(statement.value)
            if given is None:
                found.pop(name, None)
            else:
                found[name] = Parameter(name, statement.annotation, default, not given, step.module)
    return found


def _field_default(value: ast.expr | None) -> tuple[bool | None, ast.expr | None]:
    """Whether there is a default (None: no constructor parameter at all), and which."""
    if value is None:
        return False, None
    if not (isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] == "field"):
        return True, value
    words = {word.arg: word.value for word in value.keywords}
    init = words.get("init")
    if isinstance(init, ast.Constant) and init.value is False:
        return None, None
    factory = words.get("default_factory")
    if factory is not None:
        return True, ast.Call(func=factory, args=[], keywords=[])
    return "default" in words, words.get("default")


def _own(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, module: Module, bound: bool
) -> dict[str, Parameter]:
    arguments = node.args
    found: dict[str, Parameter] = {}
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults
    pairs = list(zip(positional, defaults, strict=True))[1 if bound else 0 :]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    for argument, default in pairs:
        found[argument.arg] = Parameter(argument.arg, argument.annotation, default, default is None, module)
    return found


def _of_init(
    symbols: Symbols, cls: Class, init: ast.FunctionDef, rest: Iterator[Class | Outside | Opaque]
) -> Signature:
    own = _own(init, cls.module, bound=True)
    if init.args.kwarg is None:
        return Signature(own)
    name = init.args.kwarg.arg
    uses = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(init))
    calls = [
        node
        for node in ast.walk(init)
        if isinstance(node, ast.Call)
        and any(
            word.arg is None and isinstance(word.value, ast.Name) and word.value.id == name for word in node.keywords
        )
    ]
    if uses == 0:
        return Signature(own)
    if len(calls) != 1 or uses != 1:
        return Signature(own, open=True)
    parent = _parent(symbols, cls, calls[0], rest)
    if parent is None:
        return Signature(own, open=True)
    signature, given = parent
    named = {word.arg for word in calls[0].keywords}
    passed = [*list(signature.parameters)[:given], *(word for word in named if word)]
    inherited = {key: value for key, value in signature.parameters.items() if key not in passed and key not in own}
    return Signature({**own, **inherited}, signature.open)


def _passes_on(call: ast.Call, name: str) -> bool:
    """Whether a call is given ``**name``."""
    starred = [word.value for word in call.keywords if word.arg is None]
    return any(isinstance(value, ast.Name) and value.id == name for value in starred)


def _parent(
    symbols: Symbols, cls: Class, call: ast.Call, rest: Iterator[Class | Outside | Opaque]
) -> tuple[Signature, int] | None:
    """The constructor that ``**kwargs`` is handed to, and how many of its parameters are given by position."""
    function = call.func
    if not (isinstance(function, ast.Attribute) and function.attr == "__init__"):
        return None
    owner = function.value
    given = sum(not isinstance(argument, ast.Starred) for argument in call.args)
    if isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "super":
        return _along(symbols, rest), given
    found = symbols.expression(cls.module, owner)
    return (constructor(symbols, found), given - 1) if isinstance(found, Class) else None
