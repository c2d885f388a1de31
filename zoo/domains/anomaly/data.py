"""UCF-Crime: the official lists and annotations over a feature file per video."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.domains.anomaly.annotations import Video, check_events, read_test_list, read_train_list
from zoo.domains.anomaly.bags import BagData, as_segments, collate_bags, interleaved, require_folder
from zoo.domains.anomaly.features import read_features
from zoo.domains.anomaly.names import nearest
from zoo.domains.anomaly.protocols import CLIP
from zoo.domains.anomaly.segments import SEGMENTS, Segmenting
from zoo.domains.anomaly.synthesis import synthesize
from zoo.errors import InputError
from zoo.training import DataError, Items, Split

ENDINGS = (".txt", ".npy", ".npz", "_C.txt", "_i3d.npy")


class FeatureFiles:
    """Videos with a feature file each.

    Args:
        root: Folder that holds the class folders.
        videos: What the lists say.
        segmenting: Give 32 segments, made in this way; None gives the rows as stored, with frames and events.
        memory: Keep what was read.
    """

    def __init__(self, root: Path, videos: list[Video], segmenting: Segmenting | None, memory: bool) -> None:
        self.root, self.videos, self.segmenting = root, videos, segmenting
        self.labels = np.array([int(video.anomalous) for video in videos], dtype=np.int64)
        self._kept: dict[int, np.ndarray] | None = {} if memory else None
        self._width: tuple[int, str] | None = None

    def __len__(self) -> int:
        return len(self.videos)

    def file(self, index: int) -> Path:
        """The feature file of a video.

        Raises:
            DataError: There is none.
        """
        video = self.videos[index]
        places = [self.root / video.folder / f"{video.name}{ending}" for ending in ENDINGS]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise DataError(
                f"{video.place}: {video.id} has no feature file; looked for {places[0]} ({', '.join(ENDINGS[1:])})"
            )
        return found

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A video; see :class:`zoo.domains.anomaly.bags.Bags`."""
        video = self.videos[index]
        if self._kept is None or index not in self._kept:
            features = self._read(index)
            if self._kept is not None:
                self._kept[index] = features
        else:
            features = self._kept[index]
        item = {"id": video.id, "label": int(video.anomalous), "features": features, "frames": None, "events": None}
        if self.segmenting is not None:
            return item
        frames = self._frames(video, len(features))
        check_events(video, frames)
        return {**item, "frames": frames, "events": list(video.events or ())}

    def _read(self, index: int) -> np.ndarray:
        path = self.file(index)
        rows = read_features(path)
        if path.suffix == ".txt" and len(rows) != SEGMENTS:
            raise DataError(f"{path}: has {len(rows)} lines, expected a line for each of {SEGMENTS} segments")
        if self._width is None:
            self._width = (rows.shape[-1], str(path))
        if rows.shape[-1] != self._width[0]:
            raise DataError(f"{path}: has rows of {rows.shape[-1]} numbers, {self._width[1]} of {self._width[0]}")
        return rows if self.segmenting is None else as_segments(rows, self.segmenting)

    def _frames(self, video: Video, rows: int) -> int:
        if video.frames is not None:
            return video.frames
        if rows == SEGMENTS:
            raise DataError(
                f"{video.place}: {video.id} has {SEGMENTS} segments, and no list says how many frames it has; "
                "add Test_Annotation.txt, which does (data.frame_counts)"
            )
        return rows * CLIP


