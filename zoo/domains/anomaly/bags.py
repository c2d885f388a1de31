"""What the data sets of this domain share: balanced batches of bags, padding, and what every item holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.prepare import make_features
from zoo.domains.anomaly.segments import SEGMENTS, Segmenting
from zoo.errors import InputError
from zoo.training import DataError, EpochOrder, Items, ZooData
from zoo.training.choices import check_choice, nearest

EVALUATED = 4  # videos per evaluation batch; as many as a picture shows


class Bags(Items, Protocol):
    """Items of this domain: each is a video, ``labels[i]`` says whether item i is anomalous.

    An item holds ``id``; ``label`` 0 or 1; ``features`` ``(T, D)`` or ``(T, crops, D)`` float32; ``frames``, the length
    of the video or None; ``events``, its annotated events or None where only the label is known; where they say
    something, ``kind``, the class of the video, and ``segmented``, whether the rows are the 32 segments of the video
    (32 rows are, where nothing else is said).
    """

    labels: np.ndarray


def collate_bags(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Joins videos to a batch.

    Args:
        items: See :class:`Bags`; they may differ in length.

    Returns:
        ``id`` list of B texts; ``label (B,)`` float32; ``features (B, T, D)`` or ``(B, T, crops, D)``, T that of the
        longest, shorter ones padded with zeros; ``length (B,)`` int64 real rows; ``frames``, ``events``, ``kind`` and
        ``segmented`` lists.

    Raises:
        DataError: The videos differ in width or in the number of crops.
    """
    features = [torch.from_numpy(item["features"]) for item in items]
    for item, rows in zip(items, features, strict=True):
        if rows.shape[1:] != features[0].shape[1:]:
            expected, found = tuple(features[0].shape[1:]), tuple(rows.shape[1:])
            raise DataError(f"{item['id']}: has rows of shape {found}, {items[0]['id']} of shape {expected}")
    padded: Tensor = pad_sequence(features, batch_first=True)
    return {
        "id": [item["id"] for item in items],
        "label": torch.tensor([float(item["label"]) for item in items]),
        "features": padded,
        "length": torch.tensor([len(rows) for rows in features]),
        "frames": [item["frames"] for item in items],
        "events": [item["events"] for item in items],
        "kind": [item.get("kind", "") for item in items],
        "segmented": [item.get("segmented", len(item["features"]) == SEGMENTS) for item in items],
    }


