"""Videos of a list with a feature file each: found in any of the usual layouts, read, and made to items."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from zoo.domains.anomaly.annotations import Video, check_events
from zoo.domains.anomaly.bags import require_folder
from zoo.domains.anomaly.features import BLOB_SUFFIX, DAMAGE, read_blobs, read_features
from zoo.domains.anomaly.notes import read_note
from zoo.domains.anomaly.protocols import CLIP
from zoo.domains.anomaly.segments import SEGMENTS, Segmenting, segment_features
from zoo.training import DataError
from zoo.training.lines import text_lines
from zoo.training.paths import is_there

CROP = "__{}.npy"  # a file per crop, as XD-Violence's own features
ENDINGS = (".txt", ".npy", ".npz", "_C.txt", "_i3d.npy", CROP.format(0))


class Places:
    """Where feature files lie: in a folder per class, or (arrays) all together in the root or in any folder of it.

    Args:
        root: Folder of the data set.
        without: Folders in it that hold something else.
        anywhere: Whether a file of a video's name counts wherever it lies; else only where the list says.
    """

    def __init__(self, root: Path, without: Collection[str] = (), anywhere: bool = True) -> None:
        self.root, self.without, self.anywhere = root, without, anywhere
        self._flat: dict[str, list[Path]] | None = None

    def find(self, folder: str, name: str) -> Path | None:
        """The feature file of a video, or its folder of C3D blobs; None where there is none.

        Raises:
            DataError: There are several outside of its class folder.
        """
        places = [self.root / folder / f"{name}{ending}" for ending in ENDINGS]
        found = next((place for place in places if is_there(place)), None)
        if found is not None:
            return found
        blobs = self.root / folder / name
        if os.path.isdir(blobs) and next(blobs.glob(f"*{BLOB_SUFFIX}"), None) is not None:
            return blobs
        if not self.anywhere:
            return None
        elsewhere = [place for ending in ENDINGS for place in self.flat.get(f"{name}{ending}", [])]
        if len(elsewhere) > 1:
            raise DataError(f"{name}: has several feature files, {elsewhere[0]} and {elsewhere[1]}")
        return elsewhere[0] if elsewhere else None

    @property
    def flat(self) -> dict[str, list[Path]]:
        """Arrays in the root and its folders, by file name; listed once."""
        if self._flat is None:
            self._flat = defaultdict(list)
            for pattern in ("*", "*/*", "*/*/*"):
                for file in sorted(self.root.glob(pattern)):
                    if file.suffix in (".npy", ".npz") and file.is_file() and file.parent.name not in self.without:
                        self._flat[file.name].append(file)
        return self._flat


def read_video(path: Path) -> tuple[np.ndarray, bool]:
    """Reads the features of a video.

    Args:
        path: A feature file, the first of a file per crop (``NAME__0.npy``), or a folder of C3D blobs.

    Returns:
        ``(T, D)`` or ``(T, crops, D)`` float32; and whether the rows are the 32 segments of the video. Text files hold
        segments; blobs, ``_i3d.npy``, crops and what ``zoo data make`` made hold clips; other arrays hold segments
        where they have 32 rows.

    Raises:
        DataError: What is there cannot be used; names the file.
    """
    if path.is_dir():
        return read_blobs(path), False
    if path.name.endswith(CROP.format(0)):
        return _crops(path), False
    rows = read_features(path)
    if path.suffix == ".txt" and len(rows) != SEGMENTS:
        raise DataError(f"{path}: has {len(rows)} lines, expected a line for each of {SEGMENTS} segments")
    return rows, path.suffix == ".txt"


def _crops(first: Path) -> np.ndarray:
    stem = first.name.removesuffix(CROP.format(0))
    crops: list[np.ndarray] = []
    while (file := first.with_name(stem + CROP.format(len(crops)))).is_file():
        rows = read_features(file)
        if rows.ndim != 2 or (crops and rows.shape != crops[0].shape):
            expected = f"that of {first.name}, {crops[0].shape}" if crops else "(T, D)"
            raise DataError(f"{file}: has shape {rows.shape}, expected {expected}")
        crops.append(rows)
    for other in first.parent.glob(f"{escape(stem)}__*.npy"):
        number = other.stem.removeprefix(f"{stem}__")
        if number.isdecimal() and int(number) >= len(crops):
            raise DataError(
                f"{first.with_name(stem + CROP.format(len(crops)))}: there is no such crop, but {other.name}"
            )
    return np.stack(crops, axis=1)


class FeatureFiles:
    """Videos with a feature file each.

    Args:
        places: Where the files lie.
        videos: What the lists say.
        segmenting: Give 32 segments, made in this way; None gives the rows as stored, with frames and events.
        memory: Keep what was read.
        hint: What to do where a video's length is needed and nowhere told.
    """

    def __init__(
        self, places: Places, videos: list[Video], segmenting: Segmenting | None, memory: bool, hint: str
    ) -> None:
        self.places, self.videos, self.segmenting, self.hint = places, videos, segmenting, hint
        self.root = places.root
        self.labels = np.array([int(video.anomalous) for video in videos], dtype=np.int64)
        self._kept: dict[int, tuple[np.ndarray, bool]] | None = {} if memory else None
        self._shape: tuple[tuple[int, ...], str] | None = None

    def __len__(self) -> int:
        return len(self.videos)

    def file(self, index: int) -> Path:
        """The feature file of a video.

        Raises:
            DataError: There is none.
        """
        video = self.videos[index]
        found = self.places.find(video.folder, video.name)
        if found is None:
            first = self.root / video.folder / f"{video.name}{ENDINGS[0]}"
            raise DataError(
                f"{video.place}: {video.id} has no feature file; looked for {first} ({', '.join(ENDINGS[1:])})"
            )
        return found

    def check(self) -> None:
        """Looks for all files.

        Raises:
            DataError: A class folder or a file is missing; names it.
        """
        for folder in dict.fromkeys(video.folder for video in self.videos):
            if not (self.root / folder).is_dir() and not self._lies_flat(folder):
                require_folder(self.root / folder, "a class folder with feature files")

    def _lies_flat(self, folder: str) -> bool:
        return any(self.places.find(folder, video.name) for video in self.videos if video.folder == folder)

    def made_of(self, index: int) -> str:
        """The video: which are held out depends on all."""
        return self.videos[index].id

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A video; see :class:`zoo.domains.anomaly.bags.Bags`."""
        video = self.videos[index]
        if self._kept is None or index not in self._kept:
            found = self._read(index)
            if self._kept is not None:
                self._kept[index] = found
        else:
            found = self._kept[index]
        features, segmented = found
        item = {
            "id": video.id, "label": int(video.anomalous), "kind": video.kind, "features": features,
            "segmented": segmented, "frames": None, "events": None,
        }  # fmt: skip
        if self.segmenting is not None:
            return item
        if video.events is None:
            return item
        frames = self._frames(index, len(features), segmented)
        check_events(video, frames)
        return {**item, "frames": frames, "events": list(video.events)}

    def _read(self, index: int) -> tuple[np.ndarray, bool]:
        path = self.file(index)
        rows, segmented = read_video(path)
        frames = self.videos[index].frames
        # somebody's segments kept as an array: 32 rows, and by the list more or less than 32 clips
        other = len(rows) == SEGMENTS and frames is not None and abs(frames - SEGMENTS * CLIP) >= CLIP
        segmented = segmented or (other and read_note(path) is None)
        if self._shape is None:
            self._shape = (rows.shape[1:], str(path))
        if rows.shape[1:] != self._shape[0]:
            found, expected = (" x ".join(map(str, shape)) for shape in (rows.shape[1:], self._shape[0]))
            raise DataError(f"{path}: has rows of {found} numbers, {self._shape[1]} of {expected}")
        if self.segmenting is None or segmented:
            return rows, segmented
        return segment_features(rows, SEGMENTS, self.segmenting), True

    def settle(self) -> None:
        """Takes the shape of most videos' rows for the right one: the first need not have it."""
        shapes = {index: shape for index in range(len(self)) if (shape := self._shape_of(index))}
        if shapes:
            common = Counter(shapes.values()).most_common(1)[0][0]
            self._shape = common, str(self.file(next(index for index, shape in shapes.items() if shape == common)))

    def _shape_of(self, index: int) -> tuple[int, ...]:
        """Shape of a row, by the head of the file where that tells; empty where it cannot be read."""
        try:
            path = self.file(index)
            if path.suffix == ".txt":
                return (len(next(text_lines(path), ("", ""))[1].split()),)
            if path.suffix == ".npy" and not path.name.endswith(CROP.format(0)):
                return tuple(np.load(path, mmap_mode="r").shape[1:])
            return read_video(path)[0].shape[1:]
        except (*DAMAGE, DataError):
            return ()

    def _frames(self, index: int, rows: int, segmented: bool) -> int:
        video = self.videos[index]
        if video.frames is not None:
            return video.frames
        if (made := read_note(self.file(index))) is not None:
            return int(made["frames"])
        if segmented:
            raise DataError(
                f"{video.place}: {video.id} has {SEGMENTS} segments, and no list says how many frames it has; "
                f"{self.hint}"
            )
        return rows * CLIP
