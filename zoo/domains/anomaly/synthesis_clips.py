"""A tiny made-up UCSD Ped2: clips of one scene, some with an event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo.domains.anomaly.synthesis import make_world


def synthesize_ped2(root: Path, seed: int = 0, width: int = 64, normal: int = 16, anomalous: int = 12) -> None:
    """Writes features of every fourth frame and labels of all frames.

    Args:
        root: Existing folder.
        seed: Which clips there are.
        width: Number of features of a row, >= 8.
        normal: Clips without an event.
        anomalous: Clips with one.
    """
    world, rng = make_world(width, 1), np.random.default_rng(seed)
    scene, event = 2.0 * world.scenes[0], world.events[0]
    features: dict[str, Any] = {}
    labels: dict[str, Any] = {}
    for index in range(normal + anomalous):
        name = f"train{index + 1:02d}" if index < normal else f"test{index - normal + 1:02d}"
        frames = int(rng.choice([120, 150, 180]))
        marks = np.zeros(frames, dtype=np.uint8)
        if index >= normal:
            first = int(rng.integers(0, frames // 2))
            marks[first : first + int(rng.integers(frames // 4, frames))] = 1
        rows = np.tile(scene, (-(-frames // 4), 1))
        crowd = world.distractions[rng.integers(len(world.distractions))]
        rows += rng.uniform(0, 1, size=(len(rows), 1)) * crowd
        rows += rng.uniform(0.5, 1.5) * marks[::4, None] * event
        noise = rng.normal(scale=1.0 / np.sqrt(width), size=rows.shape)
        features[name] = np.maximum(rows + noise, 0).astype(np.float16)
        labels[name] = marks
    np.savez(root / "features_efflite0_every4_fp16.npz", **features)
    np.savez(root / "labels.npz", **labels)
