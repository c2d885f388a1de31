"""Curves of runs as SVG text."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from matplotlib import pyplot
from matplotlib.figure import Figure

from zoo.report.comparison import Group

COLOURS = [f"C{index}" for index in range(10)]
MOST = 24
"""Panels of the page at most; the others stand in metrics.csv."""


def curve_columns(groups: Sequence[Group]) -> list[str]:
    """The columns of ``metrics.csv`` that any run has: loss terms, validation metrics, rates."""
    names: dict[str, None] = {}
    for group in groups:
        for run in group.runs:
            names.update(dict.fromkeys(map(str, run.curves.columns.drop(["epoch", "step", "time"], errors="ignore"))))
    return list(names)


def curves(groups: Sequence[Group], columns: Sequence[str]) -> Figure:
    """One panel per column, one line per run, one colour per group."""
    width = min(4, max(1, len(columns)))
    height = -(-len(columns) // width)
    figure, axes = pyplot.subplots(
        height, width, figsize=(3.4 * width, 2.5 * height), squeeze=False, layout="constrained"
    )
    for axis, column in zip(axes.flat, columns, strict=False):
        for index, group in enumerate(groups):
            for run in group.runs:
                if column in run.curves:
                    points = run.curves[["step", column]].dropna()
                    axis.plot(points["step"], points[column], color=COLOURS[index % 10], linewidth=1, alpha=0.8)
        axis.set_title(column, fontsize=9)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(columns) :]:
        axis.set_visible(False)
    axes.flat[0].set_xlabel("optimizer step", fontsize=8)
    return figure


def colour(index: int) -> str:
    """CSS colour of a group, the same as in :func:`curves`."""
    from matplotlib.colors import to_hex

    return to_hex(COLOURS[index % 10])


def svg(figure: Figure, label: str) -> str:
    """The figure as an inline SVG element with a text alternative."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    body = text.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>", "", body[body.index("<svg") :], flags=re.DOTALL)
    return body.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
