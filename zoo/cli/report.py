"""``zoo report``: one HTML page over one or several runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from zoo.errors import InputError

HELP = "write one HTML page over runs: curves, metrics with intervals, differences, worst cases"
EXAMPLES = ("zoo report runs/anomaly/demo", "zoo report runs/mine/seed* runs/other/seed* --out comparison.html")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="a run folder; seeds are pooled")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: report.html in the run folder, or here for several",
    )
    parser.add_argument(
        "--predictions", type=Path, nargs="+", default=[], metavar="DIR", help="show these folders of zoo predict too"
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="MODULE", help="let the checkpoints import MODULE"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    folders = list(dict.fromkeys(args.runs))
    for folder in folders:
        if not (folder / "recipe.yaml").is_file():
            raise InputError(f"{folder} is no run folder (it has no recipe.yaml)")
        if not (folder / "best.ckpt").is_file():
            raise InputError(f"{folder}: there is no best.ckpt; the training has not reached its first validation")
    from zoo.cli.eval import evaluate_into
    from zoo.report import read_predictions, read_run, write_page
    from zoo.report.runs import EVALUATION

    predictions = [read_predictions(folder) for folder in args.predictions]

    for folder in folders:
        whole = folder / EVALUATION / "metrics.json"
        if not whole.is_file() or whole.stat().st_mtime < (folder / "best.ckpt").stat().st_mtime:
            print(f"{folder}: evaluating best.ckpt", file=sys.stderr, flush=True)
            evaluate_into(folder, folder / EVALUATION, trust=args.trust)
    out = args.out or (folders[0] / "report.html" if len(folders) == 1 else Path("report.html"))
    write_page([read_run(folder, args.trust) for folder in folders], out, predictions)
    print(out)
    return 0
