"""Pictures of the first validation batch, in the run folder and in TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from zoo.training.module import ZooModule
from zoo.training.whole import draw_whole


class Pictures(Callback):
    """Draws the first validation batch with the module's ``picture`` after epochs 1, 2, 4, 8, ... and the last.

    Drawing takes longer than a small epoch, and a training of hundreds of epochs needs no hundreds of pictures.

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
        epoch = trainer.current_epoch + 1
        if epoch & (epoch - 1) and epoch != trainer.max_epochs:
            return
        figure = pl_module.picture(batch)
        if figure is None:
            return
        from matplotlib.image import imread

        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"step_{trainer.global_step:06d}.png"
        draw_whole(file, figure)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("val/picture", imread(file), trainer.global_step, dataformats="HWC")
