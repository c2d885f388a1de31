"""The objective: any score loss of the ranking core over the documents of each query, or regression of the grades."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, pad

from zoo.ranking import ScoreLoss, gather
from zoo.ranking.checks import wide


def objective(scores: Tensor, target: Tensor, mask: Tensor, ranking: ScoreLoss | None = None) -> Tensor:
    """What a batch of queries costs, over the queries of all processes.

    Args:
        scores: ``(B, N)``.
        target: ``(B, N)``, relevance grades.
        mask: ``(B, N)`` bool, True = real.
        ranking: A score loss, each query a list of its own; None for regression, the mean of
            ``(score - grade)^2`` over all documents (pointwise, as in Cossock and Zhang, COLT 2006).

    Returns:
        A scalar.
    """
    scores, target, mask = gather_queries(wide(scores), target, mask)
    if ranking is None:
        errors = mse_loss(scores[mask], target[mask].to(scores.dtype), reduction="none")
        return errors.sum() / max(len(errors), 1)
    return ranking(scores, target, mask=mask)


def gather_queries(scores: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Joins the queries of all processes, padded to the longest of them; the input itself on one process.

    Args:
        scores: ``(B, N)``; B and N may differ between processes.
        target: ``(B, N)``.
        mask: ``(B, N)`` bool.

    Returns:
        The same three, ``(sum of B, largest N)``.
    """
    longest = int(gather(torch.tensor([scores.shape[1]], device=scores.device)).max())
    room = (0, longest - scores.shape[1])
    return gather(pad(scores, room)), gather(pad(target, room)), gather(pad(mask, room, value=False))
