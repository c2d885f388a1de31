"""The text that a checkpoint carries: all that recipe and overrides wrote, and all arguments of zoo's own classes."""

from __future__ import annotations

import ast
import math
from types import FunctionType
from typing import Any

import yaml

from zoo.errors import ZooError
from zoo.recipe.classes import Classes
from zoo.recipe.document import Scalars
from zoo.recipe.imports import import_object
from zoo.recipe.kinds import Arguments, Kind, Record, Table, options
from zoo.recipe.nodes import Node, Plain, Scalar
from zoo.recipe.recipe import Recipe
from zoo.recipe.shape import OBJECTS, SECTIONS
from zoo.recipe.signatures import Parameter
from zoo.recipe.steps import inside, slot_of, slots
from zoo.recipe.symbols import Class, Value


class _Dumper(yaml.SafeDumper):
    """Quotes what :mod:`zoo.recipe.document` would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Writes equal lists twice; a carried recipe may have no aliases."""
        return True


Scalars.install(_Dumper)


def text(recipe: Recipe) -> str:
    """The carried text of a recipe: the same for recipes that mean the same, and a fixed point of reading.

    Args:
        recipe: A recipe without mistakes.

    Returns:
        YAML: sections in their usual order; arguments of zoo's classes in the order of their constructors with all
        defaults, those of other classes as far as written, by name; no interpolations, no aliases, no comments.
    """
    table = recipe.root.table or {}
    whole: dict[Scalar, Plain] = {}
    for name in SECTIONS:
        node = table.get(name)
        if node is not None and node.content is not None:
            whole[name] = _value(recipe.classes, node, recipe.kind.fields[name].kind, OBJECTS.get(name))
    return yaml.dump(
        whole, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=math.inf
    )


def _value(classes: Classes, node: Node, kind: Kind, section: Any = None) -> Plain:
    if node.items is not None:
        return [_value(classes, item, inside(classes, node, kind, i)) for i, item in enumerate(node.items)]
    if node.table is None:
        return node.content.replace("${", "\\${") if isinstance(node.content, str) else _scalar(node)
    word = node.child("class_path")
    if word is not None and isinstance(word.content, str) and slots(kind):
        return _object(classes, node, word, kind, section.given if section is not None else frozenset())
    values = {key: _value(classes, value, inside(classes, node, kind, key)) for key, value in node.table.items()}
    record = next((option for option in options(kind) if isinstance(option, Record | Arguments)), None)
    if isinstance(record, Record) and record.built and record.cls is not None and _ours(record.cls):
        parameters = [entry.parameter for entry in record.fields.values() if entry.parameter is not None]
        return _complete(classes, values, parameters, record.cls)
    if any(isinstance(option, Table) for option in options(kind)) and record is None:
        return values
    return dict(sorted(values.items(), key=lambda pair: str(pair[0])))


def _scalar(node: Node) -> Scalar:
    return None if isinstance(node.content, dict | list) else node.content


def _object(classes: Classes, node: Node, word: Node, kind: Kind, given: frozenset[str]) -> Plain:
    _, path = slot_of(classes, kind, word)
    cls = path.found if path is not None else None
    whole: dict[Scalar, Plain] = {"class_path": _scalar(word)}
    body = node.child("init_args")
    values: dict[Scalar, Plain] = {}
    if body is not None and body.table is not None:
        inner = inside(classes, node, kind, "init_args")
        for key, value in sorted(body.table.items(), key=lambda pair: str(pair[0])):
            values[key] = _value(classes, value, inside(classes, body, inner, key))
    if isinstance(cls, Class) and _ours(cls):
        parameters = [p for p in classes.signature(cls).parameters.values() if p.name not in given]
        values = _complete(classes, values, parameters, cls)
    if values:
        whole["init_args"] = values
    more = node.child("dict_kwargs")
    if more is not None:
        whole["dict_kwargs"] = _value(classes, more, inside(classes, node, kind, "dict_kwargs"))
    return whole


def _ours(cls: Class) -> bool:
    return cls.module.name.partition(".")[0] == "zoo"


def _complete(
    classes: Classes, values: dict[Scalar, Plain], parameters: list[Parameter], cls: Class
) -> dict[Scalar, Plain]:
    """All arguments in the order of the constructor, defaults filled in."""
    whole: dict[Scalar, Plain] = {}
    for parameter in parameters:
        if parameter.name in values:
            whole[parameter.name] = values[parameter.name]
        elif not parameter.required:
            whole[parameter.name] = _default(classes, parameter, cls)
    return {**whole, **{key: value for key, value in values.items() if key not in whole}}


def _default(classes: Classes, parameter: Parameter, cls: Class) -> Plain:
    try:
        return _plain(_evaluate(classes, parameter.default, parameter), cls, parameter)
    except ValueError:
        import inspect  # not a literal: ask the class itself

        real = inspect.signature(import_object(cls.path)).parameters[parameter.name].default
        return _plain(real, cls, parameter)


def _evaluate(classes: Classes, node: ast.expr | None, parameter: Parameter, depth: int = 0) -> Any:
    """The value of a literal, a constant of the module, or ``list()`` and the like."""
    if node is None or depth > 8:
        raise ValueError
    if isinstance(node, ast.Name | ast.Attribute):
        found = classes.symbols.expression(parameter.module, node)
        if isinstance(found, Value):
            return _evaluate(classes, found.node, parameter, depth + 1)
        raise ValueError
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args and not node.keywords:
        empty: dict[str, Any] = {"list": [], "dict": {}, "tuple": [], "set": []}
        if node.func.id in empty:
            return empty[node.func.id]
    return ast.literal_eval(node)


def _plain(value: Any, cls: Class, parameter: Parameter) -> Plain:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, cls, parameter) for item in value]
    if isinstance(value, set | frozenset):
        return [_plain(item, cls, parameter) for item in sorted(value)]
    if isinstance(value, dict):
        return {key: _plain(item, cls, parameter) for key, item in value.items()}
    if isinstance(value, type | FunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    raise ZooError(f"the default of {cls.path}'s '{parameter.name}' cannot be written into a recipe: {value!r:.80}")
