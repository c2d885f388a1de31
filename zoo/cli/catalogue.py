"""What the zoo holds, read from its source as text: models, data sets, metrics, losses. Imports nothing of it.

What was found is remembered (:mod:`zoo.recipe.remembered`) until any file of the packages is another.
"""

from __future__ import annotations

import builtins
import os
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from zlib import adler32, crc32

from zoo.cli import definitions
from zoo.cli.definitions import DATA_ATTRIBUTES, Definition, definition_of, exported, parse, read_text, statements
from zoo.errors import ZooError
from zoo.recipe import remembered
from zoo.recipe.light import Frozen

ZOO = Path(__file__).resolve().parents[1]
_BASES = re.compile(r"^class\s+\w+\s*\((.*?)\)\s*:", re.MULTILINE | re.DOTALL)
PACKAGES = ("domains", "metrics", "ranking")
T = TypeVar("T")


class Loss(Frozen):
    """A ranking loss: the function, and the name of its module of the same options (empty where it has none)."""

    function: Definition
    module_class: str


class DataSet(Frozen):
    """A data set: its class, and what the class attributes say."""

    definition: Definition
    domain: str
    dataset: str
    source: str
    terms: str
    layout: str

    @property
    def name(self) -> str:
        """Name of the class."""
        return self.definition.name


class MetricUse(Frozen):
    """A metric: its class, and the domains that use it."""

    definition: Definition
    domains: tuple[str, ...]


class Catalogue:
    """Reads the packages of a zoo; what was read once is kept.

    Args:
        root: Folder of the package ``zoo``.
    """

    def __init__(self, root: Path = ZOO) -> None:
        self.root = root
        self._parsed: dict[Path, list[Definition]] = {}

    def models(self) -> list[Definition]:
        """Subclasses of ``ZooModule`` that their domain exports (bases it keeps to itself), by domain and name."""
        return self._remembered("models", self._models, definition_of)

    def data(self) -> list[DataSet]:
        """Subclasses of ``ZooData`` that name a data set, by domain and name.

        Raises:
            ZooError: A class attribute is missing or no plain literal.
        """
        return self._remembered("data", self._data, lambda row: DataSet(definition_of(row[0]), *row[1:]))

    def metrics(self) -> list[MetricUse]:
        """Metrics that ``zoo.metrics`` exports, with the domains that use them; then those of single domains."""
        return self._remembered("metrics", self._metrics, lambda row: MetricUse(definition_of(row[0]), tuple(row[1])))

    def losses(self) -> list[Loss]:
        """Functions of scores or similarities that ``zoo.ranking`` exports, by family and name."""
        return self._remembered("losses", self._losses, lambda row: Loss(definition_of(row[0]), row[1]))

    def _remembered(self, what: str, find: Callable[[], list[T]], read: Callable[[list[Any]], T]) -> list[T]:
        """What was found before, where no file of the packages changed since."""
        key = f"catalogue.{what} {self.root}"
        rows = remembered.get(key, self._state)
        if rows is not None:
            return [read(row) for row in rows]
        found = find()
        remembered.put(key, self._state, [_row(one) for one in found])
        return found

    @cached_property
    def _state(self) -> remembered.Stamp:
        """Another one whenever a file of the packages is changed, added or taken away."""
        files = sorted(entry for package in PACKAGES for entry in _files(self.root / package))
        readers = (__file__, definitions.__file__)  # another version of them may find something else
        files += [(file, remembered.stamp_of(os.stat(file))) for file in readers]
        text = "\n".join(f"{path} {' '.join(map(str, stamp))}" for path, stamp in files).encode()
        newest = [max((stamp[part] for _, stamp in files), default=0) for part in (1, 2)]
        return crc32(text) << 32 | adler32(text), newest[0], newest[1]

    def _models(self) -> list[Definition]:
        return [found for found in _public(self._subclasses("ZooModule")) if self._shows(found)]

    def _data(self) -> list[DataSet]:
        definitions = self._subclasses("ZooData")
        found = []
        for definition in _public(definitions):
            values = _attributes(definition, definitions)
            if "dataset" not in values:  # a base of several data sets
                continue
            missing = [name for name in DATA_ATTRIBUTES if name not in values]
            if missing:
                raise ZooError(f"{_where(definition)}: {definition.name} lacks the class attribute {missing[0]!r}")
            found.append(DataSet(definition, **values))
        return found

    def _metrics(self) -> list[MetricUse]:
        exports = self._exports("metrics")
        shared = [found for found in exports if found.is_class and not _is_error(found)]
        own = _public(self._subclasses("Metric"))
        users = self._users([definition.name for definition in shared])
        return [
            *(MetricUse(definition, users[definition.name]) for definition in shared),
            *(MetricUse(definition, (definition.domain,)) for definition in own),
        ]

    def _losses(self) -> list[Loss]:
        exports = self._exports("ranking")
        classes = {found.name.lower(): found.name for found in exports if found.is_class}
        losses = [Loss(found, classes.get(found.name.replace("_", ""), "")) for found in exports if found.family]
        return sorted(losses, key=lambda loss: (loss.function.family, loss.function.name))

    def _shows(self, definition: Definition) -> bool:
        """Whether a domain names a class in ``__all__``; one without such a list shows all."""
        front = self.root / "domains" / definition.domain / "__init__.py"
        names = exported(front) if front.is_file() else []
        return not names or definition.name in names

    @cached_property
    def _domains(self) -> dict[Path, str]:
        """Text of every file of every domain."""
        return {file: read_text(file) for file in sorted((self.root / "domains").rglob("*.py"))}

    @cached_property
    def _hints(self) -> dict[Path, _Hints]:
        """What every file of every domain shows without being parsed."""
        return {file: _hints(text) for file, text in self._domains.items()}

    def _subclasses(self, base: str) -> list[Definition]:
        """Classes of the domains whose bases lead to ``base`` by name, through classes of their own domain."""
        known: dict[tuple[str, str], Definition] = {}
        waiting, parsed = dict(self._domains), list[Definition]()
        while True:
            names = {base, *(name for _, name in known)}
            for file in [file for file in waiting if self._hints[file].may_derive(names)]:
                parsed += self._definitions(file, waiting.pop(file))
            more = {
                (found.domain, found.name): found
                for found in parsed
                if any(name == base or (found.domain, name) in known for name in found.bases)
            }
            if len(more) == len(known):
                return [known[key] for key in sorted(known)]
            known = more

    def _exports(self, package: str) -> list[Definition]:
        """What a package names in ``__all__`` and defines in one of its files, in the order of ``__all__``."""
        folder = self.root / package
        if not (folder / "__init__.py").is_file():
            return []
        names = exported(folder / "__init__.py")
        defines = re.compile(rf"^(?:def|class) (?:{'|'.join(names)})\b", re.MULTILINE)
        texts = {file: read_text(file) for file in sorted(folder.rglob("*.py"))} if names else {}
        found = {
            definition.name: definition
            for file, text in texts.items()
            if defines.search(text)
            for definition in self._definitions(file, text)
        }
        return [found[name] for name in names if name in found]

    def _users(self, metrics: list[str]) -> dict[str, tuple[str, ...]]:
        """The domains that mention each metric."""
        users: dict[str, set[str]] = {name: set() for name in metrics}
        mention = re.compile(rf"\b(?:{'|'.join(metrics)})\b")
        for file, text in self._domains.items() if metrics else ():
            for name in set(mention.findall(text)):
                users[name].add(file.relative_to(self.root).parts[1])
        return {name: tuple(sorted(domains)) for name, domains in users.items()}

    def _definitions(self, file: Path, text: str) -> list[Definition]:
        if file not in self._parsed:
            parts = file.relative_to(self.root).with_suffix("").parts
            module = ".".join(("zoo", *parts)).removesuffix(".__init__")
            domain = parts[1] if parts[0] == "domains" and len(parts) > 2 else ""
            self._parsed[file] = list(statements(parse(file, text), file, module, domain))
        return self._parsed[file]


