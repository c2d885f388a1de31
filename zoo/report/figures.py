"""Curves of runs as SVG text."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zoo.report.comparison import Group

COLOURS = [f"C{index}" for index in range(10)]
RATE = "train/lr"
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
    """One panel per column, one colour per group, one line per run; of loss terms a pale one of single steps too."""
    width = min(4, max(1, len(columns)))
    height = -(-len(columns) // width)
    figure, axes = pyplot.subplots(
        height, width, figsize=(3.4 * width, 2.5 * height), squeeze=False, layout="constrained"
    )
    for axis, column in zip(axes.flat, columns, strict=False):
        for index, group in enumerate(groups):
            for run in group.runs:
                if column in run.curves:
                    _line(axis, run.curves, column, COLOURS[index % 10])
        axis.set_title(column, fontsize=9)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(columns) :]:
        axis.set_visible(False)
    axes.flat[0].set_xlabel("optimizer step", fontsize=8)
    return figure


def _line(axis: Axes, table: pd.DataFrame, column: str, colour: str) -> None:
    """Loss terms have rows of single steps (with a rate), pale, and of the epochs' means, in front of them."""
    of_steps = table[RATE].notna() if RATE in table and column != RATE else pd.Series(False, index=table.index)
    for rows, strength in ((table[of_steps], 0.3), (table[~of_steps], 0.9)):
        points = rows[["step", column]].dropna()
        axis.plot(points["step"], points[column], color=colour, linewidth=1, alpha=strength)


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
