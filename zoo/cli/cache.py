"""``zoo cache``: lists, verifies or clears what zoo keeps in its cache folder."""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase

from zoo.cli.arguments import did_you_mean
from zoo.cli.show import size
from zoo.cli.table import table, terminal_width
from zoo.errors import InputError, ZooError

HELP = "list, verify or clear what zoo keeps in its cache folder"
EXAMPLES = ("zoo cache verify", "zoo cache clear models")
ACTIONS = ("list", "verify", "clear")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("action", nargs="?", default="list", metavar="ACTION", help="list (default), verify or clear")
    parser.add_argument(
        "what", nargs="*", metavar="WHAT", help="of clear: a kind (models, synthesized, ...), a name or a glob"
    )
    parser.add_argument("--all", action="store_true", help="of clear: everything")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    if args.action not in ACTIONS:
        raise InputError(f"unknown action {args.action!r}{did_you_mean(args.action, ACTIONS)}; list, verify or clear")
    if args.action != "clear" and (args.what or args.all):
        raise InputError(f"zoo cache {args.action} takes nothing more")
    if args.action == "verify":
        return _verify()
    return _list() if args.action == "list" else _clear(args.what, args.all)


def _list() -> int:
    from zoo import cache_dir
    from zoo.hub.cache import items

    found = items()
    if found:
        rows = [(item.kind, item.path.name, size(item.bytes), item.state) for item in found]
        print(table(("kind", "name", "size", "state"), rows, terminal_width()))
    print(f"{cache_dir()}: {size(sum(item.bytes for item in found))} in {len(found)} items")
    return 0


def _verify() -> int:
    from zoo.hub.cache import verify

    found = verify()
    rows = []
    for item, wrong in found:
        states = {"whole": "ok", "partial": "unfinished, zoo download goes on", "converted": "no hash is known"}
        rows.append((item.path.name, wrong or states.get(item.state, "not in the index")))
    if rows:
        print(table((), rows))
    bad = [item.path for item, wrong in found if wrong]
    if bad:
        raise ZooError(f"{len(bad)} of {len(found)} models are damaged: zoo cache clear {bad[0].name}")
    print(f"{len(found)} models")
    return 0


def _clear(what: list[str], everything: bool) -> int:
    from zoo import cache_dir
    from zoo.hub.cache import KINDS, clear, items

    if everything == bool(what):
        raise InputError(f"zoo cache clear takes --all, or what to clear: {', '.join(KINDS)}, or a name")
    found = items()
    chosen = [item for item in found if everything or any(_meant(item.kind, item.path.name, text) for text in what)]
    for text in what:
        if text not in KINDS and not any(_meant(item.kind, item.path.name, text) for item in found):
            names = [*KINDS, *(item.path.name for item in found)]
            raise InputError(f"nothing in {cache_dir()} is called {text!r}{did_you_mean(text, names)}")
    gone, busy = clear(chosen)
    for item in busy:
        print(f"left {item.path.name}: a process is downloading it")
    print(f"{cache_dir()}: {size(sum(item.bytes for item in gone))} freed, {len(gone)} items deleted")
    return 0


def _meant(kind: str, name: str, text: str) -> bool:
    shown = name.removeprefix(".").removesuffix(".part")
    return text == kind or fnmatchcase(name, text) or fnmatchcase(shown, text) or shown.startswith(f"{text}-")
