"""Surveillance Camera Fight: untrimmed timelines composed from 300 real clips, split by camera."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.domains.anomaly.bags import BagData
from zoo.domains.anomaly.features import most_common, read_members
from zoo.domains.anomaly.protocols import CLIP
from zoo.domains.anomaly.segments import SEGMENTS, Segmenting, segment_features
from zoo.domains.anomaly.synthesis import synthesize_clips
from zoo.domains.anomaly.timelines import SHARES, SNIPPETS, Timeline, compose, same_camera, split_of
from zoo.errors import InputError
from zoo.training import DataError, Items, Split, refuse, usable
from zoo.training.documents import parse_json, read_text

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
        label = int(self.labels[index])
        item = {"id": timeline.name, "label": label, "kind": "fight" if label else "Normal", "events": None}
        if self.segmenting is not None:
            segments = segment_features(rows, SEGMENTS, self.segmenting)
            return {**item, "features": segments, "segmented": True, "frames": None}
        frames = len(rows) * CLIP
        return {**item, "features": rows, "segmented": False, "frames": frames, "events": list(timeline.events)}


class SurvCameraFight(BagData):
    """Timelines of real surveillance clips in which fights break out.

    A clip of about two seconds has EfficientNet-Lite0 features of 12 frames; it becomes 4 snippets of about 16 frames,
    each the mean change of the features over three of the 12 (:func:`clip_snippets`). A timeline is a row of
    ``shortest`` to ``longest`` clips without a fight; an anomalous one has one or two runs of one to three fight clips
    in between. Training knows the label of the timeline alone. Clips of one camera (cosine of mean features above 0.8,
    linked) stay in one split.

    Args:
        root: Folder with ``clips.json`` and the features.
        batch_size: Bags per process and step, half of them anomalous.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many timelines of each split.
        on_error: ``stop`` or ``skip``.
        segmenting: How timelines become 32 segments for training; ``truncate`` keeps the size of the changes, which
            ``matlab`` and ``numpy`` would normalise away.
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
        timelines: int = 200,
        shortest: int = 6,
        longest: int = 16,
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
        labels, clips = read_clips(root, self.spare)
        cameras = same_camera(np.stack([frames.mean(axis=0) for frames in clips]))
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
        snippets = np.stack([clip_snippets(frames) for frames in clips])
        return Timelines(composed, snippets, self.segmenting if split == "train" else None)

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        synthesize_clips(root, seed=self.seed)


def read_clips(root: Path, spare: Callable[[DataError], None] = refuse) -> tuple[np.ndarray, list[np.ndarray]]:
    """Reads all clips.

    Args:
        root: Folder of the data.
        spare: What is done with a clip that cannot be used; such a clip is left out.

    Returns:
        ``labels (N,)``, 1 for fights; and ``(12, D)`` float32 features of the frames of each clip.

    Raises:
        DataError: A file is missing or malformed, or a clip has no features; names file and clip.
    """
    table = root / CLIPS
    try:
        entries = parse_json(read_text(table, "list of clips"), str(table))
    except json.JSONDecodeError as error:
        raise DataError(f"{table}: is no JSON ({' '.join(str(error).split())[:160]})") from error
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{table}: expected a list of clips")
    arrays = read_members(root / FEATURES)
    seen: dict[str, int] = {}

    def read(numbered: tuple[int, Any]) -> tuple[int, np.ndarray, str]:
        number, entry = numbered
        name, label = (entry.get("clip"), entry.get("label")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or label not in (0, 1):
            raise DataError(
                f"{table}: clip {number}: expected a name `clip` and a `label` 0 or 1, got {str(entry)[:80]}"
            )
        if name in seen:
            raise DataError(f"{table}: clip {number}: {name} is clip {seen[name]} too, it stands there twice")
        seen[name] = number
        frames = arrays.get(name)
        if frames is None:
            raise DataError(f"{root / FEATURES}: has no features of {name} (clip {number} of {table.name})")
        if isinstance(frames, DataError):
            raise frames
        where = f"{root / FEATURES}[{name}]"
        return int(label), _frames(frames, where), where

    found = usable(enumerate(entries, 1), read, spare)
    if not found:
        raise DataError(f"{table}: none of {len(entries)} clips can be used")
    width = most_common(frames.shape[1] for _, frames, _ in found)

    def as_wide(clip: tuple[int, np.ndarray, str]) -> tuple[int, np.ndarray]:
        label, frames, where = clip
        if frames.shape[1] != width:
            raise DataError(f"{where}: has rows of {frames.shape[1]} numbers, most clips of {width}")
        return label, frames

    kept = usable(found, as_wide, spare)
    return np.array([label for label, _ in kept]), [frames for _, frames in kept]


def clip_snippets(frames: np.ndarray) -> np.ndarray:
    """How much happens in each quarter of a clip: the mean change of the features from frame to frame.

    Features of single frames say what is there, not what happens; fights differ from other scenes of the same camera
    by their motion. The change is taken relative to the size of the features, so that it has no unit.

    Args:
        frames: ``(F, D)``, F a multiple of 4: features of frames spread over a clip.

    Returns:
        ``(4, D)`` float32: mean of ``|f[t + 1] - f[t]|`` over the frames t of the quarter, divided by the norm of their
        mean; the last frame of the clip has no successor.
    """
    values = frames.astype(np.float32)
    quarter = len(values) // SNIPPETS
    changes = np.abs(np.diff(values, axis=0))
    means = values.reshape(SNIPPETS, quarter, -1).mean(axis=1)
    norms = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    moved = np.stack([changes[index * quarter : (index + 1) * quarter].mean(axis=0) for index in range(SNIPPETS)])
    relative: np.ndarray = moved / norms
    return relative


def _frames(frames: np.ndarray, where: str) -> np.ndarray:
    if frames.ndim != 2 or len(frames) < 2 * SNIPPETS or len(frames) % SNIPPETS:
        raise DataError(f"{where}: has shape {frames.shape}, expected (12, D), 12 frames of a clip")
    return frames
