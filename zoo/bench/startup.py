"""What ``zoo bench startup`` times: the verbs that need no torch, beside the bare interpreter and LightningCLI."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from zoo.training.speed import Case, Work

VERBS = (("--help",), ("list", "recipes"), ("show", "anomaly/demo"), ("check", "anomaly/demo"))
BARE_NAME, BARE = "sys (bare interpreter)", "raise SystemExit"
LIGHTNING = "from lightning.pytorch.cli import LightningCLI; LightningCLI(args=['--help'])"


def process(*arguments: str) -> Work:
    """Work that starts an interpreter and waits for its end; RuntimeError where it failed."""

    def work() -> None:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")

    return work


def cases() -> list[Case]:
    """Wall time of a process; its memory is not that of this one and stays 0."""
    peers = {BARE_NAME: partial(process, "-c", BARE), "lightning": partial(process, "-c", LIGHTNING)}
    found = []
    for verb in VERBS:
        ours = partial(process, "-m", "zoo", *verb)
        found.append(Case(f"zoo {' '.join(verb)}", ours, peers if verb == VERBS[0] else {BARE_NAME: peers[BARE_NAME]}))
    return found
