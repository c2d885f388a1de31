"""Surveillance Camera Fight: untrimmed timelines composed from 300 real clips, split by camera."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.domains.anomaly.bags import BagData, as_segments
from zoo.domains.anomaly.features import checked, read_arrays
from zoo.domains.anomaly.protocols import CLIP
from zoo.domains.anomaly.segments import Segmenting
from zoo.domains.anomaly.synthesis import synthesize_clips
from zoo.domains.anomaly.timelines import SHARES, SNIPPETS, Timeline, compose, same_camera, split_of
from zoo.errors import InputError
from zoo.training import DataError, Items, Split

FEATURES, CLIPS = "features_efflite0_12f_fp16.npz", "clips.json"


class Timelines:
    """Composed videos.

    Args:
        timelines: What is composed.
        snippets: ``(clips, 4, D)`` features of every clip.
        segmenting: Give 32 segments, made in this way; None gives the snippets, with frames and events.
    """

    def __init__(self, timelines: list[Timeline], snippets: np.ndarray, segmenting: Segmenting | None) -> None:
        self.timelines, self.snippets, self.segmenting = timelines, snippets, segmenting
        self.labels = np.array([int(bool(timeline.events)) for timeline in timelines], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.timelines)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A video; see :class:`zoo.domains.anomaly.bags.Bags`."""
        timeline = self.timelines[index]
        rows = self.snippets[list(timeline.clips)].reshape(-1, self.snippets.shape[-1])
        item = {"id": timeline.name, "label": int(self.labels[index]), "frames": None, "events": None}
        if self.segmenting is not None:
            return {**item, "features": as_segments(rows, self.segmenting)}
        return {**item, "features": rows, "frames": len(rows) * CLIP, "events": list(timeline.events)}


class SurvCameraFight(BagData):
    """Timelines of real surveillance clips in which fights break out.

    A clip of about two seconds has 12 frames of EfficientNet-Lite0 features; three of them are averaged to a snippet
    of about 16 frames, so a clip has 4 snippets. A timeline is a row of ``shortest`` to ``longest`` clips without a
    fight; an anomalous one has one or two runs of one to three fight clips in between. Training knows the label of
    the timeline alone. Clips of one camera (cosine of mean features above 0.8, linked) stay in one split.

    Args:
        root: Folder with ``clips.json`` and the features.
        batch_size: Bags per process and step, half of them anomalous.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many timelines of each split.
        on_error: ``stop`` or ``skip``.
        segmenting: How timelines become 32 segments for training; ``truncate`` leaves the scale of the features as
            stored, which evaluation and prediction see too.
        steps_per_epoch: Batches of an epoch.
        replacement: Whether a bag may come twice in a batch.
        timelines: Anomalous training timelines, and as many normal ones; validation and test have half as many.
        shortest: Least number of clips without a fight in a timeline, >= 1.
        longest: Largest such number.
        split_seed: Which cameras are in which split, and how timelines are composed.
    """

    dataset = "surv_camera_fight"
    source = "https://github.com/seymanurakti/fight-detection-surv-dataset (Akti et al., IPTA 2019); features: card"
    terms = "MIT licence file in the repository; the videos were collected from YouTube"
    layout = """
    clips.json                          list of {clip, label}: fight_NNN 1, nofight_NNN 0
    features_efflite0_12f_fp16.npz      an array (12, D) per clip: features of 12 frames spread over it
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
        steps_per_epoch: int = 50,
        replacement: bool = False,
        timelines: int = 100,
        shortest: int = 8,
        longest: int = 24,
        split_seed: int = 0,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, segmenting, steps_per_epoch, replacement
        )
        if timelines < 2:
            raise InputError(f"data.timelines must be at least 2, got {timelines}")
        if not 1 <= shortest <= longest:
            raise InputError(f"data.shortest and data.longest must be 1 <= shortest <= longest: {shortest}, {longest}")
        self.timelines, self.shortest, self.longest, self.split_seed = timelines, shortest, longest, split_seed

    def read(self, root: Path, split: Split) -> Items:
        """Reads all clips and composes the timelines of a split."""
        labels, snippets = read_clips(root)
        cameras = same_camera(snippets)
        chosen = np.flatnonzero(split_of(cameras, self.split_seed) == split)
        fights, others = chosen[labels[chosen] == 1], chosen[labels[chosen] == 0]
        if not len(fights) or not len(others):
            raise DataError(
                f"{root}: the {split} split has {len(fights)} fight clips and {len(others)} others; "
                "both are needed, another data.split_seed may share the cameras out better"
            )
        count = self.timelines if split == "train" else max(1, self.timelines // 2)
        rng = np.random.default_rng([self.split_seed, list(SHARES).index(split)])
        composed = [
            compose(f"{split}/{'fight' if fight else 'normal'}_{number:03d}", rng, others, fights if fight else None,
                    self.shortest, self.longest)
            for number in range(1, count + 1)
            for fight in (True, False)
        ]  # fmt: skip
        return Timelines(composed, snippets, self.segmenting if split == "train" else None)

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        synthesize_clips(root, seed=self.seed)


def read_clips(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads all clips.

    Args:
        root: Folder of the data.

    Returns:
        ``labels (N,)``, 1 for fights; ``snippets (N, 4, D)`` float32, the means of three frames each.

    Raises:
        DataError: A file is missing or malformed, or a clip has no features; names file and clip.
    """
    table = root / CLIPS
    if not table.is_file():
        raise DataError(f"{table}: there is no such list of clips")
    try:
        entries = json.loads(table.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{table}: is no JSON ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{table}: expected a list of clips")
    arrays = read_arrays(root / FEATURES)
    labels, snippets = [], []
    for number, entry in enumerate(entries, 1):
        name, label = (entry.get("clip"), entry.get("label")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or label not in (0, 1):
            raise DataError(
                f"{table}: clip {number}: expected a name `clip` and a `label` 0 or 1, got {str(entry)[:80]}"
            )
        if name not in arrays:
            raise DataError(f"{root / FEATURES}: has no features of {name} (clip {number} of {table.name})")
        labels.append(int(label))
        snippets.append(_snippets(arrays[name], f"{root / FEATURES}[{name}]"))
        if snippets[-1].shape != snippets[0].shape:
            widths = snippets[-1].shape[-1], snippets[0].shape[-1]
            raise DataError(
                f"{root / FEATURES}[{name}]: has rows of {widths[0]} numbers, the first clip of {widths[1]}"
            )
    return np.array(labels), np.stack(snippets)


def _snippets(frames: np.ndarray, where: str) -> np.ndarray:
    frames = checked(frames, where)
    if frames.ndim != 2 or len(frames) < SNIPPETS or len(frames) % SNIPPETS:
        raise DataError(f"{where}: has shape {frames.shape}, expected (12, D), 12 frames of a clip")
    means: np.ndarray = frames.reshape(SNIPPETS, -1, frames.shape[-1]).mean(axis=1)
    return means
