"""The objective: any score loss within scenes or pairs; the paper's is fidelity. Regression baselines beside it.

For a pair (a, b) of one scene with scores q and labels m: p = Phi(q_a - q_b), g = Phi(m_a - m_b), Phi the standard
normal distribution function, and L = mean of 1 - sqrt(p g + 1e-8) - sqrt((1 - p)(1 - g) + 1e-8). The labels' standard
deviations are not used. Paper and released code agree on this (the sheet knows no difference).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from zoo.errors import InputError
from zoo.ranking import Fidelity, ScoreLoss, gather
from zoo.ranking.checks import wide

LARGE = 1e4  # deviations from the mean up to which a correlation is computed as they are


class Regression(ScoreLoss):
    """Base of the losses that compare scores with labels, not items with each other."""


class L1(Regression):
    """Mean of ``|score - label|`` over the batch."""

    def __init__(self) -> None:
        super().__init__()

    def forward(
        self,
        scores: Tensor,
        target: Tensor,
        *,
        group: Tensor | None = None,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """The loss of ``scores`` and ``target`` of one shape; groups mean nothing to it."""
        return _mean(l1_loss, *_real(scores, target, mask, weight))


class L2(Regression):
    """Mean of ``(score - label)^2`` over the batch."""

    def __init__(self) -> None:
        super().__init__()

    def forward(
        self,
        scores: Tensor,
        target: Tensor,
        *,
        group: Tensor | None = None,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """The loss of ``scores`` and ``target`` of one shape; groups mean nothing to it."""
        return _mean(mse_loss, *_real(scores, target, mask, weight))


class PLCC(Regression):
    """``(1 - r) / 2``, r the linear correlation of scores and labels.

    Args:
        within: ``batch`` correlates all items of the batch, ``scene`` those of each scene, averaged over scenes.
    """

    def __init__(self, within: Literal["batch", "scene"] = "batch") -> None:
        super().__init__()
        if within not in ("batch", "scene"):
            raise ValueError(f"within: {within!r} given, expected 'batch' or 'scene'")
        self.within = within

    def forward(
        self,
        scores: Tensor,
        target: Tensor,
        *,
        group: Tensor | None = None,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """The loss of ``scores (N,)`` and ``target (N,)``; 0 where nothing varies."""
        scores, target, weights = _real(scores, target, mask, weight)
        names = torch.zeros_like(scores, dtype=torch.int64)
        if self.within == "scene" and group is not None:
            names = group.flatten()
        values = [plcc_loss(scores[names == name], target[names == name], weights[names == name])
                  for name in names.unique().tolist()]  # fmt: skip
        counted = [value for value in values if value is not None]
        return torch.stack(counted).mean() if counted else scores.sum() * 0


def plcc_loss(scores: Tensor, target: Tensor, weight: Tensor) -> Tensor | None:
    """``(1 - r) / 2`` of one list ``(N,)``; None where fewer than two labels differ."""
    real = weight > 0
    if int(real.sum()) < 2 or bool((target[real] == target[real][0]).all()):
        return None
    share = weight / weight.sum()
    x, y = scores - (share * scores).sum(), target - (share * target).sum()
    x = x / (x.detach().abs().amax() / LARGE).clamp(min=1)  # a correlation does not see the scale
    # equal scores have no correlation: the small number lets their gradient live
    spread = ((share * x * x).sum() + 1e-8).sqrt() * (share * y * y).sum().sqrt()
    return (1 - (share * x * y).sum() / spread) / 2


def _real(scores: Tensor, target: Tensor, mask: Tensor | None, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, targets and weights ``(N,)``, all 0 where an item does not count: there may have been anything."""
    scores = wide(scores)
    weights = torch.ones_like(scores) if weight is None else weight.to(scores.dtype)
    if mask is not None:
        weights = torch.where(mask, weights, 0.0)
    counted = [torch.where(weights != 0, x, 0.0).flatten() for x in (scores, target.to(scores.dtype))]
    return counted[0], counted[1], weights.flatten()


def _mean(cost: Callable[..., Tensor], scores: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over what is real; 0 where nothing is."""
    values = cost(scores, target, reduction="none")
    return (values * weights).sum() / weights.sum().clamp(min=torch.finfo(values.dtype).tiny)


def paper_loss() -> ScoreLoss:
    """Fidelity as published: ties count as g = 1/2, self-pairs and all."""
    return Fidelity(tied_lists="keep")


def objective(ranking: ScoreLoss, scores: Tensor, target: Tensor, scene: Tensor, pair: Tensor | None = None) -> Tensor:
    """What a batch costs, over the batches of all processes.

    Args:
        ranking: Any score loss; a :class:`Regression` looks at all items alike.
        scores: ``(B,)``.
        target: ``(B,)`` labels, higher is better.
        scene: ``(B,)`` int64; scores compare within a scene only.
        pair: ``(P, 2)`` rows of the batch to compare; without it all pairs of a scene inside the batch.

    Returns:
        A scalar.

    Raises:
        InputError: No scene has two images, so nothing can be ranked.
    """
    if isinstance(ranking, Regression):
        return ranking(gather(scores), gather(target), group=gather(scene))
    if pair is not None:
        return ranking(gather(scores[pair]), gather(target[pair]))
    scores, target, scene = gather(scores), gather(target), gather(scene)
    scenes = len(scene.unique())
    if scenes == len(scene):
        raise InputError(
            f"a batch needs two images of one scene to rank, this one has {len(scene)} images of {scenes} scenes; "
            "use data.pairs csv or epoch, or a larger data.batch_size"
        )
    return ranking(scores, target, group=scene)
