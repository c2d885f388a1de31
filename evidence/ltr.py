"""Every score loss of the ranking core at work on MQ2008, beside the same network trained by regression.

    python evidence/ltr.py          all of it; finished rows in runs/evidence are kept when it is started again
    python evidence/ltr.py --plan   the runs and the estimate only

1. Tuning. Each loss has four candidate settings (learning rate; margin, temperature or scale where it has one). In
   each fold every candidate is trained once, with a seed of its own, and the best validation NDCG@10 decides for that
   fold alone: the validation part of one fold is the test part of another. Rows: runs/evidence/ltr_tuning.csv.
2. Measuring. 5 seeds x 5 folds for each loss; the weights of the best validation NDCG@10 of a run are tested once.
   Rows: runs/evidence/ltr.csv. The table goes into the card, zoo/domains/ltr/README.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import re
import time
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, get_args

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback

import zoo.ranking
from zoo.domains.ltr import MQ2008, MLPRanker
from zoo.domains.ltr.module import Protocol
from zoo.metrics import NDCG
from zoo.ranking import ScoreLoss
from zoo.training.fit import build_trainer, quiet

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "zoo" / "domains" / "ltr" / "README.md"
ROWS, TUNING = Path("runs/evidence/ltr.csv"), Path("runs/evidence/ltr_tuning.csv")
BEGIN, END = "<!-- evidence: begin -->", "<!-- evidence: end -->"

EPOCHS, BATCH = 20, 32
SEEDS, TUNING_SEED, FOLDS = (0, 1, 2, 3, 4), 100, (1, 2, 3, 4, 5)
SECONDS = 5.0  # of one run, on one core of the machine that the card names
BOOTSTRAPS = 10_000
REGRESSION = "regression"
RESULTS = ("test_ndcg10", "test_map", "test_ndcg10_letor4")
BM25 = 24  # column of feature 25, BM25 of the whole document


@dataclass(frozen=True)
class Loss:
    """One row of the table: a class of `zoo.ranking` (None: regression), fixed options, and what is tuned."""

    kind: str | None
    fixed: dict[str, Any]
    tuned: dict[str, tuple[float, ...]]

    def candidates(self) -> list[tuple[float, str]]:
        """Four pairs of learning rate and options (as JSON)."""
        rates = (1e-3, 3e-3) if self.tuned else (5e-4, 1e-3, 3e-3, 1e-2)
        chosen = [dict(zip(self.tuned, values, strict=True)) for values in product(*self.tuned.values())]
        return [(rate, json.dumps({**self.fixed, **options})) for rate in rates for options in chosen]


LOSSES = {
    REGRESSION: Loss(None, {}, {}),
    "Hinge": Loss("Hinge", {}, {"margin": (1.0, 0.3)}),
    "SquaredHinge": Loss("SquaredHinge", {}, {"margin": (1.0, 0.3)}),
    "Logistic (RankNet)": Loss("Logistic", {}, {"temperature": (1.0, 0.3)}),
    "MannWhitney, sigmoid (AUC)": Loss("MannWhitney", {"surrogate": "sigmoid"}, {"temperature": (1.0, 0.3)}),
    "Fidelity, thurstone": Loss("Fidelity", {"target_probability": "thurstone"}, {"scale": (1.0, 0.3)}),
    "Fidelity, binary": Loss("Fidelity", {"target_probability": "binary"}, {"scale": (1.0, 0.3)}),
    "ListNet": Loss("ListNet", {}, {}),
    "ListMLE": Loss("ListMLE", {}, {}),
    "LambdaNDCG": Loss("LambdaNDCG", {}, {"temperature": (1.0, 0.3)}),
    "ApproxNDCG": Loss("ApproxNDCG", {}, {"temperature": (1.0, 0.1)}),
    "ConfidenceNDCG": Loss("ConfidenceNDCG", {}, {}),
}


@dataclass(frozen=True)
class Run:
    """One training."""

    loss: str
    lr: float
    options: str
    seed: int
    fold: int

    def module(self, protocol: Protocol = "standard") -> MLPRanker:
        """A fresh ranker with its optimizer."""
        kind = LOSSES[self.loss].kind
        ranking = None if kind is None else getattr(zoo.ranking, kind)(**json.loads(self.options))
        module = MLPRanker(ranking, protocol=protocol)
        module.optimizer = partial(torch.optim.Adam, lr=self.lr)
        return module


class KeepBest(Callback):
    """Keeps the weights of the best validation in memory."""

    def __init__(self) -> None:
        self.value, self.epoch, self.weights = -1.0, -1, dict[str, torch.Tensor]()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the weights if they are the best so far."""
        value = float(trainer.callback_metrics["val/ndcg10"])
        if value > self.value:
            self.value, self.epoch = value, trainer.current_epoch
            self.weights = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}


