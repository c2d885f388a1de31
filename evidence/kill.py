"""Kills a training with SIGKILL again and again, resumes it, and compares the end with an uninterrupted run.

    python evidence/kill.py --recipe anomaly/demo --kills 10

First at the places of ``evidence/faulty.py`` (inside a step, half of a checkpoint written, before and after its rename,
after a row of metrics.csv, a loader process), then at random moments. After each kill every file in the run folder must
be whole. Exits 0 only if weights, optimizer, averaged weights, best.ckpt and metrics.csv (but its time column) are
identical to those of the uninterrupted run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from PIL import Image

FAULTY = Path(__file__).with_name("faulty.py")
HANGS = 124
CHILDREN = 120.0  # seconds that what it started may take to end
SLOW = ("torchvision", "torchmetrics", "lightning.pytorch", "timm", "matplotlib.pyplot", "jsonargparse", "zoo.training")
PLANTED = ("row:2", "step:3", "half:2", "flushed:1", "renamed:2", "worker:2")
# what is killed beside the process that was started, and what that one must say of it
SURVIVED = {"worker": "a data loader process died", "rank1": "lost another process of this training"}


@dataclass
class Outcome:
    """What a trial gave.

    Attributes:
        kills: How often what was killed.
        wrong: What is not as it should be: differences, broken files, unclear endings.
    """

    kills: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Forked:
    """A process forked from this one, which has imported what is slow to import; spoken to as a `Popen`.

    Args:
        fault: For ``evidence/faulty.py``.
        arguments: Of ``zoo``.
    """

    def __init__(self, fault: str, arguments: Sequence[str]) -> None:
        self._code: int | None = None
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self.pid = os.fork()
        if self.pid == 0:
            self._become([str(FAULTY), fault, *arguments])

    def _become(self, arguments: list[str]) -> None:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(self._errors.fileno(), 2)
        code = 1
        try:
            sys.argv, sys.path[0] = arguments, str(FAULTY.parent)
            runpy.run_path(arguments[0], run_name="__main__")
            code = 0
        except SystemExit as ending:
            code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)

    def poll(self) -> int | None:
        """Its status, if it is over."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self, timeout: float) -> int:
        """Its status.

        Raises:
            subprocess.TimeoutExpired: It goes on.
        """
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() >= end:
                raise subprocess.TimeoutExpired(str(FAULTY), timeout)
            time.sleep(0.002)
        return code

    def communicate(self, timeout: float = math.inf) -> tuple[int, str]:
        """Its status and what it said, once it and its children are over."""
        code = self.wait(timeout)
        end = time.monotonic() + min(timeout, CHILDREN)
        while _group_lives(self.pid) and time.monotonic() < end:  # what a child still has to say
            time.sleep(0.01)
        self._errors.seek(0)
        return code, self._errors.read()


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def start(fault: str, arguments: Sequence[str]) -> Forked:
    """Starts ``zoo ARGUMENTS`` with a fault planted, in a process group of its own."""
    for module in SLOW:  # once
        import_module(module)
    sys.stderr.flush()
    return Forked(fault, arguments)


def finish(process: Forked, seconds: float = 600) -> tuple[int, str]:
    """Its exit status and what it and its children said; what is left of its group is ended.

    Args:
        process: As started.
        seconds: After which it counts as hanging: status 124.
    """
    try:
        code, errors = process.communicate(seconds)  # to the end of the last child that may still write
    except subprocess.TimeoutExpired:
        code, errors = HANGS, f"still running after {seconds:.0f} s"
    if code == HANGS or code < 0:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if code == HANGS:
        errors = f"{process.communicate()[1]}\n{errors}"
    return code, errors


def broken(folder: Path) -> list[str]:
    """Files under their final names that cannot be read."""
    return [f"{file.name} is broken: {error}" for file in sorted(folder.rglob("*")) if (error := _broken(file))]


