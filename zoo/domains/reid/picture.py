"""Pictures of searches: a row per caption, its best images with their scores, right ones framed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.domains.reid.augment import resize
from zoo.training.images import read_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIGHT, WRONG, PLAIN = "#2a9d4a", "#c8ccd0", "#888888"
MOST = 8
HEIGHT = 192


@dataclass(frozen=True)
class Search:
    """A caption and what was found.

    Attributes:
        caption: The query.
        images: Best first: files, or ``(3, H, W)`` in [0, 1].
        scores: Of the images.
        right: Whether each shows the right identity; None where that is not known.
    """

    caption: str
    images: Sequence[Path | Tensor]
    scores: Sequence[float]
    right: Sequence[bool] | None = None


def draw(searches: Sequence[Search], left_out: int = 0) -> Figure:
    """Draws up to eight searches.

    Args:
        searches: At least one, with at least one image.
        left_out: Searches that are not even given.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown, rest = searches[:MOST], left_out + max(0, len(searches) - MOST)
    columns = max(len(search.images) for search in shown)
    wide = sum(_thumbnail(image).shape[-1] for image in shown[0].images) / len(shown[0].images) / HEIGHT
    cell = max(0.75, min(2.0, 1.7 * wide))
    figure = Figure(figsize=(2.6 + cell * columns, 2.2 * len(shown) + (0.3 if rest else 0)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(shown), columns + 1, width_ratios=[2.4, *[cell] * columns])
    for row, search in enumerate(shown):
        words = figure.add_subplot(grid[row, 0])
        words.axis("off")
        text = "\n".join(textwrap.wrap(search.caption, 26)[:8])
        words.text(0, 0.5, text, fontsize=8, va="center", ha="left", wrap=False)
        for column, (image, score) in enumerate(zip(search.images, search.scores, strict=True)):
            axis = figure.add_subplot(grid[row, column + 1])
            axis.imshow(_thumbnail(image).permute(1, 2, 0).numpy())
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(f"{column + 1}: {score:.3f}", fontsize=7)
            colour = PLAIN if search.right is None else RIGHT if search.right[column] else WRONG
            for spine in axis.spines.values():
                spine.set_color(colour)
                spine.set_linewidth(3 if colour == RIGHT else 1)
    if rest:
        figure.text(0.99, 0.0, f"{len(shown)} of {len(shown) + rest} captions", ha="right", va="bottom", fontsize=7)
    return figure


def _thumbnail(image: Path | Tensor) -> Tensor:
    pixels = read_image(image) if isinstance(image, Path) else image.detach().cpu()
    height, width = pixels.shape[-2:]
    shown: Tensor = torch.as_tensor(resize(pixels, (HEIGHT, max(1, round(width * HEIGHT / height)))))
    return shown
