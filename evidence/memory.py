"""Memory: does a training grow, and what do the largest inputs take?

    python evidence/memory.py               # every demo over 2,000 steps; an hour of one core

Each run is a process of its own. Resident memory is read twenty times; its slope over the second half of the steps
(Theil and Sen), in KiB per step, must be below ``SLOPE``. Rows go to runs/evidence/memory.csv.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from harness import FOLDER, ROOT, Run, Table, run_all
from scipy.stats import theilslopes

DEMOS = sorted(file.parent.name for file in (ROOT / "recipes").glob("*/demo.yaml"))
STEPS, SLOPE = 2_000, 1.0
INPUTS = ("200k scores", "200k calibration", "50-megapixel photograph", "gallery of 2,000 items")


def resident() -> float:
    """Resident memory of this process, KiB, without what was freed and waits to be used again."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4.0


def train(domain: str, out: str) -> None:
    """Trains for the steps; writes ``[step, KiB]`` rows. In a process of its own."""
    from lightning.pytorch.callbacks import Callback

    from zoo.cli import training as place
    from zoo.recipe import build_trainer_arguments

    rows: list[list[float]] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, *rest) -> None:
            if trainer.global_step % (STEPS // 20) == 0:
                rows.append([trainer.global_step, resident()])

    import zoo.recipe as recipes

    recipes.build_trainer_arguments = lambda recipe: {
        **(made := build_trainer_arguments(recipe)),
        "callbacks": [*made.get("callbacks", []), Watch()],
    }
    place.train(
        f"{domain}/demo", {"trainer.max_epochs": -1, "trainer.max_steps": STEPS}, f"evidence/memory/{domain}",
        overwrite=True,
    )  # fmt: skip
    Path(out).write_text(json.dumps(rows))


def given(name: str, out: str) -> None:
    """One large input; writes the most memory it took beyond the start. In a process of its own."""
    import resource

    import torch
    from PIL import Image

    from zoo.metrics import ExpectedCalibrationError, average_precision, roc_auc
    from zoo.training import read_image

    torch.zeros(1)
    before = resident()
    if name == "200k scores":
        scores = torch.rand(200_000)
        roc_auc(scores, scores < 0.3)
        average_precision(scores, scores < 0.3)
    elif name == "200k calibration":
        metric = ExpectedCalibrationError()
        for _ in range(200):
            metric.update(torch.randn(1000, 100), torch.randint(0, 100, (1000,)))
        metric.compute()
    elif name == "50-megapixel photograph":
        file = Path(out).with_suffix(".jpg")
        Image.new("RGB", (8_660, 5_774), (90, 120, 60)).save(file)
        assert read_image(file).shape == (3, 5_774, 8_660)
        file.unlink()
    else:
        folder = Path(out).with_suffix("")
        folder.mkdir(exist_ok=True)
        for number in range(2_000):
            Image.new("RGB", (32, 32), (number % 256, 90, 60)).save(folder / f"{number:04d}.jpg")
        from zoo import predict

        first = [folder / "0000.jpg", folder / "0100.jpg"]
        request = {"outfit": first, "complete": "jeans", "gallery": folder, "top": 5}
        predict("outfit-small", request=request, out=folder / "out")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    Path(out).write_text(json.dumps([[0, 0.0], [1, peak]]))


def measured(run: Run) -> Mapping[str, object]:
    """Runs one in a process of its own."""
    out = (FOLDER / f"memory-{run['what'].replace(' ', '-')}.json").absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    act = "train" if run["kind"] == "training" else "given"
    command = [sys.executable, __file__, "--run", act, run["what"], str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"slope_kib": float("nan"), "peak_mib": float("nan"), "told": done.stderr.strip()[-300:]}
    rows = np.array(json.loads(out.read_text()))
    half = rows[len(rows) // 2 :]
    slope = float(theilslopes(half[:, 1], half[:, 0]).slope) if act == "train" else 0.0  # one jump is no growth
    return {"slope_kib": round(slope, 3), "peak_mib": round(float(rows[:, 1].max()) / 1024, 1), "told": ""}


def main() -> int:
    """Runs what is left."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", nargs=3, metavar=("ACT", "NAME", "OUT"), help=argparse.SUPPRESS)
    parser.add_argument("--domains", nargs="*", default=DEMOS)
    parser.add_argument("--inputs", nargs="*", default=INPUTS, choices=INPUTS)
    parser.add_argument("--jobs", type=int, default=1, help="rows side by side")
    parser.add_argument("--plan", action="store_true")
    args = parser.parse_args()
    if args.run:
        {"train": train, "given": given}[args.run[0]](*args.run[1:])
        return 0
    table = Table(FOLDER / "memory.csv", ("kind", "what"))
    runs = [{"kind": "training", "what": domain} for domain in args.domains]
    runs += [{"kind": "input", "what": name} for name in args.inputs]
    run_all(table, runs, measured, seconds=300, plan_only=args.plan, jobs=args.jobs)
    bad = [row for row in table.rows if row["told"] or not float(row["slope_kib"]) < SLOPE]
    for row in bad:
        print(f"{row['what']}: {row['slope_kib']} KiB a step {row['told']}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
