"""What the software survives: kills, full and read-only disks, lost and dirty data, mangled files: docs/faults.md.

    python evidence/faults.py                      # every domain's demo, hours of one core
    python evidence/faults.py --domains ltr --fuzz 50
    python evidence/faults.py --jobs 14            # rows side by side

A finished row is kept in ``runs/evidence/faults/`` and not done again. Full and read-only disks are tmpfs where this
user may mount one; elsewhere the failing write is planted (``evidence/faulty.py``).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

sys.path.append(str(Path(__file__).resolve().parent))

from faults_work import KILLS, RANKS, STOPS, target_names, work
from harness import FOLDER, ROOT, Run, Table, run_all

DEMOS = sorted(file.parent.name for file in (ROOT / "recipes").glob("*/demo.yaml"))
PLACE = FOLDER / "faults"
CARD = ROOT / "docs" / "faults.md"
FAULTS = ("killed", RANKS, *STOPS, "network", "dirty", "fuzz")  # the most important first
SURVIVED = {
    "killed": "killed with SIGKILL at random moments, at exact places of a write, or a loader process",
    RANKS: "one process of two killed",
    "full disk": "disk full",
    "read-only folder": "run folder read-only",
    "data gone": "data folder moved away midway",
}
FOUND = (
    "json and yaml nested thousands deep ended an annotation reader, or the index, with Python's RecursionError",
    "a json number of more than 4,300 digits, and a yaml date that is none, were errors of Python's own",
    "a table of categories with a byte order mark lost its first category in silence",
    "a full disk was told as `unexpected pos 64 vs 0`",
    "a loader process killed while a tensor was fetched from it was told as `connection reset by peer`",
    "errors of loader processes came as the text of a traceback",
    "a run killed while its recipe was written, or while an older run was deleted, counted as somebody else's folder",
    "a malformed row of photographs, points, videos, labels or outfits stopped a training that was to skip such",
    "an image that could not be read changed which others were held out, in four data sets of quality",
    "labels in a damaged archive, and an image name of thousands of letters, were errors of Python's own",
    "a data set of which no outfit was left ended with numpy's error",
    "embeddings whose squares leave float32 were refused as not finite; densities that are not finite gave nan",
)


def plan(domains: Sequence[str], faults: Sequence[str], examples: int) -> list[Run]:
    """The rows, the most important first."""
    runs: list[Run] = []
    for fault in faults:
        parts = KILLS if fault == "killed" else [""]
        names = (target_names() if examples else []) if fault == "fuzz" else domains
        some = examples if fault == "fuzz" else 0
        runs += [{"domain": name, "fault": fault, "part": part, "examples": some} for part in parts for name in names]
    return runs


def page(table: Table) -> str:
    """The text of docs/faults.md."""
    frame = pd.DataFrame(table.rows)
    lines = [
        "# Faults",
        "",
        "Written by `make evidence-faults`. Each domain's demo is killed, starved and misled, and must end as the",
        "uninterrupted run does: weights, optimizer, best checkpoint and `metrics.csv`, bit for bit.",
        "",
        "| fault injected | domains | injected | survived | bytes lost |",
        "|---|---|---|---|---|",
    ]
    for fault, what in SURVIVED.items():
        part = frame[frame["fault"] == fault]
        if len(part):
            bad, tried = int((part["wrong"] > 0).sum()), int(part["injected"].sum())
            lost = f"see below ({bad} rows)" if bad else "0"
            good = tried - int(part["injected"][part["wrong"] > 0].sum())
            lines.append(f"| {what} | {part['domain'].nunique()} | {tried} | {good} | {lost} |")
    if frame["fault"].isin(("dirty", "fuzz")).any():
        lines += ["", "| bad inputs | of | tried | named by our own errors | crashed |", "|---|---|---|---|---|"]
    for fault, what, of in (
        ("dirty", "planted faults in data sets", "domains"),
        ("fuzz", "mangled files", "readers"),
    ):
        part = frame[frame["fault"] == fault]
        if len(part):
            tried, bad = int(part["injected"].sum()), int(part["wrong"].sum())
            lines.append(f"| {what} | {part['domain'].nunique()} {of} | {tried} | {tried - bad} | {bad} |")
    part = frame[frame["fault"] == "network"]
    if len(part):
        asked = int(part["wrong"].sum())
        lines += ["", f"Trainings watched for requests to a network: {len(part)}; requests: {asked}."]
    lines += [*memory(), *versions()]
    wrong = frame[frame["wrong"] > 0]
    lines += ["", "## What went wrong", ""] if len(wrong) else []
    lines += [f"- {row['domain']}, {row['fault']}: {row['what'][:300]}" for row in wrong.to_dict("records")]
    lines += ["", f"## Found and mended\n\nFindings: {len(FOUND)}; each is a test (`tests/faults`).", ""]
    lines += [*(f"- {found}" for found in FOUND), "", "Measured on: " + "; ".join(sorted(set(frame["machine"]))) + "."]
    return "\n".join(lines)


def memory() -> list[str]:
    """What evidence/memory.py found, where it ran."""
    rows = Table(FOLDER / "memory.csv", ("kind", "what")).rows
    if not rows:
        return []
    lines = ["", "`make evidence-memory`: each demo over 2,000 steps, and large inputs.", ""]
    lines += ["| training | KiB a step over the second half | most, MiB |", "|---|---|---|"]
    for kind in ("training", "input"):
        for row in (row for row in rows if row["kind"] == kind):
            slope = "" if kind == "input" else row["slope_kib"]
            lines.append(f"| {row['what']} | {slope} | {row['peak_mib']} |")
    return lines


def versions() -> list[str]:
    """What evidence/versions.py found, where it ran."""
    rows = Table(FOLDER / "versions.csv", ("versions",)).rows
    if not rows:
        return []
    lines = ["", "`make evidence-versions`: all tests in fresh environments.", ""]
    lines += ["| versions | installed | passed | failed |", "|---|---|---|---|"]
    lines += [f"| {row['versions']} | {row['installed']} | {row['passed']} | {row['failed']} |" for row in rows]
    return lines


def main() -> int:
    """Runs what is left and writes the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="*", default=DEMOS)
    parser.add_argument("--faults", nargs="*", default=FAULTS, choices=FAULTS)
    parser.add_argument("--fuzz", type=int, default=300, help="executions per target")
    parser.add_argument("--jobs", type=int, default=1, help="rows side by side, each in a process of its own")
    parser.add_argument("--plan", action="store_true")
    args = parser.parse_args()
    table = Table(PLACE / "faults.csv", ("domain", "fault", "part", "examples"))
    started = time.monotonic()
    run_all(table, plan(args.domains, args.faults, args.fuzz), work, 60, args.plan, args.jobs)
    if args.plan:
        return 0
    CARD.write_text(page(table) + "\n", encoding="utf-8")
    print(f"{CARD} ({time.monotonic() - started:.0f} s)")
    return int(any(int(row["wrong"]) for row in table.rows))


if __name__ == "__main__":
    sys.exit(main())
