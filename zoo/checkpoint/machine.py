"""A pickle machine that rebuilds data and calls nothing.

Python's own unpickler is not used even with a restricted ``find_class``: it calls ``__setstate__`` of what it built,
reserves memory for a memo index of four billion, and hashes nested tuples without end. Here the standard library's
``pickletools`` cuts the stream into opcodes, and every opcode does no more than this module says.
"""

from __future__ import annotations

import codecs
import pickletools
from collections.abc import Callable
from typing import IO, Any

from zoo.checkpoint.arrays import Waiting
from zoo.checkpoint.budget import Budget
from zoo.checkpoint.rebuild import Rebuild
from zoo.checkpoint.records import Global, Malformed, Record, key

_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_FRESH: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Machine:
    """Reads one pickle from a stream.

    Args:
        stream: At the first byte of the pickle; after :meth:`run` at the first byte behind it.
        persistent: Gives the object for a persistent id (torch keeps its storages so).
        budget: Bounds the memory that rebuilt objects take.
    """

    def __init__(self, stream: IO[bytes], persistent: Callable[[Any], Any], budget: Budget) -> None:
        self._stream, self._persistent = stream, persistent
        self._rebuild = Rebuild(budget)
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._waiting: dict[int, list[int]] = {}  # places in the memo of an array or dtype without its state

    def run(self) -> Any:
        """Reads up to the end of the pickle.

        Returns:
            Plain values, tensors and arrays; :class:`Record` and :class:`Global` for everything else.

        Raises:
            Malformed: The stream breaks the rules of the format.
        """
        position = 0
        try:
            while True:
                position = self._stream.tell()
                code = self._stream.read(1)
                opcode = _OPCODES.get(code)
                if opcode is None:
                    raise Malformed("this is no pickle opcode" if code else "it does not end")
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._do(opcode.name, self._argument(opcode))
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
            detail = str(error) if isinstance(error, Malformed) else f"{type(error).__name__}: {error}"
            raise Malformed(f"at byte {position}: {detail[:200]}") from error

    def _argument(self, opcode: pickletools.OpcodeInfo) -> Any:
        if opcode.name == "STRING":  # Python 2's; pickletools would not take bytes above 127
            quoted = self._stream.readline().rstrip()
            if len(quoted) < 2 or quoted[:1] not in b"'\"" or quoted[:1] != quoted[-1:]:
                raise Malformed("a text has no quotes")
            return codecs.escape_decode(quoted[1:-1])[0].decode("latin-1")
        return None if opcode.arg is None else opcode.arg.reader(self._stream)

    def _do(self, name: str, argument: Any) -> None:
        push = self._stack.append
        if name in _LITERALS:
            push(argument)
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in _FRESH:
            push(_FRESH[name]())
        elif name in _TUPLES:
            push(tuple(self._take(_TUPLES[name])))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._note(argument)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            push(self._memo[argument])
        else:
            method = _METHODS.get(name)
            if method is None:
                raise Malformed(f"opcode {name} is not allowed here")
            method(self, argument)

    # -- the stack

    def _take(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise Malformed("the stack is empty")
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def _mark(self, _: Any) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _memoize(self, _: Any) -> None:
        self._note(len(self._memo))

    def _note(self, place: int) -> None:
        value = self._memo[place] = self._stack[-1]
        if isinstance(value, Waiting):
            self._waiting.setdefault(id(value), []).append(place)

    def _nothing(self, _: Any) -> None:
        """PROTO and FRAME say how the stream is cut, which ``pickletools`` has seen to."""

    # -- containers

    def _list(self, _: Any) -> None:
        items = self._since_mark()
        self._stack.append(items)

    def _tuple(self, _: Any) -> None:
        items = self._since_mark()
        self._stack.append(tuple(items))

    def _dict(self, _: Any) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._set_pairs(items)

    def _frozenset(self, _: Any) -> None:
        items = self._since_mark()
        self._stack.append(frozenset(key(item) for item in items))

    def _append(self, _: Any) -> None:
        self._extend(self._take(1))

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        top = self._stack[-1]
        if isinstance(top, Record):
            top.elements.extend(items)
        elif isinstance(top, list):
            top.extend(items)
        else:
            raise Malformed(f"appends to a {type(top).__name__}")

    def _set_item(self, _: Any) -> None:
        self._set_pairs(self._take(2))

    def _set_items(self, _: Any) -> None:
        self._set_pairs(self._since_mark())

    def _set_pairs(self, items: list[Any]) -> None:
        top = self._stack[-1]
        mapping = top.entries if isinstance(top, Record) else top
        if not isinstance(mapping, dict) or len(items) % 2:
            raise Malformed(f"sets an item of a {type(top).__name__}")
        for name, value in zip(items[::2], items[1::2], strict=True):
            mapping[key(name)] = value

    def _add_items(self, _: Any) -> None:
        items = self._since_mark()
        top = self._stack[-1]
        if isinstance(top, Record):
            top.elements.extend(items)
        elif isinstance(top, set):
            top.update(key(item) for item in items)
        else:
            raise Malformed(f"adds to a {type(top).__name__}")

    # -- objects: named, never imported; "called" by the table in rebuild.py, never by Python

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._rebuild.name(module, name))

    def _stack_global(self, _: Any) -> None:
        module, name = self._take(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise Malformed("a name is no text")
        self._stack.append(self._rebuild.name(module, name))

    def _reduce(self, _: Any) -> None:
        function, args = self._take(2)
        self._construct(function, args)

    def _new_with_keywords(self, _: Any) -> None:
        kind, args, keywords = self._take(3)
        self._construct(kind, (*args, keywords) if keywords else args)

    def _instance(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._construct(self._rebuild.name(module, name), tuple(self._since_mark()))

    def _object(self, _: Any) -> None:
        kind, *args = self._since_mark()
        self._construct(kind, tuple(args))

    def _construct(self, function: Any, args: Any) -> None:
        if not isinstance(args, tuple):
            raise Malformed("arguments are no tuple")
        if isinstance(function, Record):  # the result of an unknown function, which was to be called in turn
            self._stack.append(Record(f"{function.path}()", args))
        elif isinstance(function, Global):
            self._stack.append(self._rebuild.call(function, args))
        else:
            raise Malformed(f"calls a {type(function).__name__}")

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        built = self._rebuild.build(target, state)
        if built is not target:  # an array or dtype that waited for its state; it was noted before it had one
            self._stack[-1] = built
            for place in self._waiting.pop(id(target), ()):
                self._memo[place] = built

    def _persistent_text(self, argument: str) -> None:
        self._stack.append(self._persistent(argument))

    def _persistent_object(self, _: Any) -> None:
        self._stack.append(self._persistent(self._stack.pop()))


_METHODS: dict[str, Callable[[Machine, Any], None]] = {
    "PROTO": Machine._nothing, "FRAME": Machine._nothing, "MARK": Machine._mark, "POP": Machine._pop,
    "POP_MARK": Machine._pop_mark, "DUP": Machine._dup, "MEMOIZE": Machine._memoize, "LIST": Machine._list,
    "TUPLE": Machine._tuple, "DICT": Machine._dict, "FROZENSET": Machine._frozenset, "APPEND": Machine._append,
    "APPENDS": Machine._appends, "SETITEM": Machine._set_item, "SETITEMS": Machine._set_items,
    "ADDITEMS": Machine._add_items, "GLOBAL": Machine._global, "STACK_GLOBAL": Machine._stack_global,
    "REDUCE": Machine._reduce, "NEWOBJ": Machine._reduce, "NEWOBJ_EX": Machine._new_with_keywords,
    "INST": Machine._instance, "OBJ": Machine._object, "BUILD": Machine._build, "PERSID": Machine._persistent_text,
    "BINPERSID": Machine._persistent_object,
}  # fmt: skip
