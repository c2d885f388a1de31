"""The objective of RDE: a similarity loss per caption and per image, on both embeddings, over the pairs kept."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from zoo.domains.reid.network import Embeddings, cosines
from zoo.errors import InputError
from zoo.ranking import SDM, InfoNCE, SimilarityLoss, gather, triplet_alignment

Reduction = Literal["sum", "mean"]
Positives = Literal["identity", "pair"]
Variant = Literal["official", "paper"]


class TRL(SimilarityLoss):
    """The triplet ranking loss with the hardest negative that RDE compares itself with.

    ``max(0, margin - sum_p alpha_p S_p + max_n S_n)``, alpha as in triplet alignment.

    Source: Qin et al., CVPR 2024; the released code takes the maximum over S times the mask of negatives, where a 0
    stands for every positive: its hardest negative is never below 0.

    Args:
        margin: How far the positives must stand above the hardest negative.
        temperature: Of the weights alpha.
        variant: ``official`` with that 0, ``paper`` without.
        reduction: Over rows; the objective of the domain asks for each row's value.
    """

    def __init__(
        self,
        margin: float = 0.1,
        temperature: float = 0.015,
        variant: Variant = "official",
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> None:
        super().__init__({"margin": margin, "temperature": temperature, "variant": variant, "reduction": reduction})

    @staticmethod
    def function(
        similarity: Tensor,
        positive: Tensor,
        *,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
        margin: float = 0.1,
        temperature: float = 0.015,
        variant: Variant = "official",
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> Tensor:
        """The loss of ``similarity (Q, G)`` and bool ``positive (Q, G)``; see :mod:`zoo.ranking`."""
        if variant not in ("official", "paper"):
            raise ValueError(f"variant: {variant!r} given, expected 'official' or 'paper'")
        if not similarity.shape[-1]:
            return triplet_alignment(similarity, positive, mask=mask, weight=weight, reduction=reduction)
        real = torch.ones_like(positive) if mask is None else mask
        negatives = similarity.masked_fill(~(real & ~positive), -torch.inf)
        hardest = negatives.max(1, keepdim=True).values
        if variant == "official":
            hardest = torch.where(hardest == -torch.inf, hardest, hardest.clamp(min=0))
        # triplet alignment with one negative is this loss: T log exp(S_n / T) = S_n
        columns = torch.cat([similarity, hardest.masked_fill(hardest == -torch.inf, 0.0)], dim=1)
        above = torch.cat([positive, torch.zeros_like(positive[:, :1])], dim=1)
        kept = torch.cat([real & positive, hardest != -torch.inf], dim=1)
        return triplet_alignment(
            columns, above, mask=kept, weight=weight, margin=margin, temperature=temperature, reduction=reduction
        )


def released_reduction(ranking: SimilarityLoss) -> Reduction:
    """How the released code adds up a batch: the mean for SDM and InfoNCE, else the sum."""
    return "mean" if isinstance(ranking, SDM | InfoNCE) else "sum"


def released_positives(ranking: SimilarityLoss) -> Positives:
    """What the released code takes for positive: InfoNCE knows only the pair itself, all others the identity."""
    return "pair" if isinstance(ranking, InfoNCE) else "identity"


def positive_pairs(identity: Tensor, positives: Positives) -> Tensor:
    """``identity (B,)`` -> bool ``(B, B)``: which images belong to which captions."""
    if positives == "pair":
        return torch.eye(len(identity), dtype=torch.bool, device=identity.device)
    return identity.unsqueeze(1) == identity.unsqueeze(0)


def pair_losses(similarity: Tensor, positive: Tensor, ranking: SimilarityLoss) -> Tensor:
    """What each pair costs: its caption among the images, and its image among the captions.

    Args:
        similarity: ``(B, B)``, captions by images; pair i is caption i with image i.
        positive: ``(B, B)`` bool.
        ranking: Any similarity loss. The two directions are added, and averaged for InfoNCE, as the released code does.

    Returns:
        ``(B,)``.

    Raises:
        InputError: The loss gives no value per row.
    """
    both = _per_row(ranking, similarity, positive) + _per_row(ranking, similarity.T, positive.T)
    return both / 2 if isinstance(ranking, InfoNCE) else both


def _per_row(ranking: SimilarityLoss, similarity: Tensor, positive: Tensor) -> Tensor:
    before = getattr(ranking, "reduction", None)
    if before is not None:
        setattr(ranking, "reduction", "none")  # noqa: B010 - torch types a module's attributes as tensors
    try:
        values: Tensor = ranking(similarity, positive)
    finally:
        if before is not None:
            setattr(ranking, "reduction", before)  # noqa: B010
    if values.shape != similarity.shape[:1]:
        raise InputError(
            f"model.ranking: {type(ranking).__name__} gives shape {tuple(values.shape)}, a value per row is needed: "
            "let it have an option `reduction` that may be 'none'"
        )
    return values


def batch_losses(
    images: Embeddings, texts: Embeddings, identity: Tensor, ranking: SimilarityLoss, positives: Positives
) -> tuple[Tensor, Tensor]:
    """What each pair of a batch costs on both embeddings.

    Args:
        images: B images.
        texts: Their captions.
        identity: ``(B,)``.
        ranking: Any similarity loss.
        positives: What counts as positive.

    Returns:
        ``(B,)`` on the global embeddings, ``(B,)`` on the selected tokens'.
    """
    positive = positive_pairs(identity, positives)
    bge, tse = (pair_losses(cosines(text, image), positive, ranking) for image, text in zip(images, texts, strict=True))
    return bge, tse


def objective(losses: Tensor, kept: Tensor, reduction: Reduction) -> Tensor:
    """Adds up the losses of the pairs that are taken for clean; the others still act as negatives of these.

    Args:
        losses: ``(B,)``.
        kept: ``(B,)``, 1 or 0 per pair.
        reduction: ``sum``, or ``mean`` over the pairs kept (0 where none is).
    """
    total = (losses * kept).sum()
    return total if reduction == "sum" else total / kept.sum().clamp(min=1)


def gather_pairs(images: Embeddings, texts: Embeddings, *others: Tensor) -> tuple[Embeddings, Embeddings, list[Tensor]]:
    """The pairs of all processes, with gradients; the input itself on one process."""
    return (
        Embeddings(*(gather(feature) for feature in images)),
        Embeddings(*(gather(feature) for feature in texts)),
        [gather(other) for other in others],
    )


__all__ = ["TRL", "batch_losses", "gather_pairs", "objective", "pair_losses", "positive_pairs"]
