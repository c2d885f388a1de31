"""Trains a module on data into a run folder: the Trainer with the house's checkpoints, journal and progress."""

from __future__ import annotations

import errno
import logging
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from zoo.errors import InputError, ZooError
from zoo.training.checkpoints import LAST, AtomicCheckpointIO, Checkpoints, Reseed
from zoo.training.data import ZooData
from zoo.training.journal import Journal
from zoo.training.loader import deaths_told
from zoo.training.module import NonFiniteLoss, ZooModule
from zoo.training.pictures import Pictures
from zoo.training.progress import Bar, Lines
from zoo.training.settings import Settings
from zoo.training.whole import remove_leftovers

# what gloo, NCCL and the store of torch.distributed say where the other end is gone
_PEER_LOST = re.compile(
    r"Connection (closed|reset)( by peer)?|Broken pipe|gloo|NCCL|TCPStore|process group", re.IGNORECASE
)


# what a disk or its owner says
_CURABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)


class Events(TensorBoardLogger):
    """TensorBoard events alone: Lightning's logger would add an empty hparams.yaml to the run folder."""

    def save(self) -> None:
        """Flushes the events."""
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            self.experiment.flush()


def quiet() -> None:
    """Keeps Lightning's advertisements and the hints that do not fit this house out of the output."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*ended before the epoch ended and your dataloader is not resumable.*",  # the order resumes, see EpochOrder
        ".*smaller than the logging interval.*",
        ".*treespec.*",
        ".*sync_dist=True.*",  # torchmetrics have synchronised already
        ".*in eval mode at the start of training.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*GPU available but not used.*",
        ".*Starting from v1.9.0.*",
        ".*`isinstance.treespec.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def build_trainer(arguments: dict[str, Any]) -> pl.Trainer:
    """Lightning's Trainer, with what it refuses turned into one clear line.

    Args:
        arguments: Arguments of ``lightning.pytorch.Trainer``.

    Raises:
        InputError: The Trainer refuses an argument.
    """
    try:
        return pl.Trainer(enable_model_summary=False, use_distributed_sampler=False, **arguments)
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise InputError(f"trainer: {' '.join(str(error).split())}") from error


@dataclass
class Training:
    """A training that is ready to run; nothing is written yet.

    Attributes:
        trainer: Lightning's Trainer.
        checkpoints: The checkpoint writer, which knows the best value.
        folder: Folder of the run.
        resume: Whether to go on from ``last.ckpt``.
    """

    trainer: pl.Trainer
    checkpoints: Checkpoints
    folder: Path
    resume: bool

    def run(self, module: ZooModule, data: ZooData) -> None:
        """Trains.

        Args:
            module: With its optimizer set.
            data: Checked data.

        Raises:
            NonFiniteLoss: A loss term is NaN or infinite; the last good checkpoint is kept and named.
            Interrupted: Ctrl-C or SIGTERM; the state is saved.
            LoaderDied: A data loader process died.
            ZooError: The run folder cannot be written: the disk is full, or somebody else's.
            ZooError: Another process of this training is gone.
            InputError: Lightning refuses a setting.
        """
        last = self.folder / LAST
        if self.trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.folder)
        try:
            with deaths_told(self._going_on):
                self.trainer.fit(module, datamodule=data, ckpt_path=last if self.resume else None, weights_only=True)
        except NonFiniteLoss as error:
            kept = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
            raise NonFiniteLoss(f"{error}; {kept}") from error
        except (MisconfigurationException, ValueError) as error:
            if isinstance(error, ValueError) and "val_check_interval" not in str(error):
                raise
            raise InputError(f"trainer: {' '.join(str(error).split())}") from error
        except OSError as error:
            if error.errno not in _CURABLE:
                raise
            place = error.filename or self.folder
            raise ZooError(
                f"{place}: {(error.strerror or str(error)).lower()}; when that is cured, {self._going_on()}"
            ) from error
        except RuntimeError as error:
            lost = _PEER_LOST.search(" ".join(str(error).split()))
            if self.trainer.world_size == 1 or lost is None:
                raise
            raise ZooError(
                f"process {self.trainer.global_rank} lost another process of this training ({lost[0]}); "
                f"{self._going_on()}"
            ) from error

    def _going_on(self) -> str:
        last = self.folder / LAST
        return f"--resume goes on from {last}" if last.exists() else "--resume starts anew: there is no checkpoint yet"


def prepare(folder: Path, seed: int, arguments: dict[str, Any], resume: bool) -> Training:
    """Builds the Trainer with the house's callbacks.

    Args:
        folder: Folder of the run; ``best.ckpt``, ``last.ckpt``, ``metrics.csv``, TensorBoard events and ``pictures/``.
        seed: Seed of everything that happens after the construction of the module.
        arguments: The recipe's arguments of ``lightning.pytorch.Trainer``, callbacks instantiated.
        resume: Go on from ``last.ckpt`` where there is one.

    Raises:
        InputError: The Trainer refuses an argument.
    """
    last = folder / LAST
    resume = resume and last.exists()
    step = torch.load(last, weights_only=True, mmap=True)["global_step"] if resume else 0
    journal, checkpoints = Journal(folder / "metrics.csv"), Checkpoints(folder)
    progress = Bar(journal, checkpoints) if sys.stdout.isatty() else Lines(journal, checkpoints)
    own = [Reseed(seed), journal, Pictures(folder / "pictures"), Settings(), progress, checkpoints]
    trainer = build_trainer(
        {
            "num_sanity_val_steps": 0,
            **arguments,
            "callbacks": [*own, *arguments.get("callbacks", [])],
            "plugins": [AtomicCheckpointIO(), *arguments.get("plugins", [])],
            "logger": Events(folder, name="", version="", purge_step=step if resume else None),
            "enable_progress_bar": sys.stdout.isatty(),
            "default_root_dir": folder,
        }
    )
    return Training(trainer, checkpoints, folder, resume)
