"""Importing what a checked recipe names."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from zoo.recipe.trust import Trust

# A module of the user runs its own code when it is imported, so any of these can come out of it.
FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def reach_user_modules(trust: Trust) -> None:
    """Lets modules of the current folder be imported, after all others, if the user vouches for any."""
    here = os.getcwd()
    if (trust.whole or trust.modules) and here not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()  # a module may just have been written


def import_object(path: str) -> Any:
    """The object of a dotted path.

    Args:
        path: ``package.module.Class``.

    Raises:
        ImportError: There is no such module or name in it.
    """
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if length > 1 and error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                continue
            raise
        for part in parts[length:]:
            if not hasattr(found, part):
                raise ImportError(f"{name} has no '{part}'")
            found = getattr(found, part)
        return found
    raise ImportError(f"'{path}' is no dotted path")
