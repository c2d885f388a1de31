"""What the zoo holds, read from its source as text: models, data sets, metrics, losses. Imports nothing of it."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from zoo.errors import ZooError
from zoo.recipe.light import Frozen

ZOO = Path(__file__).resolve().parents[1]
DATA_ATTRIBUTES = ("domain", "dataset", "source", "terms", "layout")
_BASES = re.compile(r"^class\s+\w+\s*\((.*?)\)\s*:", re.MULTILINE | re.DOTALL)
_FAMILIES = {"scores": "score", "similarity": "similarity"}


class Definition(Frozen):
    """A class or function of the zoo.

    Attributes:
        node: Its statement.
        file: Where it stands.
        module: Dotted name of that file.
        domain: Folder under ``zoo/domains``, empty elsewhere.
        bases: Names of the base classes, as they are called where they come from.
    """

    node: ast.ClassDef | ast.FunctionDef
    file: Path
    module: str
    domain: str = ""
    bases: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name."""
        return self.node.name

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring, on one line, references as plain names."""
        return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", " ".join(self._doc.split("\n\n")[0].split()))

    @property
    def reference(self) -> str:
        """What the docstring says after ``Source:``, on one line; empty where it says nothing."""
        found = re.search(r"^Source:[ \n]*(.*?)(?:\n\n|\n\w+:\n|\Z)", self._doc, re.DOTALL | re.MULTILINE)
        return " ".join(found[1].split()) if found else ""

    @property
    def family(self) -> str:
        """Family of a loss by its first argument; empty for any other function and for classes."""
        arguments = self.node.args.args if isinstance(self.node, ast.FunctionDef) else []
        return _FAMILIES.get(arguments[0].arg, "") if arguments else ""

    @property
    def _doc(self) -> str:
        return ast.get_docstring(self.node) or ""


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
        return [found for found in _public(self._subclasses("ZooModule")) if self._shows(found)]

    def data(self) -> list[DataSet]:
        """Subclasses of ``ZooData`` that name a data set, by domain and name.

        Raises:
            ZooError: A class attribute is missing or no plain literal.
        """
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

    def metrics(self) -> list[MetricUse]:
        """Metrics that ``zoo.metrics`` exports, with the domains that use them; then those of single domains."""
        exports = self._exports("metrics")
        shared = [found for found in exports if isinstance(found.node, ast.ClassDef) and not _is_error(found)]
        own = _public(self._subclasses("Metric"))
        users = self._users([definition.name for definition in shared])
        return [
            *(MetricUse(definition, users[definition.name]) for definition in shared),
            *(MetricUse(definition, (definition.domain,)) for definition in own),
        ]

    def losses(self) -> list[Loss]:
        """Functions of scores or similarities that ``zoo.ranking`` exports, by family and name."""
        exports = self._exports("ranking")
        classes = {found.name.lower(): found.name for found in exports if isinstance(found.node, ast.ClassDef)}
        losses = [Loss(found, classes.get(found.name.replace("_", ""), "")) for found in exports if found.family]
        return sorted(losses, key=lambda loss: (loss.function.family, loss.function.name))

    def _shows(self, definition: Definition) -> bool:
        """Whether a domain names a class in ``__all__``; one without such a list shows all."""
        front = self.root / "domains" / definition.domain / "__init__.py"
        names = _exported(front) if front.is_file() else []
        return not names or definition.name in names

    @cached_property
    def _domains(self) -> dict[Path, str]:
        """Text of every file of every domain."""
        return {file: _read(file) for file in sorted((self.root / "domains").rglob("*.py"))}

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
        names = _exported(folder / "__init__.py")
        defines = re.compile(rf"^(?:def|class) (?:{'|'.join(names)})\b", re.MULTILINE)
        texts = {file: _read(file) for file in sorted(folder.rglob("*.py"))} if names else {}
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
            self._parsed[file] = list(_statements(_parse(file, text), file, module, domain))
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


def _statements(tree: ast.Module, file: Path, module: str, domain: str) -> Iterator[Definition]:
    """The classes and functions at the top of a file."""
    original = {
        alias.asname: alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield Definition(node, file, module, domain)
        elif isinstance(node, ast.ClassDef):
            names = [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]
            yield Definition(node, file, module, domain, tuple(original.get(name, name) for name in names))


def _attributes(definition: Definition, family: list[Definition]) -> dict[str, str]:
    """The data attributes of a class, its own before those of its bases.

    Raises:
        ZooError: One is not written as a text.
    """
    values: dict[str, str] = {}
    for parent in [found for name in reversed(definition.bases) for found in family if found.name == name]:
        if parent.domain == definition.domain and parent is not definition:
            values.update(_attributes(parent, family))
    for name, node in _assigned(definition.node.body).items():
        if name not in DATA_ATTRIBUTES:
            continue
        value = _literal(node)
        if not isinstance(value, str):
            where = f"{definition.file}:{node.lineno}"
            raise ZooError(f"{where}: {definition.name}.{name} must be written as a text, it is read without importing")
        values[name] = value
    return values


def _assigned(body: list[ast.stmt]) -> Mapping[str, ast.expr]:
    """Names that are assigned plainly in a block, with the expressions; tuples are matched part by part."""
    pairs: list[tuple[ast.expr, ast.expr]] = []
    for statement in body:
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            pairs.append((statement.target, statement.value))
        elif isinstance(statement, ast.Assign):
            pairs += [(target, statement.value) for target in statement.targets]
    found: dict[str, ast.expr] = {}
    for target, value in pairs:
        both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        parts = zip(target.elts, value.elts, strict=False) if both else [(target, value)]  # type: ignore[attr-defined]
        found.update({name.id: part for name, part in parts if isinstance(name, ast.Name)})
    return found


def _exported(file: Path) -> list[str]:
    """The names in ``__all__``.

    Raises:
        ZooError: It is not written as a list of texts.
    """
    node = _assigned(_parse(file, _read(file)).body).get("__all__")
    if node is None:
        return []
    names = _literal(node)
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ZooError(
            f"{file}:{node.lineno}: __all__ must be written as a list of names, it is read without importing"
        )
    return list(names)


def _literal(node: ast.expr) -> object:
    """The value of a literal; None for any other expression."""
    try:
        value: object = ast.literal_eval(node)
    except ValueError:
        return None
    return value


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _parse(file: Path, text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise ZooError(f"{file}:{error.lineno}: this is not Python: {error.msg}") from error


def _is_error(definition: Definition) -> bool:
    bases = (getattr(builtins, name, None) for name in definition.bases)
    return any(isinstance(base, type) and issubclass(base, BaseException) for base in bases)


def _public(definitions: list[Definition]) -> list[Definition]:
    return [definition for definition in definitions if not definition.name.startswith("_")]


def _where(definition: Definition) -> str:
    return f"{definition.file}:{definition.node.lineno}"
