"""The objective: anomalous bags above normal ones, few and steady alarms inside them, small weights.

Source: Sultani, Chen and Shah, CVPR 2018, equations 3 to 8. Three variants differ in how a batch is summed up:

========= ======================================== ============================ =====================================
variant   ranking                                  sparsity and smoothness      weights
========= ======================================== ============================ =====================================
official  all pairs: sum over the anomalous bags,  sum over the anomalous bags  sum of squares of the three weight
          mean over the normal ones (released                                   matrices (Keras), no biases
          Theano code)
paper     mean over all pairs; equation 7 where    mean over the anomalous bags Frobenius norm of all weight matrices
          the batch is one pair                                                 together, no biases
diagonal  the i-th anomalous with the i-th normal  mean over the anomalous bags sum over layers of the norm of weights
          bag, mean (the PyTorch port)                                          and biases, not squared
========= ======================================== ============================ =====================================
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from zoo.domains.anomaly.network import Detector
from zoo.errors import InputError
from zoo.ranking import ScoreLoss, gather, hinge
from zoo.ranking.checks import wide
from zoo.training.choices import check_choice

Variant = Literal["official", "paper", "diagonal"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)


def mil_terms(
    scores: Tensor,
    label: Tensor,
    variant: Variant = "official",
    ranking: ScoreLoss | None = None,
    margin: float = 1.0,
    sparsity: float = 8e-5,
    smoothness: float = 8e-5,
) -> dict[str, Tensor]:
    """The terms of the objective that depend on the scores.

    Under DistributedDataParallel the bags of all processes are gathered first: every process gets the value of the
    whole batch, and the averaged gradient is that of one process over the whole batch.

    Args:
        scores: ``(B, T)`` in [0, 1], T segments per bag.
        label: ``(B,)``, 1 for anomalous and 0 for normal bags.
        variant: See the head of this file.
        ranking: Any score loss over the maxima of the bags, with the labels as targets; it takes the place of the
            hinge, with a scale of its own.
        margin: Margin of the hinge.
        sparsity: Weight of the sum of an anomalous bag's scores (equation 6).
        smoothness: Weight of the sum of squared differences of neighbouring scores (equation 6).

    Returns:
        Weighted scalars ``ranking``, ``sparsity`` and ``smoothness``; their sum is the objective.

    Raises:
        InputError: The variant is unknown, the batch lacks a class, or the bags cannot be paired (``diagonal``).
    """
    check_choice("model.variant", variant, VARIANTS)
    scores = wide(scores)
    statistics = torch.stack([scores.amax(1), scores.sum(1), scores.diff(dim=1).square().sum(1)], dim=1)
    maxima, sums, roughness = gather(statistics).unbind(1)
    target = gather(label)
    anomalous = target > 0.5
    counts = int(anomalous.sum()), int((~anomalous).sum())
    if 0 in counts:
        raise InputError(
            "a batch needs anomalous and normal bags to rank, "
            f"this one has {counts[0]} anomalous and {counts[1]} normal bags"
        )
    if ranking is not None:
        value = ranking(maxima, target)
    elif variant == "diagonal":
        value = _diagonal(maxima, anomalous, margin)
    elif variant == "official":
        value = hinge(maxima, target, margin=margin, pairs="sum", reduction="sum") / counts[1]
    else:
        value = hinge(maxima, target, margin=margin)
    bags = 1 if variant == "official" else counts[0]
    return {
        "ranking": value,
        "sparsity": sparsity * sums[anomalous].sum() / bags,
        "smoothness": smoothness * roughness[anomalous].sum() / bags,
    }


def _diagonal(maxima: Tensor, anomalous: Tensor, margin: float) -> Tensor:
    """Hinge of the i-th anomalous over the i-th normal bag, averaged over i; each pair is a group of its own."""
    counts = int(anomalous.sum()), int((~anomalous).sum())
    if counts[0] != counts[1]:
        raise InputError(
            "variant diagonal pairs the i-th anomalous with the i-th normal bag, "
            f"but the batch has {counts[0]} anomalous and {counts[1]} normal bags"
        )
    pair = torch.where(anomalous, anomalous.cumsum(0), (~anomalous).cumsum(0))
    return hinge(maxima, anomalous, group=pair, margin=margin)


def weight_penalty(network: Detector, variant: Variant = "official") -> Tensor:
    """The size of the weights, before its own weight in the objective; see the head of this file.

    It does not depend on the batch: every process of a distributed training has the same value and the same gradient,
    whose average is again that gradient, so it is neither gathered nor scaled.

    Args:
        network: The detector.
        variant: ``official`` squares, ``paper`` takes one norm, ``diagonal`` one norm per layer with its biases.

    Returns:
        A scalar.
    """
    check_choice("model.variant", variant, VARIANTS)
    layers = network.layers
    if variant == "diagonal":
        norms = [torch.cat([layer.weight.flatten(), layer.bias]).norm() for layer in layers]
        return torch.stack(norms).sum()
    squares = torch.stack([layer.weight.square().sum() for layer in layers]).sum()
    return squares if variant == "official" else squares.sqrt()
