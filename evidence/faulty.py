"""Runs the ``zoo`` command with a fault planted in it, at a place that does not depend on the clock.

    python evidence/faulty.py FAULT:N train anomaly/demo ...

FAULT, at the Nth time (from 1) that this process comes by:
    step       SIGKILL after a backward pass, before the optimizer's step
    half       SIGKILL when half of a checkpoint is on the disk
    flushed    SIGKILL when all of it is, before it is renamed
    renamed    SIGKILL right after it has got its name
    recipe     SIGKILL when the recipe is written beside its place in the run folder, before it is renamed
    cleared    SIGKILL when the Nth file of an earlier run is deleted
    row        SIGKILL right after a row of metrics.csv
    worker     SIGKILL to one of the loader processes, after a backward pass; the training itself lives on
    rank1      as step, but in the process of rank 1 only; rank0 likewise
    full       no space is left from that checkpoint on: writing fails in its middle
    gone       the folder $ZOO_FAULT_DATA is moved away, after a backward pass
    network    every connection that is asked for is told at the end; nothing else happens
    nothing    none
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAULTS = (
    "step", "half", "flushed", "renamed", "recipe", "cleared", "row", "worker", "rank0", "rank1", "full", "gone",
    "network", "nothing",
)  # fmt: skip


def die() -> None:
    """Ends this process at once, as the system does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_loader() -> None:
    """Ends one process that loads data for this one."""
    loaders = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
    if not loaders:
        raise SystemExit("no loader process to kill: give --data.workers")
    os.kill(loaders[0], signal.SIGKILL)


def at(place: Any, name: str, time: int, act: Callable[[], None], before: bool = False) -> None:
    """Makes ``place.name`` act when it is called for that time."""
    original, calls = getattr(place, name), 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if before and calls == time:
            act()
        result = original(*arguments, **named)
        if not before and calls == time:
            act()
        return result

    setattr(place, name, counted)


def plant(fault: str, time: int) -> None:
    """Prepares the fault in this process."""
    import torch

    from zoo.training import checkpoints, journal

    rank = os.environ.get("LOCAL_RANK", "0")
    if fault == "step" or (fault in ("rank0", "rank1") and fault[-1] == rank):
        at(torch.Tensor, "backward", time, die)
    elif fault == "worker":
        at(torch.Tensor, "backward", time, kill_loader)
    elif fault == "recipe":
        at(os, "replace", time, die, before=True)
    elif fault == "cleared":
        at(os, "unlink", time, die)
    elif fault == "row":
        at(journal.Table, "add", time, die)
    elif fault == "gone":
        data = os.environ["ZOO_FAULT_DATA"]
        at(torch.Tensor, "backward", time, lambda: os.rename(data, f"{data}.away"))
    elif fault in ("flushed", "renamed", "half", "full"):
        _in_a_write(checkpoints.AtomicCheckpointIO, fault, time)


class _Full:
    """A file on a disk that has room for a kilobyte."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.room = stream, 1024

    def write(self, content: bytes) -> int:
        """Writes what there is room for, and fails."""
        self.room -= len(content)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written: int = self.stream.write(content)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _in_a_write(writer: Any, fault: str, time: int) -> None:
    """Counts the checkpoints, and kills inside the Nth one's write."""
    import torch

    save, replace, original, count = torch.save, os.replace, writer.save_checkpoint, 0

    def due() -> bool:
        return count == time

    def cut(checkpoint: Any, stream: Any) -> None:
        raw = stream.stream  # below what notes the errors
        if fault == "full" and count >= time:
            stream.stream = _Full(raw)
        save(checkpoint, stream)
        if due() and fault == "half":
            raw.flush()
            raw.truncate(raw.tell() // 2)
            os.fsync(raw.fileno())
            die()

    def renaming(source: Any, target: Any) -> None:
        checkpoint = due() and Path(target).suffix == ".ckpt"
        if checkpoint and fault == "flushed":
            die()
        replace(source, target)
        if checkpoint and fault == "renamed":
            die()

    def counted(*arguments: Any, **named: Any) -> None:
        nonlocal count
        count += 1
        torch.save, os.replace = cut, renaming
        try:
            original(*arguments, **named)
        finally:
            torch.save, os.replace = save, replace

    writer.save_checkpoint = counted


def watch() -> list[str]:
    """Which connections are asked for from now on."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "faults"))
    from offline_worker import ASKED

    return ASKED


def main() -> int:
    """Plants the fault and runs the command."""
    fault, _, time = sys.argv[1].partition(":")
    if fault not in FAULTS:
        raise SystemExit(f"{fault!r}: a fault is one of {', '.join(FAULTS)}")
    asked = watch() if fault == "network" else []  # before anything is imported
    from zoo.cli import main as zoo

    if fault not in ("network", "nothing"):
        plant(fault, int(time or 1))
    try:
        return zoo(sys.argv[2:])
    finally:  # not at exit: a forked process has none
        print("".join(f"asked: {line}\n" for line in asked), end="", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
