"""Images with a class: items, batches, out-of-distribution sets behind the test split.

A batch is a dict with ``image (B, 3, size, size)`` float32, normalised, ``label (B,)`` int64 and ``id`` (a list of B
names). Items of the k-th out-of-distribution set (``data.ood``, from 0) have the label ``-1 - k``. The plain values
``size``, ``resize``, ``stretch``, ``mean`` and ``std`` of a data object say what its test images went through.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from zoo.domains.calibration.data_views import Statistics, View, normalised
from zoo.errors import InputError, ZooError
from zoo.training import DataError, EpochOrder, Items, Split, ZooData
from zoo.training.images import read_image


class Source(Protocol):
    """Pixels by index."""

    def __len__(self) -> int:
        """How many images there are."""

    def pixels(self, index: int) -> np.ndarray:
        """``(3, H, W)`` uint8.

        Raises:
            DataError: The image cannot be read; names it.
        """


class Arrays:
    """Images in memory.

    Args:
        images: ``(N, 3, H, W)`` uint8.
        wrong: What is wrong with images that could not be decoded, by index.
    """

    def __init__(self, images: np.ndarray, wrong: dict[int, str] | None = None) -> None:
        self.images, self.wrong = images, wrong or {}

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: int) -> np.ndarray:
        """``(3, H, W)`` uint8."""
        if index in self.wrong:
            raise DataError(self.wrong[index])
        found: np.ndarray = self.images[index]
        return found


class Files:
    """Images in files, decoded when asked for.

    Args:
        files: One per image.
        places: Where each is named, for errors (``table.csv:7``); empty where nothing names it.
    """

    def __init__(self, files: Sequence[Path], places: Sequence[str] = ()) -> None:
        self.files, self.places = list(files), list(places)

    def __len__(self) -> int:
        return len(self.files)

    def pixels(self, index: int) -> np.ndarray:
        """``(3, H, W)`` uint8, RGB."""
        file = self.files[index]
        where = f"{self.places[index]}: {file}" if self.places else str(file)
        found: np.ndarray = read_image(file, where).numpy()
        return found


class Pictures:
    """Items: some images of a source with their labels, in one view.

    Args:
        source: The pixels.
        labels: ``(N,)`` integers.
        names: N ids.
        view: What happens to the pixels.
        statistics: What they are normalised with.
    """

    def __init__(
        self, source: Source, labels: np.ndarray, names: Sequence[str], view: View, statistics: Statistics
    ) -> None:
        self.source, self.labels, self.names = source, np.asarray(labels, dtype=np.int64), list(names)
        self.view, self.statistics = view, statistics
        self.chosen = np.arange(len(self.labels))

    def only(self, chosen: np.ndarray) -> Pictures:
        """The items at these positions, in this order."""
        names = [self.names[int(index)] for index in chosen]
        part = Pictures(self.source, self.labels[chosen], names, self.view, self.statistics)
        part.chosen = self.chosen[chosen]
        return part

    def seen(self, view: View, statistics: Statistics) -> Pictures:
        """The same items in another view."""
        part = Pictures(self.source, self.labels, self.names, view, statistics)
        part.chosen = self.chosen
        return part

    def marked(self, label: int, prefix: str) -> Pictures:
        """The same items with one label for all, and a prefix before their ids."""
        names = [f"{prefix}{name}" for name in self.names]
        part = Pictures(self.source, np.full(len(self), label), names, self.view, self.statistics)
        part.chosen = self.chosen
        return part

    def __len__(self) -> int:
        return len(self.labels)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """``id``, ``label``, ``pixels (3, size, size)`` uint8, and the statistics that :func:`collate` takes."""
        pixels = self.view(self.source.pixels(int(self.chosen[index])), rng)
        return {
            "id": self.names[index],
            "label": int(self.labels[index]),
            "pixels": pixels,
            "statistics": self.statistics,
        }


class Joined:
    """Items of several sets, one after the other."""

    def __init__(self, parts: Sequence[Pictures]) -> None:
        self.parts = list(parts)
        self.labels = np.concatenate([part.labels for part in parts])
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return len(self.labels)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """An item of the part that holds it."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[part].item(index - int(self._starts[part]), rng)