def _broken(file: Path) -> str:
    if not file.is_file() or file.name.startswith("."):
        return ""
    try:
        if file.suffix == ".ckpt":
            torch.load(file, weights_only=True)
        elif file.suffix == ".png":
            Image.open(file).load()
        elif file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".yaml":
            yaml.safe_load(file.read_text())
        elif file.suffix == ".csv" and not file.read_text().endswith("\n"):
            return "its last row is cut off"
    except Exception as error:  # whatever a reader says of a broken file
        return str(error)
    return ""


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Paths at which two checkpoints differ; bit for bit, NaN equals NaN."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = [f"{path} has other keys"] if set(a) != set(b) else []
        return found + [d for key in a if key in b for d in differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{path}/{i}")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.nan_to_num(1.5), b.nan_to_num(1.5))
    else:
        same = a == b or (a != a and b != b)
    return [] if same else [path]


def compare(whole: Path, killed: Path) -> list[str]:
    """What differs between two run folders."""
    found = []
    for name in ("last.ckpt", "best.ckpt"):
        pair = [torch.load(folder / name, weights_only=True) for folder in (whole, killed)]
        for checkpoint in pair:
            checkpoint.pop("zoo_recipe")  # names the worker count, which may differ
        found += [f"{name}{d}" for d in differences(*pair)]
    first, second = (pd.read_csv(folder / "metrics.csv").drop(columns="time") for folder in (whole, killed))
    if not first.equals(second):
        found.append("metrics.csv")
    return found + [f"leftover {file.name}" for file in killed.rglob(".*.tmp")]


def trial(recipe: str, name: str, extra: Sequence[str], planted: Sequence[str], kills: int, seed: int = 0) -> Outcome:
    """An uninterrupted run, and one that is killed and resumed; in ``runs/NAME`` under the current folder.

    Args:
        recipe: Name of the recipe.
        name: Of the two run folders' parent.
        extra: Further arguments of ``zoo train``.
        planted: Faults at exact places, in turn.
        kills: At random moments after those.
        seed: Of the moments.
    """
    whole, killed = Path("runs") / name / "whole", Path("runs") / name / "killed"
    outcome, chance, begun = Outcome(), random.Random(seed), time.monotonic()
    code, errors = finish(start("nothing", ["train", recipe, "--name", f"{name}/whole", "--overwrite", *extra]))
    if code:
        outcome.wrong.append(f"{recipe}: the uninterrupted run failed: {errors}")
        return outcome
    span = float(pd.read_csv(whole / "metrics.csv")["time"].iloc[-1])
    before = max(0.0, time.monotonic() - begun - span)  # until training begins, and after it
    arguments = ["train", recipe, "--name", f"{name}/killed", *extra]
    flags = ["--overwrite"]
    for fault in planted:
        workers = ["--data.workers", "2"] if fault.startswith("worker") else []
        code, errors = finish(start(fault, [*arguments, *workers, *flags]))
        _judge(outcome, fault.partition(":")[0], code, errors, killed)
        flags = ["--resume"]
    tries = 0
    while sum(outcome.kills.values()) < kills + len(planted) and (tries := tries + 1) <= 4 * kills:
        process = start("nothing", [*arguments, *flags])
        early = tries % 5 == 3  # before it trains: nothing may be lost by then either
        if _random(process, killed, chance.uniform(0, before if early else span / 2), early):
            _judge(outcome, "early" if early else "random", *finish(process), killed)
            flags = ["--resume"] if killed.is_dir() else []
        else:  # over before: that one is whole, the next begins anew
            code, errors = finish(process)
            outcome.wrong += [f"resume failed: {errors}"] * bool(code) or compare(whole, killed)
            flags = ["--overwrite"]
    if sum(outcome.kills.values()) < kills + len(planted):
        outcome.wrong.append(f"{tries} trainings were over before they could be killed")
    code, errors = finish(start("nothing", [*arguments, *flags]))
    outcome.wrong += [f"the last resume failed: {errors}"] * bool(code) or compare(whole, killed)
    return outcome


def _random(process: Forked, folder: Path, delay: float, early: bool) -> bool:
    """Kills some time after the training got going, or the process; False where it was over first."""
    begun, journal = time.time(), folder / "metrics.csv"
    while not early and process.poll() is None and not (journal.exists() and journal.stat().st_mtime > begun):
        time.sleep(0.002)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait(60) == -signal.SIGKILL  # it may have ended just before
    return False


def _judge(outcome: Outcome, kind: str, code: int, errors: str, folder: Path) -> None:
    """Notes a kill, and what is wrong after it."""
    outcome.kills[kind] += 1
    if kind in SURVIVED:
        said = [line for line in errors.splitlines() if line.startswith("error:")]
        if code != 1 or len(said) != 1 or SURVIVED[kind] not in said[0] or "--resume" not in said[0]:
            outcome.wrong.append(f"a killed {kind} gave status {code}: {errors.strip()[-300:]}")
    elif code != -signal.SIGKILL:
        outcome.wrong.append(f"{kind}: not killed, status {code}: {errors.strip()[-300:]}")
    outcome.wrong += broken(folder)


def main() -> int:
    """Runs the trial."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe", default="anomaly/demo")
    parser.add_argument("--kills", type=int, default=10, help="at random moments")
    parser.add_argument("--planted", nargs="*", default=PLANTED, help="at exact places")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="evidence/kill")
    args, extra = parser.parse_known_args()
    outcome = trial(args.recipe, args.name, extra, args.planted, args.kills, args.seed)
    count = sum(outcome.kills.values())
    print(", ".join(f"{kind} {times}" for kind, times in outcome.kills.items()))
    print(f"{count} kills: " + ("identical" if not outcome.wrong else f"WRONG: {'; '.join(outcome.wrong[:8])}"))
    return int(bool(outcome.wrong))


if __name__ == "__main__":
    sys.exit(main())
