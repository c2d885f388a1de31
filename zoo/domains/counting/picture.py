"""Pictures of counting: the density over the image, points, and counted against true trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 1024
"""Pixels of the longer side that an image is drawn with."""
FOUND, TRUE = "#ff3b30", "#ffe600"


def draw_image(
    image: Tensor,
    density: Tensor,
    points: Tensor,
    count: float,
    name: str,
    truth: Tensor | None = None,
    size: tuple[int, int] | None = None,
) -> Figure:
    """An image with its points, and the same with the density over it.

    Args:
        image: ``(3, H, W)``, uint8 or float in [0, 1]; may be smaller than the image that was counted.
        density: ``(h, w)`` of the whole image, at any stride.
        points: ``(N, 2)`` or more columns, x and y in pixels of the counted image.
        count: Trees.
        name: Of the image.
        truth: ``(M, 2)`` true trees, where they are known.
        size: Height and width of the counted image; that of ``image`` by default.
    """
    from matplotlib import pyplot

    height, width = size or (int(image.shape[1]), int(image.shape[2]))
    tall = min(9.0, max(2.0, 5.6 * height / width))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11.6, tall + 0.7), layout="constrained")
    extent = (0.0, float(width), float(height), 0.0)
    small = _small(image)
    left.imshow(small, extent=extent, interpolation="antialiased")
    if truth is not None:
        _mark(left, truth, TRUE, "o", f"{len(truth)} true")
    _mark(left, points, FOUND, "+", f"{len(points)} found")
    if len(points) or truth is not None:
        left.legend(loc="upper right", fontsize=8, framealpha=0.7)
    right.imshow(small @ np.array([0.299, 0.587, 0.114]), extent=extent, cmap="gray", vmin=0, vmax=1)
    values = _pooled(density).numpy()
    top = float(np.quantile(values, 0.998)) or float(values.max()) or 1.0
    # what holds nothing is clear, what holds most is opaque
    strength = np.clip(values / top, 0, 1)
    right.imshow(strength, extent=extent, cmap="inferno", alpha=np.sqrt(strength) * 0.85, vmin=0, vmax=1)
    for axis, title in ((left, "points"), (right, f"density, {float(density.sum(dtype=torch.float64)):.1f} in all")):
        axis.set_xlim(0, width)
        axis.set_ylim(height, 0)
        axis.axis("off")
        axis.set_title(title, fontsize=9)
    known = "" if truth is None else f", {len(truth)} true"
    figure.suptitle(f"{name}   {count:.1f} counted{known}", fontsize=10)
    return figure


def _mark(axis: Axes, points: Tensor, colour: str, shape: str, label: str) -> None:
    options: dict[str, Any] = {"facecolors": "none", "edgecolors": colour} if shape == "o" else {"color": colour}
    size = 26 if len(points) < 400 else 6
    axis.scatter(points[:, 0], points[:, 1], s=size, marker=shape, linewidths=0.9, label=label, **options)


def _small(image: Tensor) -> np.ndarray:
    """``(h, w, 3)`` in [0, 1], no side above ``SIDE``."""
    pixels = image.detach().cpu()
    pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float().clamp(0, 1)
    longer = max(pixels.shape[1:])
    if longer > SIDE:
        shape = [max(1, round(length * SIDE / longer)) for length in pixels.shape[1:]]
        pixels = v2.functional.resize(pixels, shape, antialias=True)
    drawn: np.ndarray = pixels.permute(1, 2, 0).numpy()
    return drawn


def _pooled(density: Tensor) -> Tensor:
    """A density of no more than ``SIDE`` elements a side, with the same sum."""
    factor = -(-max(density.shape) // SIDE)
    return coarse(density, factor) if factor > 1 else density


def coarse(density: Tensor, factor: int) -> Tensor:
    """Sums over squares of ``factor`` x ``factor`` elements; those at the right and the bottom may be smaller."""
    height, width = density.shape
    padded = torch.nn.functional.pad(density, (0, -width % factor, 0, -height % factor))
    return padded.unfold(0, factor, factor).unfold(1, factor, factor).sum((2, 3))


def draw_agreement(rows: Sequence[dict[str, Any]]) -> Figure:
    """Counted against true trees, by map and by token.

    Args:
        rows: With ``trees``, ``count`` and ``token_count``.
    """
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 4.6), layout="constrained")
    trees = np.array([row["trees"] for row in rows], dtype=float)
    for axis, column, title in ((axes[0], "count", "density map"), (axes[1], "token_count", "counter tokens")):
        values = np.array([row[column] for row in rows], dtype=float)
        ends = [min(0.0, values.min()), 1.05 * max(trees.max(), values.max(), 1.0)]
        axis.plot(ends, ends, color="0.6", linewidth=1)
        axis.scatter(trees, values, s=18, alpha=0.7)
        axis.set_xlabel("true trees")
        axis.set_ylabel("counted")
        axis.set_title(f"{title}: MAE {np.abs(values - trees).mean():.2f} over {len(rows)} images", fontsize=9)
    return figure
