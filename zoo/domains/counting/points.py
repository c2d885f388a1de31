"""Points of objects: from annotations to density cells, and from a density back to points."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

STRIDE = 4
"""Pixels of an image per cell of a density."""


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


def local_maxima(density: Tensor, stride: int = STRIDE, most: int | None = None, least: float = 1e-3) -> Tensor:
    """The places where a density is highest among its neighbours.

    A peak is at least as high as the ``2 r + 1`` square around it, r being one cell of the network; of a plateau the
    first pixel counts. Its place is the centre of mass of the 3 x 3 around it. There are as many trees as the density
    sums to, so no more peaks than that are kept, the highest first.

    Args:
        density: ``(H, W)``, not negative.
        stride: Pixels of the image per element: 4, or 1 for a density at full size.
        most: How many are kept at most; by default the sum of the density, rounded.
        least: Lower peaks are noise; per cell of 4 x 4 pixels.

    Returns:
        ``(N, 3)`` x, y in pixels of the image and the height of the peak, the highest first.
    """
    height, width = density.shape
    values = density.detach().to(torch.float32)
    floor = least * (stride / STRIDE) ** 2
    radius = max(1, STRIDE // stride)
    high = (values >= _highest(values, radius)) & (values > floor)
    number = torch.arange(height * width, dtype=torch.float64).view(height, width)
    first = torch.where(high, -number, -torch.inf)
    rows, columns = torch.nonzero(high & (first == _highest(first, radius)), as_tuple=True)
    limit = round(float(density.sum(dtype=torch.float64))) if most is None else most
    kept = torch.argsort(values[rows, columns], descending=True, stable=True)[: max(0, limit)]
    rows, columns = rows[kept], columns[kept]
    padded = functional.pad(values, (1, 1, 1, 1))
    offset = torch.arange(-1, 2)
    near = padded[(rows[:, None, None] + 1 + offset[:, None]), (columns[:, None, None] + 1 + offset)]
    mass = near.sum((1, 2)).clamp(min=torch.finfo(torch.float32).tiny)
    down = (near.sum(2) * offset).sum(1) / mass
    right = (near.sum(1) * offset).sum(1) / mass
    x = ((columns + 0.5 + right) * stride).clamp(0, width * stride)
    y = ((rows + 0.5 + down) * stride).clamp(0, height * stride)
    return torch.stack([x, y, values[rows, columns]], dim=1)


def _highest(values: Tensor, radius: int) -> Tensor:
    """The highest value in the square around each element of ``(H, W)``."""
    pooled: Tensor = functional.max_pool2d(values[None], 2 * radius + 1, stride=1, padding=radius)[0]
    return pooled
