"""Inert stand-ins: what a pickle names but nobody imports."""

from __future__ import annotations

from typing import Any

_KEY_PARTS = 1000  # a dictionary key that is a tuple has at most so many members, however nested


class Malformed(ValueError):
    """A pickle stream breaks the rules of its format, or asks for memory out of proportion to its size."""


class Global:
    """A name that a pickle would import; nothing is imported.

    Attributes:
        path: Dotted module and name, e.g. ``network.model.Detector``.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<name {self.path[:80]}>"


class Record:
    """An object of a class that is not rebuilt: its class path, and as plain data all that was stored with it.

    Attributes:
        path: Dotted module and name of the class, or of the function whose result the object was.
        args: Arguments that the class or function would have been called with.
        state: What would have been set as its attributes.
        elements: Items appended to it, where its class is a list or set.
        entries: Items set in it, where its class is a dictionary (EasyDict and the like).
    """

    __slots__ = ("args", "elements", "entries", "path", "state")

    def __init__(self, path: str, args: tuple[Any, ...] = ()) -> None:
        self.path, self.args, self.state = path, args, None
        self.elements: list[Any] = []
        self.entries: dict[Any, Any] = {}

    @property
    def attributes(self) -> dict[str, Any]:
        """The state by attribute name; a pair of dictionary and slots counts as one."""
        parts: tuple[Any, ...] = self.state if isinstance(self.state, tuple) else (self.state,)
        result: dict[str, Any] = {}
        for part in parts[:2]:
            if isinstance(part, dict):
                result.update(part)
        return result

    def __repr__(self) -> str:
        return f"<record of {self.path[:80]}>"


def key(value: Any) -> Any:
    """Checks a value that is to be a dictionary key, or in a set: hashing a nested tuple knows no bound of its own.

    Args:
        value: The value.

    Returns:
        The same value.

    Raises:
        Malformed: It cannot be hashed, or is a tuple of too many parts.
    """
    pending, seen = [value], 0
    while pending:
        item = pending.pop()
        if isinstance(item, tuple | frozenset):
            seen += 1 + len(item)
            if seen > _KEY_PARTS:
                raise Malformed("a dictionary key is too large")
            pending.extend(item)
        elif isinstance(item, list | dict | set | bytearray):
            raise Malformed(f"a {type(item).__name__} is a dictionary key")
    return value
