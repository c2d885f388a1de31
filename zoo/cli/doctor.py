"""``zoo doctor``: what is installed, where things lie, and what a recipe would miss."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from zoo._version import __version__
from zoo.cli.catalogue import Catalogue
from zoo.cli.data import places, state
from zoo.cli.table import table, terminal_width
from zoo.errors import InputError, ZooError

HELP = "show versions, devices, cache and data, and what a recipe would miss"
EXAMPLES = ("zoo doctor anomaly/demo", "zoo doctor quality/graded_flickr8k")

DISTRIBUTION = "rankzoo"

Rows = list[tuple[str, ...]]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="also say what this recipe would miss here")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    for title, found in (("packages", packages), ("machine", machine), ("places", folders), ("data sets", data_sets)):
        print(f"{title}\n{_indented(found())}\n")
    if args.recipe is None:
        print("zoo doctor RECIPE says what a recipe would miss here")
        return 0
    needed = list(recipe(args.recipe))
    missing = sum(bool(problem) for _, _, problem in needed)
    rows: Rows = [("missing" if problem else "there", what, problem or place) for what, place, problem in needed]
    print(f"recipe {args.recipe}\n{_indented(rows)}")
    if missing:
        raise InputError(f"{args.recipe} would miss {missing} of {len(needed)} things here")
    return 0


def packages() -> Rows:
    """Version of each package that the zoo uses; of an extra that is not installed, how to install it."""
    rows: Rows = [("zoo", __version__)]
    for text in requires(DISTRIBUTION) or []:
        requirement, _, condition = text.partition(";")
        name = requirement.split("[")[0].split("<")[0].split(">")[0].split("=")[0].split("!")[0].split("~")[0].strip()
        extra = condition.partition("extra ==")[2].strip(" '\"")
        if extra == "dev" or any(name == row[0] for row in rows):
            continue
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            hint = f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {name}"
            rows.append((name, f"not installed ({hint})"))
    return rows


def machine() -> Rows:
    """Processor, threads, devices."""
    from zoo.training.history import environment

    shown = ("python", "system", "processor", "threads", "devices")
    return [(name, text) for name, text in environment().items() if name in shown]


def folders() -> Rows:
    """The cache and the data root, and what decides them."""
    from zoo.hub.cache import models_dir

    cache = models_dir().parent
    size = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file()) if cache.is_dir() else 0
    data = os.environ.get("ZOO_DATA")
    return [
        ("cache", f"{cache} ({size / 2**20:.0f} MiB; ZOO_CACHE changes it, zoo cache list shows it)"),
        ("ZOO_DATA", f"{data} {state(Path(data))}" if data else "not set; data is looked for in data/ alone"),
    ]


def data_sets() -> Rows:
    """Data sets that are on disk: class, place."""
    rows: Rows = []
    for dataset in Catalogue().data():
        for shown, path in places(dataset):
            if state(path) == "(there)":
                rows.append((f"{dataset.domain}/{dataset.dataset}", dataset.name, shown))
    return rows or [("none found", "zoo data list names them, zoo data show NAME says where to get each", "")]


def recipe(name: str) -> Iterator[tuple[str, str, str]]:
    """What a recipe needs: in words, where it is, or what is missing.

    Raises:
        InputError: The recipe has mistakes.
    """
    from zoo.hub import needs
    from zoo.recipe import build_data, read

    wanted = needs(name)
    plan = read(name)
    try:
        data = build_data(plan)
        yield f"data of {type(data).__name__}", str(data.folder()), ""
    except ZooError as error:
        yield "data", "", str(error)
    for need in wanted:
        try:
            yield need.what, need.fetch(offline=True), ""
        except ZooError as error:
            yield need.what, "", str(error).removeprefix(f"{need.what}: ")


def _indented(rows: Rows) -> str:
    text = table((), rows, None if (width := terminal_width()) is None else width - 2)
    return "\n".join(f"  {line}" for line in text.splitlines())
