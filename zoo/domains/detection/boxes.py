"""Boxes: two ways to write them, how much they overlap, and the size an image is tested at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

EPS = 1e-6  # of the released code: in the denominators of both overlaps


def corners(boxes: Tensor) -> Tensor:
    """``(..., 4)`` cx, cy, w, h as left, top, right, bottom."""
    x, y, width, height = boxes.unbind(-1)
    return torch.stack((x - width / 2, y - height / 2, x + width / 2, y + height / 2), dim=-1)


def centred(boxes: Tensor) -> Tensor:
    """``(..., 4)`` left, top, right, bottom as cx, cy, w, h."""
    left, top, right, bottom = boxes.unbind(-1)
    return torch.stack(((left + right) / 2, (top + bottom) / 2, right - left, bottom - top), dim=-1)


def overlap(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and union area of boxes, broadcast against each other.

    Args:
        one: ``(..., 4)`` left, top, right, bottom.
        two: ``(..., 4)`` likewise.

    Returns:
        Intersection over ``union + 1e-6``, and the union, ``(...)`` each.
    """
    high = torch.minimum(one[..., 2:], two[..., 2:])
    low = torch.maximum(one[..., :2], two[..., :2])
    inner = (high - low).clamp(min=0).prod(-1)
    union = _area(one) + _area(two) - inner
    return inner / (union + EPS), union


def iou(one: Tensor, two: Tensor) -> Tensor:
    """Intersection over union, broadcast; see :func:`overlap`."""
    return overlap(one, two)[0]


def giou(one: Tensor, two: Tensor) -> Tensor:
    """Generalised IoU in [-1, 1], broadcast (Rezatofighi et al., CVPR 2019): IoU less the empty share of the hull.

    Args:
        one: ``(..., 4)`` left, top, right, bottom.
        two: ``(..., 4)`` likewise.
    """
    shared, union = overlap(one, two)
    high = torch.maximum(one[..., 2:], two[..., 2:])
    low = torch.minimum(one[..., :2], two[..., :2])
    hull = (high - low).clamp(min=0).prod(-1)
    return shared - (hull - union) / (hull + EPS)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def resized(size: Sequence[int], shortest: int, longest: int | None) -> tuple[int, int]:
    """The size of an image whose shorter side becomes ``shortest``, unless the longer one passes ``longest``.

    Args:
        size: ``(height, width)`` in pixels.
        shortest: Wanted shorter side.
        longest: Most that the longer side may have; None for no limit.

    Returns:
        ``(height, width)``, rounded to whole pixels, at least one each.
    """
    height, width = size
    scale = shortest / min(height, width)
    if longest is not None and scale * max(height, width) > longest:
        scale = longest / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
