"""ShanghaiTech Campus in the weakly supervised split: lists of names, a feature file and marked frames per video."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.domains.anomaly.annotations import Video, feature_stem, read_videos
from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.feature_files import Places, read_video
from zoo.domains.anomaly.listed import ListedVideos
from zoo.domains.anomaly.protocols import CLIP, Event
from zoo.domains.anomaly.segments import Segmenting
from zoo.domains.anomaly.synthesis_lists import synthesize_shanghaitech
from zoo.training import DataError, refuse, usable

NAME = re.compile(r"\d{2}_(\d{3,4})")
MASKS, MARKS = "test_frame_mask", "gt-sh.npy"
KIND = "Anomaly"


class ShanghaiTech(ListedVideos):
    """ShanghaiTech Campus: 238 training videos with a label, 199 test videos with marked frames.

    The labels stand in the names: a number of four digits was in the test part of the original data set, where
    something anomalous happens (63 of the training list, 44 of the test list), one of three digits in the normal
    training part.

    Args:
        root: Folder with the lists, the features and the marked frames.
        batch_size: Bags per process and step, half of them anomalous.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many videos of each split.
        on_error: ``stop`` at the first unusable video, or ``skip`` and report.
        segmenting: How videos become 32 segments for training.
        steps_per_epoch: Iterations that make an epoch.
        replacement: Whether a bag may come twice in a batch.
        val_fraction: Share of the training videos held out for validation, in (0, 1); at least one of each class.
        split_seed: Which videos are held out.
        train_list: A name (or the path of a feature file) per line.
        test_list: The same.
        memory: Keep features in memory once read.
        extractor: What ``zoo data make --from`` makes features of videos with.
    """

    dataset = "shanghaitech"
    makes = "VideoFeatures --data.extractor.name r2plus1d_18"
    source = (
        "https://svip-lab.github.io/dataset/campus_dataset.html; weak split: Zhong et al., CVPR 2019, as RTFM lists it"
    )
    terms = "none stated; research use"
    length_hint = "clip features are needed, a row per 16 frames"
    without = (MASKS,)
    layout = """
    RTFM_SH_Train.txt            a name per line, as 01_0014 (four digits: anomalous) or 01_001 (three: normal)
    RTFM_SH_Test.txt             the same for the test videos
    <any folder>/NAME_i3d.npy    features (T, 10, 2048), a row per 16 frames; or NAME.npy (T, D) or (T, crops, D)
    test_frame_mask/NAME.npy     0 or 1 per frame of a test video; a video without one is normal throughout
    gt-sh.npy                    instead of the folder: 16 marks per row of all test videos in the order of the list
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 64,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        segmenting: Segmenting = "truncate",
        steps_per_epoch: int = 100,
        replacement: bool = False,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        train_list: str = "RTFM_SH_Train.txt",
        test_list: str = "RTFM_SH_Test.txt",
        memory: bool = True,
        extractor: Extractor | None = None,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, segmenting, steps_per_epoch, replacement,
            val_fraction, split_seed, memory,
        )  # fmt: skip
        self.extractor = extractor
        self.train_list, self.test_list = train_list, test_list

    def training_videos(self, root: Path) -> list[Video]:
        """Reads the training list."""
        return read_names(self.list_file(root, self.train_list), self.spare)

    def test_videos(self, root: Path) -> list[Video]:
        """Reads the test list and the marked frames."""
        listed = self.list_file(root, self.test_list)
        if (root / MASKS).is_dir():
            return usable(read_names(listed, self.spare), lambda video: _masked(video, root / MASKS), self.spare)
        if (root / MARKS).is_file():
            return _marked(read_names(listed), root)  # which marks are whose shows only where the list is whole
        raise DataError(f"{root}: has neither a folder {MASKS} nor {MARKS}, which tell when anomalies happen")

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        synthesize_shanghaitech(root, seed=self.seed)


def read_names(path: Path, spare: Callable[[DataError], None] = refuse) -> list[Video]:
    """Reads a list of ShanghaiTech.

    Args:
        path: A name per line, or the path of a feature file.
        spare: What is done with a line that cannot be used; such a line is left out.

    Returns:
        The videos in the order of the file.

    Raises:
        DataError: The list is missing or empty, a line is no name, or one comes twice; names file and line.
    """

    def named(place: str, words: list[str]) -> Video:
        name = feature_stem(words[0])
        found = NAME.fullmatch(name)
        if found is None or len(words) != 1:
            raise DataError(f"{place}: {' '.join(words)!r} is no name of a video, as 01_0014 or 01_001")
        return Video("", name, len(found[1]) == 4, place, labels=KIND)

    return read_videos(path, named, spare)


def events_of(marks: np.ndarray) -> tuple[Event, ...]:
    """First and last frame, from 1, of each run of marked frames.

    Args:
        marks: ``(F,)``, not 0 where something anomalous happens.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (marks != 0).astype(np.int8), [0]])))
    return tuple((int(first) + 1, int(stop)) for first, stop in edges.reshape(-1, 2))


def read_marks(path: Path) -> np.ndarray:
    """Reads marks of frames.

    Args:
        path: ``.npy`` of 0 and 1.

    Returns:
        ``(F,)`` uint8.

    Raises:
        DataError: The file is damaged or holds something else; names it.
    """
    try:
        marks = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as a numpy file, it is damaged or cut off ({error})") from error
    if marks.ndim != 1 or not len(marks) or marks.dtype.kind not in "fiub" or not np.isin(marks, (0, 1)).all():
        raise DataError(f"{path}: expected a mark 0 or 1 per frame, found {marks.dtype} of shape {marks.shape}")
    return marks.astype(np.uint8)


def _masked(video: Video, folder: Path) -> Video:
    file = folder / f"{video.name}.npy"
    if file.is_file():
        marks = read_marks(file)
        return _with_marks(video, marks, str(file))
    if video.anomalous:
        raise DataError(f"{video.place}: {video.name} is anomalous, but {file} does not say when")
    return dataclasses.replace(video, events=())


def _marked(videos: list[Video], root: Path) -> list[Video]:
    marks, places = read_marks(root / MARKS), Places(root, (MASKS,))
    rows = []
    for video in videos:
        file = places.find("", video.name)
        if file is None:
            raise DataError(
                f"{video.place}: {video.name} has no feature file, without which {MARKS} cannot be shared out"
            )
        rows.append(len(read_video(file)[0]))
    ends = CLIP * np.cumsum(rows)
    if ends[-1] != len(marks):
        raise DataError(
            f"{root / MARKS}: has {len(marks)} marks, the {len(videos)} videos have {ends[-1]} frames ({CLIP} per row)"
        )
    parts = np.split(marks, ends[:-1])
    return [_with_marks(video, part, f"{root / MARKS}") for video, part in zip(videos, parts, strict=True)]


def _with_marks(video: Video, marks: np.ndarray, where: str) -> Video:
    events = events_of(marks)
    if bool(events) != video.anomalous:
        name = "anomalous (four digits)" if video.anomalous else "normal (three digits)"
        raise DataError(f"{where}: marks {int(marks.sum())} frames of {video.name}, which is {name} by its name")
    return dataclasses.replace(video, frames=len(marks), events=events)
