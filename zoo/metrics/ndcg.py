"""Normalised discounted cumulative gain of ranked lists: exact over batches and processes, ties handled."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from zoo.metrics.gathered import Metric

Gain = Literal["exp2", "linear"]
Discount = Literal["log2", "letor"]
Ties = Literal["average", "order"]
Empty = Literal["zero", "one", "skip"]


def ndcg_values(
    scores: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    k: int | None = 10,
    gain: Gain = "exp2",
    discount: Discount = "log2",
    ties: Ties = "average",
) -> tuple[Tensor, Tensor]:
    """NDCG@k of each list: the DCG of the order by score over the largest DCG of any order.

    Source: Jarvelin and Kekalainen, ACM TOIS 20(4), 2002; exponential gain: Burges et al., ICML 2005. Averaging over
    the orders of equal scores: McSherry and Najork, ECIR 2008.

    Args:
        scores: ``(B, N)``, any number; a higher score stands higher.
        target: ``(B, N)``, relevance >= 0; a row whose relevances are all 0 has no ideal order.
        mask: ``(B, N)`` bool, True = real; None where all are.
        k: Depth of the list that counts; None for the whole list.
        gain: ``exp2`` is ``2^target - 1``, ``linear`` the target itself.
        discount: What the gain at rank r (from 1) is divided by: ``log2`` is ``log2(1 + r)``; ``letor`` is
            ``log2(max(r, 2))``, which does not tell the first two ranks apart (LETOR's scripts, and Jarvelin and
            Kekalainen with base 2).
        ties: Of equal scores, ``average`` takes the mean over all their orders, ``order`` the one in which they
            are given.

    Returns:
        ``(B,)`` values in [0, 1], 0 for a row without an ideal; ``(B,)`` bool, whether the row has an ideal.

    Raises:
        TypeError: A tensor is no tensor, or the mask is not bool.
        ValueError: A shape, option or value does not fit; names it.
    """
    real = _check(scores, target, mask)
    check_options(k, gain, discount, ties)
    # every process and batch size shall give the same digits; Apple's MPS alone has no float64
    dtype = torch.float32 if scores.device.type == "mps" else torch.float64
    target = torch.where(real, target, 0).to(dtype)
    gains = torch.exp2(target) - 1 if gain == "exp2" else target
    weights = _weights(scores.shape[-1], k, discount, gains)
    reached = (_placed(scores, gains, real, ties) * weights).sum(-1)
    ideal = (gains.sort(-1, descending=True).values * weights).sum(-1)
    usable = ideal > 0
    return torch.where(usable, reached / torch.where(usable, ideal, 1), 0), usable


class NDCG(Metric):
    """Mean NDCG@k over lists, see :func:`ndcg_values`.

    Keeps one number per list and adds them exactly, so that the result depends neither on the batch size nor on how
    the lists are shared out to processes.

    Args:
        k: Depth of the list that counts; None for the whole list.
        gain: ``exp2`` or ``linear``.
        discount: ``log2`` or ``letor``.
        ties: ``average`` or ``order``.
        empty: A list without a relevant item counts ``zero`` (LETOR, scikit-learn, torchmetrics), ``one`` (LightGBM),
            or not at all (``skip``).
        full: Only lists of at least k items count with their value, shorter ones count 0. That is what LETOR 4.0's
            script does to them, by leaving the value at rank k undefined.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    values: list[Tensor]

    def __init__(
        self,
        k: int | None = 10,
        gain: Gain = "exp2",
        discount: Discount = "log2",
        ties: Ties = "average",
        empty: Empty = "zero",
        full: bool = False,
    ) -> None:
        super().__init__()
        check_options(k, gain, discount, ties)
        _check_word("empty", empty, get_args(Empty))
        if full and k is None:
            raise ValueError("full: a list is full at k items, but k is None")
        self.k, self.gain, self.discount, self.ties, self.empty, self.full = k, gain, discount, ties, empty, full
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Adds lists: ``scores``, ``target`` ``(B, N)``, ``mask`` ``(B, N)`` bool (True = real) or None."""
        self.values.append(self.per_list(scores, target, mask))

    def per_list(self, scores: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The value of each list that counts, ``(B,)``, or fewer where ``empty`` is ``skip``."""
        values, usable = ndcg_values(scores, target, mask, self.k, self.gain, self.discount, self.ties)
        if self.empty == "one":
            values = torch.where(usable, values, 1)
        if self.full and self.k is not None:
            sizes = torch.full_like(values, scores.shape[-1]) if mask is None else mask.sum(-1)
            values = torch.where(sizes >= self.k, values, 0)
        return values[usable] if self.empty == "skip" else values

    def compute(self) -> Tensor:
        """The mean; nan where there is no list."""
        values = dim_zero_cat(self.values) if len(self.values) else torch.empty(0, device=self.device)
        mean = math.fsum(values.tolist()) / len(values) if len(values) else math.nan
        return torch.tensor(mean, dtype=values.dtype, device=values.device)


