"""Whether source text alone shows that a class can be used, so that ``zoo check`` need not import it.

Of a class of the zoo or of a library it builds on: that every import above it leads somewhere, that no branch decides
whether it is there, and that it is not abstract. Of any other class nothing: a user's module may do anything when it is
imported.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from zoo.recipe.modules import Module, Outside
from zoo.recipe.symbols import Class, Symbols

LIBRARIES = ("zoo", "torch", "lightning", "torchmetrics", "timm", "torchvision")
_OURS = "zoo"
_PLAIN = {"builtins.object", "abc.ABC"}


def sure(symbols: Symbols, cls: Class) -> bool:
    """Whether the text shows that a class can be imported and is not abstract.

    Args:
        symbols: Where names are looked up.
        cls: A class of :data:`LIBRARIES`.
    """
    if cls in symbols.maybe or "." in cls.qualname or _abstract(symbols, cls):
        return False
    if not cls.module.name.startswith(f"{_OURS}."):
        return True
    met = set(symbols.whole)
    if not _imports(symbols, cls.module.name, met):
        return False  # what was met on the way may import, in a circle, what is not there
    symbols.whole = met
    return True


def _abstract(symbols: Symbols, cls: Class) -> bool:
    """Whether a class has an abstract function, or may have one."""
    bound: set[str] = set()
    for step in symbols.lineage(cls):
        if isinstance(step, Outside) and step.name in _PLAIN:
            continue
        if not isinstance(step, Class) or "." in step.qualname or _odd(symbols, step):
            return True
        for name in step.module.methods.get(step.name, ()):
            if name.startswith("@") and name[1:] not in bound:
                return True
        bound.update(name.removeprefix("@") for name in step.module.methods.get(step.name, ()))
    return False


def _odd(symbols: Symbols, cls: Class) -> bool:
    """Whether a class is made by something else than ``type`` or ``ABCMeta``."""
    makers = [word.value for word in cls.node.keywords if word.arg == "metaclass"]
    return any(symbols.expression(cls.module, maker) != Outside("abc.ABCMeta") for maker in makers)


def _imports(symbols: Symbols, name: str, seen: set[str]) -> bool:
    """Whether all that is imported with a module of ours is there; branches (``try``, ``if``) are left out."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        part = ".".join(parts[:length])
        if part in seen:
            continue
        module = symbols.finder.module(part)
        if not isinstance(module, Module):
            return False
        seen.add(part)
        if not _leads(symbols, module, seen):
            return False
    return True


def _leads(symbols: Symbols, module: Module, seen: set[str]) -> bool:
    found = [(origin, name) for bound, origin, name in module.bindings.imports() if bound not in module.maybe]
    for origin, name in dict.fromkeys([*found, *((star, None) for star in module.stars)]):
        top = origin.partition(".")[0]
        if top != _OURS:
            if top not in seen and not _installed(top):
                return False
            seen.add(top)
            continue
        inner = symbols.finder.module(origin)
        if not isinstance(inner, Module) or not _imports(symbols, origin, seen):
            return False
        if name is not None and name not in inner.bindings:
            if not isinstance(symbols.member(inner, name), Module):
                return False
            if not _imports(symbols, f"{origin}.{name}", seen):
                return False
    return True


def _installed(top: str) -> bool:
    if top in sys.stdlib_module_names or top in sys.modules:
        return True
    try:
        return find_spec(top) is not None
    except (ImportError, ValueError):
        return False
