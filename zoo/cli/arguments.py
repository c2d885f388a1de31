"""Command lines: recipe overrides, misspelt options, and an argparse that fails in the house's style."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NoReturn

from zoo.errors import InputError

ROOTS = ("seed_everything", "trainer", "model", "data", "optimizer", "lr_scheduler")
"""The top-level keys of a recipe; an option that starts with one of them is an override."""

TARGET = "a .ckpt, a .safetensors, a run folder or a pretrained model (zoo list models)"
"""What the verbs that take a trained model say of it."""

HELP_FLAGS = ("-h", "--help")

_NEGATIVE = re.compile(r"-(\d|\.\d|\.?inf\b|\.?nan\b)", re.IGNORECASE)
_OPTION = re.compile(r"--(?P<key>[^=\s]*?)(?P<add>\+?)(?:=(?P<value>.*))?", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """An argparse parser without abbreviations whose mistakes are :class:`InputError`."""

    def __init__(self, verb: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=f"zoo {verb}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raises instead of printing and exiting.

        Raises:
            InputError: Always.
        """
        text = re.sub(r"^argument ", "", message)
        raise InputError(f"{text} (see {self.prog} --help)")

    @property
    def options(self) -> frozenset[str]:
        """Every option string that this parser takes."""
        return frozenset(self._option_string_actions)

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parses; options may stand before, between and after the positional arguments.

        Raises:
            InputError: The command line is wrong; names the argument and, for options, the nearest right one.
        """
        # the intermixed way does not know "--"
        parse = self.parse_known_args if "--" in argv else self.parse_known_intermixed_args
        args, extra = parse(list(argv))
        if extra:
            self.error(f"unexpected argument {', '.join(map(repr, extra))}")
        return args


def closest(name: str, choices: Iterable[str]) -> str | None:
    """The nearest choice, whatever its case; None where none is near."""
    import difflib

    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Says ``; did you mean 'x'?`` for the nearest choice, or nothing where none is near."""
    found = closest(name, choices)
    return f"; did you mean {found!r}?" if found else ""


def is_option(token: str) -> bool:
    """Whether a token reads as an option; negative numbers and a lone dash are values."""
    return token.startswith("-") and token != "-" and not _NEGATIVE.match(token)


def before_separator(argv: Sequence[str]) -> int:
    """Position of ``--``, after which nothing is an option, or the length where there is none."""
    return argv.index("--") if "--" in argv else len(argv)


def take_flag(argv: Sequence[str], flag: str) -> tuple[list[str], bool]:
    """Removes every ``flag`` that stands before ``--``.

    Returns:
        The remaining tokens, and whether the flag was there.
    """
    end = before_separator(argv)
    kept = [token for token in argv[:end] if token != flag]
    return [*kept, *argv[end:]], len(kept) < end


def split_overrides(
    argv: Sequence[str], options: Collection[str] = (), roots: Sequence[str] = ROOTS
) -> tuple[list[str], list[tuple[str, str]]]:
    """Takes the recipe overrides out of a command line.

    An override is ``--a.b.c value``, ``--a.b.c=value``, ``--a.b.c+ value`` or ``--a.b.c+=value``, where ``a`` is a
    top-level key of a recipe. A value may be a negative number or start with ``[`` or ``{``; any other value that
    starts with a dash needs the form with ``=``. Nothing after ``--`` is touched.

    Args:
        argv: The tokens after the verb.
        options: Option strings of the verb itself; where one is written exactly so, it is no override
            (``--data`` of ``zoo eval``).
        roots: The top-level keys that may be overridden.

    Returns:
        The other tokens in their order, and the overrides in theirs as (key, value), e.g. ``("model.margin", "0.5")``;
        the key of an addition ends in ``+``, e.g. ``("trainer.callbacks+", "EarlyStopping")``.

    Raises:
        InputError: An override without a value, or an empty part in its key.
    """
    end = before_separator(argv)
    rest: list[str] = []
    overrides: list[tuple[str, str]] = []
    position = 0
    while position < end:
        token = argv[position]
        position += 1
        match = _override(token, options, roots)
        if match is None:
            rest.append(token)
            continue
        key, value = match["key"], match["value"]
        if not all(key.split(".")):
            raise InputError(f"{token}: {key!r} is no key of a recipe: a part of it is empty")
        if value is None or (match["add"] and not value):  # `--key+= value`: nothing cannot be added
            if position == end or is_option(argv[position]):
                raise InputError(_no_value(key, argv[position:end]))
            value = argv[position]
            position += 1
        overrides.append((key + match["add"], value))
    return [*rest, *argv[end:]], overrides


def _override(token: str, options: Collection[str], roots: Sequence[str]) -> re.Match[str] | None:
    match = _OPTION.fullmatch(token)
    if match is None or token.partition("=")[0] in options or match["key"].partition(".")[0] not in roots:
        return None
    return match


def _no_value(key: str, following: Sequence[str]) -> str:
    message = f"option --{key} needs a value, e.g. --{key} VALUE"
    if following and not following[0].startswith("--"):
        message += f" (a value that starts with a dash is written --{key}={following[0]})"
    return message


def check_options(argv: Sequence[str], parser: Parser, roots: Sequence[str]) -> None:
    """Names every option that the verb does not take, with the nearest right one.

    Args:
        argv: The tokens after the verb, overrides taken out.
        parser: The verb's parser.
        roots: The recipe keys that the verb lets one override; empty for none.

    Raises:
        InputError: There is such an option.
    """
    known = parser.options
    unknown = [
        token.partition("=")[0]
        for token in argv[: before_separator(argv)]
        if is_option(token) and token.partition("=")[0] not in known and not _joined(token, known)
    ]
    if unknown:
        lines = [_unknown(option, known, roots, parser.prog) for option in unknown]
        raise InputError("\n".join([*lines[:-1], f"{lines[-1]} (see {parser.prog} --help)"]))


def _joined(token: str, known: Collection[str]) -> bool:
    """A short option with its value attached, ``-ofile``."""
    return not token.startswith("--") and token[:2] in known


def _unknown(option: str, known: Collection[str], roots: Sequence[str], prog: str) -> str:
    message = f"unknown option {option!r}"
    root, dot, below = option.removeprefix("--").partition(".")
    if root.removesuffix("+") in ROOTS:
        taken = f"of a recipe's keys only {', '.join(roots)}" if roots else "no recipe overrides"
        return f"{message}: {prog} takes {taken}"
    if not dot:
        return message + did_you_mean(option, [*known, *(f"--{key}" for key in roots)])
    near = closest(root, roots)
    if near:
        return f"{message}; did you mean '--{near}.{below}'?"
    return f"{message}: an override starts with one of {', '.join(roots)}" if roots else message
