"""What the evidence scripts share: finished rows on the disk, a plan with an estimate, tables in the cards."""

from __future__ import annotations

import csv
import multiprocessing
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path("runs/evidence")
Run = Mapping[str, Any]


def data_root() -> Path:
    """Root of the real data: ``$ZOO_DATA``, else beside the checkout."""
    return Path(os.environ.get("ZOO_DATA", ROOT.parent / "shared" / "data"))


class Table:
    """Finished runs in a csv; each is on the disk before the next one starts.

    Args:
        file: Made where it is absent.
        key: The columns that say which run a row is.
    """

    def __init__(self, file: Path, key: Sequence[str]) -> None:
        self.file, self.key = file, tuple(key)
        self.rows: list[dict[Any, Any]] = []
        if file.exists():
            self.rows = pd.read_csv(file, keep_default_na=False, na_values=["nan"]).to_dict("records")
        self._done = {self._name(row) for row in self.rows}

    def _name(self, run: Run) -> tuple[str, ...]:
        return tuple(str(run[column]) for column in self.key)

    def has(self, run: Run) -> bool:
        """Whether a run is finished."""
        return self._name(run) in self._done

    def add(self, row: Run) -> None:
        """Appends a finished run.

        Raises:
            SystemExit: The file has other columns.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.file.exists()
        if self.rows and list(self.rows[0]) != list(row):
            raise SystemExit(f"{self.file}: was written with other columns; move it away")
        with self.file.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
            stream.flush()
            os.fsync(stream.fileno())
        self.rows.append(dict(row))
        self._done.add(self._name(row))

    def frame(self, runs: Sequence[Run]) -> pd.DataFrame:
        """The finished rows of these runs."""
        wanted = {self._name(run) for run in runs}
        return pd.DataFrame([row for row in self.rows if self._name(row) in wanted])


def run_all(
    table: Table,
    runs: Sequence[Run],
    work: Callable[[Run], Mapping[str, Any]],
    seconds: float,
    plan_only: bool = False,
    jobs: int = 1,
) -> bool:
    """Prints the plan and an estimate, then does the runs that are not in the table yet.

    Args:
        table: Where finished runs are kept.
        runs: Values of the table's key columns; done in this order.
        work: Gives the results of a run.
        seconds: Of one run, about.
        plan_only: Stop after the plan.
        jobs: Runs side by side, each in a process of its own; ``work`` is a function of a module then.

    Returns:
        Whether all runs are finished.
    """
    left = [run for run in runs if not table.has(run)]
    print(f"{table.file}: {len(runs)} runs, {len(left)} left; about {len(left) * seconds / 60:.0f} minutes", flush=True)
    if plan_only:
        return not left
    for number, (run, results, took) in enumerate(_done(left, work, jobs), start=1):
        table.add({**run, **results, "seconds": round(took, 2)})
        shown = ", ".join(f"{name} {value:.4g}" for name, value in results.items() if isinstance(value, float))
        name = " ".join(str(value) for value in run.values() if str(value))
        told = f" {results['what']}" if results.get("what") else ""
        print(f"{number}/{len(left)} {name}: {shown}{told[:300]} ({took:.0f} s)", flush=True)
    return True


def _done(
    runs: Sequence[Run], work: Callable[[Run], Mapping[str, Any]], jobs: int
) -> Iterator[tuple[Run, Mapping[str, Any], float]]:
    """Runs with their results and seconds, as they are finished."""
    if jobs == 1:
        for run in runs:
            yield run, *_timed(work, run)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        begun = {pool.submit(_timed, work, run): run for run in runs}
        for future in as_completed(begun):
            yield begun[future], *future.result()


def _timed(work: Callable[[Run], Mapping[str, Any]], run: Run) -> tuple[Mapping[str, Any], float]:
    start = time.monotonic()
    results = work(run)
    return results, time.monotonic() - start


def write_card(card: Path, text: str, mark: str = "evidence") -> None:
    """Puts a text between the marks ``<!-- MARK: begin -->`` and ``<!-- MARK: end -->`` of a card.

    Raises:
        SystemExit: The card has no such marks.
    """
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    content = card.read_text(encoding="utf-8")
    before, found, rest = content.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{card}: no {begin} ... {end}")
    card.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", encoding="utf-8")


def machine() -> str:
    """Processor, torch and threads, for the foot of a table."""
    file = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", file.read_text()) if file.exists() else None
    name = found.group(1) if found else platform.processor() or platform.machine()
    return f"{name}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)"


def mean_std(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation over seeds, e.g. ``83.01 ± 0.52``."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return f"{array.mean():.{digits}f}"
    return f"{array.mean():.{digits}f} ± {array.std(ddof=1):.{digits}f}"
