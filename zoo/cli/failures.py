"""What a user sees of an error: a few plain lines on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import select
import sys

from zoo.errors import ZooError

FAILED, LONGEST = 1, 3000


def report(error: BaseException, debug: bool) -> int:
    """Prints an error and gives the exit code that belongs to it.

    Args:
        error: What stopped the verb.
        debug: Whether to print the traceback too.

    Returns:
        The error's own exit code (2 for wrong input), or 1.
    """
    if isinstance(error, BrokenPipeError) and _stdout_closed():
        return FAILED  # the reader (head, less) has seen enough: nothing to say
    if debug:
        import traceback

        traceback.print_exception(error)
    for line in lines(error):
        print(line, file=sys.stderr)
    return error.exit_code if isinstance(error, ZooError) else FAILED


def is_stop(error: SystemExit) -> bool:
    """Whether Lightning ended its loop for Ctrl-C or SIGTERM; of the latter it would tell success."""
    return isinstance(error.__context__, KeyboardInterrupt) or type(error).__name__ == "SIGTERMException"


def lines(error: BaseException) -> list[str]:
    """The lines that tell an error.

    Mistakes of a recipe (an error with ``mistakes``) stand as ``file:line: what``, as compilers write them and editors
    read them; every other line starts with ``error:``, unless it is indented and so belongs to the one before.
    """
    if isinstance(error, ZooError):
        mistakes = getattr(error, "mistakes", None)
        if mistakes:
            return [_plain(line) for mistake in mistakes for line in str(mistake).splitlines()]
        told = [line if line[:1].isspace() else f"error: {line}" for line in str(error).splitlines()]
        return [_plain(line) for line in told]
    return [_plain(f"error: {_other(error)}")]


def _plain(line: str) -> str:
    """A line for a terminal: what files are quoted with may be anything, commands to the terminal among it."""
    if not line.isprintable():
        line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 400]} ... {line[-300:]}"


def _other(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted"
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename is not None else ""
        hint = "; free some space and run again" if error.errno == errno.ENOSPC else ""
        return f"{place}{error.strerror.lower()}{hint}"
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}{': ' if text else ''}{text} (run with --debug for the traceback)"


def _stdout_closed() -> bool:
    """Whether nobody reads stdout any more; then it is pointed elsewhere, so that Python's last flush is quiet."""
    try:
        stdout = sys.stdout.fileno()
    except (AttributeError, OSError):  # none, or one that is no file
        return False
    poll = select.poll()
    poll.register(stdout, 0)  # errors are reported without being asked for
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout)
    return True
