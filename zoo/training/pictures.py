"""Pictures of the first validation batch, in the run folder and in TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from zoo.training.module import ZooModule


class Pictures(Callback):
    """Draws the first validation batch of each validation with the module's ``picture``.

    Args:
        folder: ``pictures/`` of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @torch.no_grad()
    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Writes ``step_<n>.png``."""
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero or not isinstance(pl_module, ZooModule):
            return
        figure = pl_module.picture(batch)
        if figure is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.folder / f"step_{trainer.global_step:06d}.png", dpi=100)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_figure("val/picture", figure, trainer.global_step)
