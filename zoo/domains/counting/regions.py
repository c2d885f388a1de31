"""Nested regions of a density map: where they lie, what they hold, and how they were resized as released."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LEVELS, SHRINK = 5, 0.75


class Region(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, the ends left out."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, maps: Tensor) -> Tensor:
        """Its part of ``(..., h, w)``."""
        return maps[..., self.top : self.bottom, self.left : self.right]


def sides(side: int) -> list[int]:
    """Sides of the regions in cells: each three quarters of the one before, rounded down (64, 48, 36, 27, 20)."""
    result = [side]
    while len(result) < LEVELS:
        result.append(int(result[-1] * SHRINK))
    return result


def nested_regions(height: int, width: int) -> list[Region]:
    """Five regions inside one another around a centre drawn by torch's generator; the first is the whole map.

    Args:
        height: Of the map, at least 4 cells.
        width: Of the map, at least 4 cells.
    """
    rows, columns = _spans(height), _spans(width)
    return [Region(*row, *column) for row, column in zip(rows, columns, strict=True)]


def _spans(side: int) -> list[tuple[int, int]]:
    """The spans of the regions along one side; odd ones lose a cell, as released (27 becomes 26)."""
    _, *inner = sides(side)
    room = (side - inner[0]) // 2
    centre = side // 2 - room + int(torch.randint(2 * room + 1, ()))
    return [(0, side), *((max(0, centre - part // 2), min(side, centre + max(1, part // 2))) for part in inner)]


def region_counts(maps: Tensor, regions: list[Region]) -> Tensor:
    """What each region really holds.

    Args:
        maps: ``(B, 1, h, w)``.
        regions: From the largest to the smallest.

    Returns:
        ``(B, levels)``.
    """
    return torch.stack([region.of(maps).sum((1, 2, 3)) for region in regions], dim=1)


def resized(maps: Tensor, regions: list[Region]) -> list[Tensor]:
    """The regions of ``(B, 1, h, w)``, each stretched to the size of the whole map, as released.

    Their sums are mean densities, not counts: for a map of ones all are equal.
    """
    size = maps.shape[2:]
    return [functional.interpolate(region.of(maps), size, mode="bilinear", align_corners=False) for region in regions]
