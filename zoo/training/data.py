"""ZooData: what every domain's data inherits: root, loaders, deterministic order, synthesized sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args
from unicodedata import category

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate

from zoo.errors import InputError, ZooError
from zoo.training.loader import Guarded, Loader, as_is
from zoo.training.order import EpochOrder, EvaluationOrder, Items, Key, Seeded, SourcedItems
from zoo.training.root import resolve_root, synthesized

Split = Literal["train", "val", "test"]
Record = TypeVar("Record")
Made = TypeVar("Made")


_UNPRINTED = {"Cc", "Zl", "Zp", "Cs"}  # control letters, ends of lines and paragraphs, halves of letters
_LONGEST = 1000  # letters of a message: a damaged table may name a thousand columns


class DataError(InputError):
    """A file or row of a data set cannot be used; the message names it, in one line.

    Args:
        message: What of a file's content it quotes may be anything: letters that break a line, or that no text file
            can hold, are written as Python would escape them.
    """

    def __init__(self, message: str) -> None:
        line = "".join(
            letter.encode("unicode_escape").decode() if category(letter) in _UNPRINTED else letter for letter in message
        )
        super().__init__(line if len(line) <= _LONGEST else f"{line[:600]} ... {line[-300:]}")


class ZooData(pl.LightningDataModule):
    """Base of every data set. A domain writes :meth:`read` and, for demos, :meth:`make`.

    Class attributes (plain literals: ``zoo data`` reads them without importing anything):
        domain: Folder of the domain under ``zoo/domains``.
        dataset: Name of the data set, and its folder under ``$ZOO_DATA/<domain>``.
        source: Where a user gets it.
        terms: Licence or terms of use.
        layout: The official files below the root.
        splits: Which there are on the disk; a set without an official validation split names two.
        sample: Pattern of files below a synthesized set that ``zoo predict`` takes.

    Args:
        root: Folder of the data; see :mod:`zoo.training.root` for where a relative or absent root is looked up.
        batch_size: Samples per process and training step, >= 1.
        workers: Loader processes, >= 0.
        synthesize: Use tiny made-up data in the same format, written to the cache folder if absent.
        limit: Use only this many items of each split, spread evenly over it.
        on_error: ``stop`` at the first item that cannot be read, or ``skip`` such items, count and report them.
    """

    domain: ClassVar[str]
    dataset: ClassVar[str]
    source: ClassVar[str]
    terms: ClassVar[str]
    layout: ClassVar[str]
    splits: ClassVar[tuple[Split, ...]] = ("train", "val", "test")
    sample: ClassVar[str] = ""

    def __init__(
        self,
        root: str | None,
        batch_size: int,
        workers: int,
        synthesize: bool,
        limit: int | None,
        on_error: Literal["stop", "skip"],
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("workers", workers, 0),
            ("limit", limit, 1),
        ):
            if value is not None and value < least:
                raise InputError(f"data.{name} must be at least {least}, got {value}")
        self.root, self.batch_size, self.workers = root, batch_size, workers
        self.use_synthesized, self.limit, self.on_error = synthesize, limit, on_error
        self.seed = 0
        self.class_names: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.dropped: set[str] = set()
        self.looking = False  # for what cannot be used: nothing is drawn or kept back meanwhile
        self._left_out: dict[str, list[str]] | None = None
        self._sets: dict[Split, Seeded] = {}
        self._order: EpochOrder | None = None
        self._resume: tuple[int, int] = (0, 0)

    # -- what a domain writes

    def read(self, root: Path, split: Split) -> Items:
        """Opens one split of the data set.

        Args:
            root: Folder of the data.
            split: Which part.

        Raises:
            DataError: A file is missing or malformed; names file and row.
        """
        raise ZooError(f"{type(self).__name__} does not say how to read its {split} split")

    def make(self, root: Path) -> None:
        """Writes tiny synthesized data of ``self.seed`` in the official format into the empty folder ``root``."""
        raise InputError(f"{type(self).__name__} cannot be synthesized; give --data.root DIR")

    def prepare(self, source: Path, out: Path) -> None:
        """Makes the data set from raw files, e.g. features from videos; goes on where it was stopped.

        Args:
            source: Folder of the raw files.
            out: Folder of the data set; may hold what an earlier call finished.

        Raises:
            InputError: The data set is not made from raw files, or they cannot be used.
        """
        raise InputError(f"{type(self).__name__} is not made from raw files (zoo data show {self.dataset})")

    def image_files(self, split: Split) -> list[Path]:
        """The image files of a split; ``zoo data verify`` counts with them what stands in two splits."""
        return []

    def synthetic_arguments(self) -> dict[str, Any]:
        """What :meth:`make` depends on beside the seed, as plain values; part of the cache key."""
        return {}

    def order(self, items: Items, subset: np.ndarray, rank: int, world_size: int) -> EpochOrder:
        """The training order; override for a sampler of the method's own.

        Args:
            items: The training items.
            subset: Indices into ``items`` that are used; the order gives positions in it.
            rank: This process.
            world_size: Number of processes.
        """
        return EpochOrder(len(subset), self.batch_size, self.seed, rank, world_size)

    def collate(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Joins items to a batch: tensors stacked, texts in lists."""
        joined: dict[str, Any] = default_collate(batch)
        return joined

    # -- what the house does

    def transfer_batch_to_device(
        self, batch: dict[str, Any], device: torch.device, dataloader_idx: int
    ) -> dict[str, Any]:
        """Moves a batch; on a CPU it stays as it is, as walking through its ids and texts takes time for nothing."""
        if device.type == "cpu":
            return batch
        moved: dict[str, Any] = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return moved

    def folder(self) -> Path:
        """The folder of the data: a given root first, else the synthesized set, else the usual places.

        Raises:
            InputError: No such folder; names the places looked at.
        """
        if self.use_synthesized and self.root is None:
            return synthesized(type(self).__name__, {"seed": self.seed, **self.synthetic_arguments()}, self.make)
        return resolve_root(self.root, self.domain, self.dataset, self.dataset)

    def items(self, split: Split) -> Seeded:
        """The usable items of a split, read once.

        Raises:
            DataError: The first unusable item, where ``on_error`` is ``stop``, or a split with no usable item.
        """
        if split not in self._sets:
            root = self.folder()
            if self.on_error == "skip":
                self._leave_out(root, split)
            items = self.read(root, split)
            subset = self._usable(items, split)
            if self.limit is not None and self.limit < len(subset):
                subset = subset[np.linspace(0, len(subset) - 1, self.limit).round().astype(int)]
            if not len(subset):
                raise DataError(f"{root}: the {split} split of {self.dataset} holds no usable item")
            self._sets[split] = Seeded(items, self.seed, subset)
        return self._sets[split]

    def kept(self, records: Iterable[Record], source: Callable[[Record], str]) -> list[Record]:
        """The records whose source can be used, as far as that is known.

        Args:
            records: As read, of all splits.
            source: What :meth:`SourcedItems.made_of` says of the items made of a record.
        """
        return [record for record in records if source(record) not in self.dropped]

    def spare(self, error: DataError) -> None:
        """What a reader does with a record that cannot be used: raises where ``on_error`` is ``stop``, else counts it.

        Raises:
            DataError: As given.
        """
        if self.on_error == "stop":
            raise error
        self.skipped[str(error)] = 1  # the file is read for each split

    def forget(self) -> None:
        """Called before records are read anew without those that cannot be used; clears what was kept of them."""

    def _leave_out(self, root: Path, split: Split) -> None:
        """Finds the sources that cannot be used, of all splits: one may be drawn from another."""
        if self._left_out is not None:
            return
        left: dict[str, list[str]] = {}
        found: dict[str, DataError | None] = {}
        self.looking, told = True, self.skipped.copy()
        for part in dict.fromkeys((split, *get_args(Split))):
            try:
                items = self.read(root, part)
            except DataError:
                continue  # told where this split is asked for
            if not isinstance(items, SourcedItems):
                break
            for index in range(0, len(items), getattr(items, "versions", 1)):
                source = items.made_of(index)
                if source not in found:
                    found[source] = _error_of(items, index)
                if found[source] is not None:
                    left.setdefault(part, []).append(f"{part}: {found[source]}")
        else:
            self._left_out = left
        self.looking, self.skipped = False, told  # told when they are read in earnest
        self.dropped = {source for source, error in found.items() if error is not None}
        self.forget()

    def _usable(self, items: Items, split: Split) -> np.ndarray:
        """Indices of the items that can be read; every item is read once to know, but only where skipping is asked."""
        if self.on_error == "stop":
            return np.arange(len(items))
        if self._left_out is not None and isinstance(items, SourcedItems):
            self.skipped.update(self._left_out.get(split, []))
            sources = [items.made_of(index) for index in range(len(items))]  # a reader need not ask `kept`
            return np.flatnonzero([source not in self.dropped for source in sources])
        good = []
        for index in range(len(items)):
            error = _error_of(items, index)
            if error is None:
                good.append(index)
            else:
                self.skipped[f"{split}: {error}"] += 1
        return np.asarray(good, dtype=int)

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Batches of (seed, epoch), this process's share."""
        items = self.items("train")
        rank, world_size = self._place()
        self._order = self.order(items.items, np.asarray(items.subset), rank, world_size)
        self._order.resume(*self._resume)
        if not len(self._order):
            raise DataError(
                f"{self.folder()}: the train split has {len(items)} items, too few for one batch of "
                f"{self.batch_size} on each of {world_size} processes"
            )
        return self._loader(items, self._order)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Every validation item once."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Every test item once."""
        return self._evaluation_loader("test")

    def resume(self, epoch: int, batches: int) -> None:
        """Makes the next training loader start inside an epoch.

        Args:
            epoch: From 0.
            batches: Batches of that epoch already done.
        """
        self._resume = (epoch, batches)

    def _evaluation_loader(self, split: Split) -> DataLoader[dict[str, Any]]:
        items = self.items(split)
        rank, world_size = self._place()
        if len(items) < world_size:
            raise DataError(f"the {split} split has {len(items)} items, fewer than {world_size} processes")
        return self._loader(items, EvaluationOrder(len(items), self.evaluation_batch_size, 0, rank, world_size))

    @property
    def evaluation_batch_size(self) -> int:
        """Items per evaluation batch; a domain whose items differ in size says 1."""
        return self.batch_size

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _loader(self, items: Seeded, order: EpochOrder) -> DataLoader[dict[str, Any]]:
        # a generator of its own, or creating an iterator would draw from the training's random numbers
        generator = torch.Generator()
        generator.manual_seed(self.seed)
        batches: Any = order
        return Loader(
            Guarded(items, self.collate),
            batch_sampler=batches,
            num_workers=self.workers,
            collate_fn=as_is,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=generator,
        )


def refuse(error: DataError) -> None:
    """What a reader does with a record that cannot be used where it is not told otherwise: see :meth:`ZooData.spare`.

    Raises:
        DataError: As given.
    """
    raise error


def usable(
    records: Iterable[Record], make: Callable[[Record], Made], spare: Callable[[DataError], None] = refuse
) -> list[Made]:
    """What is made of every record that can be used.

    Args:
        records: E.g. the rows of a table.
        make: Raises :class:`DataError` for one that cannot be used.
        spare: Told of those.
    """
    made = []
    for record in records:
        try:
            made.append(make(record))
        except DataError as error:
            spare(error)
    return made


def _error_of(items: Items, index: int) -> DataError | None:
    try:
        items.item(index, np.random.default_rng(0))
    except DataError as error:
        return error
    return None


__all__ = ["DataError", "Key", "Split", "ZooData"]
