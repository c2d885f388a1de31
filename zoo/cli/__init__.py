"""The command line: ``zoo VERB ...``. Verbs are imported when they run, so that help and lists answer at once."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from zoo._version import __version__
from zoo.cli import failures
from zoo.cli.arguments import (
    HELP_FLAGS,
    ROOTS,
    Parser,
    before_separator,
    check_options,
    did_you_mean,
    split_overrides,
    take_flag,
)
from zoo.errors import InputError


class Verb(NamedTuple):
    """One row of the verb table.

    Attributes:
        help: One line.
        alias: A second name.
        overrides: Top-level recipe keys that the verb takes as ``--key.sub value``; ``args.overrides`` holds them.
    """

    help: str
    alias: str | None = None
    overrides: tuple[str, ...] = ()


VERBS = {
    "train": Verb("train a model by a recipe", "fit", ROOTS),
    "eval": Verb("evaluate a checkpoint", "test", ROOTS),
    "predict": Verb("predict on files of your own", None, ROOTS),
    "list": Verb("list recipes, models, losses, metrics and data sets"),
    "show": Verb("show a recipe, or what a checkpoint says of itself"),
    "init": Verb("write a commented recipe that trains on your own data"),
    "check": Verb("name every mistake of recipes, by file and line", None, ROOTS),
    "data": Verb("list, show, make or verify data sets", None, ("data",)),
    "convert": Verb("turn a released checkpoint of the authors into one of this zoo"),
    "download": Verb("fetch pretrained models, or all that a recipe needs, and verify them"),
    "cache": Verb("list, verify or clear what zoo keeps in its cache folder"),
    "publish": Verb("evaluate a checkpoint and write it as a pretrained model with its card", None, ("data",)),
    "export": Verb("write a network by torch.export or as ONNX, checked against the original"),
    "report": Verb("write one HTML page over runs: curves, metrics with intervals, differences, worst cases"),
    "doctor": Verb("show versions, devices, cache and data, and what a recipe would miss"),
    "bench": Verb("time a domain's work, ours and peers' side by side"),
}
"""The verbs; ``zoo/cli/<name>.py`` holds each, with ``HELP``, ``EXAMPLES``, ``arguments(parser)``, ``run(args)``."""

START = (
    ("zoo predict quality-small --sample", "ask a model that comes with the package"),
    ("zoo train calibration/demo", "train in seconds, on digits that scikit-learn carries"),
    ("zoo report runs/calibration/demo", "one page about it"),
    ("zoo init calibration --data FOLDER", "a recipe for data of your own"),
    ("zoo list", "what there is"),
)
"""What to try first."""

AT_ONCE = ("list", "show", "check")
"""Verbs that make objects for a tenth of a second and end: collecting garbage would be a third of it."""

OVERRIDES_HELP = "any recipe key can be overridden: --model.margin 0.5, --trainer.callbacks+=EarlyStopping"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
        argv: The command line without the program's name; None for the process's own, which is never changed.

    Returns:
        The exit code: 0, 1 (failed while running) or 2 (the user's input is wrong).
    """
    tokens, debug = take_flag(sys.argv[1:] if argv is None else argv, "--debug")
    ends = argv is None and tokens[:1] != [] and tokens[0] in AT_ONCE
    if ends:
        gc.set_threshold(100_000, 100, 100)
    try:
        code = _run(tokens, debug)
        sys.stdout.flush()  # a closed pipe shows here rather than when Python ends
    except (Exception, KeyboardInterrupt) as error:
        return failures.report(error, debug)
    except SystemExit as error:
        if not failures.is_stop(error):
            raise
        return failures.report(error, debug)
    finally:
        if ends:
            gc.freeze()  # Python looks through all objects as it ends, but not through these
    return code


def _run(tokens: list[str], debug: bool) -> int:
    """Finds the verb, parses its command line and runs it."""
    if not tokens or tokens[0] in HELP_FLAGS:
        print(_help())
        return 0
    if tokens[0] in ("-V", "--version"):
        print(f"zoo {__version__}")
        return 0
    name = {verb.alias: key for key, verb in VERBS.items() if verb.alias}.get(tokens[0], tokens[0])
    if name not in VERBS:
        if name.startswith("-"):
            raise InputError(f"the verb comes first: zoo VERB ... {name}{did_you_mean(name, ('--help', '--version'))}")
        names = [key for verb, row in VERBS.items() for key in (verb, row.alias) if key]
        raise InputError(f"unknown verb {name!r}{did_you_mean(name, names)} (zoo --help lists the verbs)")
    verb, module, rest = VERBS[name], import_module(f"zoo.cli.{name}"), tokens[1:]
    parser = _parser(name, module)
    if any(token in HELP_FLAGS for token in rest[: before_separator(rest)]):
        print(parser.format_help(), end="")
        return 0
    overrides: list[tuple[str, str]] = []
    if verb.overrides:
        rest, overrides = split_overrides(rest, parser.options, verb.overrides)
    check_options(rest, parser, verb.overrides)
    args = parser.read(rest)
    args.debug, args.overrides = debug, overrides
    return int(module.run(args))


def _parser(name: str, module: ModuleType) -> Parser:
    verb = VERBS[name]
    alias = f" (also: zoo {verb.alias})" if verb.alias else ""
    notes = [f"{OVERRIDES_HELP}\n"] if verb.overrides == ROOTS else []
    epilog = "\n".join([*notes, "examples:", *(f"  {line}" for line in module.EXAMPLES)])
    parser = Parser(name, f"{module.HELP}{alias}", epilog)
    module.arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _help() -> str:
    """The help of ``zoo`` itself, from the table alone."""
    rows = [(f"{name}, {verb.alias}" if verb.alias else name, verb.help) for name, verb in VERBS.items()]
    lines = [
        "usage: zoo VERB ...",
        "",
        "A PyTorch Lightning model zoo whose domains share one ranking-loss core.",
        "",
        "verbs:",
        *(f"  {names:<12}{text}" for names, text in rows),
        "",
        "options:",
        f"  {'-h, --help':<12}show this help; zoo VERB --help shows a verb's",
        f"  {'--version':<12}show the version",
        f"  {'--debug':<12}show the traceback of an error (any verb)",
        "",
        "start with:",
        *(f"  {command:<36}{text}" for command, text in START),
    ]
    return "\n".join(lines)
