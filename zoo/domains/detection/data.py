"""Data of detection: images with boxes, and how they become batches.

The batch, as ``collate`` gives it (the contract with ``module.py``):

==============  ==============================================================================================
``images``      uint8 ``(B, 3, H, W)`` RGB, each in the upper left corner, zeros beside and below it
``sizes``       int64 ``(B, 2)`` height and width of each inside the batch
``targets``     per image ``labels (N,)`` int64 and ``boxes (N, 4)`` cx, cy, w, h in [0, 1] of the image; training
                objects only: no crowd regions, no boxes without an extent
``original``    int64 ``(B, 2)`` height and width of the file
``truth``       evaluation only, per image: ``boxes (N, 4)`` left, top, right, bottom in pixels of the file, ``labels``,
                ``iscrowd`` and ``area``, everything that is annotated
``id``          list[str]
==============  ==============================================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from zoo.domains.detection.augment import Views
from zoo.domains.detection.boxes import centred
from zoo.domains.detection.records import Record, check_inside, require_images
from zoo.errors import InputError, ZooError
from zoo.training import DataError, EpochOrder, Items, Split, ZooData, read_image
from zoo.training.order import cut


class Records:
    """Items of one split.

    Args:
        records: Its images.
        views: How they are cut.
        training: Whether to augment.
    """

    def __init__(self, records: Sequence[Record], views: Views, training: bool) -> None:
        self.records, self.views, self.training = records, views, training

    def __len__(self) -> int:
        return len(self.records)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """One image, see the head of this module.

        Raises:
            DataError: The image cannot be read, or has another size than its annotation says.
        """
        record = self.records[index]
        image = read_image(record.file, f"{record.place}: {record.file}")
        original = (int(image.shape[1]), int(image.shape[2]))
        if record.size is not None and record.size != original:
            wrong = f"{record.size[1]} x {record.size[0]}"
            raise DataError(f"{record.place}: annotated as {wrong}, {record.file} is {original[1]} x {original[0]}")
        given = record.boxes
        if record.size is None:  # now it is known
            for place, box in enumerate(given.tolist()):
                check_inside(box, original, f"{record.place}: box {place}")
            given = given.clip(0, np.array(original[::-1] * 2, dtype=np.float32))
        boxes, labels = torch.from_numpy(given), torch.from_numpy(record.labels)
        used = torch.from_numpy(record.objects)
        places, kinds = boxes[used], labels[used]
        found: dict[str, Any] = {"id": record.name, "original": torch.tensor(original)}
        if self.training:
            found["image"], places, kept = self.views.train(image, places, rng)
            kinds = kinds[kept]
        else:
            found["image"] = self.views.test(image)
            places = places * _scale(original, found["image"].shape[-2:])
            found["truth"] = {
                "boxes": boxes,
                "labels": labels,
                "iscrowd": torch.from_numpy(record.crowd).to(torch.long),
                "area": torch.from_numpy(record.area),
            }
        height, width = found["image"].shape[-2:]
        norm = torch.tensor([width, height, width, height], dtype=torch.float32)
        found["targets"] = {"labels": kinds, "boxes": centred(places / norm)}
        return found


class DrawnRecords(Records):
    """Items of a split that was drawn: which image is in it depends on all."""

    def made_of(self, index: int) -> str:
        """The image, by its name."""
        return self.records[index].name


class AspectOrder(EpochOrder):
    """Batches of landscapes or of portraits, so that little is padded; a function of (seed, epoch).

    Images are taken in a random order; a batch is complete as soon as one of the two kinds has enough. What is left
    at the end of the epoch makes the last batches, which may hold both.

    Args:
        wide: ``(N,)`` bool, whether an image is a landscape.
        used: ``(N,)`` bool, which images are trained on.
        batch_size: Images per process and step.
        seed: Of the training.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(
        self, wide: np.ndarray, used: np.ndarray, batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(len(wide), batch_size, seed, rank, world_size)
        self.wide, self.used = wide, used

    def global_batches(self, epoch: int) -> list[np.ndarray]:
        """See :class:`zoo.training.EpochOrder`."""
        step = self.batch_size * self.world_size
        order = np.random.default_rng([self.seed, epoch]).permutation(self.size)
        waiting: tuple[list[int], list[int]] = ([], [])
        batches = []
        for position in order[self.used[order]].tolist():
            kind = waiting[int(self.wide[position])]
            kind.append(position)
            if len(kind) == step:
                batches.append(np.array(kind))
                kind.clear()
        rest = np.array([*waiting[0], *waiting[1]], dtype=np.int64)
        if batches and len(rest) < self.world_size:  # not an image for every process
            return [*batches[:-1], np.concatenate([batches[-1], rest])]
        return batches + cut(rest, self.batch_size, self.world_size)


class DetectionData(ZooData):
    """Base of the data sets of detection. A subclass says which images there are: :meth:`records`.

    Args:
        root: Folder of the data.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` such images, count and report them.
        sizes: Shorter sides that training draws from.
        longest: Most that the longer side may have in training.
        crop_sizes: Shorter sides before the crop that every second training image gets; empty for no crops.
        crop: Least and most pixels of a crop's sides.
        flip: Share of the training images that are mirrored.
        test_size: Shorter side in the test.
        test_longest: Longer side in the test.
        evaluation_batch: Images per evaluation batch; only with 1 no image is padded.
        aspect_grouping: Whether a training batch holds landscapes or portraits only.
        keep_empty: Whether images without an object are trained on.
    """

    domain = "detection"
    drawn = False  # whether splits are drawn from all images

    def __init__(
        self,
        root: str | None,
        batch_size: int,
        workers: int,
        synthesize: bool,
        limit: int | None,
        on_error: Literal["stop", "skip"],
        sizes: list[int],
        longest: int,
        crop_sizes: list[int],
        crop: list[int],
        flip: float,
        test_size: int,
        test_longest: int,
        evaluation_batch: int,
        aspect_grouping: bool,
        keep_empty: bool,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
        if len(crop) != 2:
            raise InputError(f"data.crop is the least and the most of a side, got {crop}")
        if evaluation_batch < 1:
            raise InputError(f"data.evaluation_batch must be at least 1, got {evaluation_batch}")
        self.views = Views(tuple(sizes), longest, tuple(crop_sizes), (crop[0], crop[1]), flip, test_size, test_longest)
        self.evaluation_batch, self.aspect_grouping, self.keep_empty = evaluation_batch, aspect_grouping, keep_empty

    # -- what a data set writes

    def records(self, root: Path, split: Split) -> list[Record]:
        """The images of a split; sets ``class_names``.

        Args:
            root: Folder of the data.
            split: Which part.

        Raises:
            DataError: A file is missing or malformed; names file and place.
        """
        raise ZooError(f"{type(self).__name__} does not say which images it has")

    # -- what they share

    def read(self, root: Path, split: Split) -> Items:
        """The images of one split.

        Raises:
            DataError: An annotation is malformed, or an image is missing where ``on_error`` is ``stop``.
        """
        found = self.records(root, split)
        if self.on_error == "stop":
            require_images(found)
        return (DrawnRecords if self.drawn else Records)(found, self.views, split == "train")

    def order(self, items: Items, subset: np.ndarray, rank: int, world_size: int) -> EpochOrder:
        """Batches of one aspect; images without an object are left out, and their number is told.

        Raises:
            DataError: No training image holds an object.
        """
        records = [cast(Records, items).records[int(index)] for index in subset]
        used = np.array([self.keep_empty or bool(record.objects.any()) for record in records])
        if not used.any():
            raise DataError(f"{self.folder()}: none of {len(records)} training images holds an object")
        if not used.all() and rank == 0:
            count = len(used) - int(used.sum())
            print(f"note: {count} of {len(used)} training images hold no object and are left out", file=sys.stderr)
        grouped = self.aspect_grouping
        wide = np.array([grouped and keep and record.aspect() for record, keep in zip(records, used, strict=True)])
        return AspectOrder(wide, used, self.batch_size, self.seed, rank, world_size)

    @property
    def evaluation_batch_size(self) -> int:
        """Images per evaluation batch."""
        return self.evaluation_batch

    def image_files(self, split: Split) -> list[Path]:
        """The image files of a split."""
        return [record.file for record in cast(Records, self.items(split).items).records]

    def collate(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Joins items, see the head of this module."""
        images, sizes = padded([item["image"] for item in batch])
        joined: dict[str, Any] = {
            "id": [item["id"] for item in batch],
            "images": images,
            "sizes": sizes,
            "targets": [item["targets"] for item in batch],
            "original": torch.stack([item["original"] for item in batch]),
        }
        if "truth" in batch[0]:
            joined["truth"] = [item["truth"] for item in batch]
        return joined


def padded(images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Images of any sizes as one batch.

    Args:
        images: ``(3, H, W)`` each.

    Returns:
        ``(B, 3, H, W)`` with zeros right of and below the smaller ones, and ``(B, 2)`` their heights and widths.
    """
    sizes = torch.tensor([image.shape[-2:] for image in images])
    height, width = sizes.amax(0).tolist()
    batch = images[0].new_zeros(len(images), 3, height, width)
    for place, image in zip(batch, images, strict=True):
        place[:, : image.shape[1], : image.shape[2]] = image
    return batch, sizes


def _scale(original: Sequence[int], now: Sequence[int]) -> Tensor:
    high, wide = now[0] / original[0], now[1] / original[1]
    return torch.tensor([wide, high, wide, high], dtype=torch.float32)
