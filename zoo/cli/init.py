"""``zoo init``: looks at a user's own data and writes a commented recipe that trains on it."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

from zoo.errors import InputError, ZooError
from zoo.starts import Fit, Place, Start, domains, start_of

HELP = "write a commented recipe that trains on your own data"
EXAMPLES = ("zoo init calibration --data photos", "zoo init detection --data shelf/boxes.csv --out shelf.yaml")

COMMENTS = 64  # column at which comments start at the latest
SPLITS = ("train", "val", "test")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("domain", metavar="DOMAIN", help=f"one of {', '.join(domains())}")
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="folder of the data, or its csv")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: DOMAIN.yaml")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    start = start_of(args.domain)
    out = args.out or Path(f"{args.domain}.yaml")
    if out.suffix not in (".yaml", ".yml"):
        raise InputError(f"--out {out}: a recipe's name ends in .yaml")
    if out.is_dir() or (out.exists() and not args.overwrite):
        raise InputError(f"{out}: exists already; pass --overwrite, or name another file with --out")
    place = look(args.data)
    fit = start.fit(place, args.domain)
    print(f"{fit.data}: {fit.why}", flush=True)
    data, counts = _read(args.domain, start, place, fit)
    text = compose(args.domain, start, place, fit, data, counts, out, args.data)
    _write(text, out)
    print(f"read: {counts}")
    print(f"wrote {out}; now: zoo train {_shown(out)}")
    return 0


def look(given: Path) -> Place:
    """The place that a user names, a folder or a file in one.

    Raises:
        InputError: There is none, it is empty, or a relative path means another folder to a recipe.
    """
    if not given.exists():
        there = sorted(place.name for place in given.parent.iterdir()) if given.parent.is_dir() else []
        near = [name for name in there if name.lower() == given.name.lower()]
        hint = f"; did you mean {given.parent / near[0]}?" if near else ""
        raise InputError(f"--data {given}: there is no such folder or file{hint}")
    place = Place(given) if given.is_dir() else Place(given.parent, given.name)
    if given.is_dir() and not any(given.iterdir()):
        raise InputError(f"--data {given}: the folder is empty")
    base = os.environ.get("ZOO_DATA")
    other = Path(base) / place.root if base else None
    if other is not None and not place.root.is_absolute() and other.is_dir() and not other.samefile(place.root):
        raise InputError(
            f"--data {given}: a recipe would read {other}, because ZOO_DATA goes first; give the whole path: "
            f"--data {shlex.quote(str(given.resolve()))}"
        )
    return place


def _read(domain: str, start: Start, place: Place, fit: Fit) -> tuple[Any, str]:
    """The data, and how much of it there is."""
    package = import_module(f"zoo.domains.{domain}")
    data = start.read(getattr(package, fit.data), _root(place), fit)
    numbers = [f"{len(data.items(split))} {split}" for split in SPLITS]
    names = list(getattr(data, "class_names", []))
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return data, ", ".join(numbers) + (f"; {len(names)} classes: {shown}" if names else "")


def compose(domain: str, start: Start, place: Place, fit: Fit, data: Any, counts: str, out: Path, given: Path) -> str:
    """The recipe.

    Args:
        domain: Name of the domain.
        start: What it declares.
        place: Where the data lies.
        fit: How it is read.
        data: The data.
        counts: How much there is, for the head.
        out: Where the recipe will be.
        given: The path as the user wrote it.
    """
    command = f"zoo init {domain} --data {_shown(given)}" + (
        "" if out.name == f"{domain}.yaml" else f" --out {_shown(out)}"
    )
    run = f"runs/{out.stem}"
    head = [
        f"{domain} on your own data, with a small network that a CPU trains. Written by: {command}",
        "",
        f"Data:    {fit.data}, because {fit.why}",
        f"         {counts}",
        f"Train:   zoo train {_shown(out)}      then zoo report {run}",
        f"Check:   zoo eval {run}; zoo predict {run} FILES",
        f"Try:     any key by --KEY VALUE, e.g. --trainer.max_epochs 50; zoo check {_shown(out)} names mistakes",
        f"Beyond:  zoo list recipes '{domain}/*' has the paper's settings; zoo/domains/{domain}/README.md is the card",
    ]
    values = {
        "head": "\n".join(f"# {line}".rstrip() for line in head),
        "data": fit.data,
        "root": f"{_plain(_root(place))}   # relative to the folder where zoo runs" if not place.root.is_absolute()
        else _plain(_root(place)),
        "arguments": _arguments(type(data), fit.arguments),
        **start.values(data),
    }  # fmt: skip
    filled = re.sub(r"\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), start.recipe)
    return aligned("\n".join(line for line in filled.splitlines() if line.strip()) + "\n")


def _arguments(data_class: type, given: dict[str, Any]) -> str:
    """Arguments of the class as lines, each with what the class says of it."""
    said = inspect.getdoc(data_class) or ""
    lines = []
    for name, value in given.items():
        found = re.search(rf"^    {name}: (.*(?:\n     +.*)*)", said, re.MULTILINE)
        text = " ".join(found[1].split()) if found else ""
        note = re.split(r"(?<=[a-z`)]); |\. ", text)[0].replace("``", "").rstrip(".")
        lines.append(f"    {name}: {_plain(value)}" + (f"  # {note}" if note else ""))
    return "\n".join(lines)


def aligned(text: str) -> str:
    """The text with the comments behind its values below each other."""
    pairs = [re.match(r"(\s*[^#\s].*?)\s{2,}# (.*)$", line) for line in text.splitlines()]
    width = max((len(pair[1]) for pair in pairs if pair and len(pair[1]) < COMMENTS), default=0)
    lines = [
        f"{pair[1]:<{width}}  # {pair[2]}" if pair else line
        for pair, line in zip(pairs, text.splitlines(), strict=True)
    ]
    return "\n".join(lines) + "\n"


def _write(text: str, out: Path) -> None:
    """Writes the recipe, after a check by the rules of ``zoo check``."""
    from zoo.recipe import check, read
    from zoo.training.whole import whole

    out.parent.mkdir(parents=True, exist_ok=True)
    with whole(out) as working:
        working.write_text(text, encoding="utf-8")
        mistakes = [str(mistake) for mistake in check(read(working))]
        if mistakes:
            raise ZooError(f"{out}: was not written, the recipe has mistakes: {'; '.join(mistakes)}")


def _root(place: Place) -> str:
    return place.root.as_posix()


def _plain(value: Any) -> str:
    """A value as YAML has it, on one line."""
    import yaml

    return (
        str(yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True))
        .removesuffix("...\n")
        .strip()
    )


def _shown(path: Path) -> str:
    return shlex.quote(path.as_posix())
