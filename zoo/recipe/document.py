"""YAML text -> a tree of nodes with lines, read as jsonargparse reads it, every duplicate key noticed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import yaml

from zoo.recipe.light import Fields, field
from zoo.recipe.mistakes import Mistake, Place
from zoo.recipe.nodes import MAX_DEPTH, Node, Scalar, copy, walk

MAX_BYTES = 1_000_000
MAX_NODES = 50_000
LONGEST = 14_000  # bits; beyond 4,300 digits Python refuses to write a number, however it was given
_TAG = "tag:yaml.org,2002:"
_SCALARS = {_TAG + name for name in ("null", "bool", "int", "float", "str", "merge", "value")}
_FLOAT = re.compile(
    r"""^(?:
     [-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)
    |\.[0-9_]+(?:[eE][-+][0-9]+)?
    |[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)


class Scalars:
    """Resolvers as jsonargparse sets them: ``1e-3`` is a float, a date is text. For a loader and a dumper alike."""

    @classmethod
    def install(cls, target: Any) -> None:
        """Gives a PyYAML loader or dumper class resolvers of its own."""
        dropped = {_TAG + "timestamp", _TAG + "float"}
        target.yaml_implicit_resolvers = {
            letter: [(tag, pattern) for tag, pattern in pairs if tag not in dropped]
            for letter, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }
        target.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+0123456789."))


class _Loader(yaml.SafeLoader):
    """Reads one scalar."""


Scalars.install(_Loader)
_READER = _Loader("")
_EVENTS = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = yaml.reader.Reader.NON_PRINTABLE


class _Broken(Exception):
    """Nothing can be read beyond this mistake."""


def scalar(text: str) -> Scalar:
    """The value of plain text, e.g. ``1e-3`` -> 0.001.

    Raises:
        ValueError: It looks like a number and is none.
    """
    return _construct(_READER.resolve(yaml.ScalarNode, text, (True, False)), text)


def _construct(tag: str, text: str) -> Scalar:
    if tag in (_TAG + "merge", _TAG + "value"):
        return text
    value: Scalar = _READER.construct_object(yaml.ScalarNode(tag, text), deep=True)
    if isinstance(value, int) and value.bit_length() > LONGEST:
        raise ValueError("a whole number that Python does not write down again")
    return value


class _Frame(Fields):
    """A collection being read. ``waits``: what the next node is; ``drop`` is the value of a key that cannot be one."""

    node: Node
    anchor: str | None
    waits: Literal["key", "value", "drop", "merge"] = "key"
    key: Scalar = None
    line: int = 0
    merges: list[Node] = field(default_factory=list)


class _Composer:
    def __init__(self, source: str, aliases: bool) -> None:
        self.source, self.aliases = source, aliases
        self.mistakes: list[Mistake] = []
        self.root: Node | None = None
        self.stack: list[_Frame] = []
        self.anchors: dict[str, Node] = {}
        self.count = 0

    def say(self, line: int, text: str) -> None:
        self.mistakes.append(Mistake(Place(self.source, line), text))

    def stop(self, line: int, text: str) -> None:
        self.say(line, text)
        raise _Broken

    def run(self, events: Iterator[yaml.Event]) -> None:
        documents = 0
        for event in events:
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.stop(line, "a second document starts here; a recipe is one document")
            elif isinstance(event, yaml.AliasEvent):
                self.attach(self.alias(event.anchor or "", line), line)
            elif isinstance(event, yaml.ScalarEvent):
                node = Node(self.value(event, line), Place(self.source, line))
                if event.anchor:
                    self.anchors[event.anchor] = node
                self.attach(node, line, merge=event.value == "<<" and event.implicit[0])
            elif isinstance(event, yaml.CollectionStartEvent):
                self.open(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.close()

    def value(self, event: yaml.ScalarEvent, line: int) -> Scalar:
        tag = event.tag
        if tag is None or tag == "!":
            tag = _READER.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag not in _SCALARS:
            self.say(line, f"the tag '{tag.removeprefix(_TAG)}' is not allowed in a recipe")
            return str(event.value)
        try:
            return _construct(tag, event.value)
        except (ValueError, KeyError, yaml.YAMLError):
            self.say(line, f"'{event.value:.60}' is no {tag.removeprefix(_TAG)}")
            return str(event.value)

    def open(self, event: yaml.CollectionStartEvent, line: int) -> None:
        if len(self.stack) >= MAX_DEPTH:
            self.stop(line, f"nested more than {MAX_DEPTH} levels deep")
        if event.tag is not None and event.tag not in (_TAG + "map", _TAG + "seq", "!"):
            self.say(line, f"the tag '{event.tag.removeprefix(_TAG)}' is not allowed in a recipe")
        mapping = isinstance(event, yaml.MappingStartEvent)
        self.stack.append(_Frame(Node({} if mapping else [], Place(self.source, line)), event.anchor))

    def close(self) -> None:
        frame = self.stack.pop()
        line = frame.node.place.line
        if isinstance(frame.node.content, dict):
            for other in frame.merges:
                for key, value in (other.table or {}).items():
                    frame.node.content.setdefault(key, value)
        if frame.anchor:
            self.anchors[frame.anchor] = frame.node
        self.attach(frame.node, line)

    def alias(self, name: str, line: int) -> Node:
        if not self.aliases:
            self.stop(line, f"the alias '*{name}' is not allowed here")
        if name not in self.anchors:
            self.stop(line, f"the alias '*{name}' has no anchor before it")
        original = self.anchors[name]
        self.count += sum(1 for _ in walk(original)) - 1
        if self.count > MAX_NODES:
            self.stop(line, f"too large: more than {MAX_NODES} values")
        return copy(original)

    def attach(self, node: Node, line: int, merge: bool = False) -> None:
        self.count += 1
        if self.count > MAX_NODES:
            self.stop(line, f"too large: more than {MAX_NODES} values")
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        if isinstance(frame.node.content, list):
            frame.node.content.append(node)
        elif frame.waits == "key":
            self.set_key(frame, node, line, merge)
        else:
            waited, frame.waits = frame.waits, "key"
            if waited == "value":
                self.set_value(frame, node)
            elif waited == "merge":
                self.merge(frame, node, line)

    def set_key(self, frame: _Frame, node: Node, line: int, merge: bool) -> None:
        if isinstance(node.content, dict | list):
            self.say(line, "a key must be text, here is a mapping or a list")
            frame.waits = "drop"
        elif merge:
            frame.waits = "merge"
        else:
            frame.waits, frame.key, frame.line = "value", node.content, line

    def merge(self, frame: _Frame, node: Node, line: int) -> None:
        sources = node.items if node.items is not None else [node]
        if any(source.table is None for source in sources):
            self.say(line, "'<<' merges mappings, here is something else")
        frame.merges.extend(sources)

    def set_value(self, frame: _Frame, node: Node) -> None:
        key, place, outer = frame.key, Place(self.source, frame.line), frame.node
        table = outer.table if outer.table is not None else {}
        if key in table:
            first = next((value for name, value in outer.again if name == key), table[key])
            self.mistakes.append(Mistake(place, f"'{key}' stands twice; first on line {first.place.line}"))
            outer.again.append((key, table[key]))
        table[key] = Node(node.content, place, node.typed, node.again)


def compose(text: str, source: str, *, aliases: bool = True) -> tuple[Node | None, list[Mistake]]:
    """Reads one YAML document.

    Args:
        text: The document.
        source: What the mistakes call it.
        aliases: Whether anchors may be repeated (``*name``); not in text that nobody vouches for.

    Returns:
        The tree, None where there is none, and every mistake met: bad YAML ends the reading, a key that stands
        twice, a tag or a key that is no text does not.
    """
    if len(text) > MAX_BYTES:
        return None, [Mistake(Place(source, 1), f"too large: more than {MAX_BYTES} characters")]
    odd = _UNPRINTABLE.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        return None, [Mistake(Place(source, line), f"the character {odd.group()!r} is not allowed in YAML")]
    composer = _Composer(source, aliases)
    try:
        composer.run(yaml.parse(text, Loader=_EVENTS))
    except _Broken:
        return None, composer.mistakes
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        composer.say(mark.line + 1 if mark else 1, f"this is not YAML: {what}")
        return None, composer.mistakes
    except yaml.YAMLError as error:
        composer.say(1, f"this is not YAML: {error}")
        return None, composer.mistakes
    return composer.root, composer.mistakes


def head_lines(text: str) -> list[str]:
    """The comment lines above the first key, without their ``#``."""
    head = []
    for line in text.splitlines():
        if not line.startswith("#"):
            if line.strip() and line.strip() != "---":
                break
            continue
        head.append(line[1:].removeprefix(" ").rstrip())
    return head
