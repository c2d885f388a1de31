"""What ``zoo bench startup`` times: the verbs that need no torch, beside the bare interpreter and LightningCLI.

A verb answers at once where it takes less than 0.1 s more than the interpreter itself: that is the second peer, the
interpreter and a sleep of 0.1 s, so that the last column says 1 or more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial

from zoo.training.speed import Case, Work

LISTS = ("recipes", "models", "losses", "metrics", "data")
VERBS = (
    ("--help",),
    ("train", "--help"),
    ("list",),
    *(("list", kind) for kind in LISTS),
    ("show", "anomaly/demo"),
    ("show", "anomaly-small"),
    ("check", "anomaly/demo"),
)
FIRST = (("show", "anomaly/demo"), ("check", "anomaly/demo"))
"""Verbs that remember what they read of the libraries' source: also timed with nothing remembered."""

BARE_NAME, BARE = "sys (bare interpreter)", "raise SystemExit"
PROMISE_NAME, PROMISE = "time (bare interpreter and 0.1 s)", "import time; time.sleep(0.1)"
LIGHTNING = "from lightning.pytorch.cli import LightningCLI; LightningCLI(args=['--help'])"
_HERE = os.getpid()
# what a process used at most is told to its parent alone, and not less than that used itself: so a small one asks
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, capture_output=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def process(*arguments: str, first: bool = False) -> Work:
    """Work that starts an interpreter and waits for its end.

    Args:
        arguments: Of the interpreter.
        first: Whether it finds an empty cache folder.

    Returns:
        The work; RuntimeError where the process failed. In another process than this one, where the bench measures
        memory, it takes as much memory as the process that it starts does at most.
    """
    command = [sys.executable, *arguments]

    def work() -> None:
        with tempfile.TemporaryDirectory() as empty:
            given = {**os.environ, "ZOO_CACHE": empty} if first else None
            shown = command if os.getpid() == _HERE else [sys.executable, "-c", PEAK, *command]
            done = subprocess.run(
                shown, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=given
            )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")
        if os.getpid() != _HERE:
            bytes_each = 1 if sys.platform == "darwin" else 1024
            _ = b"x" * (int(done.stdout) * bytes_each)

    return work


def cases() -> list[Case]:
    """Wall time of a process, and the most memory it had."""
    bare = {BARE_NAME: partial(process, "-c", BARE), PROMISE_NAME: partial(process, "-c", PROMISE)}
    found = []
    for verb in VERBS:
        peers = bare | ({"lightning": partial(process, "-c", LIGHTNING)} if verb == VERBS[0] else {})
        found.append(Case(f"zoo {' '.join(verb)}", partial(process, "-m", "zoo", *verb), peers))
    for verb in FIRST:
        name = f"zoo {' '.join(verb)}, the first time"
        found.append(Case(name, partial(process, "-m", "zoo", *verb, first=True), bare))
    return found
