"""Who answers for which object: one Hungarian assignment per image and layer, all costs computed in one go.

The costs are off the autograd path; they leave the device once per branch, and scipy solves the small matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from zoo.domains.detection.boxes import corners, giou, iou
from zoo.errors import InputError

CLASS_COST, BOX_COST, GIOU_COST = 2.0, 5.0, 2.0
ALPHA, GAMMA, LOG_EPS = 0.25, 2.0, 1e-8
ORDER = 4  # of the IoU in the high-order cost
_ROUNDING = 1e-3  # how far a box may lie beyond its image
_FAR = 1e9  # what a cost that is not finite counts: such a prediction is matched last


class Targets(NamedTuple):
    """The objects of a batch, one after the other.

    Attributes:
        labels: ``(N,)`` int64.
        boxes: ``(N, 4)`` cx, cy, w, h in [0, 1].
        counts: Objects of each image.
    """

    labels: Tensor
    boxes: Tensor
    counts: list[int]


class Matches(NamedTuple):
    """Pairs of a query and an object.

    Attributes:
        layer: ``(M,)`` decoder layer.
        image: ``(M,)`` in the batch.
        query: ``(M,)`` in the layer's order.
        target: ``(M,)`` row of :class:`Targets`.
    """

    layer: Tensor
    image: Tensor
    query: Tensor
    target: Tensor


def gather_targets(targets: Sequence[dict[str, Tensor]], classes: int, device: torch.device) -> Targets:
    """Joins the targets of the images.

    Args:
        targets: ``labels`` and ``boxes`` of each image; boxes are shares of the image.
        classes: How many there are.
        device: Where the network is.

    Raises:
        InputError: A label that is no class, another number of boxes than of labels, or a box beyond [0, 1].
    """
    for number, target in enumerate(targets):
        labels, boxes = target["labels"], target["boxes"]
        if boxes.shape != (len(labels), 4) and (len(labels) or boxes.numel()):
            raise InputError(f"targets[{number}]: {len(labels)} labels, boxes of shape {tuple(boxes.shape)}")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise InputError(
                f"targets[{number}]: labels {int(labels.min())} to {int(labels.max())}, the network has {classes} "
                f"classes, 0 to {classes - 1}"
            )
        if not ((boxes >= -_ROUNDING) & (boxes <= 1 + _ROUNDING)).all():  # a number that is none is not either
            raise InputError(f"targets[{number}]: boxes are cx, cy, w, h in [0, 1], got {_odd(boxes)}")
    return Targets(
        torch.cat([target["labels"].reshape(-1) for target in targets]).to(device, torch.long),
        torch.cat([target["boxes"].reshape(-1, 4) for target in targets]).to(device, torch.float32),
        [len(target["labels"]) for target in targets],
    )


def _odd(boxes: Tensor) -> list[float]:
    """The first box of ``(N, 4)`` that is not within [0, 1]."""
    inside = ((boxes >= -_ROUNDING) & (boxes <= 1 + _ROUNDING)).all(1)
    return [round(value, 4) for value in boxes[~inside][0].tolist()]


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, targets: Targets, repeats: int = 1, high_order: bool = False) -> Matches:
    """Matches the queries of all layers with the objects of their image.

    Args:
        logits: ``(L, B, Q, C)``.
        boxes: ``(L, B, Q, 4)`` cx, cy, w, h.
        targets: Of the batch.
        repeats: How many queries each object may have; with too few queries, as many objects as there are queries
            find one.
        high_order: Whether the cost is ``-score * IoU**4``; else class, L1 and GIoU.
    """
    cost = costs(logits, boxes, targets, high_order)
    matrices = cost.nan_to_num(nan=_FAR, posinf=_FAR, neginf=-_FAR).cpu().numpy()
    offsets = np.concatenate([[0], np.cumsum(targets.counts)])
    found: list[tuple[int, int, np.ndarray, np.ndarray]] = []
    for layer in range(matrices.shape[0]):
        for image, count in enumerate(targets.counts):
            if not count:
                continue
            matrix = matrices[layer, image, :, :count]
            query, target = linear_sum_assignment(np.tile(matrix, (1, repeats)) if repeats > 1 else matrix)
            found.append((layer, image, query, offsets[image] + target % count))
    sizes = [len(query) for _, _, query, _ in found]
    columns = (
        np.repeat(np.array([layer for layer, *_ in found], dtype=np.int64), sizes),
        np.repeat(np.array([image for _, image, *_ in found], dtype=np.int64), sizes),
        np.concatenate([np.empty(0, np.int64), *(query for *_, query, _ in found)]),
        np.concatenate([np.empty(0, np.int64), *(target for *_, target in found)]),
    )
    return Matches(*torch.from_numpy(np.stack(columns)).to(logits.device).unbind(0))


@torch.no_grad()
def costs(logits: Tensor, boxes: Tensor, targets: Targets, high_order: bool = False) -> Tensor:
    """The cost of every query for every object of its image.

    Args:
        logits: ``(L, B, Q, C)``.
        boxes: ``(L, B, Q, 4)`` cx, cy, w, h.
        targets: Of the batch.
        high_order: Which of the two costs.

    Returns:
        ``(L, B, Q, T)``, T the objects of the fullest image; what lies past an image's own objects means nothing.
    """
    layers, images, queries, _ = logits.shape
    most = max(targets.counts, default=0)
    labels = logits.new_zeros(images, most, dtype=torch.long)
    places = boxes.new_zeros(images, most, 4, dtype=torch.float32)
    own = torch.arange(most, device=logits.device) < torch.tensor(targets.counts, device=logits.device)[:, None]
    labels[own], places[own] = targets.labels, targets.boxes
    score = logits.gather(-1, labels[None, :, None].expand(layers, -1, queries, -1)).float().sigmoid()
    boxes = boxes.float()
    one, two = corners(boxes)[:, :, :, None], corners(places)[None, :, None]
    if high_order:
        return -score * iou(one, two) ** ORDER
    distance = torch.cdist(boxes, places.expand(layers, -1, -1, -1), p=1)
    return BOX_COST * distance + CLASS_COST * _focal_cost(score) - GIOU_COST * giou(one, two)


def _focal_cost(score: Tensor) -> Tensor:
    """What the focal loss of an entry changes by where it turns positive."""
    negative = (1 - ALPHA) * score**GAMMA * -(1 - score + LOG_EPS).log()
    positive = ALPHA * (1 - score) ** GAMMA * -(score + LOG_EPS).log()
    return positive - negative