class UCFCrime(BagData):
    """UCF-Crime from features: 1610 training videos with a label, 290 test videos with annotated events.

    There is no official validation split. ``val_fraction`` of the training videos, the same share of both classes,
    drawn by ``split_seed``, is held out: it has labels only, so it is measured by the AUC over videos
    (``val/video_auc``). The test split is never used to choose anything.

    Args:
        root: Folder with the lists and a folder per class.
        batch_size: Bags per process and step, half of them anomalous.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many videos of each split.
        on_error: ``stop`` at the first unusable video, or ``skip`` and report.
        segmenting: How videos with other than 32 rows become 32 segments for training.
        steps_per_epoch: Iterations that make an epoch.
        replacement: Whether a bag may come twice in a batch (the PyTorch port draws so).
        val_fraction: Share of the training videos held out for validation, in (0, 1); at least one of each class.
        split_seed: Which videos are held out.
        train_list: ``Anomaly_Train.txt`` or ``Train_Annotation.txt``.
        test_list: ``Temporal_Anomaly_Annotation.txt`` or ``Test_Annotation.txt``.
        frame_counts: Where the lengths of the test videos stand, if the test list has none.
        memory: Keep features in memory once read (1.0 GB for all C3D segments, in each loader process).
    """

    dataset = "ucf_crime"
    source = "https://www.crcv.ucf.edu/projects/real-world/ (videos, lists); C3D segment features: see the card"
    terms = "none stated by the authors; research use, the videos are from YouTube and LiveLeak"
    sample = "**/Normal_Videos*.txt"
    layout = """
    Anomaly_Train.txt                  Class/Video_x264.mp4 per line (or Train_Annotation.txt: and its frame count)
    Temporal_Anomaly_Annotation.txt    video, class, first and last frame of two events, -1 where absent
    Test_Annotation.txt                path, frame count, class, the same events: gives the lengths of the test videos
    <Class>/<Video>_x264.txt           32 lines of features; or .npy, .npz (T, D) or (T, crops, D), a row per 16 frames
    Training_Normal_Videos_Anomaly/    the same for normal training videos
    Testing_Normal_Videos_Anomaly/     and for normal test videos
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 60,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        segmenting: Segmenting = "matlab",
        steps_per_epoch: int = 1000,
        replacement: bool = False,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        train_list: str = "Anomaly_Train.txt",
        test_list: str = "Temporal_Anomaly_Annotation.txt",
        frame_counts: str = "Test_Annotation.txt",
        memory: bool = True,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, segmenting, steps_per_epoch, replacement
        )
        if not 0 < val_fraction < 1:
            raise InputError(f"data.val_fraction must be in (0, 1), got {val_fraction}")
        self.val_fraction, self.split_seed, self.memory = val_fraction, split_seed, memory
        self.train_list, self.test_list, self.frame_counts = train_list, test_list, frame_counts

    def read(self, root: Path, split: Split) -> Items:
        """Reads the lists and looks for the feature files."""
        videos = self._test_videos(root) if split == "test" else self._training_videos(root, split)
        for folder in dict.fromkeys(video.folder for video in videos):
            require_folder(root / folder, "a class folder with feature files")
        items = FeatureFiles(root, videos, None if split == "test" else self.segmenting, self.memory)
        if self.on_error == "stop":
            for index in range(len(items)):
                items.file(index)
        return items

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        synthesize(root, seed=self.seed)

    def _training_videos(self, root: Path, split: Split) -> list[Video]:
        videos = read_train_list(self._list(root, self.train_list))
        labels = np.array([video.anomalous for video in videos])
        held = held_out(labels, self.val_fraction, self.split_seed)
        if split == "train":
            return [video for video, out in zip(videos, held, strict=True) if not out]
        kept = [video for video, out in zip(videos, held, strict=True) if out]
        return [kept[index] for index in interleaved([int(video.anomalous) for video in kept])]

    def _test_videos(self, root: Path) -> list[Video]:
        videos = read_test_list(self._list(root, self.test_list))
        if all(video.frames is not None for video in videos) or not (root / self.frame_counts).is_file():
            return videos
        counts = {video.name: video.frames for video in read_test_list(root / self.frame_counts)}
        return [dataclasses.replace(video, frames=counts.get(video.name)) for video in videos]

    def _list(self, root: Path, name: str) -> Path:
        path = root / name
        if not path.is_file():
            near = nearest(name, sorted(file.name for file in root.glob("*.txt")))
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


__all__ = ["FeatureFiles", "UCFCrime", "collate_bags", "held_out", "synthesize"]
