"""Data sets that are a list of videos with a feature file each; a share of the training videos is held out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from zoo.domains.anomaly.annotations import Video
from zoo.domains.anomaly.bags import BagData, interleaved
from zoo.domains.anomaly.feature_files import FeatureFiles, Places
from zoo.domains.anomaly.segments import Segmenting
from zoo.errors import InputError
from zoo.training import DataError, Items, Split
from zoo.training.choices import nearest


class ListedVideos(BagData, ABC):
    """Base of data sets with a list of videos; a data set says what stands in its lists.

    None of these data sets has an official validation split. ``val_fraction`` of the training videos, the same share
    of both classes, drawn by ``split_seed``, is held out: it has labels only, so it is measured by the AUC over videos
    (``val/video_auc``). The test split is never used to choose anything.

    Attributes:
        length_hint: What to do where only 32 segments are known of a test video, and not how many frames it has.
        without: Folders of the data set that hold no features.
        anywhere: Whether names of videos are unique, so that a feature file may lie in any folder.

    Args:
        root: See :class:`zoo.domains.anomaly.bags.BagData`, as the next eight.
        batch_size: Bags per process and step, half of them anomalous.
        workers: Loader processes.
        synthesize: Use made-up data.
        limit: Use only so many videos of each split.
        on_error: ``stop`` or ``skip``.
        segmenting: How videos become 32 segments for training.
        steps_per_epoch: Batches of an epoch.
        replacement: Whether a bag may come twice in a batch.
        val_fraction: Share of the training videos held out, in (0, 1); at least one of each class.
        split_seed: Which videos are held out.
        memory: Keep features in memory once read.
    """

    length_hint: ClassVar[str]
    without: ClassVar[tuple[str, ...]] = ()
    anywhere: ClassVar[bool] = True

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
        val_fraction: float,
        split_seed: int,
        memory: bool,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, segmenting, steps_per_epoch, replacement
        )
        if not 0 < val_fraction < 1:
            raise InputError(f"data.val_fraction must be in (0, 1), got {val_fraction}")
        self.val_fraction, self.split_seed, self.memory = val_fraction, split_seed, memory

    # -- what a data set writes

    @abstractmethod
    def training_videos(self, root: Path) -> list[Video]:
        """The training videos, those to be held out among them.

        Raises:
            DataError: A list is missing or malformed; names file and line.
        """

    @abstractmethod
    def test_videos(self, root: Path) -> list[Video]:
        """The test videos with their events.

        Raises:
            DataError: A list is missing or malformed; names file and line.
        """

    def validation_videos(self, root: Path) -> list[Video]:
        """Validation videos of the data set's own; where there are none, training videos are held out."""
        return []

    # -- what they share

    def read(self, root: Path, split: Split) -> Items:
        """Reads the lists and looks for the feature files."""
        videos = self._videos(root, split)
        segmenting = None if split == "test" else self.segmenting
        items = FeatureFiles(
            Places(root, self.without, self.anywhere), videos, segmenting, self.memory, self.length_hint
        )
        if self.looking:
            items.settle()
        if self.on_error == "stop":
            items.check()
            for index in range(len(items)):
                items.file(index)
        return items

    def _videos(self, root: Path, split: Split) -> list[Video]:
        if split == "test":
            return self.kept(self.test_videos(root), lambda video: video.id)
        own = self.kept(self.validation_videos(root), lambda video: video.id)
        videos = self.kept(self.training_videos(root), lambda video: video.id)
        if own:
            kept = videos if split == "train" else own
        else:
            held = held_out(np.array([video.anomalous for video in videos]), self.val_fraction, self.split_seed)
            kept = [video for video, out in zip(videos, held, strict=True) if out == (split == "val")]
        return kept if split == "train" else [kept[at] for at in interleaved([int(video.anomalous) for video in kept])]

    def list_file(self, root: Path, name: str) -> Path:
        """A list in the root.

        Raises:
            DataError: It is not there; names the most similar one.
        """
        path = root / name
        if not path.is_file():
            near = nearest(name, sorted(file.name for file in root.iterdir() if file.is_file()))
            raise DataError(f"{path}: there is no such list of videos{near}")
        return path


def held_out(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Which videos are held out: the same share of both classes, at least one of each.

    Args:
        labels: ``(N,)`` bool, True for anomalous.
        fraction: In (0, 1).
        seed: Any number; the choice is a function of it and the labels.

    Returns:
        ``(N,)`` bool.
    """
    held = np.zeros(len(labels), dtype=bool)
    rng = np.random.default_rng(seed)
    for value in (True, False):
        pool = rng.permutation(np.flatnonzero(labels == value))
        held[pool[: max(1, round(fraction * len(pool)))]] = True
    return held
