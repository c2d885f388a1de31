"""XD-Violence: labels in the names of the videos, annotated test events, a feature file (or one per crop) each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from zoo.domains.anomaly.annotations import NORMAL, Video, feature_stem, read_lines, read_videos
from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.feature_files import CROP
from zoo.domains.anomaly.listed import ListedVideos
from zoo.domains.anomaly.protocols import Event
from zoo.domains.anomaly.segments import Segmenting
from zoo.domains.anomaly.synthesis_lists import synthesize_xd
from zoo.training import DataError, refuse, usable
from zoo.training.choices import nearest

CODES = {
    "A": NORMAL, "B1": "Fighting", "B2": "Shooting", "B4": "Riot", "B5": "Abuse", "B6": "CarAccident", "G": "Explosion",
}  # fmt: skip
NONE = "0"


class XDViolence(ListedVideos):
    """XD-Violence from features: 3954 training videos with a label, 800 test videos, 500 of them with annotated events.

    A name ends in ``_label_`` and up to three codes, ``A`` for a normal video, else what happens: B1 fighting,
    B2 shooting, B4 riot, B5 abuse, B6 car accident, G explosion; ``0`` stands for none.

    Args:
        root: Folder with the lists and the features.
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
        train_list: A name (or the path of a feature file) per line; without it, what lies in ``train``.
        test_list: The same; without it, what lies in ``test``.
        annotations: Name, then first and last frame of each event, of the test videos that are not normal.
        memory: Keep features in memory once read.
        extractor: What ``zoo data make --from`` makes features of videos with.
    """

    dataset = "xd_violence"
    makes = "VideoFeatures --data.extractor.name r2plus1d_18"
    source = "https://roc-ng.github.io/XD-Violence/ (Wu et al., ECCV 2020)"
    terms = "research use, as the authors' page asks; the videos are from films, sports and YouTube"
    length_hint = "clip features are needed, a row per 16 frames"
    layout = """
    XD_Annotation.txt             NAME first last [first last ...] of each test video with events
    XD_Train.txt, XD_Test.txt     a name or the path of a feature file per line; may be absent
    train/, test/                 NAME.npy (T, D) or (T, crops, D), NAME_i3d.npy, or NAME__0.npy ... NAME__4.npy, a file
                                  per crop; a row per 16 frames
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
        train_list: str = "XD_Train.txt",
        test_list: str = "XD_Test.txt",
        annotations: str = "XD_Annotation.txt",
        memory: bool = False,
        extractor: Extractor | None = None,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, segmenting, steps_per_epoch, replacement,
            val_fraction, split_seed, memory,
        )  # fmt: skip
        self.extractor = extractor
        self.train_list, self.test_list, self.annotations = train_list, test_list, annotations

    def training_videos(self, root: Path) -> list[Video]:
        """Reads the training list, or the folder ``train``."""
        return self._named(root, "train", self.train_list)

    def test_videos(self, root: Path) -> list[Video]:
        """Reads the test list, or the folder ``test``, and the annotations."""
        videos = self._named(root, "test", self.test_list)
        found = read_annotations(self.list_file(root, self.annotations), self.spare)
        names = {video.name for video in videos}
        for name, (place, _) in found.items():
            if name not in names:
                self.spare(DataError(f"{place}: there is no test video {name}{nearest(name, sorted(names))}"))
        return usable(videos, lambda video: _annotated(video, found, self.annotations), self.spare)

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        synthesize_xd(root, seed=self.seed)

    def _named(self, root: Path, folder: str, name: str) -> list[Video]:
        if (root / name).is_file():
            return read_videos(
                root / name, lambda place, words: _video(place, feature_stem(" ".join(words))), self.spare
            )
        files = sorted(file for file in (root / folder).glob("*.np[yz]")) if (root / folder).is_dir() else []
        if not files:
            raise DataError(f"{root}: has neither a list {name} nor feature files in {folder}/")
        stems = dict.fromkeys(_stem(file) for file in files)
        return usable(stems, lambda stem: _video(str(root / folder / stem), stem), self.spare)


def read_annotations(
    path: Path, spare: Callable[[DataError], None] = refuse
) -> dict[str, tuple[str, tuple[Event, ...]]]:
    """Reads the annotated events of XD-Violence.

    Args:
        path: A line per video: its name, then first and last frame of each event.
        spare: What is done with a line that cannot be used; such a line is left out.

    Returns:
        Per name the place ``file:line`` and the events.

    Raises:
        DataError: The file is missing or empty, a line is malformed, or a video comes twice; names file and line.
    """
    found: dict[str, tuple[str, tuple[Event, ...]]] = {}

    def read(line: tuple[str, list[str]]) -> None:
        place, words = line
        name, numbers = feature_stem(words[0]), words[1:]
        if not numbers or len(numbers) % 2:
            raise DataError(f"{place}: expected a name and first and last frame of each event, got {len(words)} words")
        wrong = next((word for word in numbers if not word.isdecimal()), None)
        if wrong is not None:
            raise DataError(f"{place}: {wrong!r} is not a frame number")
        events = tuple((int(first), int(last)) for first, last in zip(numbers[::2], numbers[1::2], strict=True))
        for first, last in events:
            if last < first:
                raise DataError(f"{place}: {first} to {last} is no event (first <= last)")
        if name in found:
            raise DataError(f"{place}: {name} stands already at {found[name][0]}")
        if not _video(place, name).anomalous:
            raise DataError(f"{place}: {name} is normal by its name (label A) but has events")
        found[name] = place, events

    usable(read_lines(path, spare), read, spare)
    return found


def codes_of(name: str) -> tuple[str, ...] | None:
    """The codes in a name, without the zeros; None where it does not end in known ones."""
    _, mark, tail = name.rpartition("_label_")
    codes = tuple(code for code in tail.split("-") if code != NONE)
    known = mark and codes and all(code in CODES for code in codes) and ("A" not in codes or codes == ("A",))
    return codes if known else None


def _video(place: str, name: str) -> Video:
    codes = codes_of(name)
    if codes is None:
        raise DataError(f"{place}: {name!r} does not end in _label_ and its codes, as _label_A or _label_B1-0-0")
    labels = "+".join(CODES[code] for code in codes)
    return Video("", name, codes != ("A",), place, labels=labels)


def _annotated(video: Video, found: dict[str, tuple[str, tuple[Event, ...]]], annotations: str) -> Video:
    if video.name in found:
        return dataclasses.replace(video, events=found[video.name][1])
    if video.anomalous:
        raise DataError(f"{video.place}: {video.name} is violent by its name, but {annotations} does not say when")
    return dataclasses.replace(video, events=())


def _stem(file: Path) -> str:
    stem = feature_stem(file.name)
    head, mark, number = stem.rpartition(CROP.partition("{")[0])
    return head if mark and number.isdecimal() else stem
