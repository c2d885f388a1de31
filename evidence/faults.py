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
    # readers
    "a JPEG or PNG overwritten with zeros, or cut off by its last bytes, was read in silence",
    "one quote that is not closed, one byte that is no UTF-8, or one row of another width took a whole table with it",
    "a line that is no row, a record without an id, a query or set that stands twice, a clip of nan: skipping stopped",
    "what was held out depended on broken images or rows in CUB, Tiny-ImageNet, CIFAR, LETOR, boxes",
    "a file of another width made skipping drop all others; one of ten crops that is missing was averaged away",
    "a video got the features of a video of its name in another folder",
    "cells of a row with too many or too few shifted into other columns",
    "NaN, fractions and infinities became class names, classes or persons",
    "boxes of an image whose annotation says no size were never checked",
    "folders and links to nowhere in the place of images were passed over",
    "kinds of faults were counted by words in names of files; an item that a fault costs counted as a fault",
    "names and cells with line ends, commands to the terminal or a thousand letters made messages of many lines",
    "names with two dollars, or in no text, ended pictures and tables",
    # files of runs, verbs
    "a damaged, foreign or older last.ckpt, an edited metrics.csv or recipe.yaml: errors of torch, or another training",
    "best.ckpt copied over last.ckpt trained an epoch twice",
    "flipped bits of a checkpoint were not seen: torch does not look at its checksums",
    "two trainings shared a run folder",
    "--init beside --overwrite was ignored",
    "pictures, reports, bench results and cards were written under their final names",
    "files of killed processes piled up; publishing that was cut off could not be done again",
    "export on a full disk ended with SIGABRT; an output that is a device was replaced by a file, a link not followed",
    "an evaluation stopped by SIGTERM ended as a success",
    "weights that are not finite were loaded",
    "numbers of thousands of digits in other bases than ten were errors of Python's own",
    "a server that sends its head byte by byte held a download for ever; commands of an index were format strings",
    "the report imported the module that a run folder names",
    # numerics and processes
    "a score of -1e9 among others made squared hinge wrong by a tenth, ListMLE of equal scores of 1e30 gave 0",
    "targets around 1e-310 gave an NDCG loss of nan",
    "losses of domains came back in half precision, or nan for masked nan, embeddings of 0 and densities from 1e7",
    "a process that saw nothing ended the others when metrics were gathered",
    "a rest of samples smaller than the number of processes was never trained on",
    "a photograph of 50 megapixels took 4 GB to be drawn; calibration errors ten times the memory of the logits",
    "every picture of a training stayed in memory, 8 MB each for quality",
    # versions
    "the lowest versions of eight libraries failed: their bounds are now those with which the tests pass",
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
    lines += [
        "",
        f"## Found and mended\n\nFindings: {len(FOUND)}; each is a test, but for a few that were seen by reading.",
        "",
    ]
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
    lines += ["| versions | installed | passed | failed | told |", "|---|---|---|---|---|"]
    shown = ("versions", "installed", "passed", "failed", "told")
    lines += [f"| {' | '.join(str(row[name]).strip('= ') for name in shown)} |" for row in rows]
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
