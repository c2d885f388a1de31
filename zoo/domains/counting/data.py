"""Data of counting: images whose objects are marked by points, some of them with their points kept back.

What the loaders give (the contract with ``module.py``):

=================  ===========================================================================================
training           a dict of ``labelled``, ``unlabelled`` and ``id`` (names of both, the labelled ones first)
``labelled``       ``image`` ``(B, 3, C, C)`` normalised; ``points`` a list of ``(N, 2)`` x and y in pixels of the
                   crop; ``count`` ``(B,)`` how many; ``cells`` ``(B, 1, C/4, C/4)`` how many in each cell
``unlabelled``     ``image`` ``(U, 3, C, C)`` normalised; None where there are no unlabelled images, or none is wanted
validation, test   a list of dicts: ``image`` ``(3, H, W)`` normalised, ``points`` ``(N, 2)``, ``name``
=================  ===========================================================================================
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import torch

from zoo.domains.counting.data_items import Picture, Pictures
from zoo.domains.counting.data_order import SideBySide
from zoo.domains.counting.network import STRIDE
from zoo.errors import InputError, ZooError
from zoo.training import DataError, EpochOrder, Items, Split, ZooData
from zoo.training.choices import check_choice
from zoo.training.order import Occurrences, Seeded
from zoo.training.paths import is_there
from zoo.training.whole import whole

Outside = Literal["stop", "drop"]
SPLIT_FILE = "split.csv"


class CountingData(ZooData):
    """Base of the data sets of counting. A subclass says which images there are: :meth:`pictures`.

    Args:
        root: Folder of the data.
        batch_size: Labelled crops per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be used, or ``skip`` such images, count and report them.
        crop: Side of the training crops in pixels, a multiple of 4.
        labelled_fraction: Share of the training images whose points are used, in (0, 1]; the others are unlabelled.
            A larger share contains a smaller one.
        label_seed: Which images that are.
        unlabelled_batch: Unlabelled crops per process and step; null for as many as ``batch_size``, 0 for none.
        steps_per_epoch: Steps of an epoch; null for every labelled image once.
        val: Validation images, taken from the training images where the data set names none itself: a share below 1,
            or a number of images.
        split_seed: Which images those are.
        outside: A point outside its image is an error (``stop``), or is left out (``drop``).
        keep_images: Decode every image once and keep it in memory (of each loader process).
    """

    domain = "counting"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 16,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        crop: int = 256,
        labelled_fraction: float = 1.0,
        label_seed: int = 0,
        unlabelled_batch: int | None = None,
        steps_per_epoch: int | None = None,
        val: float = 0.1,
        split_seed: int = 0,
        outside: Outside = "stop",
        keep_images: bool = False,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
        if crop < STRIDE or crop % STRIDE:
            raise InputError(f"data.crop must be a multiple of {STRIDE}, got {crop}")
        if not 0 < labelled_fraction <= 1:
            raise InputError(f"data.labelled_fraction must be above 0 and at most 1, got {labelled_fraction}")
        if unlabelled_batch is not None and unlabelled_batch < 0:
            raise InputError(f"data.unlabelled_batch must not be negative, got {unlabelled_batch}")
        if steps_per_epoch is not None and steps_per_epoch < 1:
            raise InputError(f"data.steps_per_epoch must be at least 1, got {steps_per_epoch}")
        if val <= 0 or (val >= 1 and val != int(val)):
            raise InputError(f"data.val must be a share between 0 and 1, or a number of images, got {val}")
        check_choice("data.outside", outside, get_args(Outside))
        self.crop, self.labelled_fraction, self.label_seed = crop, labelled_fraction, label_seed
        self.unlabelled_batch = batch_size if unlabelled_batch is None else unlabelled_batch
        self.steps_per_epoch, self.val, self.split_seed = steps_per_epoch, val, split_seed
        self.outside, self.keep_images = outside, keep_images
        self._pictures: dict[Path, list[Picture]] = {}

    # -- what a data set writes

    def pictures(self, root: Path) -> list[Picture]:
        """All images of all splits. Where none is of the validation split, the base class takes some for it.

        Args:
            root: Folder of the data.

        Raises:
            DataError: A file is missing or malformed; names it.
        """
        raise ZooError(f"{type(self).__name__} does not say which images it has")

    # -- what they share

    def read(self, root: Path, split: Split) -> Items:
        """The images of one split; of the training those whose points are used come first."""
        chosen = [picture for picture in self.all_pictures(root) if picture.split == split]
        if self.on_error == "stop":
            _require_files(chosen)
        if split != "train":
            return Pictures(chosen, len(chosen), False, self.crop, self.outside == "drop", self.keep_images)
        marked = [picture for picture in chosen if picture.points is not None]
        others = [picture for picture in chosen if picture.points is None]
        return Pictures([*marked, *others], len(marked), True, self.crop, self.outside == "drop", self.keep_images)

    def all_pictures(self, root: Path) -> list[Picture]:
        """The images of all splits, those of the training whose points are kept back without points.

        Raises:
            DataError: No training image has points.
        """
        if self.looking:
            return self.pictures(root)
        if root not in self._pictures:
            pictures = self.kept(self.pictures(root), lambda picture: picture.name)
            if not any(picture.split == "val" for picture in pictures):
                pictures = self._hold_out(root, pictures)
            self._pictures[root] = self._keep_back(root, pictures)
        return self._pictures[root]

    def forget(self) -> None:
        """The pictures are read anew."""
        self._pictures.clear()

    def _hold_out(self, root: Path, pictures: list[Picture]) -> list[Picture]:
        """Some labelled training images become the validation split."""
        names = sorted(picture.name for picture in pictures if picture.split == "train" and picture.points is not None)
        count = int(self.val) if self.val >= 1 else max(1, round(self.val * len(names)))
        if count >= len(names):
            raise DataError(f"{root}: {count} of {len(names)} training images for validation (data.val) leave none")
        order = np.random.default_rng(self.split_seed).permutation(len(names))
        held = {names[int(index)] for index in order[:count]}
        return [replace(picture, split="val") if picture.name in held else picture for picture in pictures]

    def _keep_back(self, root: Path, pictures: list[Picture]) -> list[Picture]:
        """Training images beyond the labelled share lose their points."""
        names = sorted(picture.name for picture in pictures if picture.split == "train" and picture.points is not None)
        if not names:
            raise DataError(f"{root}: no training image of {self.dataset} has points")
        order = np.random.default_rng([self.label_seed, 1]).permutation(len(names))
        count = max(1, round(self.labelled_fraction * len(names)))
        back = {names[int(index)] for index in order[count:]}
        return [replace(picture, points=None) if picture.name in back else picture for picture in pictures]

    def items(self, split: Split) -> Seeded:
        """The usable images of a split; those of the training may come several times in an epoch."""
        first = split not in self._sets
        found = super().items(split)
        if first and split == "train":
            self._sets[split] = Occurrences(found.items, found.seed, found.subset)
        return self._sets[split]

    def order(self, items: Items, subset: np.ndarray, rank: int, world_size: int) -> EpochOrder:
        """Labelled images with unlabelled ones beside them."""
        positions = np.arange(len(subset))
        marked = subset < cast(Pictures, items).labelled
        if not marked.any():
            raise DataError(f"{self.folder()}: none of {len(subset)} training images that can be used has points")
        return SideBySide(
            positions[marked], positions[~marked], self.batch_size, self.unlabelled_batch, self.steps_per_epoch,
            self.seed, rank, world_size,
        )  # fmt: skip

    def train_dataloader(self) -> Any:
        """Batches of (seed, epoch); the split is written to the run folder first."""
        loader = super().train_dataloader()
        trainer = self.trainer
        if trainer is not None and trainer.is_global_zero:
            self.write_split(Path(trainer.default_root_dir) / SPLIT_FILE)
        return loader

    def write_split(self, file: Path) -> None:
        """Writes which image is in which split, and whether its points are used; whole or not at all.

        Args:
            file: A csv of image, split, labelled (yes or no).
        """
        pictures = self.all_pictures(self.folder())
        file.parent.mkdir(parents=True, exist_ok=True)
        with (
            whole(file) as working,
            # names may be no text
            working.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
        ):
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("image", "split", "labelled"))
            for picture in pictures:
                writer.writerow((picture.name, picture.split, "no" if picture.points is None else "yes"))

    def image_files(self, split: Split) -> list[Path]:
        """The image files of a split; parts of one raster are no images of their own."""
        return [
            picture.file
            for picture in self.all_pictures(self.folder())
            if picture.split == split and picture.window is None
        ]

    @property
    def evaluation_batch_size(self) -> int:
        """Images differ in size and are counted one by one."""
        return 1

    def collate(self, batch: list[dict[str, Any]]) -> Any:
        """Joins items, see the head of this module."""
        if "labelled" not in batch[0]:
            return [{"image": item["image"], "points": item["points"], "name": item["id"]} for item in batch]
        marked = [item for item in batch if item["labelled"]]
        others = [item for item in batch if not item["labelled"]]
        return {
            "id": [item["id"] for item in [*marked, *others]],
            "labelled": {
                "image": torch.stack([item["image"] for item in marked]),
                "points": [item["points"] for item in marked],
                "count": torch.tensor([item["count"] for item in marked], dtype=torch.float32),
                "cells": torch.stack([item["cells"] for item in marked]),
            },
            "unlabelled": {"image": torch.stack([item["image"] for item in others])} if others else None,
        }


def _require_files(pictures: list[Picture]) -> None:
    """Refuses images or annotations that are not there, all told in one line."""
    missing = [
        f"{picture.place}: there is no image {picture.file}" if picture.place else f"{picture.file}: no such image"
        for picture in pictures
        if not is_there(picture.file)
    ]
    missing += [
        f"{picture.points}: there is no such annotation of {picture.name}"
        for picture in pictures
        if isinstance(picture.points, Path) and not is_there(picture.points)
    ]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(f"{missing[0]}{more}")
