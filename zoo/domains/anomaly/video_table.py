"""Anybody's videos: a csv that names them, their labels and the intervals in which something happens."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.domains.anomaly.annotations import Video, once
from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.features import is_number
from zoo.domains.anomaly.listed import ListedVideos, held_out
from zoo.domains.anomaly.protocols import Event
from zoo.domains.anomaly.segments import Segmenting
from zoo.domains.anomaly.synthesis_lists import synthesize_table
from zoo.errors import InputError
from zoo.training import DataError, refuse, usable
from zoo.training.choices import check_choice, nearest
from zoo.training.documents import Cells, read_rows
from zoo.training.video import VIDEO_SUFFIXES

NEEDED, OPTIONAL = ("video", "label"), ("intervals", "split", "frames")
SPLITS = ("train", "val", "test")
NUMBER = r"(\d+(?:\.\d+)?)"
INTERVAL = re.compile(rf"[\[(]?\s*{NUMBER}\s*[-:,]\s*{NUMBER}\s*[\])]?")
NORMALS = ("0", "normal")
ANOMALIES = ("1", "anomaly", "anomalous")
FEATURE_ENDINGS = ("_i3d.npy", ".npy", ".npz", ".txt")


class VideoTable(ListedVideos):
    """Videos of one's own: ``videos.csv`` with the columns video, label and intervals.

    * ``video``: path of the feature file below the root, with its ending, that of the video, or none.
    * ``label``: 0 or ``normal``; 1, ``anomaly`` or the name of a class.
    * ``intervals``: ``165-240; 780-840``, first and last frame from 1, or seconds; empty for a normal video, and for
      one of which only the label is known.
    * ``split``, may be absent: train, val or test. Without the column ``test_fraction`` of each class is the test, by
      ``split_seed``; without val videos ``val_fraction`` of the training videos is held out.
    * ``frames``, may be absent: length of the video, needed where its rows are 32 segments; else 16 frames per row.

    Args:
        root: Folder with the table and the feature files.
        batch_size: Bags per process and step, half of them anomalous.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many videos of each split.
        on_error: ``stop`` at the first unusable video, or ``skip`` and report.
        segmenting: How videos become 32 segments for training.
        steps_per_epoch: Iterations that make an epoch.
        replacement: Whether a bag may come twice in a batch.
        val_fraction: Share of the training videos held out where the table has no val videos, in (0, 1).
        split_seed: Which videos are held out, and which are the test where the table does not say.
        test_fraction: Share of the videos that are the test where the table does not say, in (0, 1).
        table: Name of the csv.
        unit: What intervals count, ``frame`` or ``second``.
        fps: Frames per second, > 0, where intervals are in seconds.
        memory: Keep features in memory once read.
        extractor: What ``zoo data make --from`` makes features of videos with.
    """

    dataset = "video_table"
    makes = "VideoFeatures --data.extractor.name r2plus1d_18"
    source = "your own videos; features by zoo data make, or your own"
    terms = "yours"
    length_hint = "give the table a column frames"
    anywhere = False  # the table gives paths: a video of the same name in another folder is another video
    layout = """
    videos.csv      video,label,intervals,split[,frames], e.g. hall/cam7,fight,165-240; 780-840,test
    hall/cam7.npy   features (T, D) or (T, crops, D), a row per 16 frames; also .npz, 32 lines of .txt, or a folder
                    hall/cam7 of C3D blobs
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 60,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        segmenting: Segmenting = "truncate",
        steps_per_epoch: int = 100,
        replacement: bool = False,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        test_fraction: float = 0.3,
        table: str = "videos.csv",
        unit: Literal["frame", "second"] = "frame",
        fps: float = 30.0,
        memory: bool = True,
        extractor: Extractor | None = None,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, segmenting, steps_per_epoch, replacement,
            val_fraction, split_seed, memory,
        )  # fmt: skip
        self.extractor = extractor
        if fps <= 0:
            raise InputError(f"data.fps must be above 0, got {fps}")
        if not 0 < test_fraction < 1:
            raise InputError(f"data.test_fraction must be in (0, 1), got {test_fraction}")
        check_choice("data.unit", unit, ("frame", "second"))
        self.table, self.unit, self.fps, self.test_fraction = table, unit, fps, test_fraction

    def training_videos(self, root: Path) -> list[Video]:
        """Rows of split train."""
        return self._rows(root, "train")

    def validation_videos(self, root: Path) -> list[Video]:
        """Rows of split val."""
        return self._rows(root, "val")

    def test_videos(self, root: Path) -> list[Video]:
        """Rows of split test; where no anomalous one has intervals, they are measured by their labels alone."""
        videos = self._rows(root, "test")
        if any(video.events for video in videos):
            return videos
        return [dataclasses.replace(video, events=None) for video in videos]

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        synthesize_table(root, seed=self.seed)

    def _rows(self, root: Path, split: str) -> list[Video]:
        path = self.list_file(root, self.table)
        rows = self.kept(
            read_table(path, self.fps if self.unit == "second" else None, self.spare), lambda row: row[1].id
        )
        if all(name is None for name, _ in rows):
            labels = np.array([video.anomalous for _, video in rows])
            tested = held_out(labels, self.test_fraction, self.split_seed)
            rows = [("test" if test else "train", video) for test, (_, video) in zip(tested, rows, strict=True)]
        return [video for name, video in rows if name == split]


