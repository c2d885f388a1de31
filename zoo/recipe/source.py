"""Where recipes lie: a path, else a name in the current folder, in the wheel, beside an editable install."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.errors import InputError
from zoo.recipe.mistakes import near

_PACKAGE = Path(__file__).resolve().parents[1]
_SUFFIXES = (".yaml", ".yml")


def folders() -> list[Path]:
    """The folders of named recipes, nearest first."""
    checkout = [_PACKAGE.parent / "recipes"] if (_PACKAGE.parent / "pyproject.toml").is_file() else []
    return [Path("recipes"), _PACKAGE / "_recipes", *checkout]


def names() -> dict[str, Path]:
    """All named recipes, e.g. ``anomaly/demo``, by name; of equal names the nearest."""
    found: dict[str, Path] = {}
    for folder in folders():
        for file in sorted(folder.rglob("*.yaml")):
            if file.is_file():
                found.setdefault(file.relative_to(folder).with_suffix("").as_posix(), file)
    return dict(sorted(found.items()))


def find(name: str | os.PathLike[str]) -> Path:
    """The file of a recipe.

    Args:
        name: A path, or a name such as ``anomaly/demo``.

    Raises:
        InputError: There is none; says what is near.
    """
    text = os.fspath(name)
    path = Path(text)
    if not text or "\0" in text:
        raise InputError("a recipe needs a name or a path")
    if path.suffix in _SUFFIXES or path.is_absolute():
        places = [path]
    else:
        places = [path, *(base / f"{text}.yaml" for base in (Path(), *folders()))]
    for place in places:
        if place.is_file():
            return place
    raise InputError(_nothing(text, places))


def _nothing(text: str, places: list[Path]) -> str:
    if places[0].is_dir():
        return f"{text} is a folder; name a recipe file, or one of: zoo list recipes"
    known = list(names())
    wanted = text.removesuffix(".yaml").removesuffix(".yml").removeprefix("recipes/")
    close = near(wanted, known)
    last = wanted.rpartition("/")[2]
    close = close or [name for name in known if last and last in name.rpartition("/")[2]]
    close = close or near(wanted, [name.rpartition("/")[2] for name in known])
    hint = f"; did you mean {' or '.join(repr(name) for name in close[:3])}?" if close else "; see: zoo list recipes"
    return f"there is no recipe '{text}'{hint}"


def name_of(path: Path) -> str:
    """``anomaly/demo`` for ``recipes/anomaly/demo.yaml``, the stem otherwise."""
    parts = path.resolve().parts
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] in ("recipes", "_recipes"):
            return Path(*parts[index + 1 :]).with_suffix("").as_posix()
    return path.stem


def origin_of(path: Path) -> str:
    """A path as messages show it: short where it lies under the current folder."""
    whole, here = path.resolve(), Path.cwd()
    return whole.relative_to(here).as_posix() if whole.is_relative_to(here) else os.fspath(path)
