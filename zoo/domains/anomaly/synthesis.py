"""Tiny made-up data in the official formats: a video is a scene, its distractions and, if anomalous, an event.

What scenes and events look like is fixed; which videos there are depends on the seed. So a model trained on the data
of one seed can be evaluated on those of another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.domains.anomaly.protocols import CLIP, Event
from zoo.domains.anomaly.segments import SEGMENTS, segment_features

CLASSES = ("Abuse", "Explosion", "Robbery", "Stealing")
FOLDERS = {"train": "Training_Normal_Videos_Anomaly", "test": "Testing_Normal_Videos_Anomaly"}
WORLD = 2018  # what the scenes and events look like


@dataclass(frozen=True)
class World:
    """Directions in feature space: ``scenes (S, D)``, ``distractions (K, D)``, ``events (C, D)``; non-negative."""

    scenes: np.ndarray
    distractions: np.ndarray
    events: np.ndarray


def make_world(width: int, events: int) -> World:
    """The same world for every seed: sparse directions, events the faintest.

    Args:
        width: Number D of features, >= 8.
        events: Number of kinds of events.
    """
    rng = np.random.default_rng([WORLD, width])

    def draw(count: int) -> np.ndarray:
        values = np.maximum(rng.normal(size=(count, width)) - 0.6, 0) + 1e-3
        unit: np.ndarray = values / np.linalg.norm(values, axis=1, keepdims=True)
        return unit

    return World(draw(8), draw(6), draw(events))


def clips_of_video(world: World, rng: np.random.Generator, clips: int, events: list[Event], kind: int) -> np.ndarray:
    """Features of a video, clip by clip.

    Args:
        world: What things look like.
        rng: Source of everything random.
        clips: Number of 16-frame clips.
        events: First and last frame of each event.
        kind: Which kind of event.

    Returns:
        ``(clips, D)``, non-negative, not normalised.
    """
    scene = world.scenes[rng.integers(len(world.scenes))]
    width = scene.size
    rows = np.tile(2.0 * scene, (clips, 1))
    for _ in range(rng.integers(1, 4)):
        start, length = rng.integers(clips), 1 + rng.integers(max(1, clips // 4))
        rows[start : start + length] += (
            rng.uniform(0.5, 1.5) * world.distractions[rng.integers(len(world.distractions))]
        )
    frame = np.arange(clips) * CLIP
    for first, last in events:
        inside = (frame + CLIP >= first) & (frame <= last)
        rows[inside] += rng.uniform(1.4, 2.4) * world.events[kind]
    noise = rng.normal(scale=0.8 / np.sqrt(width), size=(clips, width))
    return np.maximum(rows + noise, 0)


def synthesize(root: Path, seed: int = 0, width: int = 64, train: int = 60, test: int = 20) -> None:
    """Writes a tiny UCF-Crime: lists, annotations and a text file of 32 segments per video.

    Args:
        root: Existing folder.
        seed: Which videos there are.
        width: Number of features of a segment, >= 8.
        train: Anomalous training videos, and as many normal ones.
        test: Anomalous test videos, and as many normal ones.
    """
    world, rng = make_world(width, len(CLASSES)), np.random.default_rng(seed)
    lines: dict[str, list[str]] = {"train": [], "train_counts": [], "test": [], "test_counts": []}
    for split, count in (("train", train), ("test", test)):
        for index in range(2 * count):
            kind = index % len(CLASSES) if index < count else None
            frames = int(rng.integers(500, 4000))
            events = [] if kind is None else _events(rng, frames)
            folder, name = _name(split, index, count)
            clips = clips_of_video(world, rng, frames // CLIP, events, kind or 0)
            _write_segments(root / folder / f"{name}.txt", segment_features(clips, SEGMENTS, "matlab"))
            path, numbers = f"{folder}/{name}.mp4", [number for event in events for number in event]
            columns = [*numbers, *[-1] * (4 - len(numbers))]
            label = "Normal" if kind is None else folder
            if split == "train":
                lines["train"].append(path)
                lines["train_counts"].append(f"{path} {frames}")
            else:
                lines["test"].append("  ".join(map(str, [f"{name}.mp4", label, *columns])) + "  ")
                lines["test_counts"].append(" ".join(map(str, [path, frames, label, *columns])) + " ")
    for key, file in (
        ("train", "Anomaly_Train.txt"),
        ("train_counts", "Train_Annotation.txt"),
        ("test", "Temporal_Anomaly_Annotation.txt"),
        ("test_counts", "Test_Annotation.txt"),
    ):
        (root / file).write_text("".join(f"{line}\n" for line in lines[key]))


def synthesize_clips(root: Path, seed: int = 0, width: int = 64, clips: int = 60) -> None:
    """Writes a tiny Surveillance Camera Fight set: ``clips.json`` and features of 12 frames per clip.

    Args:
        root: Existing folder.
        seed: Which clips there are.
        width: Number of features of a frame, >= 8.
        clips: Fight clips, and as many others.
    """
    world, rng = make_world(width, 1), np.random.default_rng(seed)
    cameras = np.maximum(rng.normal(size=(clips // 3, width)) - 0.6, 0)
    cameras /= np.linalg.norm(cameras, axis=1, keepdims=True)
    table, arrays = [], {}
    for label, word in ((1, "fight"), (0, "nofight")):
        for number in range(clips):
            moving = label * rng.uniform(0, 1.5, size=(12, 1)) * world.events[0]
            noise = rng.normal(scale=0.8 / np.sqrt(width), size=(12, width))
            name = f"{word}_{number + 1:03d}"
            arrays[name] = np.maximum(2.0 * cameras[number % len(cameras)] + moving + noise, 0).astype(np.float16)
            table.append({"clip": name, "label": label, "n_frames": 60, "fps": 29.97, "size": [640, 360]})
    (root / "clips.json").write_text(json.dumps(table, indent=0))
    np.savez(root / "features_efflite0_12f_fp16.npz", **arrays)


def _events(rng: np.random.Generator, frames: int) -> list[Event]:
    """One or two events, the second after the first."""
    events, start = [], 0
    for part in range(1, 1 + int(rng.integers(1, 3))):
        length = int(frames * rng.uniform(0.08, 0.25))
        first = int(rng.integers(start + 1, max(start + 2, part * frames // 2 - length)))
        events.append((first, min(first + length, frames)))
        start = part * frames // 2
    return events


def _name(split: str, index: int, count: int) -> tuple[str, str]:
    if index >= count:
        normal = "Normal_Videos" if split == "train" else "Normal_Videos_"
        return FOLDERS[split], f"{normal}{index - count + 1:03d}_x264"
    kind = CLASSES[index % len(CLASSES)]
    number = index // len(CLASSES) + (1 if split == "train" else 101)
    return kind, f"{kind}{number:03d}_x264"


def _write_segments(path: Path, segments: np.ndarray) -> None:
    """32 lines of six decimals with a space after each number, as the authors' Matlab script prints them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("".join(f"{value:.6f} " for value in row) + "\n" for row in segments))
