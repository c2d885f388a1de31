"""Where things are: masks and sizes of padded maps, sine embeddings, reference points, boxes as logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE, SCALE, EPS = 10000.0, 2 * math.pi, 1e-6
LOGIT_EPS = 1e-3
PROPOSAL_SIDE, RIM = 0.05, 0.01


def inverse_sigmoid(x: Tensor, eps: float = LOGIT_EPS) -> Tensor:
    """The logit of a number in [0, 1]; it and its complement count as ``eps`` at least."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def image_mask(images: Tensor, sizes: Tensor | None) -> Tensor:
    """``(B, H, W)`` bool, True in the image and False in the padding, which is to the right and below.

    Args:
        images: ``(B, 3, H, W)``.
        sizes: ``(B, 2)`` height and width of each image, or None where none is padded.
    """
    batch, _, height, width = images.shape
    if sizes is None:
        return images.new_ones((batch, height, width), dtype=torch.bool)
    rows = torch.arange(height, device=images.device) < sizes[:, :1]
    columns = torch.arange(width, device=images.device) < sizes[:, 1:]
    return rows.unsqueeze(2) & columns.unsqueeze(1)


class Geometry(NamedTuple):
    """The maps of a batch as one row of tokens, the maps one after the other.

    Attributes:
        shapes: Height and width of each of the L maps.
        valid: ``(B, T)`` bool, True in the image.
        ratios: ``(B, L, 2)`` the share of each map, x and y, that is image.
        positions: ``(B, T, width)`` sine embedding of each token, without the embedding of its level.
        levels: ``(T,)`` the map of each token.
        points: ``(B, T, 2)`` x and y of each token as fractions of its image (not of the padded map).
    """

    shapes: list[tuple[int, int]]
    valid: Tensor
    ratios: Tensor
    positions: Tensor
    levels: Tensor
    points: Tensor

    @classmethod
    def of(cls, mask: Tensor, shapes: Sequence[tuple[int, int]], width: int, kind: torch.dtype) -> Geometry:
        """The geometry of maps.

        Args:
            mask: ``(B, H, W)`` of the images, see :func:`image_mask`.
            shapes: Of the maps.
            width: Of the tokens; divisible by 4.
            kind: Floating type of what is computed.
        """
        masks = [F.interpolate(mask.unsqueeze(1).float(), shape).squeeze(1).bool() for shape in shapes]
        counts = [torch.stack([part[:, 0].sum(1), part[:, :, 0].sum(1)], 1).to(kind) for part in masks]
        sides = sides_of(shapes, counts[0]).unbind(0)
        lengths = [height * across for height, across in shapes]
        return cls(
            shapes=list(shapes),
            valid=torch.cat([part.flatten(1) for part in masks], 1),
            ratios=torch.stack([count / side for count, side in zip(counts, sides, strict=True)], 1),
            positions=torch.cat([sine_positions(part, width // 2, kind).flatten(1, 2) for part in masks], 1),
            levels=torch.cat(
                [mask.new_full((length,), level, dtype=torch.long) for level, length in enumerate(lengths)]
            ),
            points=torch.cat([grid_points(shape, count, kind) for shape, count in zip(shapes, counts, strict=True)], 1),
        )


def sides_of(shapes: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
    """Width and height of each map, ``(L, 2)`` of the type of ``like``; those of an exported network stay open."""
    if torch.compiler.is_exporting():
        return torch.stack([torch.stack([like.new_full((), side) for side in shape[::-1]]) for shape in shapes])
    return like.new_tensor([(across, height) for height, across in shapes])


def grid_points(shape: tuple[int, int], count: Tensor, kind: torch.dtype) -> Tensor:
    """Centres of the cells of a map as fractions of its valid part.

    Args:
        shape: Height and width.
        count: ``(B, 2)`` valid columns and rows.
        kind: Floating type.

    Returns:
        ``(B, height * width, 2)`` x, y; above 1 in the padding.
    """
    y, x = (torch.arange(side, device=count.device, dtype=kind) + 0.5 for side in shape)
    grid = torch.stack([x.expand(shape[0], -1), y.unsqueeze(1).expand(-1, shape[1])], -1).view(1, -1, 2)
    return grid / count.unsqueeze(1)


def _waves(place: Tensor, features: int) -> Tensor:
    """``(..., features)`` sines and cosines in turn, each pair a frequency, of ``place (...)`` in radians."""
    number = torch.arange(features, device=place.device, dtype=place.dtype)
    phase = place.unsqueeze(-1) / TEMPERATURE ** (2 * number.div(2, rounding_mode="floor") / features)
    return torch.stack([phase[..., 0::2].sin(), phase[..., 1::2].cos()], -1).flatten(-2)


def sine_positions(mask: Tensor, features: int, kind: torch.dtype = torch.float32) -> Tensor:
    """Sine embedding of the cells of a map, counted over the image's own part.

    Args:
        mask: ``(B, h, w)``, True in the image.
        features: Per axis.
        kind: Floating type.

    Returns:
        ``(B, h, w, 2 * features)``, y first, then x.
    """
    axes = []
    for axis in (1, 2):
        count = mask.cumsum(axis).to(kind)
        last = count.narrow(axis, count.shape[axis] - 1, 1)
        axes.append(_waves((count - 0.5) / (last + EPS) * SCALE, features))
    return torch.cat(axes, -1)


def sine_boxes(boxes: Tensor, features: int) -> Tensor:
    """Sine embedding ``(..., 4 * features)`` of boxes ``(..., 4)``: cx, cy, w, h in [0, 1], in this order."""
    return _waves(boxes * SCALE, features).flatten(-2)


def proposals(geometry: Geometry) -> tuple[Tensor, Tensor]:
    """A box around each token, which grows with the level of its map.

    Returns:
        The boxes' logits ``(B, T, 4)``, infinite where the box is of no use; and where it is of use, ``(B, T)``: not in
        the padding, and with centre and size off 0 and 1.
    """
    side = (PROPOSAL_SIDE * 2.0**geometry.levels).to(geometry.points.dtype)
    boxes = torch.cat([geometry.points, side.view(1, -1, 1).expand(geometry.points.shape[0], -1, 2)], -1)
    usable = ((boxes > RIM) & (boxes < 1 - RIM)).all(-1) & geometry.valid
    logits = torch.log(boxes / (1 - boxes)).masked_fill(~usable.unsqueeze(-1), math.inf)
    return logits, usable
