"""Reliability diagrams and confidence histograms, before and after temperature scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.metrics.calibration import (
    BINS,
    Bins,
    Numbers,
    array,
    bin_samples,
    binned_error,
    equal_width_edges,
    probabilities,
    top,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT, SHARE = 4.6, 5.6, 2.6  # inches of a column; the diagram is so many times as high as the histogram
ACCURACY, OVER, UNDER, COUNT = "#1f5fa8", "#d1495b", "#f2b134", "#8a97a6"
PARTS: dict[str, dict[str, Any]] = {
    "accuracy": {"color": ACCURACY, "edgecolor": "white"},
    "confidence beyond accuracy (over-confident)": {"color": "#f6d9dd", "edgecolor": OVER, "hatch": "///"},
    "accuracy beyond confidence (under-confident)": {"color": UNDER, "edgecolor": "white"},
}


def draw_reliability(logits: Numbers, labels: Numbers, temperature: float | None = None, bins: int = BINS) -> Figure:
    """Draws accuracy against confidence with the samples of each bin, above how confident the network is.

    Args:
        logits: ``(N, C)``, raw.
        labels: ``(N,)``; samples below 0 (out of distribution) are left out.
        temperature: Draws a second column after scaling by it; None for none.
        bins: Number of bins, 15 or 25 usually.

    Returns:
        A figure that belongs to no window: a column before, and one after scaling.

    Raises:
        ValueError: There is no sample with a label.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    given, truth = array(logits), array(labels)
    given, truth = given[truth >= 0], truth[truth >= 0]
    if not len(truth):
        raise ValueError("there is no sample with a label to draw")
    columns = [("as trained", 1.0)]
    if temperature is not None:
        columns.append((f"after scaling, T = {temperature:.2f}", temperature))
    figure = Figure(figsize=(WIDTH * len(columns), HEIGHT), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(columns), squeeze=False, height_ratios=(SHARE, 1), sharex=True)
    most = 0.0
    for column, (title, divisor) in enumerate(columns):
        confidence, correct = top(probabilities(given, divisor), truth)
        found = bin_samples(confidence, correct, equal_width_edges(bins))
        _diagram(panels[0, column], found, f"{title}: ECE {100 * binned_error(found, len(truth)):.2f} %")
        most = max(most, _histogram(panels[1, column], found, confidence, correct))
    for panel in panels[1]:
        panel.set_ylim(0, 1.12 * most)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _diagram(panel: Axes, found: Bins, title: str) -> None:
    """Bars of accuracy; the gap to the diagonal through each bin's mean confidence."""
    full = found.samples > 0
    left, width = found.edges[:-1][full], np.diff(found.edges)[full]
    accuracy, confidence, count = found.accuracy[full], found.confidence[full], found.samples[full]
    both = np.minimum(accuracy, confidence)
    for bottom, high, (name, style) in zip(
        (0, both, both),
        (both, np.maximum(confidence - accuracy, 0), np.maximum(accuracy - confidence, 0)),
        PARTS.items(),
        strict=True,
    ):
        panel.bar(left, high, width, bottom=bottom, align="edge", linewidth=0.6, label=name, **style)
    panel.plot([0, 1], [0, 1], color="#444444", linewidth=1, linestyle="--", label="calibrated")
    for start, side, high, low, number in zip(left, width, accuracy, confidence, count, strict=True):
        panel.text(
            start + side / 2, max(high, low) + 0.012, _short(int(number)), ha="center", va="bottom", fontsize=6,
            color="#444444", rotation=90 if len(found.samples) > BINS else 0,
        )  # fmt: skip
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1.06)
    panel.set_ylabel("accuracy (samples per bin above)", fontsize=8)
    panel.set_title(title, fontsize=10, loc="left")
    _plain(panel)


def _histogram(panel: Axes, found: Bins, confidence: np.ndarray, correct: np.ndarray) -> float:
    """Share of the samples per bin; gives the highest."""
    share = found.samples / len(confidence)
    panel.bar(
        found.edges[:-1], share, np.diff(found.edges), align="edge", color=COUNT, edgecolor="white", linewidth=0.5
    )
    panel.axvline(float(correct.mean()), color=ACCURACY, linewidth=1.4)
    panel.axvline(float(confidence.mean()), color=OVER, linewidth=1.6, linestyle=":")
    told = f"accuracy {correct.mean():.1%} (line), mean confidence {confidence.mean():.1%} (dots)"
    panel.set_title(told, fontsize=7, loc="left")
    panel.set_xlabel("confidence", fontsize=8)
    panel.set_ylabel("share of samples", fontsize=8)
    _plain(panel)
    return float(share.max())


def _short(count: int) -> str:
    """A number in at most four signs: 950, 2.1k, 13k."""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 9950 else f"{count / 1000:.0f}k"


def _plain(panel: Axes) -> None:
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)
