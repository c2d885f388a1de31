"""``zoo data``: lists and shows data sets (read as text), makes synthesized ones, verifies what is on disk."""

from __future__ import annotations

import argparse
import os
import textwrap
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.arguments import did_you_mean
from zoo.cli.catalogue import Catalogue, DataSet
from zoo.cli.list import KINDS, listing
from zoo.cli.table import table, terminal_width
from zoo.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP = "list, show, make or verify data sets"
EXAMPLES = (
    "zoo data show ucf_crime",
    "zoo data make ucf_crime --out sample --seed 1",
)

ACTIONS = {
    "list": "every data set that a recipe can name",
    "show": "where to get NAME, its terms, its layout, and where it is looked for",
    "make": "write NAME as tiny made-up data in the official format, or make it --from raw files",
    "verify": "read every item of NAME, count the splits, and name what is wrong",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    actions = "; ".join(f"{name}: {text}" for name, text in ACTIONS.items())
    parser.add_argument("action", metavar="ACTION", help=actions)
    parser.add_argument("name", metavar="NAME", nargs="?", help="a data set's name or its class (zoo data list)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="make: where to; default data/<domain>/<data set>")
    parser.add_argument("--from", dest="source", type=Path, metavar="DIR", help="make: from these raw files, resumable")
    parser.add_argument("--seed", type=int, metavar="N", help="make: seed of the made-up data; default 0")
    parser.add_argument("--overwrite", action="store_true", help="make: replace what an earlier make wrote")
    parser.add_argument("--root", metavar="DIR", help="verify: the folder; default as training looks for it")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    if args.action not in ACTIONS:
        hint = did_you_mean(args.action, ACTIONS) or f"; there are {', '.join(ACTIONS)}"
        raise InputError(f"unknown action {args.action!r}{hint}")
    _only(args, "make", "out", "seed", "overwrite", "source")
    _only(args, "verify", "root")
    if args.action == "list":
        return _list(args)
    if args.name is None:
        raise InputError(f"zoo data {args.action} needs a NAME; zoo data list shows them")
    found = find(args.name, Catalogue().data())
    if args.action == "show":
        _reject_overrides(args)
        print("\n\n".join(describe(dataset) for dataset in found))
        return 0
    if len(found) > 1:
        names = ", ".join(dataset.name for dataset in found)
        raise InputError(f"{args.name!r} is read by several classes; name one of them: {names}")
    from zoo.cli.data_files import build, make, prepare, verify

    if args.action == "make":
        place = args.out or Path("data") / found[0].domain / found[0].dataset
        if args.source is not None:
            if args.seed is not None or args.overwrite:
                raise InputError("--seed and --overwrite are for made-up data, not for data made --from raw files")
            return prepare(build(found[0], args.overrides), found[0], args.source, place)
        return make(build(found[0], args.overrides), found[0], place, args.seed or 0, args.overwrite)
    root = [("data.root", args.root)] if args.root is not None else []
    return verify(build(found[0], [*args.overrides, *root]), found[0])


def find(name: str, known: Sequence[DataSet]) -> list[DataSet]:
    """The data sets that a name means: a class, a data set, or ``domain/data set``; case does not matter.

    Raises:
        InputError: There is none; names the nearest.
    """
    ways = (_class_name, _short_name, _long_name)
    for written in (str, str.lower):  # as written first
        for calls in ways:
            found = [dataset for dataset in known if written(calls(dataset)) == written(name)]
            if found:
                return found
    names = [calls(dataset) for dataset in known for calls in ways]
    raise InputError(f"there is no data set {name!r}{did_you_mean(name, names) or '; see: zoo data list'}")


def describe(dataset: DataSet) -> str:
    """What ``zoo data show`` says of a data set."""
    rows = [
        ("class", f"{dataset.definition.module}.{dataset.name}"),
        ("source", _one_line(dataset.source)),
        ("terms", _one_line(dataset.terms)),
    ]
    looked = places(dataset)
    width = max(len(shown) for shown, _ in looked)
    return "\n".join(
        [
            f"{_long_name(dataset)}: {dataset.definition.summary}",
            table((), rows, terminal_width()),
            "layout",
            textwrap.indent(cleandoc(dataset.layout), "  "),
            "looked for in (after the recipe's root)",
            *(f"  {shown:<{width}}  {state(path)}" for shown, path in looked),
        ]
    )


def _list(args: argparse.Namespace) -> int:
    if args.name is not None:
        raise InputError(f"zoo data list takes no NAME; a pattern: zoo list data {args.name!r}")
    _reject_overrides(args)
    print(listing(KINDS["data"].columns, KINDS["data"].rows(), terminal_width()))
    return 0


def places(dataset: DataSet) -> list[tuple[str, Path]]:
    """The usual places as a user would write them, and the folders they are.

    The same as :func:`zoo.training.root.candidates`, which cannot be imported without torch.
    """
    inner = Path(dataset.domain) / dataset.dataset
    base = os.environ.get("ZOO_DATA")
    first = [(f"$ZOO_DATA/{inner}", Path(base) / inner)] if base else []
    return [*first, (f"data/{inner}", Path("data") / inner)]


def state(path: Path) -> str:
    """Whether a folder is there, in brackets."""
    if not path.is_dir():
        return "(not there)"
    return "(there)" if any(path.iterdir()) else "(empty)"


def _only(args: argparse.Namespace, action: str, *options: str) -> None:
    """Refuses options of another action."""
    for option in options:
        if args.action != action and getattr(args, option) not in (None, False):
            written = "from" if option == "source" else option
            raise InputError(f"--{written} belongs to zoo data {action}, not to {args.action}")


def _reject_overrides(args: argparse.Namespace) -> None:
    if args.overrides:
        raise InputError(f"zoo data {args.action} takes no --{args.overrides[0][0]}; make and verify do")


def _class_name(dataset: DataSet) -> str:
    return dataset.name


def _short_name(dataset: DataSet) -> str:
    return dataset.dataset


def _long_name(dataset: DataSet) -> str:
    return f"{dataset.domain}/{dataset.dataset}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
