"""Negative log-likelihood of an order under the Plackett-Luce model, with Efron's rule for ties."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.ranking.lists import Lists

ListTies = Literal["efron", "order"]
_NOTHING = -1e300  # log of no mass: below every float32 score, and finite so that no gradient becomes inf - inf


def plackett_luce_value(lists: Lists, ties: ListTies) -> Tensor:
    """Negative log-likelihood per list, `(M,)`.

    A block of d tied items with total mass T, above a rest of mass R, has the d denominators `R + (1 - r / d) T`, r =
    0 .. d-1. All masses are kept as logarithms and scanned in float64: neither a range of scores of 1e4 nor a long
    list costs accuracy, in the value or in the gradient.
    """
    order = lists.target.argsort(dim=-1, descending=True, stable=True)
    target, real, weight = (x.gather(-1, order) for x in (lists.target, lists.real, lists.weight.double()))
    mass = lists.scores.double().gather(-1, order) + torch.where(real, weight, 1.0).log()
    mass = torch.where(real, mass, _NOTHING)

    block = _blocks(target, ties)
    size, rank = _sizes_and_ranks(block, real)
    rest = _mass_below(mass, block)
    own = _mass_of_block(mass, block)
    left = torch.where(real, 1 - rank.double() / size.clamp(min=1), 1.0)
    denominator = _log_add(rest, own + left.log())
    mean_weight = torch.zeros_like(weight).scatter_add(-1, block, weight).gather(-1, block) / size.clamp(min=1)
    terms = mean_weight * denominator - weight * mass
    return torch.where(real, terms, 0.0).sum(-1).to(lists.scores.dtype)


def _blocks(target: Tensor, ties: ListTies) -> Tensor:
    """Index of each sorted item's block, `(M, N)`: equal targets share one, or every item has its own."""
    if ties == "order":
        return torch.arange(target.shape[-1], device=target.device).expand(target.shape)
    new = (target[:, 1:] != target[:, :-1]).cumsum(-1)
    return F.pad(new, (1, 0))


def _sizes_and_ranks(block: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Real items of each item's block, and how many of them stand before it; both int64 `(M, N)`."""
    counts = torch.zeros_like(block).scatter_add(-1, block, real.long())
    before_block = counts.cumsum(-1) - counts
    before_item = real.cumsum(-1) - real.long()
    return counts.gather(-1, block), before_item - before_block.gather(-1, block)


def _mass_below(mass: Tensor, block: Tensor) -> Tensor:
    """Log of the mass of all items below each item's block, `(M, N)`.

    The scan doubles its reach in each step. (torch.logcumsumexp would do, but its second derivative is nan.)
    """
    from_here, reach = mass, 1
    while reach < mass.shape[-1]:
        from_here = _log_add(from_here, F.pad(from_here[:, reach:], (0, reach), value=_NOTHING))
        reach *= 2
    end = torch.zeros_like(block).scatter_add(-1, block, torch.ones_like(block)).cumsum(-1).gather(-1, block)
    return F.pad(from_here, (0, 1), value=_NOTHING).gather(-1, end)


def _log_add(x: Tensor, y: Tensor) -> Tensor:
    """`log(exp(x) + exp(y))`, with finite derivatives of every order however far apart x and y lie."""
    return torch.stack([x, y]).logsumexp(0)


def _mass_of_block(mass: Tensor, block: Tensor) -> Tensor:
    """Log of the mass of each item's block, `(M, N)`."""
    highest = torch.full_like(mass, _NOTHING).scatter_reduce(-1, block, mass.detach(), "amax").gather(-1, block)
    total = torch.zeros_like(mass).scatter_add(-1, block, (mass - highest).exp())
    return total.gather(-1, block).log() + highest
