"""The objectives: focal loss for compatibility, any similarity loss of the core over distances for retrieval."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits, logsigmoid, pad

from zoo.ranking import SimilarityLoss, gather, set_wise, triplet
from zoo.ranking.checks import wide

Focal = Literal["corrected", "legacy"]
Pool = Literal["sampled", "batch"]


def focal_loss(
    probability: Tensor, target: Tensor, alpha: float = 0.5, gamma: float = 2.0, variant: Focal = "corrected"
) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017): ``- alpha_t (1 - p_t)^gamma log p_t``, the mean.

    Args:
        probability: ``(B,)`` in [0, 1].
        target: ``(B,)`` of 1 (compatible) and 0.
        alpha: Weight of the compatible outfits; the others weigh ``1 - alpha``.
        gamma: How much less an outfit counts that is judged well already.
        variant: ``corrected``, or ``legacy`` as in the released code, which takes the probability for a logit inside
            the logarithm (``p_t`` in the factor is right): ``- log p_t`` becomes the cross-entropy of sigmoid(p).

    Returns:
        A scalar.
    """
    probability = wide(probability)
    target = target.to(probability.dtype)
    cross = binary_cross_entropy_with_logits if variant == "legacy" else binary_cross_entropy
    return _weigh(cross(probability, target, reduction="none"), probability, target, alpha, gamma)


def focal_loss_with_logits(
    logits: Tensor, target: Tensor, alpha: float = 0.5, gamma: float = 2.0, variant: Focal = "corrected"
) -> Tensor:
    """:func:`focal_loss` of ``sigmoid(logits)``, with a gradient where the sigmoid has none left in float32."""
    logits = wide(logits)
    target = target.to(logits.dtype)
    if variant == "legacy":
        return focal_loss(logits.sigmoid(), target, alpha, gamma, variant)
    cross = -(target * logsigmoid(logits) + (1 - target) * logsigmoid(-logits))
    return _weigh(cross, logits.sigmoid(), target, alpha, gamma)


def _weigh(cross: Tensor, probability: Tensor, target: Tensor, alpha: float, gamma: float) -> Tensor:
    right = probability * target + (1 - probability) * (1 - target)
    weight = alpha * target + (1 - alpha) * (1 - target)
    return (weight * (1 - right) ** gamma * cross).mean()


def distances(query: Tensor, items: Tensor) -> Tensor:
    """Euclidean distances ``(Q, G)`` of ``query (Q, E)`` to ``items (G, E)``, or to ``(Q, G, E)``, a row each."""
    query, items = wide(query), wide(items)
    if items.ndim == 3:
        return torch.linalg.vector_norm(query.unsqueeze(1) - items, dim=-1)
    # squares of differences, not differences of squares: exact where query and item nearly coincide
    return torch.cdist(query, items, compute_mode="donot_use_mm_for_euclid_dist")


def set_wise_loss(
    query: Tensor, positive: Tensor, negatives: Tensor, margin: float = 2.0, mask: Tensor | None = None
) -> Tensor:
    """The paper's set-wise outfit ranking loss: all negatives, plus the hardest.

    ``mean_n [d(t, p) - d(t, n) + m]_+ + [d(t, p) - min_n d(t, n) + m]_+``, the mean over queries.

    Args:
        query: ``(Q, E)``, the predicted target t.
        positive: ``(Q, E)``, the item p that was taken out.
        negatives: ``(Q, K, E)``.
        margin: m.
        mask: ``(Q, K)`` bool, True = a real negative; None where all are.
    """
    similarity, found, real = sampled_rows(query, positive, negatives, mask)
    return set_wise(similarity, found, mask=real, margin=margin)


def in_batch_triplet(query: Tensor, answers: Tensor, margin: float = 2.0) -> Tensor:
    """The released loss: each query against its own answer and the nearest answer of another query.

    Args:
        query: ``(Q, E)``.
        answers: ``(Q, E)``.
        margin: How much farther the others must be.
    """
    found = torch.eye(len(query), dtype=torch.bool, device=query.device)
    return triplet(-distances(query, answers), found, margin=margin, mining="hardest")


def sampled_rows(
    query: Tensor, positive: Tensor, negatives: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Similarities of each query to its answer and its own negatives.

    Returns:
        ``similarity (Q, 1 + K)``, minus the distance; ``positive (Q, 1 + K)``, the first column; ``mask (Q, 1 + K)``.
    """
    if mask is not None:  # what is not real may hold anything, and would reach the query's gradient
        negatives = torch.where(mask.unsqueeze(-1), negatives, 0.0)
    similarity = -distances(query, torch.cat([positive.unsqueeze(1), negatives], 1))
    real = mask if mask is not None else similarity.new_ones(negatives.shape[:2], dtype=torch.bool)
    found = torch.zeros_like(similarity, dtype=torch.bool)
    found[:, 0] = True
    return similarity, found, pad(real, (1, 0), value=True)


def compatibility_term(logits: Tensor, target: Tensor, alpha: float, gamma: float, variant: Focal) -> Tensor:
    """The focal loss of the outfits ``(B,)`` of all processes."""
    return focal_loss_with_logits(gather(logits), gather(target), alpha, gamma, variant)


def sampled_term(query: Tensor, positive: Tensor, negatives: Tensor, mask: Tensor, ranking: SimilarityLoss) -> Tensor:
    """A similarity loss of each query over its answer and its sampled negatives, rows of all processes.

    Args:
        query: ``(Q, E)``.
        positive: ``(Q, E)``.
        negatives: ``(Q, K, E)``.
        mask: ``(Q, K)`` bool, True = real.
        ranking: The loss.
    """
    similarity, found, real = sampled_rows(query, positive, negatives, mask)
    longest = int(gather(torch.tensor([similarity.shape[1]], device=similarity.device)).max())
    room = (0, longest - similarity.shape[1])
    rows = gather(pad(similarity, room)), gather(pad(found, room, value=False)), gather(pad(real, room, value=False))
    return ranking(rows[0], rows[1], mask=rows[2])


def batch_term(
    query: Tensor, answers: Tensor, keys: Tensor, ranking: SimilarityLoss, keep_duplicates: bool = False
) -> Tensor:
    """A similarity loss of each query over the answers of all queries of all processes.

    Args:
        query: ``(Q, E)``.
        answers: ``(Q, E)``.
        keys: ``(Q,)`` integers, equal for equal items.
        ranking: The loss.
        keep_duplicates: Take the same item as another query's answer for a negative, as the released code does;
            otherwise it is neither positive nor negative.
    """
    query, answers, keys = gather(query), gather(answers), gather(keys)
    found = torch.eye(len(query), dtype=torch.bool, device=query.device)
    same = keys.unsqueeze(1) == keys.unsqueeze(0)
    mask = None if keep_duplicates else found | ~same
    return ranking(-distances(query, answers), found, mask=mask)
