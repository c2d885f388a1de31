"""``zoo list``: what there is: recipes, models, losses, metrics, data sets. Reads text only, imports none of it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache

from zoo.cli.arguments import closest, did_you_mean
from zoo.cli.catalogue import Catalogue
from zoo.cli.heads import recipe_rows
from zoo.cli.table import table, terminal_width
from zoo.errors import InputError
from zoo.recipe.light import Frozen

HELP = "list recipes, models, losses, metrics and data sets"
EXAMPLES = ("zoo list losses", "zoo list recipes 'anomaly/*'")

Row = tuple[str, ...]
NONE = "-"


class Kind(Frozen):
    """What is listed under one name: the columns (the first holds the names) and how the rows are found."""

    columns: Row
    rows: Callable[[], list[Row]]
    one: str


@cache
def _catalogue() -> Catalogue:
    return Catalogue()


def _models() -> list[Row]:
    """Pretrained models, then the classes that recipes name."""
    from zoo.cli.show import size
    from zoo.hub import entries

    pretrained = [
        (
            entry.name,
            entry.domain,
            ", ".join(f"{name} {figure.value:.4g}" for name, figure in list(entry.metrics.items())[:3]),
            size(entry.bytes) if entry.bytes else "",
            "by hand" if entry.manual else "packed" if entry.urls[0].startswith("file://") else "download",
            f"pretrained, {entry.recipe}" + (f"; {entry.note}" if entry.note else ""),
        )
        for entry in entries().values()
    ]
    return [*pretrained, *((found.name, found.domain, "", "", "", found.summary) for found in _catalogue().models())]


def _losses() -> list[Row]:
    return [
        (
            found.function.name,
            found.module_class,
            found.function.family,
            found.function.summary,
            found.function.reference,
        )
        for found in _catalogue().losses()
    ]


def _metrics() -> list[Row]:
    return [(use.definition.name, ", ".join(use.domains), use.definition.summary) for use in _catalogue().metrics()]


def _data() -> list[Row]:
    return [(found.name, found.domain, found.dataset, found.definition.summary) for found in _catalogue().data()]


KINDS = {
    "recipes": Kind(("name", "domain", "method", "what it is"), recipe_rows, "recipe"),
    "models": Kind(("name", "domain", "metrics", "size", "how to get it", "what it is"), _models, "model"),
    "losses": Kind(("name", "module", "family", "what it is", "source"), _losses, "loss"),
    "metrics": Kind(("name", "domain", "what it is"), _metrics, "metric"),
    "data": Kind(("name", "domain", "data set", "what it is"), _data, "data set"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("kind", nargs="?", metavar="KIND", help=f"one of {', '.join(KINDS)}; all of them by default")
    parser.add_argument("glob", nargs="?", metavar="GLOB", help="names to list, e.g. 'anomaly/*'; case does not matter")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    kind, glob = args.kind, args.glob
    if kind is not None and glob is None and any(letter in kind for letter in "*?["):
        kind, glob = None, kind  # `zoo list 'rank*'`: the pattern, of every kind
    if kind is None:
        print(_brief(glob))
        return 0
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS) or f"; there are {', '.join(KINDS)}"
        raise InputError(f"unknown kind {kind!r}{hint}")
    rows = KINDS[kind].rows()
    chosen = _chosen(rows, glob)
    if glob is not None and not chosen:
        raise InputError(_nothing(kind, glob, [row[0] for row in rows]))
    print(listing(KINDS[kind].columns, chosen, terminal_width()))
    return 0


def listing(columns: Row, rows: list[Row], width: int | None) -> str:
    """The table of one kind; what is not said shows as a dash."""
    return table(columns, [tuple(text or NONE for text in row) for row in rows], width)


def _brief(glob: str | None) -> str:
    """The names of every kind that match; without a pattern what fits a screen."""
    found = {name: [row[0] for row in _chosen(kind.rows(), glob)] for name, kind in KINDS.items()}
    if glob is not None and not any(found.values()):
        raise InputError(f"nothing matches {glob!r}; zoo list shows what there is")
    if glob is None:
        found = {kind: SHORT[kind](names) if kind in SHORT else names for kind, names in found.items()}
    rows = [(kind, " ".join(names) or NONE) for kind, names in found.items() if names or glob is None]
    return f"{table((), rows, terminal_width())}\nzoo list {rows[0][0]} tells more of each; likewise the other kinds"


def _short_recipes(names: list[str]) -> list[str]:
    """A pattern per domain, with how many recipes it stands for."""
    domains = Counter(name.partition("/")[0] for name in names)
    return [f"{domain}/* ({count})" for domain, count in domains.items()]


def _short_models(names: list[str]) -> list[str]:
    """The models that come with the package, and how many others there are."""
    from zoo.hub import entries

    packed = [name for name in names if name in entries() and entries()[name].source == "ours"]
    left = len(names) - len(packed)
    return [*packed, f"and {left} more"] if left else packed


def _short_data(names: list[str]) -> list[str]:
    """How many data sets each domain reads."""
    domains = Counter(found.domain for found in _catalogue().data() if found.name in names)
    return [f"{domain} ({count})" for domain, count in domains.items()]


SHORT: dict[str, Callable[[list[str]], list[str]]] = {
    "recipes": _short_recipes,
    "models": _short_models,
    "data": _short_data,
}
"""How kinds of very many names are told in short."""


def _chosen(rows: list[Row], glob: str | None) -> list[Row]:
    return [row for row in rows if glob is None or fnmatchcase(row[0].lower(), glob.lower())]


def _nothing(kind: str, glob: str, names: list[str]) -> str:
    near = closest(glob, names)
    inside = [name for name in names if glob.lower() in name.lower()]
    hint = f"; did you mean {near!r}?" if near else f"; try '*{glob}*'" if inside else f"; zoo list {kind} shows all"
    return f"no {KINDS[kind].one} matches {glob!r}{hint}"