class BagOrder(EpochOrder):
    """Batches of half anomalous and half normal bags, anomalous first, drawn anew for every step.

    Source: the authors draw 30 + 30 of 810 + 800 bags each iteration; an epoch is so many iterations.

    Args:
        labels: ``(N,)``, 1 for anomalous bags.
        batch_size: Bags per process, even.
        steps_per_epoch: Batches of an epoch.
        replacement: Whether a bag may come twice in a batch. If not, it comes again only where a class has fewer bags
            than the batch asks for, after all others of its class.
        seed: Seed of the training.
        rank: This process.
        world_size: Number of processes; each gets equal halves of the common batch.
    """

    def __init__(
        self,
        labels: np.ndarray,
        batch_size: int,
        steps_per_epoch: int,
        replacement: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(len(labels), batch_size, seed, rank, world_size)
        self.classes = np.flatnonzero(labels == 1), np.flatnonzero(labels != 1)
        self.steps, self.replacement = steps_per_epoch, replacement

    def global_batches(self, epoch: int) -> list[np.ndarray]:
        """Positions of the bags, ``[anomalous..., normal...]``, a batch per step."""
        rng = np.random.default_rng([self.seed, epoch])
        half = self.batch_size * self.world_size // 2
        return [np.concatenate([self._draw(rng, pool, half) for pool in self.classes]) for _ in range(self.steps)]

    def _draw(self, rng: np.random.Generator, pool: np.ndarray, count: int) -> np.ndarray:
        if self.replacement:
            return rng.choice(pool, count)
        rounds = -(-count // len(pool))
        return np.concatenate([rng.permutation(pool) for _ in range(rounds)])[:count]

    def __len__(self) -> int:
        return self.steps


class BagData(ZooData):
    """Base of the data sets of this domain: bags with a label, in balanced batches.

    Attributes:
        extractor: What :meth:`prepare` makes features of videos with.
        makes: An extractor that users of the data set have, as they would name it; None where it is not made from
            videos.

    Args:
        root: See :class:`zoo.training.ZooData`, as the next five.
        batch_size: Bags per process and step, half of them anomalous; even.
        workers: Loader processes.
        synthesize: Use made-up data.
        limit: Use only so many videos of each split.
        on_error: ``stop`` or ``skip``.
        segmenting: How videos become 32 segments for training.
        steps_per_epoch: Batches of an epoch, >= 1.
        replacement: Whether a bag may come twice in a batch.
    """

    domain = "anomaly"
    extractor: Extractor | None = None
    makes: ClassVar[str | None] = None

    def __init__(
        self,
        root: str | None,
        batch_size: int,
        workers: int,
        synthesize: bool,
        limit: int | None,
        on_error: Literal["stop", "skip"],
        segmenting: Segmenting,
        steps_per_epoch: int,
        replacement: bool,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
        if batch_size % 2:
            raise InputError(f"data.batch_size must be even, half anomalous and half normal bags, got {batch_size}")
        if steps_per_epoch < 1:
            raise InputError(f"data.steps_per_epoch must be at least 1, got {steps_per_epoch}")
        check_choice("data.segmenting", segmenting, get_args(Segmenting))
        self.segmenting, self.steps_per_epoch, self.replacement = segmenting, steps_per_epoch, replacement
        self.class_names = ["normal", "anomalous"]

    def prepare(self, source: Path, out: Path) -> None:
        """Makes the features of all videos below a folder; see :func:`zoo.domains.anomaly.prepare.make_features`.

        Raises:
            InputError: The data set is not made from videos, or no extractor is named.
        """
        if self.makes is None:
            super().prepare(source, out)
        elif self.extractor is None:
            raise InputError(
                f"{type(self).__name__} needs an extractor of features, e.g. --data.extractor {self.makes}"
            )
        else:
            make_features(self.extractor, source, out, self.on_error)

    def synthetic_arguments(self) -> dict[str, Any]:
        """The seed; everything else is fixed."""
        return {"seed": self.seed}

    def order(self, items: Items, subset: np.ndarray, rank: int, world_size: int) -> EpochOrder:
        """Balanced batches.

        Raises:
            DataError: The training split lacks a class.
        """
        labels: np.ndarray = items.labels[subset]  # type: ignore[attr-defined]
        anomalous = int((labels == 1).sum())
        if anomalous in (0, len(labels)):
            raise DataError(
                f"{self.folder()}: training needs anomalous and normal videos, "
                f"the train split has {anomalous} anomalous and {len(labels) - anomalous} normal"
            )
        return BagOrder(labels, self.batch_size, self.steps_per_epoch, self.replacement, self.seed, rank, world_size)

    @property
    def evaluation_batch_size(self) -> int:
        """Few: whole videos of ten crops are large, and shorter ones are padded to the longest of their batch."""
        return min(self.batch_size, EVALUATED)

    def collate(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """See :func:`collate_bags`."""
        return collate_bags(batch)


def interleaved(labels: Sequence[int] | np.ndarray) -> np.ndarray:
    """Positions with the classes taking turns, so that any first few show both.

    Args:
        labels: ``(N,)``, 1 for anomalous.

    Returns:
        ``(N,)``, a permutation of the positions; the order within a class stays.
    """
    given = np.asarray(labels)
    turn = np.where(given == 1, np.cumsum(given == 1), np.cumsum(given != 1))
    return np.lexsort((given != 1, turn))


def require_folder(folder: Path, what: str) -> None:
    """Raises DataError where a folder is missing; names the most similar one beside it."""
    if folder.is_dir():
        return
    others = sorted(place.name for place in folder.parent.iterdir() if place.is_dir()) if folder.parent.is_dir() else []
    raise DataError(f"{folder}: there is no such folder ({what}){nearest(folder.name, others)}")
