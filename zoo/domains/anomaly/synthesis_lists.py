"""Tiny made-up ShanghaiTech, XD-Violence, Ped2 and csv data, out of the same world as the made-up UCF-Crime."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo.domains.anomaly.protocols import CLIP, Event
from zoo.domains.anomaly.synthesis import World, clips_of_video, make_world

WIDTH = 64


def synthesize_shanghaitech(root: Path, seed: int = 0, width: int = WIDTH, train: int = 30, test: int = 10) -> None:
    """Writes a tiny ShanghaiTech: lists, crops of I3D shape, and a mask per anomalous test video.

    Args:
        root: Existing folder.
        seed: Which videos there are.
        width: Number of features of a row, >= 8.
        train: Anomalous training videos, and as many normal ones.
        test: Anomalous test videos, and as many normal ones.
    """
    world, rng = make_world(width, 1), np.random.default_rng(seed)
    masks = root / "test_frame_mask"
    masks.mkdir()
    number = 0
    for split, count in (("Train", train), ("Test", test)):
        folder = root / f"SH_{split}_ten_crop_i3d"
        folder.mkdir()
        names = []
        for index in range(2 * count):
            number += 1
            anomalous = index < count
            name = f"{1 + index % 13:02d}_{number:04d}" if anomalous else f"{1 + index % 13:02d}_{number:03d}"
            clips, events = _draw(rng, anomalous)
            np.save(folder / f"{name}_i3d.npy", _crops(world, rng, clips, events, 3))
            if anomalous and split == "Test":
                mask = np.zeros(clips * CLIP, dtype=np.uint8)
                for first, last in events:
                    mask[first - 1 : last] = 1
                np.save(masks / f"{name}.npy", mask)
            names.append(name)
        (root / f"RTFM_SH_{split}.txt").write_text("\n".join(sorted(names)))


def synthesize_xd(root: Path, seed: int = 0, width: int = WIDTH, train: int = 30, test: int = 10) -> None:
    """Writes a tiny XD-Violence: a file per crop, and the annotations.

    Args:
        root: Existing folder.
        seed: Which videos there are.
        width: Number of features of a row, >= 8.
        train: Violent training videos, and as many normal ones.
        test: Violent test videos, and as many normal ones.
    """
    world, rng = make_world(width, 4), np.random.default_rng(seed)
    codes = ("B1-0-0", "B2-B6-0", "B4-0-0", "G-0-0")
    lines = []
    for split, count in (("train", train), ("test", test)):
        folder = root / split
        folder.mkdir()
        for index in range(2 * count):
            anomalous, kind = index < count, index % len(codes)
            name = f"v={split}{index:03d}__#1_label_{codes[kind] if anomalous else 'A'}"
            clips, events = _draw(rng, anomalous)
            rows = _crops(world, rng, clips, events, 2, kind)
            for crop in range(rows.shape[1]):
                np.save(folder / f"{name}__{crop}.npy", rows[:, crop])
            if anomalous and split == "test":
                lines.append(" ".join([name, *(str(number) for event in events for number in event)]))
    (root / "XD_Annotation.txt").write_text("\n".join(lines))


def synthesize_table(root: Path, seed: int = 0, width: int = WIDTH, count: int = 20) -> None:
    """Writes a tiny ``videos.csv`` and its feature files.

    Args:
        root: Existing folder.
        seed: Which videos there are.
        width: Number of features of a row, >= 8.
        count: Videos of each class for training; a quarter as many for validation and half as many for the test.
    """
    world, rng = make_world(width, 2), np.random.default_rng(seed)
    lines = ["video,label,intervals,split"]
    for split, videos in (("train", count), ("val", max(1, count // 4)), ("test", max(1, count // 2))):
        (root / split).mkdir()
        for index in range(2 * videos):
            anomalous, kind = index < videos, index % 2
            clips, events = _draw(rng, anomalous)
            np.save(root / split / f"cam{index:03d}.npy", clips_of_video(world, rng, clips, events, kind).astype("f4"))
            shown = "; ".join(f"{first}-{last}" for first, last in events) if split == "test" else ""
            label = ("fight", "fall")[kind] if anomalous else "normal"
            lines.append(f"{split}/cam{index:03d},{label},{shown},{split}")
    (root / "videos.csv").write_text("\n".join(lines) + "\n")


def _draw(rng: np.random.Generator, anomalous: bool) -> tuple[int, list[Event]]:
    """Clips of a video, and one event in it if it is anomalous."""
    clips = int(rng.integers(20, 70))
    length = int(rng.integers(3, 3 + clips // 4)) * CLIP
    first = int(rng.integers(1, clips * CLIP - length))
    return clips, [(first, first + length)] if anomalous else []


def _crops(
    world: World, rng: np.random.Generator, clips: int, events: list[Event], crops: int, kind: int = 0
) -> np.ndarray:
    """``(clips, crops, D)`` float32: a video and noisy copies of it."""
    rows = clips_of_video(world, rng, clips, events, kind)
    noise = rng.normal(scale=0.05, size=(clips, crops, rows.shape[1]))
    made: np.ndarray = np.maximum(rows[:, None] + noise, 0).astype(np.float32)
    return made
