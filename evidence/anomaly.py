"""Ranking bags against classifying them, on real footage: what each part of the MIL objective brings.

    python evidence/anomaly.py          all of it; finished rows in runs/evidence are kept when it is started again
    python evidence/anomaly.py --plan   the runs and the estimate only

Two data sets, both of real surveillance footage and given by cached features: UCSD Ped2 (windows of clips as bags, six
folds over clips) and Surveillance Camera Fight (timelines of clips, cameras apart). Every method has the same number
of steps, bags and validations.

1. Tuning. Each method has two learning rates. Each is trained once, with a seed of its own, and the better validation
   AUC decides for that data set (in Ped2 the mean over folds 1 and 4). Rows: runs/evidence/anomaly_tuning.csv.
2. Measuring. 5 seeds (in Ped2 x 6 folds) for each method; the weights of the best validation AUC of a run are tested
   once. Rows: runs/evidence/anomaly.csv. The table goes into the card, zoo/domains/anomaly/README.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from harness import FOLDER, ROOT, Run, Table, data_root, machine, mean_std, run_all, write_card
from lightning.pytorch.callbacks import Callback

from zoo.domains.anomaly import RTFM, MeanPooling, MILRanking, SurvCameraFight, UCSDPed2
from zoo.domains.anomaly.prediction import VideoModule
from zoo.training.fit import build_trainer, quiet

CARD = ROOT / "zoo" / "domains" / "anomaly" / "README.md"
KEY = ("data", "method", "lr", "fold", "seed")
SEEDS, TUNING_SEED, RATES = (0, 1, 2, 3, 4), 100, (1e-4, 1e-3)
STEPS, BAGS, WIDTH = 20, 30, 1280  # per epoch; per step; features


@dataclass(frozen=True)
class Method:
    """A row of the table."""

    build: Callable[..., VideoModule]
    tuned_as: str  # the row whose learning rate it takes; its own name where it is tuned itself


def mil(name: str = "all pairs", **options: Any) -> Method:
    """MIL ranking with some options."""
    return Method(partial(MILRanking, WIDTH, **options), name)


METHODS = {
    "mean-pooled cross-entropy": Method(partial(MeanPooling, WIDTH), "mean-pooled cross-entropy"),
    "all pairs": mil(),
    "without sparsity": mil(sparsity=0.0),
    "without smoothness": mil(smoothness=0.0),
    "without both": mil(sparsity=0.0, smoothness=0.0),
    "all pairs, means": mil("all pairs, means", variant="paper"),
    "diagonal pairs": mil("diagonal pairs", variant="diagonal"),
    "RTFM": Method(partial(RTFM, WIDTH), "RTFM"),
}
TITLES = {
    "mean-pooled cross-entropy": "bag-level cross-entropy on mean-pooled features",
    "all pairs": "MIL ranking, all pairs, both terms (`official`)",
    "without sparsity": "the same without sparsity",
    "without smoothness": "the same without smoothness",
    "without both": "the same without both",
    "all pairs, means": "MIL ranking, all pairs, means instead of sums (`paper`)",
    "diagonal pairs": "MIL ranking, diagonal pairs, means (`diagonal`)",
    "RTFM": "RTFM (`official`)",
}
PED2, FIGHT = "ucsd_ped2", "surv_camera_fight"
FOLDS = {PED2: (1, 2, 3, 4, 5, 6), FIGHT: (1,)}
TUNING_FOLDS = {PED2: (1, 4), FIGHT: (1,)}
EPOCHS = {PED2: 2, FIGHT: 3}


class KeepBest(Callback):
    """Keeps the weights of the best validation in memory."""

    def __init__(self) -> None:
        self.value, self.epoch, self.weights = -1.0, -1, dict[str, torch.Tensor]()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the weights if they are the best so far."""
        value = float(trainer.callback_metrics["val/auc"])
        if value > self.value:
            self.value, self.epoch = value, trainer.current_epoch
            self.weights = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}


def data_of(name: str, fold: int, seed: int) -> UCSDPed2 | SurvCameraFight:
    """The data of a run; which clips are in which split never depends on the seed of the training."""
    root = str(data_root() / "anomaly" / name)
    data: UCSDPed2 | SurvCameraFight
    if name == PED2:
        data = UCSDPed2(root=root, batch_size=BAGS, steps_per_epoch=STEPS, fold=fold)
    else:
        data = SurvCameraFight(root=root, batch_size=BAGS, steps_per_epoch=STEPS)
    data.seed = seed
    return data


def module_of(run: Run) -> VideoModule:
    """A fresh model with its optimizer."""
    # bags of Ped2 have 5 snippets: one in ten of them is one, and three are in the choice of 32 segments
    more = {"top": 1} if run["method"] == "RTFM" and run["data"] == PED2 else {}
    module = METHODS[run["method"]].build(protocol="snippet16", bootstrap=0, monitor="val/auc", **more)
    module.optimizer = partial(torch.optim.Adam, lr=float(run["lr"]))
    return module


