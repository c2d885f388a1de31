"""What a recipe says of itself at a glance: its head and its method, read as text without a YAML parser."""

from __future__ import annotations

import re
from pathlib import Path

from zoo.errors import InputError

_MODEL = re.compile(r"^model:(.*\n?(?:(?:[ \t].*|#.*|[ \t]*)\n)*)", re.MULTILINE)
_CLASS = re.compile(r"class_path:\s*[\"']?([\w.]+)|^\s*[\"']?([\w.]+)[\"']?\s*(?:#.*)?$", re.MULTILINE)


def recipe_rows() -> list[tuple[str, ...]]:
    """Name, domain, method and first line of the head of every named recipe."""
    from zoo.recipe import names

    rows: list[tuple[str, ...]] = []
    for name, file in names().items():
        text = recipe_text(file)
        rows.append((name, name.partition("/")[0] if "/" in name else "", method(text), first_line(text)))
    return rows


def recipe_text(file: Path) -> str:
    """Text of a recipe file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}") from error


def first_line(text: str) -> str:
    """The first line of the comment at the top that says something."""
    for line in text.splitlines():
        said = line.lstrip("#").strip()
        if line.startswith("#") and said:
            return said
        if line.strip() and not line.startswith("#") and line.strip() != "---":
            return ""
    return ""


def method(text: str) -> str:
    """Name of the model's class, without its module; empty where the text does not show it."""
    section = _MODEL.search(text + "\n")
    found = _CLASS.search(section[1]) if section else None
    return (found[1] or found[2]).rpartition(".")[2] if found else ""
