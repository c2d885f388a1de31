"""From scores per segment or snippet to scores and truth per frame, as the three published evaluations do it.

========= ============================================================ =================================================
protocol  scores                                                       truth, events ``(first, last)``
========= ============================================================ =================================================
official  32 segments over 16-frame clips with Matlab's boundaries;    frames first..last from 1, last included;
          the last clip and the tail keep score 0, as released         padded with normal frames to the clips
ekosman   frames // 32 frames per segment, the rest keeps score 0      frames first..last-1 from 0
snippet16 one score per 16-frame snippet                               as official, cut to 16 frames per snippet
========= ============================================================ =================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from zoo.domains.anomaly.segments import SEGMENTS, segment_ranges

Protocol = Literal["official", "ekosman", "snippet16"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
CLIP = 16
Event = tuple[int, int]


def frame_scores(scores: np.ndarray, frames: int, protocol: Protocol, clips: int | None = None) -> np.ndarray:
    """Spreads scores over the frames of a video.

    Args:
        scores: ``(S,)`` segment scores; with ``snippet16`` one score per snippet.
        frames: Length of the video in frames, >= 1.
        protocol: Which evaluation.
        clips: Number of 16-frame clips that the features were made of (``official`` only); ``frames // 16`` if None.

    Returns:
        One score per frame; ``official`` gives ``max(frames, 16 * clips)``, ``snippet16`` ``16 * S`` of them.

    Raises:
        ValueError: There are no scores or frames, the snippets do not fit the length of the video, or the protocol is
            unknown.
    """
    if scores.ndim != 1 or not len(scores) or frames < 1:
        raise ValueError(f"scores (S,) of a video are needed, got shape {scores.shape} and {frames} frames")
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is unknown; there are {', '.join(PROTOCOLS)}")
    if protocol == "snippet16":
        return _snippets(scores, frames)
    if protocol == "ekosman":
        length = frames // len(scores)
        spread = np.zeros(frames, dtype=scores.dtype)
        spread[: length * len(scores)] = np.repeat(scores, length)
        return spread
    clips = max(1, frames // CLIP) if clips is None else clips
    spread = np.zeros(clips * CLIP, dtype=scores.dtype)
    for score, (start, stop) in zip(scores, segment_ranges(clips, len(scores), "matlab"), strict=True):
        spread[start * CLIP : stop * CLIP] = score
    return np.pad(spread, (0, max(0, frames - len(spread))), mode="edge")


def _snippets(scores: np.ndarray, frames: int) -> np.ndarray:
    covered = CLIP * len(scores)
    if abs(frames - covered) > CLIP + frames // 20:
        hint = f"; they look like the {SEGMENTS} segments of protocol official" if len(scores) == SEGMENTS else ""
        raise ValueError(
            f"{len(scores)} rows cover {covered} frames at {CLIP} frames per snippet, the video has {frames}{hint}"
        )
    return np.repeat(scores, CLIP)


def frame_truth(events: Sequence[Event], frames: int, protocol: Protocol, length: int) -> np.ndarray:
    """Marks the frames of events.

    Args:
        events: First and last frame of each event, as annotated; beyond the video they are cut.
        frames: Length of the video in frames.
        protocol: Which evaluation; they count the same numbers from 1 or from 0, the last frame in or out.
        length: Number of frames to give, that of :func:`frame_scores`.

    Returns:
        ``(length,)`` uint8, 1 where anomalous.
    """
    truth = np.zeros(length, dtype=np.uint8)
    for first, last in events:
        if protocol == "ekosman":
            truth[max(first, 0) : min(last, frames)] = 1
        else:
            truth[max(first, 1) - 1 : min(last, frames)] = 1
    return truth