def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
    """Joins items to a batch; pixels become numbers here, the whole batch at once.

    Returns:
        ``image (B, 3, H, W)`` float32, ``label (B,)`` int64, ``id``.
    """
    statistics = [item["statistics"] for item in batch]
    if all(found == statistics[0] for found in statistics):
        image = normalised(np.stack([item["pixels"] for item in batch]), statistics[0])
    else:  # an out-of-distribution set begins in this batch
        image = torch.cat([normalised(item["pixels"][None].copy(), item["statistics"]) for item in batch])
    return {
        "image": image,
        "label": torch.tensor([item["label"] for item in batch]),
        "id": [item["id"] for item in batch],
    }


class ImageData(ZooData):
    """Base of the data sets of this domain.

    Args:
        root: See :class:`zoo.training.ZooData`, as the next five.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use made-up data.
        limit: Use only so many images of each split.
        on_error: ``stop`` or ``skip``.
        train_view: What happens to training images.
        test_view: What happens to validation and test images.
        statistics: What images are normalised with.
        ood: Out-of-distribution sets that follow the test split: names of data sets or folders of images.
        split_seed: Which images are held out.
        drop_last: Whether an incomplete last training batch is left out.

    Attributes:
        size: Height and width of what the network sees.
        resize: Length of the shorter side before the crop, or None.
        stretch: Whether both sides are resized to that length.
        mean: Of the channels, in [0, 1].
        std: Of the channels.
    """

    domain = "calibration"

    def __init__(
        self,
        root: str | None,
        batch_size: int,
        workers: int,
        synthesize: bool,
        limit: int | None,
        on_error: Literal["stop", "skip"],
        train_view: View,
        test_view: View,
        statistics: Statistics,
        ood: list[str] | None,
        split_seed: int,
        drop_last: bool,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
        if split_seed < 0:
            raise InputError(f"data.split_seed must not be negative, got {split_seed}")
        self.train_view, self.test_view, self.statistics = train_view, test_view, statistics
        self.ood, self.split_seed, self.drop_last = list(ood or ()), split_seed, drop_last
        self.size, self.resize, self.stretch = test_view.size, test_view.resize, test_view.stretch
        self.mean, self.std = statistics

    # -- what a data set writes

    def pictures(self, root: Path, split: Split) -> Pictures:
        """The images of a split, in the view and with the statistics of that split.

        Raises:
            DataError: A file is missing or malformed; names it.
        """
        raise ZooError(f"{type(self).__name__} does not say how to read its {split} split")

    # -- what they share

    def view(self, split: Split) -> View:
        """What happens to the images of a split."""
        return self.train_view if split == "train" else self.test_view

    def read(self, root: Path, split: Split) -> Items:
        """The images of a split; behind those of the test split the out-of-distribution sets."""
        found = self.pictures(root, split)
        if split != "test" or not self.ood:
            return found
        return Joined([found, *(self.outside(name, root, number) for number, name in enumerate(self.ood))])

    def outside(self, name: str, root: Path, number: int) -> Pictures:
        """The test images of an out-of-distribution set, resized to what the network sees."""
        from zoo.domains.calibration.data_ood import outside

        return outside(self, name, root, number)

    def order(self, items: Items, subset: np.ndarray, rank: int, world_size: int) -> EpochOrder:
        """A new order every epoch."""
        size = len(subset)
        return EpochOrder(size, self.batch_size, self.seed, rank, world_size, drop_last=self.drop_last)

    def collate(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """See :func:`collate`."""
        return collate(batch)

    def image_files(self, split: Split) -> list[Path]:
        """The files of a split; none where images do not lie in files of their own."""
        items: Any = self.items(split).items
        return [
            part.source.files[int(index)]
            for part in getattr(items, "parts", [items])
            if isinstance(part.source, Files)
            for index in part.chosen
        ]

    def synthetic_arguments(self) -> dict[str, Any]:
        """The seed; everything else is fixed."""
        return {"seed": self.seed}


__all__ = ["Arrays", "Files", "ImageData", "Joined", "Pictures", "Source", "collate"]
