"""Points of objects: from annotations to density cells, and from a density back to points."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zoo.domains.counting.network import STRIDE

LEAST = 1e-3
"""Trees per cell; a lower peak is no tree."""
DISTANCE = 8
"""Pixels between two points."""


def pixel_of(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels that points fall into: rounded to the nearest (halves to even), those beyond the edge to the edge.

    Args:
        points: ``(N, 2)`` x and y in pixels.
        height: Of the image.
        width: Of the image.

    Returns:
        ``(N, 2)`` int64 row and column.
    """
    nearest = np.rint(points.reshape(-1, 2)).astype(np.int64)
    column, row = nearest[:, 0].clip(0, width - 1), nearest[:, 1].clip(0, height - 1)
    return np.stack([row, column], axis=1)


def cell_histogram(points: np.ndarray, height: int, width: int, stride: int = STRIDE) -> Tensor:
    """How many points lie in each cell; their sum is the number of points.

    Args:
        points: ``(N, 2)`` x and y in pixels.
        height: Of the image.
        width: Of the image.
        stride: Side of a cell in pixels.

    Returns:
        ``(1, ceil(height / stride), ceil(width / stride))`` float32.
    """
    cells = pixel_of(points, height, width) // stride
    histogram = np.zeros((-(-height // stride), -(-width // stride)), dtype=np.float32)
    np.add.at(histogram, (cells[:, 0], cells[:, 1]), 1.0)
    return torch.from_numpy(histogram)[None]


def inside(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Which points lie in ``0 <= x <= width`` and ``0 <= y <= height``, both edges included as in the released code.

    Args:
        points: ``(N, 2)`` x and y in pixels.
        height: Of the image.
        width: Of the image.
    """
    x, y = points[:, 0], points[:, 1]
    kept: np.ndarray = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    return kept


def peaks(density: Tensor, stride: int = STRIDE, least: float = LEAST, distance: int = DISTANCE) -> Tensor:
    """The places where a density is highest among its neighbours, in the order of their rows.

    A peak is at least as high as everything nearer than ``distance`` to the right and left, above and below; of a
    plateau the first element counts. Its place is the centre of mass of the 3 x 3 elements around it.

    Args:
        density: ``(H, W)``, not negative.
        stride: Pixels of the image per element: 4, or 1 for a density at full size.
        least: Lower peaks are noise; in trees per cell of 4 x 4 pixels.
        distance: Pixels that two peaks are apart at least.

    Returns:
        ``(N, 3)`` x, y in pixels of the image, and the height of the peak.
    """
    return _located(density, stride, least, distance)[0]


def _located(density: Tensor, stride: int, least: float, distance: int) -> tuple[Tensor, Tensor]:
    """The peaks, and the row of the element that each was found at."""
    height, width = density.shape
    values = density.detach().to(torch.float32)
    radius = reach(stride, distance)
    high = (values >= _highest(values, radius)) & (values > least * (stride / STRIDE) ** 2)
    number = torch.arange(height * width, dtype=torch.float64, device=values.device).view(height, width)
    first = torch.where(high, -number, -torch.inf)
    rows, columns = torch.nonzero(high & (first == _highest(first, radius)), as_tuple=True)
    padded = functional.pad(values, (1, 1, 1, 1))
    offset = torch.arange(-1, 2, device=values.device)
    near = padded[(rows[:, None, None] + 1 + offset[:, None]), (columns[:, None, None] + 1 + offset)]
    mass = near.sum((1, 2)).clamp(min=torch.finfo(torch.float32).tiny)
    x = columns + 0.5 + (near.sum(1) * offset).sum(1) / mass
    y = rows + 0.5 + (near.sum(2) * offset).sum(1) / mass
    return torch.stack([x * stride, y * stride, values[rows, columns]], dim=1), rows


def reach(stride: int, distance: int) -> int:
    """Elements on each side that a peak is compared with: one at least."""
    return max(1, -(-distance // stride) - 1)


def strongest(found: Tensor, count: float) -> Tensor:
    """The highest peaks, as many as there are trees at most.

    Args:
        found: ``(N, 3)``, see :func:`peaks`.
        count: What the density sums to.
    """
    order = torch.argsort(found[:, 2], descending=True, stable=True)
    return found[order[: max(0, round(count))]]


def local_maxima(density: Tensor, stride: int = STRIDE, least: float = LEAST, distance: int = DISTANCE) -> Tensor:
    """Points of a density: its peaks, the highest first, no more than it sums to.

    Args:
        density: ``(H, W)``, not negative.
        stride: Pixels of the image per element.
        least: See :func:`peaks`.
        distance: See :func:`peaks`.

    Returns:
        ``(N, 3)`` x, y in pixels of the image, and the height of the peak.
    """
    return strongest(peaks(density, stride, least, distance), float(density.sum(dtype=torch.float64)))


class PeakFinder:
    """Finds the peaks of a density that comes in bands from top to bottom: the same ones as in the whole of it.

    Args:
        stride: Pixels of the image per element.
        least: See :func:`peaks`.
        distance: See :func:`peaks`.
    """

    def __init__(self, stride: int = STRIDE, least: float = LEAST, distance: int = DISTANCE) -> None:
        self.stride, self.least, self.distance = stride, least, distance
        self._halo = 2 * reach(stride, distance)  # a tie asks for the neighbours' neighbours
        self._found: list[Tensor] = []
        self._kept: Tensor | None = None
        self._top = 0  # row of the first kept element
        self._decided = 0  # rows before this one have been looked at

    def add(self, band: Tensor) -> None:
        """Takes the next rows ``(h, W)``."""
        rows = band.detach().cpu() if self._kept is None else torch.cat([self._kept, band.detach().cpu()])
        self._look(rows, self._top + len(rows) - self._halo)

    def finish(self) -> Tensor:
        """All peaks ``(N, 3)`` in the order of their rows."""
        if self._kept is not None:
            self._look(self._kept, self._top + len(self._kept))
        return torch.cat(self._found) if self._found else torch.zeros(0, 3)

    def _look(self, rows: Tensor, end: int) -> None:
        """Keeps the peaks of the rows up to ``end`` that were not looked at yet, and the rows that later ones need."""
        found, row = _located(rows, self.stride, self.least, self.distance)
        found[:, 1] += self._top * self.stride
        row = row + self._top
        self._found.append(found[(row >= self._decided) & (row < end)])
        self._decided = max(self._decided, end)
        first = max(self._top, self._decided - self._halo)
        self._kept, self._top = rows[first - self._top :], first


def _highest(values: Tensor, radius: int) -> Tensor:
    """The highest value in the square around each element of ``(H, W)``."""
    pooled: Tensor = functional.max_pool2d(values[None], 2 * radius + 1, stride=1, padding=radius)[0]
    return pooled
