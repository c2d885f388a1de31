"""``metrics.csv`` and TensorBoard: a row every ``log_every_n_steps`` and one per epoch; exact after resuming."""

from __future__ import annotations

import csv
import errno
import io
import math
import os
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from zoo.errors import InputError
from zoo.training.whole import whole

Cells = dict[str, float]
FIRST = ("epoch", "step", "time")


def _is_cell(text: str | None) -> bool:
    """Whether a cell is empty or a number."""
    try:
        float(text or "nan")
    except ValueError:
        return False
    return text is not None


def _column_order(column: str) -> tuple[int, str]:
    return (FIRST.index(column), "") if column in FIRST else (3 + (not column.startswith("train/")), column)


class Table:
    """A csv file that only grows, but for rows after the checkpoint that a resumed training starts from.

    Args:
        file: Path of the csv file.
        rows: Rows to keep from an earlier run; later ones are cut.
        step: Optimizer step by which they were written.

    Raises:
        InputError: The file does not hold these rows.
    """

    def __init__(self, file: Path, rows: int = 0, step: float = math.inf) -> None:
        self.file = file
        self.columns: list[str] = []
        self._rewrite(self._kept(rows, step) if rows else [])

    def _kept(self, rows: int, step: float) -> list[dict[str, str]]:
        """The first rows; what comes behind them may be half a row."""
        cure = "put the file back as it was, or delete it to go on without its rows"
        lines = self._read(rows)
        absent = [name for name in FIRST if name not in self.columns]
        if absent:
            raise InputError(f"{self.file}:1: there is no column {absent[0]}; {cure}")
        for number, row in enumerate(lines, start=2):
            if None in row or not all(map(_is_cell, row.values())) or not row["step"]:
                raise InputError(f"{self.file}:{number}: the row is not whole; {cure}")
        if len(lines) < rows:
            raise InputError(
                f"{self.file}: the checkpoint was written after {rows} rows, the file has {len(lines)}; {cure}"
            )
        if float(lines[-1]["step"]) > step:
            raise InputError(
                f"{self.file}:{rows + 1}: the row is later than the checkpoint, one before is gone; {cure}"
            )
        return lines

    def add(self, cells: Cells) -> None:
        """Appends a row; a column not seen before rewrites the file with the longer head."""
        row = {name: repr(value) for name, value in cells.items()}
        if set(row) <= set(self.columns):
            self._append(self._text([row]))
        else:
            self._rewrite([*self._read(), row])

    def _read(self, rows: int | None = None) -> list[dict[str, str]]:
        """The (first) rows on the disk, where alone they are: a training may have millions."""
        with self.file.open(newline="", encoding="utf-8", errors="replace") as stream:
            reader = csv.DictReader(stream)
            try:
                lines = list(islice(reader, rows))
                self.columns = list(reader.fieldnames or [])
            except csv.Error as error:
                raise InputError(f"{self.file}:{reader.line_num}: cannot be read as csv ({error})") from error
        return lines

    def _append(self, text: str) -> None:
        """Appends whole rows; what a full disk left of one is cut off again."""
        with self.file.open("ab", buffering=0) as stream:
            before, content = stream.tell(), text.encode()
            try:
                written = stream.write(content)
                if written != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.file))
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(before)
                raise

    def _text(self, rows: list[dict[str, str]]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self.columns, restval="", lineterminator="\n").writerows(rows)
        return text.getvalue()

    def _rewrite(self, lines: list[dict[str, str]]) -> None:
        names = {name for row in lines for name in row} | set(self.columns) | set(FIRST)
        self.columns = sorted(names, key=_column_order)
        with whole(self.file) as working, working.open("w", newline="") as stream:
            stream.write(",".join(self.columns) + "\n" + self._text(lines))
            stream.flush()
            os.fsync(stream.fileno())


class Journal(Callback):
    """Writes the loss terms of steps, their means over each epoch, and the validation metrics.

    Lightning's own running means start anew when a run resumes inside an epoch; these are part of the checkpoint.

    Args:
        file: The csv file, ``metrics.csv`` of the run.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.sums: Cells = {}
        self.count = 0
        self.rows = 0
        self.validation: Cells = {}
        self.latest: Cells = {}
        self._table: Table | None = None
        self._logged_step = 0
        self._rates: Cells = {}
        self._start = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the table, cut to the rows of the checkpoint."""
        self._logged_step = trainer.global_step
        if not trainer.is_global_zero:
            return
        if self.rows and not self.file.is_file():
            print(f"note: {self.file} is gone, and with it {self.rows} rows; it starts anew", file=sys.stderr)
            self.rows = 0
        self._table = Table(self.file, self.rows, trainer.global_step)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Notes the learning rates that the step is made with; those of further groups where they differ."""
        rates = [float(group["lr"]) for group in trainer.optimizers[0].param_groups]
        further = {f"train/lr_{index}": rate for index, rate in enumerate(rates) if index and len(set(rates)) > 1}
        self._rates = {"train/lr": rates[0], **further}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds the terms of the batch to the epoch's means, and writes a row where one is due."""
        terms = self._values(trainer, outputs["terms"])
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        self.latest = terms
        step = trainer.global_step
        if step != self._logged_step and step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._write(trainer, step, {**terms, **self._rates})
        self._logged_step = step

    @staticmethod
    def _values(trainer: pl.Trainer, terms: dict[str, torch.Tensor]) -> Cells:
        stacked = torch.stack([term.double() for term in terms.values()])
        if trainer.world_size > 1:
            stacked = trainer.strategy.reduce(stacked, reduce_op="mean")
        values = dict(zip(terms, stacked.tolist(), strict=True))
        return {"train/loss": sum(values.values()), **{f"train/{name}": value for name, value in values.items()}}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the validation metrics for the row of the epoch; of several validations each gets a row."""
        if trainer.sanity_checking:
            return
        self._flush_validation(trainer)
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        self.validation = {"step": float(trainer.global_step), **values}

    def _flush_validation(self, trainer: pl.Trainer) -> None:
        if self.validation:
            step = int(self.validation.pop("step"))
            self._write(trainer, step, self.validation)
            self.validation = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the row of the epoch: means of the loss terms, and the validation that ended with it."""
        means = {name: total / max(1, self.count) for name, total in self.sums.items()}
        if self.validation and int(self.validation["step"]) == trainer.global_step:
            means.update({name: value for name, value in self.validation.items() if name != "step"})
            self.validation = {}
        self._flush_validation(trainer)
        self._write(trainer, trainer.global_step, means)
        self.latest = means
        self.sums, self.count = {}, 0

    def _write(self, trainer: pl.Trainer, step: int, cells: Cells) -> None:
        self.rows += 1
        if self._table is None:
            return
        seconds = round(time.monotonic() - self._start, 3)
        self._table.add({"epoch": trainer.current_epoch, "step": step, "time": seconds, **cells})
        for logger in trainer.loggers:
            logger.log_metrics(cells, step=step)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the file depends on."""
        return {"sums": dict(self.sums), "count": self.count, "rows": self.rows, "validation": dict(self.validation)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes back to the place of the checkpoint."""
        self.sums, self.count = dict(state_dict["sums"]), state_dict["count"]
        self.rows, self.validation = state_dict["rows"], dict(state_dict["validation"])
