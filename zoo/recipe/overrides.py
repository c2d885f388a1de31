"""Options that change a recipe: ``--model.margin 0.5``, ``--optimizer torch.optim.SGD``, ``--trainer.callbacks+ X``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from zoo.recipe.classes import Classes
from zoo.recipe.kinds import Anything, Arguments, Kind, Many, Record, Slot, Table, describe, options
from zoo.recipe.light import Fields, field
from zoo.recipe.mistakes import Mistake, Place, meant, meant_or_known
from zoo.recipe.nodes import Node, Scalar, copy, dotted, node_of
from zoo.recipe.renamed import renamed, said, taken
from zoo.recipe.scalars import read_value
from zoo.recipe.steps import fields, inside, names_object, object_node, slot_of, slots

Overrides = Sequence[tuple[str, str]] | Mapping[str, object]


class _Wrong(Exception):
    """The option cannot be applied; says why."""


class Option(Fields):
    """One override.

    Attributes:
        name: As given, without dashes.
        parts: Its keys; ``init_args`` is left out, it goes without saying.
        adds: Whether it adds to a list (``+``).
        value: What it sets.
    """

    name: str
    parts: list[str]
    adds: bool
    value: Node


class Changes(Fields):
    """Applies options to a tree.

    Attributes:
        classes: Resolves class paths.
        kind: What a recipe as a whole may hold.
        notes: What the user should know, e.g. arguments dropped with their class.
        mistakes: Options that cannot be applied.
    """

    classes: Classes
    kind: Kind
    notes: list[str] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)

    def apply(self, root: Node, overrides: Overrides) -> None:
        """Applies all options, those for a whole before those for its parts, else in the order given."""
        typed = not isinstance(overrides, Mapping)
        found = [self._option(name, value, typed) for name, value in _pairs(overrides)]
        for option in sorted((option for option in found if option is not None), key=_depth):
            trial = copy(root)  # an option that fails halfway must leave nothing behind
            try:
                self._apply(trial, option)
            except _Wrong as wrong:
                self.mistakes.append(Mistake(option.value.place, str(wrong)))
            else:
                root.content = trial.content

    def _option(self, name: str, value: object, typed: bool) -> Option | None:
        place = Place(f"--{name.removeprefix('--')}")
        plain_name = name.removeprefix("--").removesuffix("=").strip()
        adds = plain_name.endswith("+")
        parts = re.sub(r"\[(\d+)\]", r".\1", plain_name.removesuffix("+")).split(".")
        if not all(parts):
            self.mistakes.append(Mistake(place, "this is no key of a recipe"))
            return None
        try:
            text = value if isinstance(value, str) and typed else None
            node = node_of(value, place) if text is None else read_value(text, Node(None, place))
        except TypeError as error:
            self.mistakes.append(Mistake(place, str(error)))
            return None
        if parts[-1] == "class_path":
            parts, node = parts[:-1], object_node(node, place)
        return Option(plain_name, [part for part in parts if part != "init_args"], adds, node)

    # -- the way down

    def _apply(self, root: Node, option: Option) -> None:
        if not option.parts:
            raise _Wrong("this is no key of a recipe")
        node, kind = root, self.kind
        for index, part in enumerate(option.parts[:-1]):
            node, kind = self._down(node, kind, part, option, tuple(option.parts[:index]))
        self._set(node, kind, option)

    def _down(self, node: Node, kind: Kind, part: str, option: Option, done: tuple[str, ...]) -> tuple[Node, Kind]:
        node, kind = self._body(node, kind, part, option, done)
        part = self._today(kind, part, option)
        if node.items is not None:
            index = self._index(node.items, part, option, done)
            return node.items[index], inside(self.classes, node, kind, index)
        table = node.table
        if table is None:
            raise _Wrong(f"{dotted(done)} is no mapping, so it has no '{part}'")
        wanted = self._known(node, kind, part, done)
        if table.get(part) is None or table[part].content is None:
            self._open(table, part, wanted, option, (*done, part))
        return table[part], wanted

    def _body(self, node: Node, kind: Kind, part: str, option: Option, done: tuple[str, ...]) -> tuple[Node, Kind]:
        """Goes from an object to its arguments; makes an object of a bare class path."""
        if isinstance(node.content, str) and slots(kind) and part != "class_path":
            node.content, node.typed = object_node(node, node.place).content, None
        if node.table is None or part in ("class_path", "dict_kwargs"):
            return node, kind
        if "class_path" in node.table:
            inner = inside(self.classes, node, kind, "init_args")
            body = node.table.get("init_args")
            if body is None or body.table is None:
                body = node.table["init_args"] = Node({}, option.value.place)
            return body, inner
        if slots(kind) and not any(isinstance(o, Record | Table | Anything) for o in options(kind)):
            raise _Wrong(f"{dotted(done)} has no class yet; choose it with --{dotted(done)} CLASS")
        return node, kind

    def _today(self, kind: Kind, part: str, option: Option) -> str:
        """The name of today of an argument that was renamed."""
        row = renamed(self.classes, kind, part)
        if row is None:
            return part
        if not taken(row, self.classes):
            raise _Wrong(said(row))
        self.notes.append(f"--{option.name}: {said(row)}; it is taken until {row.until}")
        return row.new

    def _known(self, node: Node, kind: Kind, part: str, done: tuple[str, ...]) -> Kind:
        """What a key takes; refuses a key that nothing knows."""
        for option in options(kind):
            if isinstance(option, Record | Arguments) and part not in (node.table or {}):
                names = fields(self.classes, option)
                closed = isinstance(option, Record) or (
                    option.cls is not None and not self.classes.signature(option.cls).open
                )
                owned = option.owned if isinstance(option, Arguments) else {}
                if part not in names and closed:
                    free = [name for name in names if name not in owned]
                    hint = meant_or_known(part, free)
                    root = not done
                    raise _Wrong(
                        f"there is no section '{part}'{hint}" if root else f"{option.name} takes no '{part}'{hint}"
                    )
        return inside(self.classes, node, kind, part)

    def _open(self, table: dict[Scalar, Node], part: str, wanted: Kind, option: Option, done: tuple[str, ...]) -> None:
        """Makes room for a part of something that is not there yet."""
        if not any(isinstance(o, Record | Table | Arguments | Anything) for o in options(wanted)):
            name = dotted(done)
            if any(isinstance(o, Many) for o in options(wanted)):
                raise _Wrong(f"{name} is empty; add to it with --{name}+ VALUE")
            if slots(wanted):
                raise _Wrong(f"{name} is not set; choose its class with --{name} CLASS")
            raise _Wrong(f"{name} takes {describe(wanted)}, no keys of its own")
        table[part] = Node({}, option.value.place)

    def _index(self, items: list[Node], part: str, option: Option, done: tuple[str, ...]) -> int:
        """The list item of a number or a class name."""
        if part.isdigit():
            if int(part) < len(items):
                return int(part)
            raise _Wrong(f"{dotted(done)} has {len(items)} items, no {part} (they count from 0)")
        names = [_class_name(item) for item in items]
        matches = [index for index, name in enumerate(names) if name == part]
        if len(matches) == 1:
            return matches[0]
        if matches:
            where = " or ".join(f"--{dotted(done)}.{index}" for index in matches)
            raise _Wrong(f"{dotted(done)} has {len(matches)} items of class {part}; give the number, as {where}")
        known = [name for name in names if name]
        hint = meant(part, known) or (f"; it has {', '.join(known)}" if known else "")
        raise _Wrong(
            f"{dotted(done)} has no {part}{hint}" + ("" if hint else f"; add it with --{dotted(done)}+ {part}")
        )

    # -- the end of the way

    def _set(self, node: Node, kind: Kind, option: Option) -> None:
        part, done = option.parts[-1], tuple(option.parts[:-1])
        value = option.value
        node, kind = self._body(node, kind, part, option, done)
        part = self._today(kind, part, option)
        if node.items is not None:
            index = self._index(node.items, part, option, done)
            self._replace(node.items[index], inside(self.classes, node, kind, index), value, option)
            return
        if node.table is None:
            raise _Wrong(f"{dotted(done)} is no mapping, so it has no '{part}'")
        wanted = self._known(node, kind, part, done)
        if option.adds:
            self._add(node.table, part, wanted, option)
            return
        if part not in node.table:
            node.table[part] = Node(None, value.place)
        self._replace(node.table[part], wanted, value, option)

    def _add(self, table: dict[Scalar, Node], part: str, wanted: Kind, option: Option) -> None:
        lists = [o for o in options(wanted) if isinstance(o, Many | Anything)]
        if not lists:
            raise _Wrong(f"{dotted(tuple(option.parts))} is no list, so nothing can be added")
        old = table.get(part)
        items = [] if old is None or old.content is None else old.items if old.items is not None else [old]
        new = option.value.items if option.value.items is not None else [option.value]
        item_kind = lists[0].item if isinstance(lists[0], Many) else Anything()
        for item in new:
            self._to_object(item, item_kind)
        table[part] = Node([*items, *new], old.place if old is not None and items else option.value.place)

    def _to_object(self, value: Node, kind: Kind) -> None:
        if names_object(self.classes, kind, value):
            value.content, value.typed = object_node(value, value.place).content, None

    def _replace(self, old: Node, kind: Kind, value: Node, option: Option) -> None:
        """Puts a value in place: objects of the same class keep their arguments, sections and objects are merged."""
        self._to_object(value, kind)
        new, before = value.table, old.table
        if new is not None and before is not None and ("class_path" in before or "class_path" in new):
            self._replace_object(old, before, new, kind, option)
        elif new is not None and before is not None and _is_section(kind):
            self._merge(old, value, kind, option)
        else:
            old.content, old.typed, old.place, old.again = value.content, value.typed, value.place, []

    def _replace_object(
        self, old: Node, before: dict[Scalar, Node], new: dict[Scalar, Node], kind: Kind, option: Option
    ) -> None:
        chosen, text = new.get("class_path"), before.get("class_path")
        if chosen is not None and (text is None or not self._same(text, chosen, kind)):
            self._note_dropped(before, text, chosen, option)
            old.content, old.place, old.again = new, option.value.place, []
            return
        given = new.get("init_args") if chosen is not None or "init_args" in new else Node(new, option.value.place)
        if given is None or given.table is None:
            return
        body = before.setdefault("init_args", Node({}, option.value.place))
        if body.table is None:
            body.content = {}
        self._merge(body, given, inside(self.classes, old, kind, "init_args"), option)

    def _merge(self, old: Node, value: Node, kind: Kind, option: Option) -> None:
        for key, item in (value.table or {}).items():
            entry = (old.table or {}).get(key)
            if entry is None and old.table is not None:
                entry = old.table[key] = Node(None, item.place)
            if entry is not None:
                self._replace(entry, inside(self.classes, old, kind, key), item, option)

    def _same(self, first: Node, second: Node, kind: Kind) -> bool:
        if first.content == second.content:
            return True
        one, other = slot_of(self.classes, kind, first)[1], slot_of(self.classes, kind, second)[1]
        if one is None or other is None or other.problem is not None:  # a misspelt class must come to be told
            return False
        return one.found is not None and one.found == other.found

    def _note_dropped(self, before: dict[Scalar, Node], text: Node | None, chosen: Node, option: Option) -> None:
        body = before.get("init_args")
        names = ", ".join(str(key) for key in (body.table or {})) if body is not None else ""
        if names and text is not None:
            self.notes.append(
                f"--{option.name} {chosen.content}: starts from its own defaults; dropped {names}, "
                f"written for {text.content}"
            )


def _pairs(overrides: Overrides) -> list[tuple[str, object]]:
    return list(overrides.items()) if isinstance(overrides, Mapping) else [(name, value) for name, value in overrides]


def _depth(option: Option) -> int:
    return len(option.parts)


def _is_section(kind: Kind) -> bool:
    return any(
        isinstance(option, Arguments | Slot) or (isinstance(option, Record) and option.cls is None)
        for option in options(kind)
    )


def _class_name(item: Node) -> str:
    text = item.child("class_path") if item.table is not None else item
    return str(text.content).rpartition(".")[2] if text is not None and isinstance(text.content, str) else ""
