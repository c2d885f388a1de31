"""What TensorBoard shows of a run beside its curves: the recipe as text, and its settings in a table over runs."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from zoo.training.module import ZooModule


class Settings(Callback):
    """Writes the recipe and its settings when a training starts; one that resumes has them already."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes them on the first process."""
        if trainer.global_step or not trainer.is_global_zero or not isinstance(pl_module, ZooModule):
            return
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                _write(logger.experiment, pl_module.recipe_text, pl_module.monitor)


def _write(writer: Any, recipe: str, monitor: str) -> None:
    """The text, and a row of the table; its metric is the one that picks the best checkpoint."""
    from torch.utils.tensorboard.summary import hparams

    indented = "".join(f"    {line}\n" for line in recipe.splitlines())  # Markdown's code
    writer.add_text("recipe", indented, 0)
    for summary in hparams(flat(yaml.safe_load(recipe) or {}), {monitor: 0.0}):
        writer.file_writer.add_summary(summary)


def flat(tree: dict[str, Any]) -> dict[str, bool | int | float | str]:
    """Settings by the names that options have, e.g. ``model.margin``; an object is its class's name and its arguments.

    Args:
        tree: A resolved recipe.
    """
    found: dict[str, bool | int | float | str] = {}

    def walk(value: Any, key: str) -> None:
        if isinstance(value, dict) and "class_path" in value:
            found[key] = str(value["class_path"]).rpartition(".")[2]
            walk(value.get("init_args") or {}, key)
        elif isinstance(value, dict):
            for name, inner in value.items():
                walk(inner, f"{key}.{name}" if key else str(name))
        elif isinstance(value, bool | int | float | str):
            found[key] = value
        elif value is not None:
            found[key] = str(value)

    walk(tree, "")
    return found