def train(run: Run, data: MQ2008, test: bool) -> dict[str, Any]:
    """Trains once; gives the row. The test part is read only where `test` is True."""
    start = time.monotonic()
    pl.seed_everything(run.seed, verbose=False)
    data.seed = run.seed
    best = KeepBest()
    quiet_trainer = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "num_sanity_val_steps": 0,
    }
    trainer = build_trainer({"max_epochs": EPOCHS, "callbacks": [best], **quiet_trainer})
    trainer.fit(run.module(), datamodule=data)
    row = {**asdict(run), "epochs": EPOCHS, "best_epoch": best.epoch, "val_ndcg10": best.value}
    for protocol in get_args(Protocol) if test else ():
        tested = run.module(protocol)
        tested.load_state_dict(best.weights)
        tested.rows = []
        trainer.test(tested, datamodule=data, verbose=False)
        if protocol == "standard":
            row["test_ndcg10"], row["test_map"] = tested.results["ndcg10"], tested.results["map"]
            row["per_query"] = " ".join(f"{query['ndcg10']:.6f}" for query in tested.rows)
        else:
            row["test_ndcg10_letor4"] = tested.results["ndcg10"]
    return {**row, "seconds": round(time.monotonic() - start, 2)}


class Table:
    """Finished rows in a csv; each is on the disk before the next run starts.

    Args:
        file: Made where it is absent.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[Any, Any]] = pd.read_csv(file).to_dict("records") if file.exists() else []
        self.done = {self._key(row): row for row in self.rows if row["epochs"] == EPOCHS}

    @staticmethod
    def _key(row: dict[Any, Any]) -> Run:
        return Run(**{field.name: row[field.name] for field in fields(Run)})

    def add(self, row: dict[str, Any]) -> None:
        """Appends a row."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.file.exists()
        with self.file.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
            stream.flush()
            os.fsync(stream.fileno())
        self.rows.append(row)
        self.done[self._key(row)] = row


def finish(table: Table, runs: list[Run], data: dict[int, MQ2008], test: bool) -> None:
    """Trains what is not in the table yet."""
    left = [run for run in runs if run not in table.done]
    for number, run in enumerate(left, start=1):
        row = train(run, data[run.fold], test)
        table.add(row)
        result = f"test {row['test_ndcg10']:.4f}" if test else f"validation {row['val_ndcg10']:.4f}"
        print(
            f"{number}/{len(left)} {run.loss} fold {run.fold} seed {run.seed} lr {run.lr:g} {run.options}: "
            f"NDCG@10 {result}, {row['seconds']:.1f} s",
            flush=True,
        )


def tuning_runs() -> list[Run]:
    """Every candidate once per fold."""
    return [
        Run(name, lr, options, TUNING_SEED, fold)
        for name, loss in LOSSES.items()
        for lr, options in loss.candidates()
        for fold in FOLDS
    ]


def chosen(table: Table) -> list[Run]:
    """For each loss and fold the candidate with the best validation, once per seed; seeds go round first."""
    best: dict[tuple[str, int], dict[Any, Any]] = {}
    for run in tuning_runs():
        row = table.done[run]
        place = run.loss, run.fold
        if place not in best or row["val_ndcg10"] > best[place]["val_ndcg10"]:
            best[place] = row
    return [
        Run(name, best[name, fold]["lr"], best[name, fold]["options"], seed, fold)
        for seed in SEEDS
        for name in LOSSES
        for fold in FOLDS
    ]


def reference(data: dict[int, MQ2008], column: int | None) -> tuple[float, float]:
    """Test NDCG@10 (standard, LETOR) of one feature as the score, or of a random order, in expectation."""
    found = []
    for fold in FOLDS:
        metrics = NDCG(10), NDCG(10, discount="letor", ties="average" if column is None else "order", full=True)
        for batch in data[fold].test_dataloader():
            scores = batch["features"].sum(-1) * 0 if column is None else batch["features"][..., column]
            for metric in metrics:
                metric.update(scores, batch["target"], batch["mask"])
        found.append([float(metric.compute()) for metric in metrics])
    standard, letor = np.mean(found, axis=0)
    return float(standard), float(letor)


