"""Draws scores over time: the curve, the threshold, and the annotated events behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo.domains.anomaly.protocols import Event

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 12
PANEL, ABOVE, BELOW, LEFT, RIGHT, LEGEND = 2.3, 0.35, 0.5, 0.65, 0.25, 0.35  # inches
CURVE, ALARM, EVENT = "#1f5fa8", "#d1495b", "#f2b134"


@dataclass(frozen=True)
class Curve:
    """One video.

    Attributes:
        title: What stands above.
        scores: ``(n,)`` in [0, 1].
        step: Units of the axis per score, e.g. 16 frames per snippet, 1 where there is a score per frame.
        unit: What the axis counts, e.g. ``frame``.
        events: First and last unit of each annotated event.
    """

    title: str
    scores: np.ndarray
    step: int = 1
    unit: str = "frame"
    events: Sequence[Event] = ()


def draw(curves: Sequence[Curve], threshold: float = 0.5, left_out: int = 0) -> Figure:
    """Draws a panel per video.

    Args:
        curves: One or more videos; the first twelve are drawn.
        threshold: Where an alarm starts, drawn as a dashed line.
        left_out: Videos that are not even in ``curves``.

    Returns:
        A figure that belongs to no window.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown, rest = curves[:MOST], left_out + max(0, len(curves) - MOST)
    columns = 1 if len(shown) < 4 else 2
    rows = -(-len(shown) // columns)
    width, height = (9.0 if columns == 1 else 13.0), rows * PANEL + LEGEND
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    for index, curve in enumerate(shown):
        row, column = divmod(index, columns)
        # placed by hand: an automatic layout would draw every text several times, at every validation
        left, bottom = column * width / columns + LEFT, height - (row + 1) * PANEL + BELOW
        size = (width / columns - LEFT - RIGHT) / width, (PANEL - BELOW - ABOVE) / height
        _panel(figure.add_axes((left / width, bottom / height, *size)), curve, threshold)
    found = [pair for panel in figure.axes for pair in zip(*panel.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in found}
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=len(handles), frameon=False, fontsize=9)
    if rest:
        figure.text(0.99, 0.01, f"{len(shown)} of {len(shown) + rest} videos", ha="right", va="bottom", fontsize=8)
    return figure


def _panel(panel: Axes, curve: Curve, threshold: float) -> None:
    scores = np.asarray(curve.scores, dtype=float)
    starts = np.flatnonzero(np.diff(scores, prepend=np.nan))  # frames of one segment are one step
    edges, heights = np.append(starts, len(scores)) * curve.step, np.append(scores[starts], scores[-1])
    for number, (first, last) in enumerate(curve.events):
        panel.axvspan(
            first, last, color=EVENT, alpha=0.35, linewidth=0, label="annotated event" if not number else None
        )
    panel.axhline(threshold, color=ALARM, linewidth=1, linestyle="--", label=f"threshold {threshold:g}")
    panel.plot(edges, heights, drawstyle="steps-post", color=CURVE, linewidth=1.6, label="anomaly score")
    panel.fill_between(edges, heights, step="post", color=CURVE, alpha=0.12, linewidth=0)
    panel.set_xlim(0, edges[-1])
    panel.set_ylim(-0.02, 1.02)
    panel.set_yticks([0, 0.5, 1])
    panel.set_title(curve.title, fontsize=10, loc="left")
    panel.set_xlabel(curve.unit, fontsize=9)
    panel.set_ylabel("score", fontsize=9)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