class _Hints(Frozen):
    """Words of a file, so that most files need not be parsed.

    Attributes:
        bases: Every word among the bases of its classes.
        aliases: Names and what they are imported as.
    """

    bases: frozenset[str]
    aliases: tuple[tuple[str, str], ...]

    def may_derive(self, names: set[str]) -> bool:
        """Whether the file may hold a class derived from one of ``names``."""
        return not self.bases.isdisjoint({*names, *(alias for name, alias in self.aliases if name in names)})


def _hints(text: str) -> _Hints:
    words = (word for bases in _BASES.findall(text) for word in re.findall(r"\w+", bases))
    return _Hints(frozenset(words), tuple(re.findall(r"\b(\w+)\s+as\s+(\w+)", text)))


def _attributes(definition: Definition, family: list[Definition]) -> dict[str, str]:
    """The data attributes of a class, its own before those of its bases.

    Raises:
        ZooError: One is not written as a text.
    """
    values: dict[str, str] = {}
    for parent in [found for name in reversed(definition.bases) for found in family if found.name == name]:
        if parent.domain == definition.domain and parent is not definition:
            values.update(_attributes(parent, family))
    for name, (value, line) in definition.values.items():
        if not isinstance(value, str):
            where = f"{definition.file}:{line}"
            raise ZooError(f"{where}: {definition.name}.{name} must be written as a text, it is read without importing")
        values[name] = value
    return values


def _is_error(definition: Definition) -> bool:
    bases = (getattr(builtins, name, None) for name in definition.bases)
    return any(isinstance(base, type) and issubclass(base, BaseException) for base in bases)


def _public(definitions: list[Definition]) -> list[Definition]:
    return [definition for definition in definitions if not definition.name.startswith("_")]


def _where(definition: Definition) -> str:
    return f"{definition.file}:{definition.line}"


# -- remembering


def _files(folder: Path | str) -> Iterator[tuple[str, remembered.Stamp]]:
    """Every Python file below a folder with its state."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _files(entry.path)
        elif entry.name.endswith(".py"):
            yield entry.path, remembered.stamp_of(entry.stat())


def _row(value: Any) -> Any:
    """What JSON can hold of a thing that was found, for ``definition_of`` and its like."""
    if isinstance(value, Frozen):
        return [_row(part) for part in value.contents()]
    return str(value) if isinstance(value, Path) else value