def per_query(rows: pd.DataFrame) -> np.ndarray:
    """NDCG@10 of every test query of all folds, mean over seeds; `(784,)`."""
    folds = []
    for fold in FOLDS:
        texts = rows[rows.fold == fold].sort_values("seed").per_query
        folds.append(np.mean([np.array(text.split(), dtype=float) for text in texts], axis=0))
    return np.concatenate(folds)


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean difference, by bootstrap over queries."""
    rng = np.random.default_rng(0)
    means = [differences[rng.integers(0, len(differences), len(differences))].mean() for _ in range(BOOTSTRAPS)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def markdown(table: Table, runs: list[Run], data: dict[int, MQ2008]) -> str:
    """The table of the card."""
    rows = pd.DataFrame([table.done[run] for run in runs])
    base = per_query(rows[rows.loss == REGRESSION])
    lines = [
        "| trained by | test NDCG@10 | against regression, 95 % interval | test MAP | NDCG@10 by LETOR 4.0's script |",
        "|---|---|---|---|---|",
    ]
    for name, column in (("(random order)", None), ("(feature 25, BM25)", BM25)):
        standard, letor = reference(data, column)
        lines.append(f"| {name} | {100 * standard:.2f} | | | {100 * letor:.2f} |")
    means = rows.groupby(["loss", "seed"])[list(RESULTS)].mean() * 100
    for name in LOSSES:
        own = means.loc[name]
        cells = [f"{own[column].mean():.2f} ± {own[column].std(ddof=1):.2f}" for column in RESULTS]
        difference = 100 * (per_query(rows[rows.loss == name]) - base)
        low, high = interval(difference)
        against = "" if name == REGRESSION else f"{difference.mean():+.2f} [{low:+.2f}, {high:+.2f}]"
        lines.append(f"| {name} | {cells[0]} | {against} | {cells[1]} | {cells[2]} |")
    return "\n".join(
        [
            *lines,
            "",
            f"In per cent: mean over the 5 folds, then mean ± standard deviation over {len(SEEDS)} seeds. Interval: "
            "bootstrap over the 784 test queries of the difference of seed means. "
            f"{len(runs)} runs of {EPOCHS} epochs, batch {BATCH}, Adam; settings chosen by validation NDCG@10 of the "
            "same fold.",
            f"{cpu()}, torch {torch.__version__}, {torch.get_num_threads()} thread(s), "
            f"{rows.seconds.sum() / 60:.0f} minutes (and {pd.DataFrame(list(tuned_rows())).seconds.sum() / 60:.0f} for "
            "the tuning). Command: `make evidence-ltr`.",
        ]
    )


def tuned_rows() -> list[dict[Any, Any]]:
    """Rows of the tuning that this plan asks for."""
    done = Table(TUNING).done
    return [done[run] for run in tuning_runs()]


def cpu() -> str:
    """Name of the processor."""
    file = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", file.read_text()) if file.exists() else None
    return found.group(1) if found else platform.processor() or platform.machine()


def write_card(text: str) -> None:
    """Puts the table between the marks of the card."""
    card = CARD.read_text(encoding="utf-8")
    before, _, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{CARD}: no {BEGIN} ... {END}")
    CARD.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def complete() -> None:
    """Refuses to run where the core has a score loss that has no row here."""
    names = [name for name in zoo.ranking.__all__ if isinstance(getattr(zoo.ranking, name), type)]
    known = {name for name in names if issubclass(getattr(zoo.ranking, name), ScoreLoss)} - {"ScoreLoss"}
    missing = known - {loss.kind for loss in LOSSES.values()}
    if missing:
        raise SystemExit(f"add to LOSSES: {', '.join(sorted(missing))}")


def main() -> None:
    """Runs the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="print the runs and the estimate, and stop")
    args = parser.parse_args()
    complete()
    tuning, rows = Table(TUNING), Table(ROWS)
    tune = [run for run in tuning_runs() if run not in tuning.done]
    total = len(LOSSES) * len(SEEDS) * len(FOLDS)
    measured = sum(row["epochs"] == EPOCHS for row in rows.rows)
    left = len(tune) + max(0, total - measured)
    print(
        f"{len(LOSSES)} losses on MQ2008: {len(tuning_runs())} tuning runs ({len(tune)} left), "
        f"{total} measured runs ({max(0, total - measured)} left); about {left * SECONDS / 60:.0f} minutes on one core"
    )
    if args.plan:
        return
    quiet()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    root = Path(os.environ.get("ZOO_DATA", ROOT.parent / "shared" / "data")) / "ltr" / "mq2008"
    data = {fold: MQ2008(root=str(root), batch_size=BATCH, fold=fold) for fold in FOLDS}
    finish(tuning, tune, data, test=False)
    runs = chosen(tuning)
    finish(rows, runs, data, test=True)
    text = markdown(rows, runs, data)
    print(text)
    write_card(text)


if __name__ == "__main__":
    main()
