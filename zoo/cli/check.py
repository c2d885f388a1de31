"""``zoo check``: names every mistake of recipes at once; imports torch only where source text leaves something open."""

from __future__ import annotations

import argparse
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.failures import lines
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.recipe import Recipe

HELP = "name every mistake of recipes, by file and line"
EXAMPLES = ("zoo check anomaly/demo mine.yaml", "zoo check recipes/ --trainer.max_epochs 3")
WRONG = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "recipes",
        nargs="+",
        metavar="RECIPE",
        help="a recipe file, a name, a pattern of names ('anomaly/*'), or a folder with recipes",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the verb: mistakes on stderr, ``ok`` per good recipe on stdout."""
    from zoo.recipe import check, read

    bad = 0
    before: Recipe | None = None
    sources = expand(args.recipes)
    for source in sources:
        try:
            recipe = before = read(source, args.overrides, beside=before)
            found = [str(mistake) for mistake in check(recipe)]
        except InputError as error:
            found = lines(error)
        if found:
            bad += 1
            sys.stdout.flush()
            print("\n".join(found), file=sys.stderr, flush=True)
            continue
        for note in recipe.notes:
            print(f"note: {note}")
        print(f"{recipe.origin}: ok")
    if bad and len(sources) > 1:
        print(f"error: {bad} of {len(sources)} recipes cannot be used", file=sys.stderr)
    return WRONG if bad else 0


def expand(named: list[str]) -> list[str]:
    """Turns folders and patterns into recipes; each once, in the order named.

    Raises:
        InputError: A folder without recipes, or a pattern that matches none.
    """
    found: dict[str, None] = {}
    for text in named:
        found.update(dict.fromkeys(_expanded(text)))
    return list(found)


def _expanded(text: str) -> list[str]:
    from zoo.recipe import names

    path = Path(text)
    if path.is_dir() and text not in names():
        files = sorted(str(file) for file in path.rglob("*") if file.suffix in (".yaml", ".yml") and file.is_file())
        if not files:
            raise InputError(f"{text}: this folder holds no recipe (*.yaml)")
        return files
    if not path.exists() and any(letter in text for letter in "*?["):
        matches = [name for name in names() if fnmatchcase(name, text)]
        if not matches:
            raise InputError(f"no recipe matches {text!r}; see: zoo list recipes")
        return matches
    return [text]
