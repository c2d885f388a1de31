"""Composes untrimmed timelines from short clips, and shares the clips out to splits camera by camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components

from zoo.domains.anomaly.protocols import CLIP, Event
from zoo.training import Split

SHARES: dict[Split, float] = {"train": 0.5, "val": 0.2, "test": 0.3}
SAME_CAMERA = 0.8  # cosine of mean features
SNIPPETS = 4  # per clip


@dataclass(frozen=True)
class Timeline:
    """Clips one after the other: ``clips`` their numbers, ``events`` first and last frame of each run of fights."""

    name: str
    clips: tuple[int, ...]
    events: tuple[Event, ...]


def same_camera(means: np.ndarray) -> np.ndarray:
    """Numbers the cameras: clips whose mean features have a cosine above 0.8 are of one camera, and so are theirs.

    Args:
        means: ``(N, D)``, the mean features of each clip.

    Returns:
        ``(N,)`` integers.
    """
    unit = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    camera: np.ndarray = connected_components(unit @ unit.T > SAME_CAMERA, directed=False)[1]
    return camera


def split_of(cameras: np.ndarray, seed: int) -> np.ndarray:
    """Shares cameras out to the splits.

    Args:
        cameras: ``(N,)`` camera of each clip.
        seed: Of the permutation of the cameras.

    Returns:
        ``(N,)`` names of splits; all clips of a camera have the same.
    """
    order = np.random.default_rng(seed).permutation(np.unique(cameras))
    counts = np.array([(cameras == camera).sum() for camera in order])
    # a camera belongs where the middle of its clips falls
    middle = (np.cumsum(counts) - counts / 2) / counts.sum()
    edges = np.cumsum(list(SHARES.values()))[:-1]
    names = np.array(list(SHARES))[np.searchsorted(edges, middle)]
    result: np.ndarray = np.array([names[np.flatnonzero(order == camera)[0]] for camera in cameras])
    return result


def compose(
    name: str,
    rng: np.random.Generator,
    others: np.ndarray,
    fights: np.ndarray | None,
    shortest: int,
    longest: int,
) -> Timeline:
    """Composes a timeline.

    Args:
        name: Its id.
        rng: Source of everything random.
        others: Clips without a fight.
        fights: Fight clips in the order of the data set, neighbours being of one fight; None for a normal timeline.
        shortest: Least number of clips without a fight.
        longest: Largest such number.

    Returns:
        The timeline, with 64 frames per clip.
    """
    size = int(rng.integers(shortest, longest + 1))
    normal = rng.choice(others, size, replace=size > len(others)).tolist()
    if fights is None:
        return Timeline(name, tuple(normal), ())
    count = min(int(rng.integers(1, 3)), size)
    places = set(rng.choice(size, count, replace=False).tolist())
    clips: list[int] = []
    events: list[Event] = []
    for position, clip in enumerate(normal):
        if position in places:
            length, start = int(rng.integers(1, 4)), int(rng.integers(len(fights)))
            run = fights[start : start + length].tolist()
            events.append((len(clips) * SNIPPETS * CLIP + 1, (len(clips) + len(run)) * SNIPPETS * CLIP))
            clips += run
        clips.append(clip)
    return Timeline(name, tuple(clips), tuple(events))
