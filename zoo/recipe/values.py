"""The check of a recipe's values against what source code asks for; nothing is imported."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.recipe.classes import Classes
from zoo.recipe.kinds import (
    IMPORTABLE,
    Anything,
    Arguments,
    Choice,
    Kind,
    Known,
    Many,
    Name,
    OneOf,
    Record,
    Row,
    Simple,
    Slot,
    Table,
    a,
    describe,
    is_plain,
    options,
    shown,
)
from zoo.recipe.light import Fields, field
from zoo.recipe.mistakes import Mistake, Place, meant, meant_or_known, nearest
from zoo.recipe.modules import Opaque
from zoo.recipe.nodes import Node, Path, Scalar, dotted, label
from zoo.recipe.scalars import accepts, read_value
from zoo.recipe.steps import names_object, slots
from zoo.recipe.symbols import Class, Function
from zoo.recipe.trust import refusal

SPEC = ("class_path", "init_args", "dict_kwargs")


class Check(Fields):
    """Collects mistakes.

    Attributes:
        classes: Resolves class paths.
        mistakes: What is wrong for certain.
        doubts: Paths of the objects about which only an import can tell.
        unsure: Paths of the objects of which the text shows no mistake, but an import may.
        refusals: Those of the mistakes that name code which nobody vouches for.
    """

    classes: Classes
    mistakes: list[Mistake] = field(default_factory=list)
    doubts: list[Path] = field(default_factory=list)
    unsure: list[Path] = field(default_factory=list)
    refusals: list[Mistake] = field(default_factory=list)

    def say(self, place: Place, text: str, refused: bool = False) -> None:
        """Adds a mistake."""
        self.mistakes.append(Mistake(place, text))
        if refused:
            self.refusals.append(self.mistakes[-1])

    def value(self, node: Node, kind: Kind, path: Path) -> None:
        """Checks one value, whatever it is.

        Args:
            node: The value.
            kind: What is wanted.
            path: Where it stands in the recipe.
        """
        if node.void:
            return
        if any(isinstance(option, Anything) and not option.known for option in options(kind)):
            self.unsure.append(owner(path))
        if node.table is not None:
            self._mapping(node, kind, path)
        elif node.items is not None:
            self._list(node, node.items, kind, path)
        else:
            self._scalar(node, kind, path)

    def _expected(self, node: Node, kind: Kind, path: Path) -> None:
        hint = ""
        if isinstance(node.content, str):
            listed = [option.values for option in options(kind) if isinstance(option, Choice)]
            listed += [option.words for option in options(kind) if isinstance(option, Known)]
            words = [word for values in listed for word in values if isinstance(word, str)]
            hint = meant(node.content, words)
        self.say(node.place, f"{label(node, path)}expected {describe(kind)}, got {given(node)}{hint}")

    def _best(self, node: Node, kinds: list[Kind], path: Path) -> None:
        """Reports against the alternative that fits best."""
        trials = []
        for kind in kinds:
            trial = Check(self.classes)
            trial.value(node, kind, path)
            trials.append(trial)
        best = min(trials, key=lambda trial: len(trial.mistakes))
        self.mistakes += best.mistakes
        self.doubts += best.doubts
        self.unsure += best.unsure
        self.refusals += best.refusals

    # -- scalars and lists

    def _scalar(self, node: Node, kind: Kind, path: Path) -> None:
        self._guard(node, kind, path)
        if accepts(kind, node):
            self._named(node, kind, path)
            return
        if isinstance(node.content, str) and names_object(self.classes, kind, node):
            self._object(node, node.content, None, slots(kind)[0], path)
        else:
            self._expected(node, kind, path)

    def _named(self, node: Node, kind: Kind, path: Path) -> None:
        """Text that can only be the import path of a function or class must lead to one."""
        others = [option for option in options(kind) if not isinstance(option, Name)]
        named = isinstance(node.content, str) and not (others and accepts(OneOf(tuple(others)), node))
        words = [option.words for option in options(kind) if isinstance(option, Known)]
        if named or (words and isinstance(node.content, str) and node.content not in words[0]):
            self.unsure.append(owner(path))
        if named and IMPORTABLE.fullmatch(str(node.content)):
            problem = self.classes.missing(str(node.content))
            if problem is not None:
                self.say(node.place, f"{label(node, path)}{problem}")

    def _guard(self, node: Node, kind: Kind, path: Path) -> None:
        """Text that a constructor's types could turn into an import must be as trusted as a class path."""
        trust = self.classes.trust
        if trust.whole or node.place.line == 0 or not isinstance(node.content, str) or is_plain(kind):
            return
        if any(isinstance(option, Slot) for option in options(kind)) and not accepts(kind, node):
            return  # it is taken for a class path, and judged as one
        if IMPORTABLE.fullmatch(node.content) and not self.classes.importable(node.content):
            self.say(node.place, f"{dotted(path)}: {refusal(node.content)}", refused=True)
        elif not isinstance(read_value(node.content, node).content, str | int | float | None):
            self.say(node.place, f"{dotted(path)}: quoted YAML is not read here, got {given(node)}", refused=True)

    def _list(self, node: Node, items: list[Node], kind: Kind, path: Path) -> None:
        alternatives = options(kind)
        fitting: list[Kind] = [o for o in alternatives if isinstance(o, Many | Row)]
        if any(isinstance(option, Anything) for option in alternatives):
            fitting = [Many(Anything())]
        if not fitting:
            self._expected(node, kind, path)
        elif len(fitting) > 1:
            self._best(node, fitting, path)
        elif isinstance(fitting[0], Row) and len(fitting[0].items) != len(items):
            wanted = describe(fitting[0])
            self.say(node.place, f"{label(node, path)}expected {wanted}, got {given(node)}")
        else:
            for index, item in enumerate(items):
                only = fitting[0]
                inner = only.items[index] if isinstance(only, Row) else only.item if isinstance(only, Many) else only
                self.value(item, inner, (*path, index))

    # -- mappings

    def _mapping(self, node: Node, kind: Kind, path: Path) -> None:
        alternatives = options(kind)
        choices = slots(kind)
        tables: list[Kind] = [o for o in alternatives if isinstance(o, Record | Table | Arguments)]
        loose = any(isinstance(option, Anything) for option in alternatives)
        marked = bool(choices) and any(_like_spec(key) for key, _ in node.entries())
        if marked:
            self._spec(node, None if loose else self._choose(node, choices), path)
        elif loose:
            self._loose(node, path)
        elif len(tables) > 1:
            self._best(node, tables, path)
        elif tables:
            self._table(node, tables[0], path)
        elif choices:
            self._spec(node, choices[0], path)
        else:
            self._expected(node, kind, path)

    def _choose(self, node: Node, choices: list[Slot]) -> Slot:
        text = node.child("class_path")
        if text is not None and text.text is not None and len(choices) > 1:
            found = self.classes.resolve(text.text).found
            return next((slot for slot in choices if self.classes.fits(found, slot)), choices[0])
        return choices[0]

    def _loose(self, node: Node, path: Path) -> None:
        text = node.child("class_path")
        if text is not None and text.text is not None and IMPORTABLE.fullmatch(text.text):
            self._spec(node, None, path)
            return
        for key, value in node.entries():
            self.value(value, Anything(), (*path, key if isinstance(key, int) else str(key)))

    def _table(self, node: Node, kind: Kind, path: Path) -> None:
        if isinstance(kind, Table):
            for key, value in node.entries():
                if not accepts(kind.key, Node(key, value.place)):
                    self.say(value.place, f"{label(node, path)}expected keys of {describe(kind.key)}, got {shown(key)}")
                self.value(value, kind.value, (*path, key if isinstance(key, int) else str(key)))
        elif isinstance(kind, Record):
            kinds = {name: entry.kind for name, entry in kind.fields.items()}
            needed = [name for name, entry in kind.fields.items() if entry.required]
            names = Names(kind.name, kinds, needed, root=kind.sections)
            self._entries(node, names, path, node.place)
        elif isinstance(kind, Arguments):
            names = Names(kind.name, kind.better, [], owned=kind.owned)
            self._arguments(node, kind.cls, names, path, node.place)

    # -- objects

    def _spec(self, node: Node, slot: Slot | None, path: Path) -> None:
        known: dict[str, Node] = {}
        astray: list[tuple[Scalar, Node]] = []
        for key, value in node.entries():
            free = [name for name in SPEC[:2] if node.child(name) is None]
            close = key if key in SPEC else nearest(key, free) if isinstance(key, str) else None
            if close is None:
                astray.append((key, value))
                continue
            if close != key:
                self.say(value.place, f"an object takes class_path and init_args, no '{key}'; did you mean '{close}'?")
            known[str(close)] = value
        text, arguments = known.get("class_path"), known.get("init_args")
        if text is None:
            wanted = f" (of {a(slot.name)})" if slot is not None else ""
            at = arguments.place if arguments is not None else node.place
            self.say(at, f"{dotted(path)}: class_path{wanted} is missing; an object is class_path and init_args")
            for key, value in astray:
                self.say(value.place, f"an object takes class_path and init_args, no '{key}'")
            return
        if text.void:
            return
        if text.text is None:
            self.say(text.place, f"{label(text, (*path, 'class_path'))}expected a class path, got {given(text)}")
            return
        self._object(text, text.text, arguments, slot, path)
        if "dict_kwargs" in known:
            self.unsure.append(path)
            self.value(known["dict_kwargs"], Table(Simple("str"), Anything()), (*path, "dict_kwargs"))
        parameters = self.classes.signature(self.classes.resolve(text.text, slot, vouched(text)).found).parameters
        for key, value in astray:
            belongs = nearest(str(key), parameters)
            why = f"; '{belongs}' belongs under init_args" if belongs else "; arguments belong under init_args"
            self.say(value.place, f"an object takes class_path and init_args, no '{key}'{why}")

    def _object(self, text: Node, path_text: str, arguments: Node | None, slot: Slot | None, path: Path) -> None:
        result = self.classes.resolve(path_text, slot, vouched(text))
        if result.problem is not None:
            self.say(text.place, result.problem, result.refused)
        elif not isinstance(result.found, Class) or self.classes.fits(result.found, slot) is None:
            self.doubts.append(path)
        elif not self.classes.sure(result.found):
            self.unsure.append(path)
        names = Names(result.name, {}, [], given=slot.given if slot is not None else frozenset())
        names.complete = self.classes.fits(result.found, slot) is not False  # else another class must be named anyway
        body = arguments if arguments is not None else Node({}, text.place)
        self._arguments(body, result.found, names, (*path, "init_args"), text.place)

    def _arguments(
        self, node: Node, found: Class | Function | Opaque | None, names: Names, path: Path, place: Place
    ) -> None:
        if node.void:
            return
        if node.content is None:
            self.unsure.append(owner(path))
            node = Node({}, node.place)
        if node.table is None:
            self.say(node.place, f"{label(node, path)}expected mapping of {names.owner}'s arguments, got {given(node)}")
            return
        signature = self.classes.signature(found)
        parameters = signature.parameters.values()
        kinds = {p.name: self.classes.annotations.of(p) for p in parameters if p.name not in names.given}
        names.kinds = kinds | dict(names.kinds)
        names.needed = [p.name for p in parameters if p.required and p.name in names.kinds and names.complete]
        names.open, names.found = signature.open, found is not None
        if signature.open:
            self.unsure.append(owner(path))
        self._entries(node, names, path, place)

    def _entries(self, node: Node, names: Names, path: Path, place: Place) -> None:
        """Checks keys and values of a mapping with known keys; ``place`` is where a missing one is reported."""
        present = [key for key, _ in node.entries()]
        usable = [name for name in names.kinds if name not in names.owned]
        free = [name for name in usable if name not in present]
        guessed: set[str] = set()
        for key, value in node.entries():
            inner = (*path, key if isinstance(key, int) else str(key))
            if not isinstance(key, str):
                self.say(value.place, f"{names.owner} takes named arguments, got the key {shown(key)}")
            elif key in names.owned:
                self.say(value.place, f"'{key}' is not for a recipe: {names.owned[key]}")
            elif key in names.given:
                self.say(value.place, f"{names.owner}'s '{key}' is not for a recipe: zoo passes it")
            elif key in names.kinds:
                self.value(value, names.kinds[key], inner)
            elif names.open:
                if names.found:
                    self.doubts.append(path[:-1] if path[-1:] == ("init_args",) else path)
                self.value(value, Anything(), inner)
            else:
                others = free if nearest(key, free) else usable  # a name may be misspelt beside itself
                close = nearest(key, others)
                self.say(value.place, names.refuse(key, others))
                if close is not None:
                    guessed.add(close)
                    self.value(value, names.kinds[close], inner)
        for name in names.needed:
            if name not in present and name not in guessed:
                self.say(place, names.miss(name))


