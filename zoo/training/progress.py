"""What a user sees while a model trains: a bar on a terminal, a plain line per epoch elsewhere."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, RichProgressBar

from zoo.training.checkpoints import Checkpoints
from zoo.training.journal import Journal
from zoo.training.module import ZooModule


def _state(trainer: pl.Trainer, journal: Journal, checkpoints: Checkpoints) -> dict[str, float]:
    """Loss terms, the monitored metric and its best value."""
    values = {name: value for name, value in journal.latest.items() if name.startswith("train/")}
    module = trainer.lightning_module
    if isinstance(module, ZooModule) and module.monitor in trainer.callback_metrics:
        values[module.monitor] = float(trainer.callback_metrics[module.monitor])
    if checkpoints.best is not None:
        values["best"] = checkpoints.best
    return values


class Bar(RichProgressBar):
    """Lightning's rich bar (time taken and left included) with the loss terms and the monitored metric.

    Args:
        journal: Holds the latest loss terms.
        checkpoints: Holds the best value.
    """

    def __init__(self, journal: Journal, checkpoints: Checkpoints) -> None:
        super().__init__(leave=False)
        self.journal, self.checkpoints = journal, checkpoints

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Shown right of the bar."""
        return {name.removeprefix("train/"): v for name, v in _state(trainer, self.journal, self.checkpoints).items()}


class Lines(Callback):
    """One plain line per epoch.

    Args:
        journal: Holds the epoch's means.
        checkpoints: Holds the best value.
    """

    def __init__(self, journal: Journal, checkpoints: Checkpoints) -> None:
        self.journal, self.checkpoints = journal, checkpoints
        self._start, self._first = time.monotonic(), 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._start, self._first = time.monotonic(), trainer.current_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the line on the first process."""
        if not trainer.is_global_zero:
            return
        done = trainer.current_epoch + 1
        total = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        spent = time.monotonic() - self._start
        left = "" if total is None else f"  {spent / (done - self._first) * (total - done):.0f} s left"
        values = "  ".join(f"{k} {v:.4g}" for k, v in _state(trainer, self.journal, self.checkpoints).items())
        of = "" if total is None else f"/{total}"
        print(f"epoch {done}{of}  step {trainer.global_step}  {values}  {spent:.0f} s{left}", flush=True)
