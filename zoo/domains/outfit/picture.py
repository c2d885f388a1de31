"""Pictures of outfits: the items of each in a row, with what the network says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from zoo.errors import InputError
from zoo.training import read_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 8
GOOD, BAD, PLAIN = "#1f7a4d", "#c0392b", "#555555"
_CELL = 1.25  # inches


class Shown(NamedTuple):
    """One item in a picture.

    Attributes:
        image: A file, a picture ``(3, H, W)``, or None: then its text stands there.
        text: Its text.
        note: Below it, e.g. a distance.
        mark: Colour of its frame; "" for none.
    """

    image: Path | Tensor | None
    text: str
    note: str = ""
    mark: str = ""


class Line(NamedTuple):
    """One outfit: a title, its items, and after a gap further items (candidates, completions)."""

    title: str
    items: Sequence[Shown]
    more: Sequence[Shown] = ()


def draw(lines: Sequence[Line], heading: str = "") -> Figure:
    """Draws up to eight outfits, one below the other.

    Args:
        lines: At least one.
        heading: Above all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = lines[:ROWS]
    columns = max(len(line.items) + (len(line.more) + 1 if line.more else 0) for line in shown)
    width, top = max(4.0, columns * _CELL + 0.3), 0.4 if heading else 0.1
    height = top + len(shown) * (_CELL + 0.55)
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    if heading:
        figure.text(0.5, 1 - 0.2 / height, heading, ha="center", va="center", fontsize=11)
    for row, line in enumerate(shown):
        bottom = height - top - (row + 1) * (_CELL + 0.55) + 0.25
        figure.text(0.15 / width, (bottom + _CELL + 0.12) / height, line.title, fontsize=9, va="center")
        cells = [*line.items, *([None, *line.more] if line.more else [])]
        for column, cell in enumerate(cells):
            if cell is not None:
                place = (0.15 + column * _CELL) / width, bottom / height, 0.92 * _CELL / width, _CELL / height
                _cell(figure.add_axes(place), cell)
    return figure


def _cell(axis: Axes, cell: Shown) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(bool(cell.mark))
        spine.set_edgecolor(cell.mark or PLAIN)
        spine.set_linewidth(2.5)
    image = _read(cell.image)
    if image is None:
        axis.text(0.5, 0.5, "\n".join(cell.text.split()[:6]) or "?", ha="center", va="center", fontsize=7, clip_on=True)
    else:
        axis.imshow(image.permute(1, 2, 0).numpy())
    if cell.note:
        axis.set_xlabel(cell.note, fontsize=7, labelpad=2, color=cell.mark or PLAIN)


def _read(image: Path | Tensor | None) -> Tensor | None:
    """The picture as uint8; None where there is none or it cannot be read (the data itself tells of that)."""
    if isinstance(image, Path):
        try:
            return read_image(image)
        except InputError:
            return None
    if image is None or image.dtype == torch.uint8:
        return image
    return (image * 255).round().clamp(0, 255).to(torch.uint8)
