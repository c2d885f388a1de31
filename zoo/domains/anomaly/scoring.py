"""Scores a video of which only frames are given: features on the fly, a score per clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.domains.anomaly.evaluation import SEGMENTING
from zoo.domains.anomaly.events import top_events
from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.protocols import Protocol
from zoo.domains.anomaly.segments import SEGMENTS, Segmenting, segment_features, segment_ranges
from zoo.domains.anomaly.streaming import Spool, check_width, progress, stream_rows
from zoo.domains.anomaly.strip import Film, Mark, Reel, small
from zoo.training import Row
from zoo.training.video import Frames, clock, open_frames

Score = Callable[[np.ndarray], np.ndarray]
AT_ONCE = 1024  # rows


@dataclass(frozen=True)
class VideoScores:
    """What a detector says of a video.

    Attributes:
        scores: ``(T,)`` in [0, 1], one for each clip of ``clip`` frames.
        frames: Length in frames, at ``fps`` per second.
        fps: Rate at which the video was looked at.
        clip: Frames of a clip; the rest after the last clip shares its score.
        source: The video.
        reel: Frames spread over it.
    """

    scores: np.ndarray
    frames: int
    fps: float
    clip: int
    source: Frames
    reel: Reel

    @property
    def seconds(self) -> float:
        """Length of the video."""
        return self.frames / self.fps

    def times(self, first: int, stop: int) -> tuple[float, float]:
        """Where the clips ``first .. stop - 1`` begin and end, in seconds."""
        end = self.seconds if stop == len(self.scores) else stop * self.clip / self.fps
        return first * self.clip / self.fps, end


def score_video(
    path: Path,
    extractor: Extractor,
    width: int,
    protocol: Protocol,
    score: Score,
    row_by_row: bool,
    device: torch.device | str = "cpu",
) -> VideoScores:
    """Scores every clip of a video.

    As in the evaluation of the protocol, ``official`` and ``ekosman`` pool the clips to 32 segments, and a clip has the
    score of its segment; the last clip, which is in no segment there, has that of the last one. With ``snippet16``
    every clip is scored by its own features. Features wait in a temporary file, so that memory does not depend on the
    length of the video (where ``row_by_row``).

    Args:
        path: A video file or a folder of frames.
        extractor: What makes the features.
        width: Of the rows that the detector takes.
        protocol: See above.
        score: Gives ``(T,)`` for ``(T, D)``.
        row_by_row: Whether ``score`` looks at each row by itself.
        device: Of the extractor's network.

    Raises:
        DataError: It is no video, or damaged; names it.
        InputError: The extractor does not fit or cannot be had.
    """
    check_width(extractor, width, extractor.width, path)
    source = open_frames(path, extractor.fps)
    reel = Reel()
    with Spool() as rows, progress(path.name, source.expected) as tell:
        for part in stream_rows(extractor, source, device, reel):
            check_width(extractor, width, part.shape[1], path)
            rows.append(part)
            tell(len(rows) * extractor.clip)
        if protocol == "snippet16":
            step = AT_ONCE if row_by_row else len(rows)
            scores = np.concatenate([score(rows[start : start + step]) for start in range(0, len(rows), step)])
        else:
            scores = _segmented(rows, SEGMENTING[protocol], score)
    return VideoScores(scores, reel.count, source.fps, extractor.clip, source, reel)


def _segmented(rows: Spool, mode: Segmenting, score: Score) -> np.ndarray:
    """A score per clip: that of its segment."""
    spooled: Any = rows
    of_segments = score(segment_features(spooled, SEGMENTS, mode))
    scores = np.full(len(rows), of_segments[-1])
    for value, (start, stop) in zip(of_segments, segment_ranges(len(rows), SEGMENTS, mode), strict=True):
        scores[start:stop] = value
    return scores


def video_rows(name: str, video: VideoScores, threshold: float) -> list[Row]:
    """The table of a video, a row per clip.

    Args:
        name: Of the video.
        video: Its scores.
        threshold: Where an alarm starts.

    Returns:
        ``video``, ``row`` from 0, ``start`` and ``end`` in seconds, ``score``, ``alarm``, and ``event``: 1 for the
        clips of the top event, 2 for the next, 0 for all others.
    """
    events = np.zeros(len(video.scores), dtype=int)
    for number, event in enumerate(top_events(video.scores), 1):
        events[event.first : event.stop] = number
    rows: list[Row] = []
    for index, score in enumerate(video.scores.tolist()):
        start, end = (round(time, 3) for time in video.times(index, index + 1))
        rows.append({"video": name, "row": index, "start": start, "end": end, "score": score,
                     "alarm": score >= threshold, "event": int(events[index])})  # fmt: skip
    return rows


def film(name: str, video: VideoScores) -> Film:
    """What is drawn of a video."""
    marks = []
    for event in top_events(video.scores):
        peak = (event.peak + 0.5) * video.clip / video.fps
        marks.append(Mark(*video.times(event.first, event.stop), peak, event.score, small(video.source.at(peak))))
    edges = np.append(np.arange(len(video.scores)) * video.clip / video.fps, video.seconds)
    title = f"{name}: {clock(video.seconds)} long, highest score {video.scores.max():.3f}"
    return Film(title, video.seconds, edges, video.scores, video.reel, marks)
