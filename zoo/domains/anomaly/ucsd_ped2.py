"""UCSD Ped2: windows of clips as bags with a label, cross-validated over clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.domains.anomaly.bags import BagData, interleaved
from zoo.domains.anomaly.features import most_common, read_members
from zoo.domains.anomaly.protocols import CLIP
from zoo.domains.anomaly.shanghaitech import events_of
from zoo.domains.anomaly.synthesis_clips import synthesize_ped2
from zoo.errors import InputError
from zoo.training import DataError, Items, Split, refuse, usable

FEATURES, LABELS = "features_efflite0_every4_fp16.npz", "labels.npz"
STRIDE = 4  # frames per row of the features
ROWS = CLIP // STRIDE  # per snippet of 16 frames
FOLDS = 6


class Windows:
    """Windows of clips, or whole clips.

    Args:
        clips: Names.
        snippets: ``(T, D)`` of each clip.
        marks: 0 or 1 per frame of each clip, 16 per snippet.
        places: Clip and first snippet of each window.
        window: Snippets of a window; None gives whole clips with their events.
    """

    def __init__(
        self,
        clips: list[str],
        snippets: list[np.ndarray],
        marks: list[np.ndarray],
        places: list[tuple[int, int]],
        window: int | None,
    ) -> None:
        self.clips, self.snippets, self.marks, self.places, self.window = clips, snippets, marks, places, window
        self.labels = np.array([int(self._marks(index).any()) for index in range(len(places))], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.places)

    def _marks(self, index: int) -> np.ndarray:
        clip, start = self.places[index]
        stop = None if self.window is None else (start + self.window) * CLIP
        return self.marks[clip][start * CLIP : stop]

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A window or a clip; see :class:`zoo.domains.anomaly.bags.Bags`."""
        clip, start = self.places[index]
        label = int(self.labels[index])
        item = {"label": label, "kind": "anomaly" if label else "Normal", "segmented": False}
        if self.window is None:
            events = list(events_of(self.marks[clip]))
            frames = len(self.marks[clip])
            return {**item, "id": self.clips[clip], "features": self.snippets[clip], "frames": frames, "events": events}
        rows = self.snippets[clip][start : start + self.window]
        name = f"{self.clips[clip]}:{start * CLIP + 1}-{(start + self.window) * CLIP}"
        return {**item, "id": name, "features": rows, "frames": None, "events": None}


