"""The Plackett-Luce likelihood and its slope from running sums in float64, where these hold the range of the scores.

With m_j the mass of an item and D_k the denominators, the slope by a score is `m_j sum_k c_jk w_k / D_k - w_j`: c is 1
for the denominators of the blocks above j, and what Efron's rule leaves of j's own block for those of its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.ranking.engines import Engine, Slopes
from zoo.ranking.lists import Lists
from zoo.ranking.pairwise_engines import engine_for
from zoo.ranking.plackett_luce import ListTies, plackett_luce_value
from zoo.ranking.sorting import sort_rows

PLACKETT_LUCE_ENGINES = ("dense", "sorted")
SUMS_FROM = 512  # scores from which plain sums are faster than a scan of logarithms
SUMS_RANGE = 600.0  # how far apart the scores of a list may lie: exp(-600) is still a normal number


def plackett_luce_by_engine(lists: Lists, ties: ListTies, engine: Engine) -> Tensor:
    """Negative log-likelihood per list, `(M,)`: by sums, or where they do not hold the scores by logarithms."""
    best = "sorted" if lists.scores.numel() >= SUMS_FROM else "dense"
    if engine_for(lists, engine, PLACKETT_LUCE_ENGINES, lambda: best) == "sorted":
        with torch.no_grad():
            found = _sums(lists, ties)
        if found is not None:
            values: Tensor = Slopes.apply(lists.scores, *found)
            return values
    return plackett_luce_value(lists, ties)


def _sums(lists: Lists, ties: ListTies) -> tuple[Tensor, Tensor] | None:
    """Values `(M,)` and slopes `(M, N)`; None where the scores lie too far apart."""
    high, low = lists.scores.amax(-1, keepdim=True), lists.scores.amin(-1, keepdim=True)  # fillers are 0
    if not bool((high - low <= SUMS_RANGE).all()):  # a nan is in no range
        return None
    target, order = sort_rows(lists.target, descending=True)
    scores = lists.scores.gather(-1, order).double().sub_(high)
    mass, real, weight = scores.exp(), None, None
    if not lists.plain:
        real, weight = lists.real.gather(-1, order), lists.weight.double().gather(-1, order)
        weight = torch.where(real, weight, 0.0)
        mass, scores = mass.mul_(weight), torch.where(real, scores + weight.log(), 0.0)
    below = mass.flip(-1).cumsum_(-1).flip(-1)
    same = target[:, 1:] == target[:, :-1] if ties == "efron" else target[:, :0]
    tied = same.any(-1).nonzero().squeeze(-1)  # without ties, both forms are the same
    found = None
    if len(tied):
        every = len(tied) == len(target)
        parts = (x if every or x is None else x[tied] for x in (target, below, real, weight))
        found = _tied(*parts)  # type: ignore[arg-type]
    if found is not None and len(tied) == len(target):
        cost, pulled = found
    else:
        cost, pulled = _untied(below, weight)
        if found is not None:
            cost[tied], pulled[tied] = found
    own = scores if weight is None else scores.mul_(weight)
    slopes = mass.mul_(pulled).sub_(1.0 if weight is None else weight).to(lists.scores.dtype)
    values = (cost - own.sum(-1)).to(lists.scores.dtype)
    return values, torch.empty_like(slopes).scatter_(-1, order, slopes)


def _untied(below: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sum of `w log D`, `(M,)`, and of `w / D` over the items not below each, `(M, N)`; overwrites D.

    D is the mass that does not stand above an item.
    """
    if weight is None:
        return below.log().sum(-1), below.reciprocal_().cumsum_(-1)
    counted = weight > 0
    cost = torch.where(counted, weight * below.log(), 0.0)
    return cost.sum(-1), torch.where(counted, weight / below, 0.0).cumsum_(-1)


def _tied(target: Tensor, below: Tensor, real: Tensor | None, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same with Efron's denominators `R + (1 - r / d) T` in each block of d ties."""
    start, end = _block_ends(target)
    place = torch.arange(target.shape[-1], device=target.device)
    mass = F.pad(below, (0, 1))
    if real is None or weight is None:
        rank, size, share = place - start, end - start, None
    else:
        count = F.pad(real.cumsum(-1), (1, 0))
        rank, size = count[:, :-1] - count.gather(-1, start), count.gather(-1, end) - count.gather(-1, start)
        weighed = F.pad(weight.cumsum(-1), (1, 0))
        share = (weighed.gather(-1, end) - weighed.gather(-1, start)) / size.clamp(min=1)
    left = 1 - rank.double() / size.clamp(min=1)
    rest = mass.gather(-1, end)
    denominator = rest + left * (mass.gather(-1, start) - rest)
    if share is None or real is None:
        cost, inverse = denominator.log().sum(-1), denominator.reciprocal()
    else:
        cost = torch.where(real, share * denominator.log(), 0.0).sum(-1)
        inverse = torch.where(real, share / denominator, 0.0)
    earlier = F.pad(inverse.cumsum(-1), (1, 0)).gather(-1, start)
    within = F.pad((left * inverse).cumsum(-1), (1, 0))
    return cost, earlier + (within.gather(-1, end) - within.gather(-1, start))


def _block_ends(target: Tensor) -> tuple[Tensor, Tensor]:
    """First place of each sorted item's block of ties, and first place behind it; `(M, N)` int64."""
    items = target.shape[-1]
    new = F.pad(target[:, 1:] != target[:, :-1], (1, 1), value=True)  # a block begins here, or the list ends
    place = torch.arange(items + 1, device=target.device).expand(len(target), -1)
    start = (new * place)[:, :-1].cummax(-1).values
    # counted from behind, so that what begins no block is a 0 there as well
    end = items - (new * (items - place))[:, 1:].flip(-1).cummax(-1).values.flip(-1)
    return start, end
