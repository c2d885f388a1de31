"""RankMixup's two objectives: cross-entropy on raw images, plus the order of an image's confidence and its mixes'.

With s the top score of an image, s_k that of its k-th mixed copy and l_k the largest entry of the copy's soft label:

* MRL (one copy): the raw image stands above its mix, ``hinge(s > s_1)`` with a margin, same-class mixes left out.
* M-NDCG (K copies): the confidences (c, c_1 ... c_K) against the label strengths (1, l_1 ... l_K), by the NDCG ratio.

Nothing is detached: raw logits receive gradient from the ranking term too. Source: Noh et al., RankMixup, ICCV 2023.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zoo.errors import InputError
from zoo.ranking import Hinge, ScoreLoss, confidence_ndcg
from zoo.ranking.checks import wide
from zoo.training.choices import check_choice

MRLVariant = Literal["official", "elementwise"]
Scores = Literal["logits", "probabilities"]


class Outputs(NamedTuple):
    """What an objective sees of a batch.

    Attributes:
        logits: ``(B, C)`` of the raw images; empty where the objective takes no raw images.
        labels: ``(B,)`` int64.
        mixed: ``(B, K, C)``, logits of the mixed copies; K = 0 where the objective takes none.
        targets: ``(B, K, C)``, soft labels of the mixed copies, rows sum to 1.
    """

    logits: Tensor
    labels: Tensor
    mixed: Tensor
    targets: Tensor


class Objective(nn.Module):
    """What a recipe names as ``model.init_args.objective``.

    Attributes:
        copies: K, mixed copies per image.
        mixup_alpha: a of lambda ~ Beta(a, a).
        raw: Whether the raw images run through the network.
    """

    copies: int = 0
    mixup_alpha: float = 1.0
    raw: ClassVar[bool] = True

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """The weighted terms of a batch, scalars by name; their sum is the loss."""
        raise InputError(f"{type(self).__name__} defines no terms")


class MRL(Objective):
    """Mixup-based ranking loss: the top score of an image exceeds that of its mixed copy by a margin.

    Args:
        alpha: Weight of the ranking term, >= 0.
        margin: Score difference from which a pair costs nothing; 2 for CIFAR, 1 for Tiny-ImageNet.
        variant: ``official`` as in the released code, where the mask of same-class pairs became a factor (its mean)
            and those pairs still count; ``elementwise`` as intended: same-class pairs cost nothing.
        scores: Top ``logits``, as in the released code, or top ``probabilities``.
        mixup_alpha: a of lambda ~ Beta(a, a); 2 for CIFAR, 1 for Tiny-ImageNet.
        copies: Must be 1: the loss is defined for one mixed copy.
        ranking: Another score loss in place of the hinge, over lists (mixed, raw) with targets (0, 1); then ``margin``
            is not used.

    Raises:
        InputError: An argument is out of range.
    """

    def __init__(
        self,
        alpha: float = 0.1,
        margin: float = 2.0,
        variant: MRLVariant = "official",
        scores: Scores = "logits",
        mixup_alpha: float = 2.0,
        copies: int = 1,
        ranking: ScoreLoss | None = None,
    ) -> None:
        super().__init__()
        check_weight("alpha", alpha)
        check_choice("objective.variant", variant, get_args(MRLVariant))
        check_choice("objective.scores", scores, get_args(Scores))
        check_one_copy(copies)
        self.alpha, self.margin, self.variant, self.scores, self.ranking = alpha, margin, variant, scores, ranking
        self.copies, self.mixup_alpha = copies, mixup_alpha
        check_ranking(ranking)

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``ce`` and ``rank``."""
        rank = mrl(outputs.logits, outputs.mixed, outputs.targets, self.margin, self.variant, self.scores, self.ranking)
        return {"ce": cross_entropy(wide(outputs.logits), outputs.labels), "rank": self.alpha * rank}


