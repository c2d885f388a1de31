"""Writes ``best.ckpt`` and ``last.ckpt``: never half a file, and from any ``last.ckpt`` the training goes on exactly.

Lightning alone does not resume exactly. What is done about it: the numbers behind every batch are seeded anew from
(seed, rank, epoch, batch), the order of the samples is a function of (seed, epoch), and ``last.ckpt`` always says
"batch b of epoch e is next", whichever hook wrote it.
"""

from __future__ import annotations

import math
import os
import random
import signal
import threading
import time
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import IO, Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.plugins.io import TorchCheckpointIO

from zoo.errors import InputError, ZooError
from zoo.training.module import ZooModule
from zoo.training.whole import whole

BEST, LAST = "best.ckpt", "last.ckpt"


class Interrupted(ZooError):
    """The user or the system asked the training to stop; the last checkpoint is written."""


class _Noting:
    """A file that keeps the error of a failed write: torch.save tells only that something else went wrong."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return self.stream.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.stream.flush()


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, flushes to the disk, then renames: a reader sees the old file or the new one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Saves a checkpoint under its final name only when all of it is on the disk."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as working, working.open("wb") as stream:
            noting: Any = _Noting(stream)
            try:
                torch.save(checkpoint, noting)
                stream.flush()
                os.fsync(stream.fileno())
            except (OSError, RuntimeError) as error:
                told = noting.error or error
                if not isinstance(told, OSError):
                    raise
                raise OSError(told.errno, told.strerror, str(target)) from error
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Reseed(Callback):
    """Seeds torch, numpy and random from (seed, rank, epoch, batch) before every training batch.

    Args:
        seed: Seed of the training.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Makes what follows a function of the place in the training."""
        seed_batch(self.seed, trainer.global_rank, trainer.current_epoch, batch_idx, pl_module.device)


def seed_batch(seed: int, rank: int, epoch: int, batch: int, device: torch.device) -> None:
    """Seeds torch, numpy and random by the place in a training."""
    state = int(np.random.SeedSequence([seed, rank, epoch, batch]).generate_state(1)[0])
    if device.type == "cpu":  # torch.manual_seed reaches for every accelerator, and that takes a while
        torch.default_generator.manual_seed(state)
    else:
        torch.manual_seed(state)
    np.random.seed(state)
    random.seed(state)


class Checkpoints(Checkpoint):
    """``best.ckpt`` by the module's monitored metric, then ``last.ckpt`` at the end of each epoch and every so often.

    Ctrl-C and SIGTERM let the optimizer step in progress end, write ``last.ckpt`` and raise :class:`Interrupted`;
    a second Ctrl-C stops at once.

    Args:
        folder: Folder of the run.
        minutes: How often ``last.ckpt`` is written inside a long epoch.
    """

    def __init__(self, folder: Path, minutes: float = 15.0) -> None:
        self.folder, self.seconds = folder, minutes * 60
        self.best: float | None = None
        self.best_step = 0
        self.stopping = False
        self._saved_at = time.monotonic()
        self._next: tuple[int, int] | None = None
        self._goes_on = False

    # -- when

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes over the signals; Lightning's own handler would end the training before anything is saved."""
        self._saved_at = time.monotonic()
        if threading.current_thread() is not threading.main_thread():
            return
        signal.signal(signal.SIGINT, self._ask_to_stop)
        environment = trainer._accelerator_connector.cluster_environment
        if not (isinstance(environment, SLURMEnvironment) and environment.auto_requeue):
            signal.signal(signal.SIGTERM, self._ask_to_stop)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Between two optimizer steps: writes ``last.ckpt`` where it is time to, or where a stop was asked for."""
        if batch_idx % trainer.accumulate_grad_batches:
            return
        due = self.stopping or time.monotonic() - self._saved_at > self.seconds
        if trainer.world_size > 1:
            due = trainer.strategy.reduce_boolean_decision(due, all=False)
        if due:
            self._save_last(trainer, trainer.current_epoch, batch_idx)
            self._leave_if_asked(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes ``best.ckpt`` where the monitored metric is better than ever."""
        if trainer.sanity_checking or not isinstance(pl_module, ZooModule):
            return
        monitor, mode = pl_module.monitor, pl_module.mode
        if monitor not in trainer.callback_metrics:
            known = sorted(trainer.callback_metrics)
            near = get_close_matches(monitor, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(
                f"model.init_args.monitor is {monitor!r}, which validation did not report; "
                f"it reported {', '.join(known) or 'nothing'}{hint}"
            )
        value = float(trainer.callback_metrics[monitor])
        if self.best is None or math.isnan(self.best) or (value > self.best if mode == "max" else value < self.best):
            self.best, self.best_step = value, trainer.global_step
            self._next, self._goes_on = (trainer.current_epoch, 0), False  # in the midst of an epoch, or of its end
            trainer.save_checkpoint(self.folder / BEST)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes ``last.ckpt``; the next place is the start of the next epoch."""
        self._save_last(trainer, trainer.current_epoch + 1, 0)
        self._leave_if_asked(trainer, pl_module)

    def _save_last(self, trainer: pl.Trainer, epoch: int, batches: int) -> None:
        self._next, self._goes_on = (epoch, batches), True
        trainer.save_checkpoint(self.folder / LAST)
        self._saved_at = time.monotonic()

    def _ask_to_stop(self, signum: int, frame: FrameType | None) -> None:
        if self.stopping and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.stopping = True

    def _leave_if_asked(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        asked = self.stopping
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            raise Interrupted(
                f"stopped on request at epoch {trainer.current_epoch}, step {trainer.global_step}; "
                f"{self.folder / LAST} is written, --resume goes on from it"
            )

    # -- what

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the best value so far back."""
        self.best, self.best_step = state_dict["best"], state_dict["best_step"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Rewrites Lightning's loop counters to one plain statement: which batch of which epoch is next."""
        if self._next is None:
            return
        epoch, batches = self._next
        if self._goes_on:
            checkpoint["zoo_next"] = {"epoch": epoch, "batches": batches}
        loops = checkpoint["loops"]["fit_loop"]
        started = epoch + (batches > 0)
        _set(loops["epoch_progress"], ready=started, started=started, processed=epoch, completed=epoch)
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] = trainer.global_step
        done = loops["epoch_loop.batch_progress"]
        done["is_last_batch"] = False
        done["total"] = dict.fromkeys(done["total"], done["total"]["completed"])
        done["current"] = dict.fromkeys(done["current"], batches)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Tells the data where to go on.

        Raises:
            InputError: The checkpoint is none that a training goes on from.
        """
        if "zoo_next" not in checkpoint:
            raise InputError("the checkpoint does not say which batch is next: training goes on from last.ckpt alone")
        place = checkpoint["zoo_next"]
        trainer.datamodule.resume(place["epoch"], place["batches"])  # type: ignore[attr-defined]


def _set(progress: dict[str, dict[str, Any]], **counts: int) -> None:
    progress["total"].update(counts)
    progress["current"].update(counts)
