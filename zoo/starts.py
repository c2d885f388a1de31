"""How a recipe for a user's own data starts: what a domain declares for ``zoo init``. Imports no torch.

A domain brings ``zoo/domains/<domain>/own.py`` with ``START``. That file is run by itself, without its package, so that
looking at a folder costs no torch: it imports the standard library, ``zoo.errors`` and this module, anything else only
inside its functions.
"""

from __future__ import annotations

import csv
import difflib
import importlib.util
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from textwrap import indent
from typing import Any

from zoo.errors import InputError

DOMAINS = Path(__file__).resolve().parent / "domains"
DECLARATION = "own.py"
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
SHOWN = 6  # names of a folder in a message


@dataclass(frozen=True)
class Place:
    """A user's data.

    Attributes:
        root: The folder.
        named: The file in it that was named; empty where the folder was.
    """

    root: Path
    named: str = ""

    def tables(self, *usual: str, ending: str = ".csv") -> list[str]:
        """Tables to look at: the one that was named, else those of usual names, then the others of the folder."""
        if self.named:
            return [self.named] if self.named.lower().endswith(ending) else []
        there = sorted(file.name for file in self.root.iterdir() if file.suffix.lower() == ending and file.is_file())
        return [*(name for name in usual if name in there), *(name for name in there if name not in usual)]

    def head(self, table: str) -> list[str]:
        """Names of the columns of a csv; none where it cannot be read."""
        try:
            with (self.root / table).open(newline="", encoding="utf-8-sig") as stream:
                line = stream.readline(1 << 16)
        except (OSError, UnicodeDecodeError):
            return []
        row = next(csv.reader([line], delimiter=max(",;\t", key=line.count)), [])
        return [name.strip() for name in row]

    def has(self, pattern: str) -> bool:
        """Whether a file or folder below the root matches a pattern."""
        return next(self.root.glob(pattern), None) is not None

    def folders_of_images(self, folder: str = ".") -> list[str]:
        """Names of the folders below one that hold images, at any depth."""
        base = self.root / folder
        found = sorted(place for place in base.iterdir() if place.is_dir()) if base.is_dir() else []
        return [place.name for place in found if not place.name.startswith(".") and _holds_image(place)]

    @cached_property
    def holds(self) -> str:
        """What lies there, in a few words."""
        names = [self.named] if self.named else sorted(place.name for place in self.root.iterdir())
        folders = [f"{name}/" for name in names if (self.root / name).is_dir()]
        tables = [name for name in names if name.lower().endswith((".csv", ".json", ".yaml", ".txt", ".tsv"))]
        heads = [f"{name} (columns {', '.join(self.head(name))})" if name.endswith(".csv") else name for name in tables]
        others = Counter(
            Path(name).suffix or name for name in names if f"{name}/" not in folders and name not in tables
        )
        counts = [f"{count} {kind}" for kind, count in others.most_common(3)]
        return ", ".join([*_few(heads), *_few(folders), *counts]) or "nothing"


@dataclass(frozen=True)
class Fit:
    """A layout that data has.

    Attributes:
        data: Class of the domain that reads it.
        why: What shows it, in words.
        arguments: Of the class, beside the root.
    """

    data: str
    why: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A layout of data that a domain takes.

    Attributes:
        title: What it is, on one line.
        example: A tiny one.
        fits: What reads a place; None where the place has another layout.
    """

    title: str
    example: str
    fits: Callable[[Place], Fit | None]


def reads(data_class: Any, root: str, fit: Fit) -> Any:
    """The data of a fit, read as it stands."""
    return data_class(root=root, **fit.arguments)


@dataclass(frozen=True)
class Start:
    """What a domain declares.

    Attributes:
        layouts: In the order in which they are tried.
        recipe: The recipe with ``{name}`` where something is filled in. ``zoo init`` fills in ``{head}``, ``{data}``
            (class), ``{root}``, and ``{arguments}``: those of the fit with what the class says of them.
        values: What else is filled in, by name, from the data.
        read: Builds the data to look at it.
    """

    layouts: tuple[Layout, ...]
    recipe: str
    values: Callable[[Any], dict[str, Any]]
    read: Callable[[Any, str, Fit], Any] = reads

    def fit(self, place: Place, domain: str) -> Fit:
        """The first layout that a place has.

        Raises:
            InputError: It has none; shows a tiny example of each.
        """
        for layout in self.layouts:
            found = layout.fits(place)
            if found is not None:
                return found
        examples = "\n".join(f"  {layout.title}\n{indent(layout.example.strip(), ' ' * 6)}" for layout in self.layouts)
        given = place.root / place.named if place.named else place.root
        raise InputError(f"{given}: has none of the layouts that {domain} takes (there is {place.holds}):\n{examples}")


def domains() -> list[str]:
    """Names of the domains that declare a start."""
    return sorted(file.parent.name for file in DOMAINS.glob(f"*/{DECLARATION}"))


def start_of(domain: str) -> Start:
    """What a domain declares.

    Raises:
        InputError: There is no such domain; names the nearest.
    """
    known = domains()
    if domain not in known:
        near = difflib.get_close_matches(domain, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"there is no domain {domain!r}{hint} (there are {', '.join(known)})")
    file = DOMAINS / domain / DECLARATION
    spec = importlib.util.spec_from_file_location(f"zoo_own_{domain}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Start = module.START
    return found


# -- numbers of a recipe


def batch_of(items: int, most: int = 32, least: int = 2, per_epoch: int = 8) -> int:
    """A power of two: as large as leaves some steps to an epoch."""
    batch = most
    while batch > least and items < per_epoch * batch:
        batch //= 2
    return min(batch, max(1, items))


def epochs_of(items: int, batch: int, steps: int = 800, least: int = 5, most: int = 100) -> int:
    """As many epochs as make about so many steps in all."""
    return max(least, min(most, round(steps / max(1, items // batch))))


def column(head: Sequence[str], *names: str) -> str:
    """The first of some names among the columns of a table; empty where there is none."""
    return next((name for name in names if name in head), "")


def image_side(files: Sequence[Path], at_most: int = 64) -> tuple[int, int]:
    """Median height and width of some images; ``(0, 0)`` where none can be read."""
    from statistics import median

    from PIL import Image

    sizes = []
    for file in files[:: max(1, len(files) // at_most)][:at_most]:
        try:
            with Image.open(file) as image:
                turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                sizes.append(image.size[:: 1 if turned else -1])
        except (OSError, ValueError):
            continue
    return (int(median(size[0] for size in sizes)), int(median(size[1] for size in sizes))) if sizes else (0, 0)


def _holds_image(folder: Path) -> bool:
    return any(file.suffix.lower() in IMAGES for file in folder.rglob("*"))


def _few(names: list[str]) -> list[str]:
    return names if len(names) <= SHOWN else [*names[:SHOWN], f"{len(names) - SHOWN} more"]