def read_table(
    path: Path, fps: float | None = None, spare: Callable[[DataError], None] = refuse
) -> list[tuple[str | None, Video]]:
    """Reads a table of videos.

    Args:
        path: See :class:`VideoTable`.
        fps: Frames per second where intervals are in seconds; None where they are in frames.
        spare: What is done about a row that cannot be used; such a row is left out.

    Returns:
        Split (None where the table has no such column) and video of every row.

    Raises:
        DataError: A column is missing or unknown, or a cell is malformed; names file and line.
    """
    rows = list(read_rows(path, "table"))
    if not rows:
        raise DataError(f"{path}: the file is empty")
    columns = _columns(path, rows.pop(0).values)
    if not rows:
        raise DataError(f"{path}: the table has no rows")
    seen: dict[str, Video] = {}

    def read(given: Cells) -> tuple[str | None, Video]:
        place = f"{path}:{given.number}"
        if given.problem is not None:
            raise given.problem
        if len(given.values) != len(columns):
            raise DataError(f"{place}: has {len(given.values)} cells, the head has {len(columns)}")
        row = dict(zip(columns, given.values, strict=True))
        split, video = _split(place, row), _video(place, row, fps)
        once([*([seen[video.id]] if video.id in seen else []), video])
        seen[video.id] = video
        return split, video

    return usable(rows, read, spare)


def _columns(path: Path, names: Sequence[str]) -> list[str]:
    given = [name.strip() for name in names]
    known = (*NEEDED, *OPTIONAL)
    for name in given:
        if given.count(name) > 1:
            raise DataError(f"{path}: column {name!r} comes twice")
        if name not in known:
            raise DataError(f"{path}: column {name!r} is unknown; there are {', '.join(known)}{nearest(name, known)}")
    for name in NEEDED:
        if name not in given:
            raise DataError(f"{path}: has no column {name!r} (columns: {', '.join(given)})")
    return given


def _split(place: str, row: dict[str, str]) -> str | None:
    if "split" not in row:
        return None
    word = row["split"].strip()
    if word not in SPLITS:
        raise DataError(f"{place}: split is {word!r}, expected one of {', '.join(SPLITS)}{nearest(word, SPLITS)}")
    return word


def _video(place: str, row: dict[str, str], fps: float | None) -> Video:
    path = Path(row["video"].strip())
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise DataError(f"{place}: video is {row['video']!r}, expected a path below the root")
    ending = next((known for known in FEATURE_ENDINGS if path.name.endswith(known)), "")
    name = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name.removesuffix(ending)
    anomalous, kind = _label(place, row["label"].strip())
    events = _intervals(place, row.get("intervals", "").strip(), fps)
    if events and not anomalous:
        raise DataError(f"{place}: the video is normal but has intervals")
    known = "intervals" in row and (not anomalous or bool(events))
    folder = "" if str(path.parent) == "." else path.parent.as_posix()
    return Video(folder, name, anomalous, place, _frames(place, row), events if known else None, kind)


def _label(place: str, word: str) -> tuple[bool, str]:
    lower = word.lower()
    if lower in NORMALS:
        return False, ""
    if lower in ANOMALIES:
        return True, "Anomaly"
    near = nearest(lower, ("normal", "anomaly", "anomalous"))
    if not word or is_number(word) or near:
        raise DataError(f"{place}: label is {word!r}, expected 0 or normal, 1 or anomaly, or the name of a class{near}")
    return True, word


def _intervals(place: str, text: str, fps: float | None) -> tuple[Event, ...]:
    rest = INTERVAL.sub("", text)
    if rest.strip("[]() ;,"):
        raise DataError(f"{place}: intervals are {text!r}, expected e.g. '165-240; 780-840'")
    events = []
    for first, last in INTERVAL.findall(text):
        if fps is None:
            if "." in first + last:
                raise DataError(f"{place}: {first} to {last} are no frame numbers (data.unit: second takes seconds)")
            event = int(first), int(last)
        else:
            event = int(float(first) * fps) + 1, max(1, round(float(last) * fps))
        if event[1] < event[0]:
            raise DataError(f"{place}: {first} to {last} is no interval (first <= last)")
        events.append(event)
    return tuple(events)


def _frames(place: str, row: dict[str, str]) -> int | None:
    word = (row.get("frames") or "").strip()
    if not word:
        return None
    if not word.isdecimal() or int(word) < 1:
        raise DataError(f"{place}: frames is {word!r}, expected a whole number of at least 1")
    return int(word)