def work(run: Run, test: bool) -> Mapping[str, Any]:
    """Trains once; the test part is read only where `test` is True."""
    pl.seed_everything(int(run["seed"]), verbose=False)
    data, best = data_of(run["data"], int(run["fold"]), int(run["seed"])), KeepBest()
    options = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "num_sanity_val_steps": 0,
    }
    trainer = build_trainer({"max_epochs": EPOCHS[run["data"]], "callbacks": [best], **options})
    trainer.fit(module_of(run), datamodule=data)
    row: dict[str, Any] = {"epochs": EPOCHS[run["data"]], "best_epoch": best.epoch, "val_auc": best.value}
    if test:
        tested = module_of(run)
        tested.load_state_dict(best.weights)
        trainer.test(tested, datamodule=data, verbose=False)
        row |= {f"test_{name}": tested.results[name] for name in ("auc", "ap")}
    return row


def tuning_runs() -> list[dict[str, Any]]:
    """Every learning rate of every method that is tuned itself."""
    return [
        {"data": data, "method": name, "lr": lr, "fold": fold, "seed": TUNING_SEED}
        for data in FOLDS
        for name, method in METHODS.items()
        if method.tuned_as == name
        for lr in RATES
        for fold in TUNING_FOLDS[data]
    ]


def chosen(table: Table) -> dict[tuple[str, str], float]:
    """The learning rate of each data set and method: the better mean validation AUC."""
    frame = table.frame(tuning_runs()).astype({"lr": float})
    means = frame.groupby(["data", "method", "lr"]).val_auc.mean()
    return {
        (data, name): float(means.loc[data, method.tuned_as].idxmax())
        for data in FOLDS
        for name, method in METHODS.items()
    }


def measured_runs(rates: Mapping[tuple[str, str], float]) -> list[dict[str, Any]]:
    """5 seeds of every method and fold; seeds go round first, so that an unfinished table is even."""
    return [
        {"data": data, "method": name, "lr": rates[data, name], "fold": fold, "seed": seed}
        for seed in SEEDS
        for data, folds in FOLDS.items()
        for name in METHODS
        for fold in folds
    ]


class Size(MILRanking):
    """No learning: the score of a snippet is the L2 norm of its features."""

    def _scores(self, features: torch.Tensor, names: list[str]) -> torch.Tensor:
        return features.norm(dim=-1)


def untrained(name: str) -> float:
    """Test AUC of the size of the features (Fight: of the change), without learning; mean over folds."""
    found = []
    for fold in FOLDS[name]:
        module = Size(WIDTH, protocol="snippet16", bootstrap=0)
        trainer = build_trainer({"accelerator": "cpu", "logger": False, "enable_progress_bar": False})
        trainer.test(module, datamodule=data_of(name, fold, 0), verbose=False)
        found.append(module.results["auc"])
    return float(np.mean(found))


def markdown(table: Table, runs: list[dict[str, Any]], rates: Mapping[tuple[str, str], float]) -> str:
    """The table of the card."""
    rows = table.frame(runs)
    lines = [
        "| trained by | Ped2, AUC | Ped2, AP | Camera Fight, AUC | Camera Fight, AP |",
        "|---|---|---|---|---|",
        f"| (size of the features, no learning) | {100 * untrained(PED2):.1f} | | {100 * untrained(FIGHT):.1f} | |",
    ]
    means = rows.groupby(["data", "method", "seed"])[["test_auc", "test_ap"]].mean() * 100
    for name in METHODS:
        cells = [mean_std(means.loc[data, name][column], 1) for data in FOLDS for column in ("test_auc", "test_ap")]
        lines.append(f"| {TITLES[name]} | {' | '.join(cells)} |")
    shown = "; ".join(
        f"{data}: "
        + ", ".join(f"{name} {rates[data, name]:g}" for name, method in METHODS.items() if method.tuned_as == name)
        for data in FOLDS
    )
    return "\n".join(
        [
            *lines,
            "",
            f"Frame-level, in per cent, protocol `snippet16`: mean over the {len(FOLDS[PED2])} folds of Ped2, then "
            f"mean ± standard deviation over {len(SEEDS)} seeds. {len(runs)} runs of {STEPS * EPOCHS[PED2]} (Ped2) and "
            f"{STEPS * EPOCHS[FIGHT]} steps (Fight) of {BAGS} bags, Adam. Weights and learning rate by validation AUC "
            f"({shown}).",
            f"{machine()}, {rows.seconds.sum() / 60:.0f} minutes. Command: `make evidence-anomaly`.",
        ]
    )


def main() -> None:
    """Runs the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="print the runs and the estimate, and stop")
    args = parser.parse_args()
    quiet()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    tuning, measured = (Table(FOLDER / f"{name}.csv", KEY) for name in ("anomaly_tuning", "anomaly"))
    tuned = run_all(tuning, tuning_runs(), partial(work, test=False), 30, args.plan)
    if not tuned:
        later = measured_runs(dict.fromkeys(((data, name) for data in FOLDS for name in METHODS), 0.0))
        print(f"then {len(later)} runs of about 10 s")
        return
    rates = chosen(tuning)
    runs = measured_runs(rates)
    if run_all(measured, runs, partial(work, test=True), 10, args.plan):
        text = markdown(measured, runs, rates)
        print(text)
        write_card(CARD, text)


if __name__ == "__main__":
    main()
