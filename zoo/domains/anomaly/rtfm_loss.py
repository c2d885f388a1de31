"""RTFM's objective: anomalous videos apart from normal ones in the score and in the size of their best features.

Source: Tian et al., ICCV 2021, and its released training code. ``y_v`` is the mean score of the k snippets of largest
magnitude of video v, ``m_v`` the L2 norm of the mean of their features (one per crop):

* classification: binary cross-entropy of ``y_v``;
* magnitude: ``weight * mean((|margin - m_a| + m_n)^2)`` over the pairs of the i-th anomalous and i-th normal video;
* smoothness and sparsity of the scores ``s`` of anomalous videos:

========= ================================================== ====================================================
variant   smoothness                                         sparsity
========= ================================================== ====================================================
official  ``sum (s[t+1] - s[t])^2`` over all videos put in a ``||s||_2`` over all videos together, because the
          row, so across their borders; the last element     released code flattens them first
          pads itself
corrected the same within each video, summed over videos     ``||s_v||_2`` of each video, averaged over videos
========= ================================================== ====================================================
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from zoo.errors import InputError
from zoo.ranking import gather
from zoo.ranking.checks import wide
from zoo.training.choices import check_choice

RTFMVariant = Literal["official", "corrected"]
RTFM_VARIANTS: tuple[RTFMVariant, ...] = get_args(RTFMVariant)


def rtfm_terms(
    scores: Tensor,
    features: Tensor,
    chosen: Tensor,
    label: Tensor,
    variant: RTFMVariant = "official",
    margin: float = 100.0,
    magnitude: float = 1e-4,
    smoothness: float = 8e-4,
    sparsity: float = 8e-3,
) -> dict[str, Tensor]:
    """The terms of the objective.

    Under DistributedDataParallel the videos of all processes are gathered first, as in
    :func:`zoo.domains.anomaly.loss.mil_terms`.

    Args:
        scores: ``(B, T)`` in [0, 1].
        features: ``(B, crops, T, D)``.
        chosen: ``(B, k)`` int64, the snippets that stand for each video (:func:`select_top`).
        label: ``(B,)``, 1 for anomalous and 0 for normal videos, as many of both.
        variant: See the head of this file.
        margin: Size that the best features of an anomalous video should have.
        magnitude: Weight of the magnitude term.
        smoothness: Weight of the squared differences of neighbouring scores in anomalous videos.
        sparsity: Weight of the size of the scores of anomalous videos.

    Returns:
        Weighted scalars ``classification``, ``magnitude``, ``smoothness`` and ``sparsity``.

    Raises:
        InputError: The variant is unknown, or there are not as many anomalous as normal videos.
    """
    check_choice("model.variant", variant, RTFM_VARIANTS)
    index = chosen[:, None, :, None].expand(-1, features.shape[1], -1, features.shape[3])
    scores, picked = wide(scores), wide(features.gather(2, index))
    best, sizes = scores.gather(1, chosen).mean(1), picked.mean(2).norm(dim=-1)
    together, target = gather(torch.cat([best[:, None], scores, sizes], dim=1)), gather(label)
    anomalous = target > 0.5
    counts = int(anomalous.sum()), int((~anomalous).sum())
    if counts[0] != counts[1] or not counts[0]:
        raise InputError(
            "the i-th anomalous is compared with the i-th normal video, but the batch has "
            f"{counts[0]} anomalous and {counts[1]} normal videos"
        )
    best, sizes = together[:, 0], together[:, 1 + scores.shape[1] :]
    rows = together[anomalous, 1 : 1 + scores.shape[1]]
    apart = (margin - sizes[anomalous]).abs() + sizes[~anomalous]
    if variant == "official":
        rough, dense = rows.flatten().diff().square().sum(), rows.norm()
    else:
        rough, dense = rows.diff(dim=1).square().sum(), rows.norm(dim=1).mean()
    with torch.autocast(best.device.type, enabled=False):  # the logarithm of half-precision scores would overflow
        classified = functional.binary_cross_entropy(best, target.to(best.dtype))
    return {
        "classification": classified,
        "magnitude": magnitude * apart.square().mean(),
        "smoothness": smoothness * rough,
        "sparsity": sparsity * dense,
    }
