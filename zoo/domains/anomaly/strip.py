"""The picture of a video: its score curve under a strip of frames, the top events marked with their times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo.domains.anomaly.picture import ALARM, CURVE, EVENT
from zoo.training.video import clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, LEFT, RIGHT = 13.0, 0.65, 0.25  # inches
STRIP, CURVES, CAPTION, AXIS, TITLE, GAP, PEAK, LEGEND = 0.95, 1.9, 0.3, 0.5, 0.4, 0.06, 1.5, 0.35
HEADROOM = 0.4  # above the curve, for the times of the events
_HEIGHT = 144  # pixels of a kept frame
_FEWEST, _MOST_ACROSS = 4, 14


class Reel:
    """Small copies of frames, evenly spread over a video whose length is not known before its end.

    Args:
        keep: At least so many are kept of a video that has them, at most twice as many.

    Attributes:
        frames: The kept ones by their number.
        count: Frames seen.
    """

    def __init__(self, keep: int = 32) -> None:
        self.keep, self.stride, self.count = keep, 1, 0
        self.frames: dict[int, np.ndarray] = {}

    def __call__(self, index: int, image: np.ndarray) -> None:
        """Sees frame ``index``, ``(H, W, 3)`` uint8."""
        self.count = index + 1
        if index % self.stride:
            return
        self.frames[index] = small(image)
        if len(self.frames) >= 2 * self.keep:
            self.stride *= 2
            self.frames = {place: frame for place, frame in self.frames.items() if place % self.stride == 0}

    def nearest(self, index: float) -> np.ndarray:
        """The kept frame nearest to a number."""
        return self.frames[min(self.frames, key=lambda place: abs(place - index))]


def small(image: np.ndarray) -> np.ndarray:
    """A copy of a frame, 144 pixels high at most."""
    from PIL import Image

    height, width = image.shape[:2]
    if height <= _HEIGHT:
        return image.copy()
    size = max(1, round(width * _HEIGHT / height)), _HEIGHT
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class Mark:
    """An event that is pointed out.

    Attributes:
        start: Seconds.
        end: Seconds.
        peak: Seconds, where its score is highest.
        score: The highest score.
        frame: ``(H, W, 3)`` uint8 at the peak.
    """

    start: float
    end: float
    peak: float
    score: float
    frame: np.ndarray


@dataclass(frozen=True)
class Film:
    """What is drawn of a video.

    Attributes:
        title: What stands above.
        seconds: Its length.
        edges: ``(T + 1,)`` seconds, where each score begins and the last one ends.
        scores: ``(T,)`` in [0, 1].
        reel: Frames all over it.
        marks: The top events, the highest first.
    """

    title: str
    seconds: float
    edges: np.ndarray
    scores: np.ndarray
    reel: Reel
    marks: Sequence[Mark]


def draw_film(film: Film, threshold: float) -> Figure:
    """Draws a video: a strip of frames, each above its stretch of time; the curve; the frame of each top event.

    Args:
        film: What is drawn.
        threshold: Where an alarm starts, drawn as a dashed line.

    Returns:
        A figure that belongs to no window.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    peaks = PEAK + CAPTION + GAP if film.marks else 0.0
    height = TITLE + STRIP + GAP + CURVES + AXIS + peaks + LEGEND
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    figure.text(LEFT / WIDTH, 1 - 0.27 / height, film.title, fontsize=10, va="center")

    def axes(left: float, top: float, width: float, tall: float) -> Axes:
        return figure.add_axes((left / WIDTH, 1 - (top + tall) / height, width / WIDTH, tall / height))

    across = WIDTH - LEFT - RIGHT
    _strip(axes(LEFT, TITLE, across, STRIP), film, across)
    curve = axes(LEFT, TITLE + STRIP + GAP, across, CURVES)
    _curve(curve, film, threshold)
    for number, mark in enumerate(film.marks):
        wide = min(PEAK * mark.frame.shape[1] / mark.frame.shape[0], across / len(film.marks) - 0.3)
        place = axes(LEFT + number * across / len(film.marks), height - LEGEND - PEAK, wide, PEAK)
        _frame(place, mark.frame)
        place.set_title(
            f"{number + 1}:  {clock(mark.start)} to {clock(mark.end)},  score {mark.score:.3f}", fontsize=9, loc="left"
        )
    handles, labels = curve.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False, fontsize=9)
    return figure


def _strip(panel: Axes, film: Film, across: float) -> None:
    height, width = next(iter(film.reel.frames.values())).shape[:2]
    number = int(np.clip(round(across / (STRIP * width / height)), _FEWEST, _MOST_ACROSS))
    for slot in range(number):
        frame = film.reel.nearest((slot + 0.5) / number * film.reel.count)
        # each frame fills its stretch of the axis, so that it stands above the scores of its time
        panel.imshow(frame, extent=(slot + 0.02, slot + 0.98, 0, 1), aspect="auto")
    panel.set_xlim(0, number)
    panel.set_ylim(0, 1)
    panel.axis("off")


def _curve(panel: Axes, film: Film, threshold: float) -> None:
    heights = np.append(film.scores, film.scores[-1])
    for number, mark in enumerate(film.marks):
        panel.axvspan(mark.start, mark.end, color=EVENT, alpha=0.35, linewidth=0, label=None if number else "top event")
        side = "left" if mark.peak < 0.1 * film.seconds else "right" if mark.peak > 0.9 * film.seconds else "center"
        panel.text(
            {"left": mark.start, "right": mark.end, "center": (mark.start + mark.end) / 2}[side],
            0.99 - 0.09 * number,  # a line for each, so that neighbours do not collide
            f"{number + 1}: {clock(mark.start)} to {clock(mark.end)}",
            transform=panel.get_xaxis_transform(),
            fontsize=8,
            ha=side,
            va="top",
        )
    panel.plot(film.edges, heights, drawstyle="steps-post", color=CURVE, linewidth=1.6, label="anomaly score")
    panel.fill_between(film.edges, heights, -1, step="post", color=CURVE, alpha=0.12, linewidth=0)
    panel.set_xlim(0, film.seconds)
    low, high = _range(film.scores)
    top = high + HEADROOM * (high - low)
    panel.set_ylim(low, top)
    unseen = "" if low <= threshold <= top else ", out of view"
    panel.axhline(threshold, color=ALARM, linewidth=1, linestyle="--", label=f"threshold {threshold:g}{unseen}")
    panel.set_yticks([tick for tick in panel.get_yticks() if low <= tick <= high])
    panel.xaxis.set_major_formatter(lambda value, _: _tick(value, film.seconds))
    panel.set_xlabel("time", fontsize=9)
    panel.set_ylabel("score", fontsize=9)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _range(scores: np.ndarray) -> tuple[float, float]:
    """What the axis shows: all of [0, 1], or nearer where the scores hardly differ."""
    low, high = float(scores.min()), float(scores.max())
    if high - low > 0.25:
        return -0.02, 1.02
    room = max(0.01, 0.2 * (high - low))
    return low - room, high + room


def _tick(seconds: float, total: float) -> str:
    return clock(seconds) if total < 20 else clock(round(seconds)).removesuffix(".0")


def _frame(panel: Axes, image: np.ndarray) -> None:
    panel.imshow(image, aspect="auto")
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set_color(EVENT)
        spine.set_linewidth(2)