class UCSDPed2(BagData):
    """UCSD Ped2: 16 clips of a walkway without and 12 with cyclists, skaters and carts; weak labels, six folds.

    Every fourth frame has EfficientNet-Lite0 features; the mean of four makes a snippet of 16 frames (what is left at
    the end of a clip, at most 15 frames, is not used). A bag is a window of a training clip, anomalous where any of its
    frames is: training knows that much and not which. Of each fold's clips, a sixth are the test, another sixth
    validate, whole and frame by frame; the others give the windows. Clips with and without anomalies are shared out
    apart. The original protocol, which trains on the normal clips alone, is another task.

    Args:
        root: Folder with the features and the labels.
        batch_size: Bags per process and step, half of them anomalous.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many windows, and clips, of each split.
        on_error: ``stop`` or ``skip``.
        steps_per_epoch: Batches of an epoch.
        replacement: Whether a bag may come twice in a batch.
        fold: Which sixth of the clips is the test, 1 to 6.
        window: Snippets of a bag, >= 1.
        split_seed: How the clips are shared out to folds.
    """

    dataset = "ucsd_ped2"
    source = "http://www.svcl.ucsd.edu/projects/anomaly/dataset.htm (Mahadevan et al., CVPR 2010); features: card"
    terms = "no licence text; the authors ask to be cited"
    layout = """
    features_efflite0_every4_fp16.npz    an array (T, D) per clip, train01 ... test12: features of every fourth frame
    labels.npz                           an array per clip: 0 or 1 per frame
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 30,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        steps_per_epoch: int = 20,
        replacement: bool = False,
        fold: int = 1,
        window: int = 5,
        split_seed: int = 0,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, "truncate", steps_per_epoch, replacement
        )
        if not 1 <= fold <= FOLDS:
            raise InputError(f"data.fold must be from 1 to {FOLDS}, got {fold}")
        if window < 1:
            raise InputError(f"data.window must be at least 1, got {window}")
        self.fold, self.window, self.split_seed = fold, window, split_seed

    def read(self, root: Path, split: Split) -> Items:
        """Reads all clips and takes those of a split."""
        names, snippets, marks = read_clips(root, self.spare)
        of = folds([bool(mark.any()) for mark in marks], self.split_seed)
        test, val = self.fold - 1, self.fold % FOLDS
        chosen = {"test": of == test, "val": of == val, "train": (of != test) & (of != val)}[split]
        clips = np.flatnonzero(chosen).tolist()
        if split != "train":
            order = interleaved([int(marks[clip].any()) for clip in clips])
            return Windows(names, snippets, marks, [(clips[at], 0) for at in order], None)
        places = [(clip, start) for clip in clips for start in range(len(snippets[clip]) - self.window + 1)]
        return Windows(names, snippets, marks, places, self.window)

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        synthesize_ped2(root, seed=self.seed)


def folds(anomalous: list[bool], seed: int) -> np.ndarray:
    """Shares clips out to folds, anomalous and normal ones apart.

    Args:
        anomalous: Of each clip.
        seed: Of the permutations.

    Returns:
        ``(N,)`` numbers of folds from 0.
    """
    labels = np.array(anomalous)
    rng = np.random.default_rng(seed)
    of = np.zeros(len(labels), dtype=np.int64)
    for value in (True, False):
        pool = rng.permutation(np.flatnonzero(labels == value))
        # the smaller shares of one class meet the larger ones of the other
        turn = np.arange(len(pool)) % FOLDS
        of[pool] = turn if value else FOLDS - 1 - turn
    return of


def read_clips(
    root: Path, spare: Callable[[DataError], None] = refuse
) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Reads all clips.

    Args:
        root: Folder of the data.
        spare: What is done with a clip that cannot be used; such a clip is left out.

    Returns:
        Names; ``(T, D)`` float32 snippets; and 0 or 1 for each of the ``16 * T`` frames, of each clip.

    Raises:
        DataError: A file is missing or malformed, or features and labels do not fit; names file and clip.
    """
    arrays = read_members(root / FEATURES)
    labels = read_members(root / LABELS, _marks)

    def read(name: str) -> tuple[str, np.ndarray, np.ndarray]:
        where = f"{root / FEATURES}[{name}]"
        rows, frames = arrays.get(name), labels.get(name)
        if rows is None:
            raise DataError(f"{root / FEATURES}: has no features of {name}, which {LABELS} labels")
        if frames is None:
            raise DataError(f"{root / LABELS}: has no labels of {name}")
        if isinstance(rows, DataError):
            raise rows
        if isinstance(frames, DataError):
            raise frames
        if rows.ndim != 2 or len(rows) != -(-len(frames) // STRIDE):
            raise DataError(
                f"{where}: has shape {rows.shape}, expected ({-(-len(frames) // STRIDE)}, D), a row for every fourth "
                f"of {len(frames)} frames"
            )
        count = len(frames) // CLIP
        if not count:
            raise DataError(f"{where}: has {len(frames)} frames, a snippet takes {CLIP}")
        return name, rows[: count * ROWS].reshape(count, ROWS, -1).mean(axis=1), frames[: count * CLIP]

    clips = usable(dict.fromkeys([*arrays, *labels]), read, spare)
    if not clips:
        raise DataError(f"{root / FEATURES}: none of {len(arrays)} clips can be used")
    width = most_common(snippets.shape[1] for _, snippets, _ in clips)

    def as_wide(clip: tuple[str, np.ndarray, np.ndarray]) -> tuple[str, np.ndarray, np.ndarray]:
        if clip[1].shape[1] != width:
            where = f"{root / FEATURES}[{clip[0]}]"
            raise DataError(f"{where}: has rows of {clip[1].shape[1]} numbers, most clips of {width}")
        return clip

    kept = usable(clips, as_wide, spare)
    return [name for name, _, _ in kept], [snippets for _, snippets, _ in kept], [marks for _, _, marks in kept]


def _marks(marks: np.ndarray, where: str) -> np.ndarray:
    if marks.ndim != 1 or marks.dtype.kind not in "iub" or not np.isin(marks, (0, 1)).all():
        raise DataError(f"{where}: expected a label 0 or 1 per frame, found {marks.dtype} {marks.shape}")
    return marks
