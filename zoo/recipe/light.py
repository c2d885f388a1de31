"""Classes of named fields without generated code.

``dataclasses`` writes and compiles six functions for each class, a millisecond a time: with the forty classes that
reading a recipe takes, most of the start of ``zoo show`` and ``zoo check``. Type checkers see the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, dataclass_transform


class Given:
    """How a field is filled, see :func:`field`."""

    def __init__(self, default_factory: Callable[[], Any] | None, compare: bool) -> None:
        self.make, self.compare = default_factory, compare


def field(*, default_factory: Callable[[], Any] | None = None, compare: bool = True) -> Any:
    """A field with a default of its own for each object, or one that does not count in comparisons.

    Args:
        default_factory: Makes the default; without one the field must be given.
        compare: Whether objects with another value of the field are other ones.
    """
    return Given(default_factory, compare)


class _Named:
    """What both kinds of classes share: the fields are the annotations, those of the base first."""

    _names: tuple[str, ...] = ()
    _compared: tuple[str, ...] = ()
    _defaults: dict[str, Callable[[], Any]] = {}  # noqa: RUF012 (never changed in place)

    def __init_subclass__(cls, eq: bool = True) -> None:
        if not eq:  # each object is equal to itself alone
            cls.__eq__ = object.__eq__  # type: ignore[method-assign]
            cls.__hash__ = object.__hash__  # type: ignore[method-assign, assignment]
        # not by inspect.get_annotations: importing inspect costs what this module is there to spare
        own = [name for name in vars(cls).get("__annotations__", ()) if name not in cls._names]
        cls._defaults = dict(cls._defaults)
        ignored = set()
        for name in own:
            given = cls.__dict__.get(name, Given(None, True))
            if not isinstance(given, Given):
                cls._defaults[name] = lambda given=given: given  # type: ignore[misc]
                continue
            if name in cls.__dict__:
                delattr(cls, name)
            if given.make is not None:
                cls._defaults[name] = given.make
            if not given.compare:
                ignored.add(name)
        cls._names = (*cls._names, *own)
        cls._compared = (*cls._compared, *(name for name in own if name not in ignored))

    def __init__(self, *values: Any, **words: Any) -> None:
        cls, state = type(self), self.__dict__
        state.update(zip(cls._names, values, strict=False))
        if len(values) > len(cls._names) or not words.keys().isdisjoint(state):
            raise TypeError(f"{cls.__name__} takes {', '.join(cls._names)}, each once")
        state.update(words)
        if len(state) != len(cls._names) or words:
            for name in cls._names:
                if name not in state:
                    if name not in cls._defaults:
                        raise TypeError(f"{cls.__name__} needs {name!r}")
                    state[name] = cls._defaults[name]()
            if len(state) != len(cls._names):
                raise TypeError(f"{cls.__name__} takes no {', '.join(words.keys() - set(cls._names))}")

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self)._names)
        return f"{type(self).__name__}({inner})"

    def contents(self) -> tuple[Any, ...]:
        """The values of all fields, in order."""
        return tuple(self.__dict__[name] for name in type(self)._names)

    def _key(self) -> tuple[Any, ...]:
        state = self.__dict__
        return tuple([state[name] for name in type(self)._compared])

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, _Named) and type(self) is type(other) and self._key() == other._key()

    __hash__ = None  # type: ignore[assignment]


@dataclass_transform(field_specifiers=(field,))
class Fields(_Named):
    """A class whose fields may change."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Frozen(_Named):
    """A class whose fields never change; equal objects have equal hashes."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash((type(self), self._key()))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} never changes")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} never changes")

    def changed(self, **words: Any) -> Self:
        """The same with some fields of other values."""
        return type(self)(**(self.__dict__ | words))