def check_options(k: int | None, gain: str, discount: str, ties: str) -> None:
    """Refuses what is no option.

    Raises:
        ValueError: Names the option, what was given and what is expected.
    """
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
        raise ValueError(f"k: {k!r} given, expected None or a whole number of at least 1")
    _check_word("gain", gain, get_args(Gain))
    _check_word("discount", discount, get_args(Discount))
    _check_word("ties", ties, get_args(Ties))


def _check_word(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}: {value!r} given, expected one of {', '.join(map(repr, allowed))}")


def _check(scores: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """Checks the tensors; gives the mask, all True where there is none."""
    if scores.ndim != 2:
        raise ValueError(f"scores: shape {tuple(scores.shape)} given, expected (B, N)")
    if target.shape != scores.shape:
        raise ValueError(f"target: shape {tuple(target.shape)} given, expected {tuple(scores.shape)}, as the scores")
    if mask is None:
        real = torch.ones_like(scores, dtype=torch.bool)
    elif mask.dtype != torch.bool:
        raise TypeError(f"mask: dtype {mask.dtype} given, expected bool, True = real")
    elif mask.shape != scores.shape:
        raise ValueError(f"mask: shape {tuple(mask.shape)} given, expected {tuple(scores.shape)}, as the scores")
    else:
        real = mask
    if not torch.isfinite(scores[real]).all():
        raise ValueError("scores: a real item has a score that is not finite")
    given = target[real]
    if not torch.isfinite(given).all() or (given < 0).any():
        raise ValueError("target: a real item has a relevance that is negative or not finite")
    return real


def _weights(size: int, k: int | None, discount: Discount, like: Tensor) -> Tensor:
    """One over the discount of ranks 1 to ``size``, 0 beyond ``k``; ``(N,)``."""
    rank = torch.arange(1, size + 1, dtype=like.dtype, device=like.device)
    weights = 1 / torch.log2(rank + 1 if discount == "log2" else rank.clamp(min=2))
    return weights if k is None else torch.where(rank <= k, weights, 0)


def _placed(scores: Tensor, gains: Tensor, real: Tensor, ties: Ties) -> Tensor:
    """Gains in the order of descending score, ``(B, N)``; what is not real comes last and has gain 0."""
    scores = torch.where(real, scores, -torch.inf)
    ordered, index = scores.sort(dim=-1, descending=True, stable=True)
    placed = gains.gather(-1, index)
    if ties == "order" or scores.shape[-1] == 0:
        return placed
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    block = starts.cumsum(-1) - 1
    total = torch.zeros_like(placed).scatter_add_(-1, block, placed)
    count = torch.zeros_like(placed).scatter_add_(-1, block, torch.ones_like(placed))
    return (total / count.clamp(min=1)).gather(-1, block)
