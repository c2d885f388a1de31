"""Kills a training with SIGKILL again and again, resumes it, and compares the end with an uninterrupted run.

    python evidence/kill.py --kills 10

Moments: at random inside the training; while a checkpoint is being written; and, of every other start, one data
loader process instead of the training. Exits 0 only if weights, optimizer, averaged weights, best.ckpt and
metrics.csv (but its time column) are identical.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import torch

ZOO = [sys.executable, "-m", "zoo"]
KINDS = ("moment", "checkpoint", "worker")


def start(recipe: str, name: str, workers: int, extra: list[str], flags: list[str]) -> subprocess.Popen[bytes]:
    """Starts a training in a process group of its own."""
    command = [*ZOO, "train", recipe, "--name", name, "--data.workers", str(workers), *extra, *flags]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(condition, process: subprocess.Popen[bytes], seconds: float = 120) -> bool:
    """Polls until the condition holds; False where the process ended before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.0005)
    raise TimeoutError("the training did not get going")


def hit(process: subprocess.Popen[bytes], kind: str, folder: Path, begun: float, delay: float) -> bool:
    """Kills at one moment; False where the training was over first."""

    def writes() -> bool:
        return any(folder.glob(".*.ckpt.*.tmp"))

    def moves() -> bool:
        journal = folder / "metrics.csv"
        return journal.exists() and journal.stat().st_mtime > begun

    if not wait_for(moves, process):
        return False
    time.sleep(delay)
    if kind == "checkpoint" and not wait_for(writes, process):
        return False
    if process.poll() is not None:
        return False
    if kind == "worker":
        workers = children(process.pid)
        if not workers:
            return False
        os.kill(random.choice(workers), signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
        if process.returncode != 0 and b"--resume" not in errors:
            raise SystemExit(f"a killed worker ended the training without saying how to go on:\n{errors.decode()}")
        return process.returncode != 0
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def differences(a: object, b: object, path: str = "") -> list[str]:
    """Paths at which two checkpoints differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = [f"{path} has other keys"] if set(a) != set(b) else []
        return found + [d for key in a if key in b for d in differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{path}/{i}")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b
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
    return found + [f"leftover {file}" for file in killed.glob(".*.tmp")]


def main() -> int:
    """Runs the trial."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe", default="anomaly/demo")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="evidence/kill")
    parser.add_argument("--spread", type=float, default=2.0, help="seconds over which the moments are spread")
    args, extra = parser.parse_known_args()
    chance = random.Random(args.seed)
    whole, killed = f"{args.name}/whole", f"{args.name}/killed"
    folder = Path("runs") / killed
    subprocess.run(
        [*ZOO, "train", args.recipe, "--name", whole, "--overwrite", *extra], check=True, stdout=subprocess.DEVNULL
    )
    kills: list[str] = []
    flags = ["--overwrite"]
    while len(kills) < args.kills:
        kind = KINDS[len(kills) % len(KINDS)]
        workers = 2 if kind == "worker" or len(kills) % 2 else 0
        delay = chance.uniform(0, args.spread)
        process = start(args.recipe, killed, workers, extra, flags)
        if not hit(process, kind, folder, time.time(), delay):
            raise SystemExit(f"the training was over before kill {len(kills) + 1}; give --trainer.max_epochs more")
        kills.append(f"{kind} ({workers} workers)")
        rows = sum(1 for _ in (folder / "metrics.csv").open()) - 1
        print(f"kill {len(kills)}: {kinds_text(kind)} after {delay:.2f} s, {rows} rows written", flush=True)
        flags = ["--resume"]
    process = start(args.recipe, killed, 0, extra, ["--resume"])
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"the last resume failed:\n{errors.decode()}")
    found = compare(Path("runs") / whole, folder)
    print(f"{len(kills)} kills: " + ("identical" if not found else f"DIFFERENT: {', '.join(found[:8])}"))
    return int(bool(found))


def kinds_text(kind: str) -> str:
    """What was killed, in words."""
    return {"moment": "training", "checkpoint": "training, writing a checkpoint", "worker": "a loader process"}[kind]


if __name__ == "__main__":
    sys.exit(main())
