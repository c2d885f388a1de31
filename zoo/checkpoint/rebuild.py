"""The one table of names that are rebuilt as what they are; every other name becomes a record."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoint.arrays import Arrays, Waiting
from zoo.checkpoint.budget import Budget
from zoo.checkpoint.records import Global, Malformed, Record, key
from zoo.checkpoint.tensors import DTYPES, naturals, tensor

# Old names of modules: Python 2's, and numpy's before 2.0 and after.
_MODULES = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
}
_PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
_TYPED = "torch._tensor._rebuild_from_type_v2"


class Rebuild:
    """Makes objects of names and arguments. No name is imported and nothing from the file is called.

    Args:
        budget: Bounds the memory.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.arrays = Arrays(budget)
        self._table: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": self._ordered,
            "collections.defaultdict": self._default,
            "collections.Counter": self._dict,
            "builtins.dict": self._dict,
            "builtins.list": self._list,
            "builtins.tuple": self._tuple,
            "builtins.set": self._set,
            "builtins.frozenset": self._frozenset,
            "builtins.bytearray": self._bytearray,
            "builtins.bytes": self._bytes,
            "builtins.complex": self._complex,
            "_codecs.encode": self._encode,
            "copyreg._reconstructor": self._old_object,
            "copyreg.__newobj__": self._new_object,
            "torch.Size": self._size,
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_tensor_v3": self._tensor_v3,
            "numpy.core.multiarray._reconstruct": self.arrays.empty,
            "numpy.core.multiarray.scalar": self.arrays.scalar,
            "numpy.core.numeric._frombuffer": self.arrays.from_buffer,
            "numpy.dtype": self.arrays.dtype,
            **dict.fromkeys(_PARAMETERS, self._parameter),
            _TYPED: self._typed,
        }

    def name(self, module: str, name: str) -> Any:
        """A name as data: a torch dtype, else a :class:`Global`."""
        path = f"{_MODULES.get(module, module)}.{name}"
        return DTYPES[path] if path in DTYPES else Global(path)

    def call(self, function: Global, args: tuple[Any, ...]) -> Any:
        """What a name makes of arguments; a :class:`Record` of both where the name is not in the table."""
        known = self._table.get(function.path)
        return known(*args) if known else Record(function.path, args)

    # -- containers; each is a copy, so each is charged

    def _items(self, value: Any) -> Any:
        if not isinstance(value, list | tuple | dict | set | frozenset):
            raise Malformed(f"a container is made of a {type(value).__name__}")
        self._budget.copy(64 * len(value))
        return value

    def _pairs(self, value: Any) -> list[tuple[Any, Any]]:
        items = self._items(value)
        pairs = list(items.items()) if isinstance(items, dict) else list(items)
        if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            raise Malformed("a dictionary is not made of pairs")
        return [(key(name), value) for name, value in pairs]

    def _dict(self, items: Any = ()) -> dict[Any, Any]:
        return dict(self._pairs(items))

    def _ordered(self, items: Any = ()) -> OrderedDict[Any, Any]:
        return OrderedDict(self._pairs(items))

    def _default(self, _: Any = None, items: Any = ()) -> dict[Any, Any]:
        return self._dict(items)  # without its factory, which would be called

    def _list(self, items: Any = ()) -> list[Any]:
        return list(self._items(items))

    def _tuple(self, items: Any = ()) -> tuple[Any, ...]:
        return tuple(self._items(items))

    def _set(self, items: Any = ()) -> set[Any]:
        return {key(item) for item in self._items(items)}

    def _frozenset(self, items: Any = ()) -> frozenset[Any]:
        return frozenset(key(item) for item in self._items(items))

    # -- bytes and numbers

    def _bytearray(self, value: Any = b"", encoding: Any = None) -> bytearray:
        return bytearray(self._bytes(value if encoding is None else self._encode(value, encoding)))

    def _bytes(self, value: Any = b"") -> bytes:
        if not isinstance(value, bytes | bytearray):
            raise Malformed(f"bytes are made of a {type(value).__name__}")
        self._budget.copy(len(value))
        return bytes(value)

    def _encode(self, text: Any, encoding: Any = "latin1") -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise Malformed("bytes are encoded in an unknown way")
        self._budget.copy(len(text))
        return text.encode("latin-1")

    def _complex(self, real: Any, imaginary: Any) -> complex:
        if not isinstance(real, float) or not isinstance(imaginary, float):
            raise Malformed("a complex number is not made of two numbers")
        return complex(real, imaginary)

    # -- objects

    def _old_object(self, kind: Any, base: Any, state: Any) -> Any:
        return self._object(kind, () if state is None else (state,))

    def _new_object(self, kind: Any, *args: Any) -> Any:
        return self._object(kind, args)

    def _object(self, kind: Any, args: tuple[Any, ...]) -> Record:
        if not isinstance(kind, Global):
            raise Malformed(f"an object's class is a {type(kind).__name__}")
        return Record(kind.path, args)

    # -- torch

    def _size(self, sizes: Any = ()) -> torch.Size:
        return torch.Size(naturals(sizes))

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        return tensor(self._budget, storage, offset, size, stride)

    def _tensor_v3(
        self, storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
    ) -> Tensor:
        if not isinstance(dtype, torch.dtype):
            raise Malformed(f"a tensor has the dtype {dtype!r}"[:100])
        return tensor(self._budget, storage, offset, size, stride, dtype)

    def _parameter(self, data: Any, *_: Any) -> Any:
        return data  # what it is a parameter of is the network's affair

    def _typed(self, function: Any, kind: Any, args: Any, state: Any) -> Any:
        """A tensor with attributes or of a subclass: its data, by one of the plain ways above."""
        if not isinstance(function, Global) or not isinstance(args, tuple) or function.path == _TYPED:
            raise Malformed("a tensor is rebuilt by something that is no name")
        return self.call(function, args)

    def build(self, target: Any, state: Any) -> Any:
        """What BUILD does: a record keeps the state as data, an array takes it checked.

        A tensor or a container loses it: these are attributes beside its contents, like the versions that torch
        notes on a state dict.

        Args:
            target: The object.
            state: Its state.

        Returns:
            The object that takes the target's place, mostly the target itself.

        Raises:
            Malformed: The target is no object, or the state does not fit.
        """
        if isinstance(target, Waiting):
            return self.arrays.finish(target, state)
        if isinstance(target, Record):
            target.state = state
        elif not isinstance(target, Tensor | dict | list | set):
            raise Malformed(f"a {type(target).__name__} is given a state")
        return target