class MNDCG(Objective):
    """Mixup-based NDCG: the confidences of an image and its mixed copies follow the strengths of their labels.

    Args:
        alpha: Weight of the ranking term, >= 0.
        copies: K, mixed copies per image, >= 1.
        mixup_alpha: a of lambda ~ Beta(a, a); 2 for CIFAR, 1 for Tiny-ImageNet.
        ranking: Another score loss in place of the NDCG, over lists (raw, mix 1 ... mix K) of confidences whose targets
            are the label strengths.

    Raises:
        InputError: An argument is out of range.
    """

    def __init__(
        self, alpha: float = 0.1, copies: int = 3, mixup_alpha: float = 2.0, ranking: ScoreLoss | None = None
    ) -> None:
        super().__init__()
        check_weight("alpha", alpha)
        if copies < 1:
            raise InputError(f"objective.copies must be at least 1, got {copies}")
        self.alpha, self.copies, self.mixup_alpha, self.ranking = alpha, copies, mixup_alpha, ranking
        check_ranking(ranking)

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``ce`` and ``rank``."""
        rank = mndcg(outputs.logits, outputs.mixed, outputs.targets, self.ranking)
        return {"ce": cross_entropy(wide(outputs.logits), outputs.labels), "rank": self.alpha * rank}


def mrl(
    logits: Tensor,
    mixed: Tensor,
    targets: Tensor,
    margin: float = 2.0,
    variant: MRLVariant = "official",
    scores: Scores = "logits",
    ranking: ScoreLoss | None = None,
) -> Tensor:
    """The ranking term of MRL, before its weight.

    Args:
        logits: ``(B, C)``, raw images.
        mixed: ``(B, 1, C)`` or ``(B, C)``, their mixed copies.
        targets: Like ``mixed``, the copies' soft labels; a label that holds exactly 1 is of one class alone.
        margin: In units of the scores.
        variant: See :class:`MRL`.
        scores: See :class:`MRL`.
        ranking: See :class:`MRL`.

    Returns:
        A scalar.

    Raises:
        InputError: More than one mixed copy per image, or shapes that do not fit.
    """
    if mixed.ndim == 3:
        check_one_copy(mixed.shape[1])
        mixed, targets = mixed.squeeze(1), targets.squeeze(1)
    check_same(logits, mixed, targets)
    across = ~(targets == 1).any(-1)
    pair = torch.stack([top(mixed, scores), top(logits, scores)], dim=-1)
    order = torch.tensor([0, 1], device=pair.device).expand(pair.shape)
    counted = across.unsqueeze(-1).expand(pair.shape) if variant == "elementwise" else None
    rank = Hinge(margin) if ranking is None else ranking
    cost = rank(pair, order, mask=counted)
    # the mean over counted pairs times their share is the sum over them divided by B; in the released code the mask
    # reached nothing but this share
    return across.to(cost.dtype).mean() * cost


def mndcg(logits: Tensor, mixed: Tensor, targets: Tensor, ranking: ScoreLoss | None = None) -> Tensor:
    """The ranking term of M-NDCG, before its weight.

    Args:
        logits: ``(B, C)``, raw images.
        mixed: ``(B, K, C)``, their mixed copies.
        targets: ``(B, K, C)``, the copies' soft labels.
        ranking: See :class:`MNDCG`.

    Returns:
        A scalar.

    Raises:
        InputError: Shapes that do not fit.
    """
    if mixed.ndim != 3 or mixed.shape != targets.shape or not mixed.shape[1]:
        raise InputError(
            f"mixed: shape {tuple(mixed.shape)} and targets {tuple(targets.shape)}, expected both (B, K, C), K >= 1"
        )
    check_same(logits, mixed[:, 0], targets[:, 0])
    confidence = torch.cat([top(logits, "probabilities").unsqueeze(1), top(mixed, "probabilities")], dim=1)
    strength = torch.cat([torch.ones_like(targets[:, :1, 0]), targets.amax(-1)], dim=1)
    if ranking is not None:
        return ranking(confidence, strength)
    return confidence_ndcg(confidence, strength, tied_lists="keep")


def top(logits: Tensor, scores: Scores) -> Tensor:
    """The largest logit, or the largest probability (the confidence); ``(..., C)`` to ``(...)``."""
    values = wide(logits) if scores == "logits" else wide(logits).softmax(-1)
    return values.max(-1).values


def check_weight(name: str, value: float) -> None:
    """Refuses a negative weight or one that is no number."""
    if not value >= 0:
        raise InputError(f"objective.{name} must not be negative, got {value}")


def check_one_copy(copies: int) -> None:
    """Refuses more than one mixed copy for MRL."""
    if copies != 1:
        raise InputError(
            f"MRL compares an image with one mixed copy, got copies = {copies}; use copies: 1, or MNDCG for several"
        )


def check_ranking(ranking: ScoreLoss | None) -> None:
    """Refuses a loss that gives a value per list."""
    if ranking is not None and ranking(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])).ndim:
        raise InputError("objective.ranking: reduction 'none' gives a value per list; training needs 'mean' or 'sum'")


def check_same(logits: Tensor, mixed: Tensor, targets: Tensor) -> None:
    """Refuses tensors of different shapes."""
    if not logits.shape == mixed.shape == targets.shape or logits.ndim != 2:
        raise InputError(
            f"logits {tuple(logits.shape)}, mixed {tuple(mixed.shape)} and targets {tuple(targets.shape)} must all be "
            "(B, C), for each mixed copy"
        )
