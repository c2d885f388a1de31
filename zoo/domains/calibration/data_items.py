"""Images with a class: where their pixels come from, items in a view, batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from zoo.domains.calibration.data_views import Statistics, View, normalised
from zoo.training import DataError, refuse
from zoo.training.images import IMAGE_SUFFIXES, read_image


class Source(Protocol):
    """Pixels by index.

    Attributes:
        place: What tells images of one id apart that come from different places, e.g. a file and a colon.
    """

    place: str

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
        place: See :class:`Source`.
    """

    def __init__(self, images: np.ndarray, wrong: dict[int, str] | None = None, place: str = "") -> None:
        self.images, self.wrong, self.place = images, wrong or {}, place

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

    place = ""  # ids are paths

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

    def made_of(self, index: int) -> str:
        """The image, by its id: which are held out depends on all."""
        return f"{self.source.place}{self.names[index]}"

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

    def made_of(self, index: int) -> str:
        """See :meth:`Pictures.made_of`."""
        part, place = self._place(index)
        return part.made_of(place)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """An item of the part that holds it."""
        part, place = self._place(index)
        return part.item(place, rng)

    def _place(self, index: int) -> tuple[Pictures, int]:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[number], index - int(self._starts[number])


def image_paths(folder: Path) -> list[Path]:
    """What is called an image below a folder, in the order of the paths; links to nowhere and folders too."""
    seen = (file for file in folder.rglob("*") if not file.name.startswith("."))
    return sorted(file for file in seen if file.suffix.lower() in IMAGE_SUFFIXES)


def usable_labels(
    labels: np.ndarray, allowed: range, place: str, spare: Callable[[DataError], None] = refuse, why: str = ""
) -> np.ndarray:
    """Positions of the images whose label is one of the whole numbers that are allowed.

    Args:
        labels: ``(N,)`` as stored.
        allowed: Labels.
        place: What errors call the file.
        spare: What is done about an image with another label; it is left out.
        why: Follows what is expected in errors.

    Raises:
        DataError: The labels are no numbers, or ``spare`` raises; names file and image.
    """
    if labels.dtype.kind not in "iuf":
        raise DataError(f"{place}: the labels are {labels.dtype}, expected whole numbers")
    right = (labels >= allowed.start) & (labels < allowed.stop) & (labels == np.floor(labels))
    for index in np.flatnonzero(~right):
        expected = f"{allowed.start} to {allowed.stop - 1}{why}"
        spare(DataError(f"{place}: image {index} has the label {labels[index]}, expected {expected}"))
    return np.flatnonzero(right)


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
