"""How time and memory grow with the size of the input, as figures and as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from zoo.bench.timing import Timing
from zoo.training.whole import whole

Line = tuple[str, str]
COLUMNS = 4
COLOURS = {"zoo": "#1f5fa8", "torch (products)": "#888888"}
OTHER = "#d0742a"


def lines_of(timings: Iterable[Timing]) -> dict[Line, list[Timing]]:
    """Points of each line and contestant, by size; the ones that could not be timed are among them."""
    found: dict[Line, list[Timing]] = {}
    for timing in timings:
        if timing.line:
            found.setdefault((timing.line, timing.who), []).append(timing)
    return {key: sorted(points, key=lambda point: point.size) for key, points in found.items()}


def slope(points: Iterable[Timing], field: str) -> float | None:
    """Exponent of the growth, from the upper half of the sizes, where what a call costs by itself no longer shows.

    Args:
        points: Of one line.
        field: ``seconds`` or ``memory``.
    """
    known = [(p.size, getattr(p, field)) for p in points if getattr(p, field)]
    known = known[-max(2, math.ceil(len(known) / 2)) :]
    if len(known) < 2:
        return None
    sizes, values = (np.log([pair[i] for pair in known]) for i in (0, 1))
    return float(np.polyfit(sizes, values, 1)[0])


def growth_rows(timings: Iterable[Timing]) -> list[tuple[str, str, str, str]]:
    """Line, contestant, exponent of time and of memory."""
    rows = []
    for (line, who), points in lines_of(timings).items():
        time, memory = (slope(points, field) for field in ("seconds", "memory"))
        if time is not None:
            rows.append((line, who, f"{time:.2f}", "" if memory is None else f"{memory:.2f}"))
    return rows


def draw(timings: Iterable[Timing], file: Path) -> None:
    """The growth plot: time above, memory below, a column per line; a cross is where a peer ran out of memory."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    found = lines_of(timings)
    names = list(dict.fromkeys(line for line, _ in found))
    across = min(COLUMNS, max(1, len(names)))
    down = 2 * math.ceil(len(names) / across)
    figure = Figure(figsize=(3.4 * across, 2.5 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False)
    for axis in axes.flat:
        axis.set_visible(False)
    for index, name in enumerate(names):
        row, column = 2 * (index // across), index % across
        for axis, field, unit in ((axes[row, column], "seconds", "s"), (axes[row + 1, column], "memory", "MiB")):
            axis.set_visible(True)
            axis.set(xscale="log", yscale="log", title=name if field == "seconds" else "", ylabel=unit)
            axis.grid(alpha=0.3, linewidth=0.4)
            sizes = sorted({point.size for (line, _), points in found.items() if line == name for point in points})
            axis.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=6)
            axis.xaxis.set_minor_locator(NullLocator())
            for (line, who), points in found.items():
                if line == name:
                    _line(axis, who, points, field)
            axis.legend(fontsize=7, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as working:
        figure.savefig(working, dpi=110, format=file.suffix.removeprefix(".") or "png")


def _line(axis: object, who: str, points: list[Timing], field: str) -> None:
    known = [(p.size, max(getattr(p, field), 0.1 if field == "memory" else 0.0)) for p in points if getattr(p, field)]
    grown = slope(points, field)
    label = who if grown is None else f"{who}: n^{grown:.1f}"
    colour = COLOURS.get(who, OTHER)
    if known:
        axis.plot(*zip(*known, strict=True), "o-", markersize=3.5, color=colour, label=label)  # type: ignore[attr-defined]
    lost = [p.size for p in points if "memory" in p.note]
    if lost and known:
        highest = max(value for _, value in known)
        axis.plot(lost, [highest] * len(lost), "x", color=colour, label=f"{who}: out of memory")  # type: ignore[attr-defined]