class Names(Fields):
    """The keys of a mapping, and how messages speak of them.

    Attributes:
        owner: Class or mapping that has them.
        kinds: What each takes.
        needed: Which must be there.
        given: Which are passed while running.
        owned: Which zoo keeps for itself, with the reason.
        root: Whether the keys are the sections of a recipe.
        open: Whether there may be more keys.
        found: Whether the owner was found at all.
        complete: Whether it is worth saying what is missing.
    """

    owner: str
    kinds: Mapping[str, Kind]
    needed: list[str]
    given: frozenset[str] = frozenset()
    owned: Mapping[str, str] = field(default_factory=dict)
    root: bool = False
    open: bool = False
    found: bool = True
    complete: bool = True

    def refuse(self, key: str, free: list[str]) -> str:
        """What is said of a key that is none of these."""
        if self.root:
            return f"there is no section '{key}'{meant_or_known(key, free)}"
        return f"{self.owner} takes no '{key}'{meant_or_known(key, free)}"

    def miss(self, name: str) -> str:
        """What is said of a missing key."""
        return f"the section '{name}' is missing" if self.root else f"{self.owner} needs '{name}'"


def _like_spec(key: Scalar) -> bool:
    return isinstance(key, str) and (key in SPEC or nearest(key, SPEC[:2]) is not None)


def owner(path: Path) -> Path:
    """The path of the object that a value belongs to."""
    for length in range(len(path) - 1, -1, -1):
        if path[length] == "init_args":
            return path[:length]
    return path[:1]


def vouched(text: Node) -> bool:
    """Whether the user typed it as an option, which is as good as trust."""
    return text.place.line == 0


def given(node: Node) -> str:
    """A value in a message."""
    if node.table is not None:
        keys = ", ".join(str(key) for key in node.table)
        return f"a mapping with {keys}" if 0 < len(keys) < 60 else "a mapping"
    if node.items is not None:
        inner = ", ".join(given(item) for item in node.items)
        return f"[{inner}]" if len(inner) < 60 else f"a list of {len(node.items)}"
    if isinstance(node.content, dict | list):
        return "a collection"
    return shown(node.typed if node.typed and isinstance(node.content, str) else node.content)
