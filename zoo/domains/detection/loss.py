"""The objective: a classification loss whose target is how well the box fits, and two losses of the box.

Rank-DETR (arXiv:2310.08854). Every decoder layer and both branches are matched and measured alike; all tokens of the
encoder are matched too, as objects of one kind, with the plain focal loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.domains.detection.boxes import corners, giou, iou
from zoo.domains.detection.matching import ALPHA, GAMMA, Matches, Targets, gather_targets, match
from zoo.domains.detection.outputs import LayerOutputs
from zoo.errors import InputError
from zoo.ranking.checks import wide
from zoo.training.choices import check_choice

Classification = Literal["giou", "varifocal", "focal"]
CLASSIFICATIONS = ("giou", "varifocal", "focal")
CLASS_WEIGHT, BOX_WEIGHT, GIOU_WEIGHT = 2.0, 5.0, 2.0
VARIFOCAL_ALPHA = 0.75


def giou_aware(logits: Tensor, positive: Tensor, quality: Tensor) -> Tensor:
    """The GIoU-aware classification loss of every entry; also the quality focal loss with the negatives weighed.

    Args:
        logits: ``(..., C)``.
        positive: ``(..., C)`` bool, the entries of matched queries and their classes.
        quality: ``(..., C)`` what the score of a positive entry should be, ``(GIoU + 1) / 2``; 0 elsewhere.

    Returns:
        ``(..., C)``: ``alpha |t - p|^2 BCE(z, t)`` where positive, ``(1 - alpha) p^2 BCE(z, 0)`` elsewhere.
    """
    alpha = torch.where(positive, ALPHA, 1 - ALPHA)
    distance = (quality - logits.sigmoid()).abs() ** GAMMA
    return alpha * distance * F.binary_cross_entropy_with_logits(logits, quality, reduction="none")


def varifocal(logits: Tensor, positive: Tensor, quality: Tensor) -> Tensor:
    """The varifocal loss of every entry (Zhang et al., CVPR 2021): ``q BCE(z, q)``, ``0.75 p^2 BCE(z, 0)`` elsewhere.

    Args:
        logits: ``(..., C)``.
        positive: ``(..., C)`` bool.
        quality: ``(..., C)`` IoU of the positive entries, 0 elsewhere.
    """
    weight = torch.where(positive, quality, VARIFOCAL_ALPHA * logits.sigmoid() ** GAMMA)
    return weight * F.binary_cross_entropy_with_logits(logits, quality, reduction="none")


def focal(logits: Tensor, positive: Tensor, quality: Tensor | None = None) -> Tensor:
    """The focal loss of every entry (Lin et al., ICCV 2017), which does not look at the quality.

    Args:
        logits: ``(..., C)``.
        positive: ``(..., C)`` bool.
        quality: Not looked at.
    """
    score = logits.sigmoid()
    wrong = torch.where(positive, 1 - score, score)
    alpha = torch.where(positive, ALPHA, 1 - ALPHA)
    return (
        alpha * wrong**GAMMA * F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), reduction="none")
    )


_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "giou": giou_aware,
    "varifocal": varifocal,
    "focal": focal,
}


class Objective(nn.Module):
    """All weighted terms of Rank-DETR.

    Args:
        classification: The loss of the decoder's scores: ``giou`` (the paper's), ``varifocal`` or ``focal`` (that of
            the baseline, H-Deformable-DETR).
        k_one2many: How many queries of the one-to-many branch each object has.
        lambda_one2many: Weight of that branch.
    """

    def __init__(
        self, classification: Classification = "giou", k_one2many: int = 6, lambda_one2many: float = 1.0
    ) -> None:
        super().__init__()
        check_choice("model.classification", classification, CLASSIFICATIONS)
        self.classification = classification
        self.k_one2many, self.lambda_one2many = k_one2many, lambda_one2many

    def forward(
        self, outputs: LayerOutputs, targets: Sequence[dict[str, Tensor]], high_order: bool = False
    ) -> dict[str, Tensor]:
        """The terms, weighted; their sum is the loss.

        Args:
            outputs: Of the network.
            targets: ``labels (N,)`` and ``boxes (N, 4)`` cx, cy, w, h in [0, 1] of each image; N may be 0.
            high_order: Which cost the matching has.

        Returns:
            ``loss_class``, ``loss_bbox`` and ``loss_giou`` with the suffixes ``_0``, ``_1``, ... of the decoder's
            layers, none for the last, and ``_enc``; each but ``_enc`` also with ``_one2many`` behind.

        Raises:
            InputError: The targets do not fit; names the image.
        """
        if len(targets) != outputs.logits.shape[1]:
            raise InputError(f"targets of {len(targets)} images given, the outputs are of {outputs.logits.shape[1]}")
        objects = gather_targets(targets, outputs.logits.shape[-1], outputs.logits.device)
        count = _objects_per_process(objects)
        names = [f"_{layer}" for layer in range(len(outputs.logits) - 1)] + [""]
        one = _layer_terms(outputs.logits, outputs.boxes, objects, 1, count, high_order, self.classification)
        terms = _named(one, names, "")
        if outputs.many_logits is not None and outputs.many_boxes is not None:
            branch = outputs.many_logits, outputs.many_boxes
            many = _layer_terms(*branch, objects, self.k_one2many, count, high_order, self.classification)
            terms |= _named([self.lambda_one2many * part for part in many], names, "_one2many")
        # the encoder only says where objects are: all are of class 0
        anything = objects._replace(labels=torch.zeros_like(objects.labels))
        tokens = outputs.encoder_logits[None], outputs.encoder_boxes[None]
        return terms | _named(_layer_terms(*tokens, anything, 1, count, high_order, "focal"), ["_enc"], "")


def _layer_terms(
    logits: Tensor, boxes: Tensor, objects: Targets, repeats: int, count: Tensor, high_order: bool, kind: str
) -> list[Tensor]:
    """Classification, L1 and GIoU terms of every layer, ``(L,)`` each.

    Args:
        logits: ``(L, B, Q, C)``.
        boxes: ``(L, B, Q, 4)``.
        objects: Of the batch.
        repeats: Queries per object.
        count: Objects per process, without repeats.
        high_order: Which cost the matching has.
        kind: Which classification loss.
    """
    logits, boxes = wide(logits), wide(boxes)
    matches = match(logits, boxes, objects, repeats, high_order)
    found = boxes[matches.layer, matches.image, matches.query]
    wanted = objects.boxes[matches.target]
    one, two = corners(found), corners(wanted)
    fit = giou(one, two)
    scores = _LOSSES[kind](logits, *_score_targets(logits, objects, matches, _quality(kind, fit, one, two)))
    layers = logits.new_zeros(len(logits))
    terms = (
        CLASS_WEIGHT * scores.flatten(1).sum(1),
        BOX_WEIGHT * layers.index_add(0, matches.layer, (found - wanted).abs().sum(-1)),
        GIOU_WEIGHT * layers.index_add(0, matches.layer, 1 - fit),
    )
    return [term / (repeats * count).clamp(min=1) for term in terms]


def _quality(kind: str, fit: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """What the scores of matched queries should be, ``(M,)`` in [0, 1]; no gradient reaches the boxes."""
    return iou(one, two).detach() if kind == "varifocal" else ((fit.detach() + 1) / 2).clamp(0, 1)


def _score_targets(logits: Tensor, objects: Targets, matches: Matches, quality: Tensor) -> tuple[Tensor, Tensor]:
    """Which entries are positive, and their quality, both ``(L, B, Q, C)``."""
    place = (matches.layer, matches.image, matches.query, objects.labels[matches.target])
    positive = torch.zeros_like(logits, dtype=torch.bool)
    positive[place] = True
    wanted = torch.zeros_like(logits)
    wanted[place] = quality
    return positive, wanted


def _named(terms: Sequence[Tensor], layers: Sequence[str], branch: str) -> dict[str, Tensor]:
    names = ("loss_class", "loss_bbox", "loss_giou")
    return {
        f"{name}{layer}{branch}": value
        for name, values in zip(names, terms, strict=True)
        for layer, value in zip(layers, values.unbind(0), strict=True)
    }


def _objects_per_process(objects: Targets) -> Tensor:
    """Objects of the whole batch over the number of processes: what every sum is divided by, if it is above 1."""
    count = torch.tensor(float(len(objects.labels)), device=objects.labels.device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        count /= torch.distributed.get_world_size()
    return count
