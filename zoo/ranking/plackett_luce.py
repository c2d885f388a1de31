"""Negative log-likelihood of an order under the Plackett-Luce model, with Efron's rule for ties."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.ranking.lists import Lists

ListTies = Literal["efron", "order"]
_NOTHING = -1e300  # log of no mass: below every float32 score, and finite so that no gradient becomes inf - inf


def plackett_luce_value(lists: Lists, ties: ListTies) -> Tensor:
    """Negative log-likelihood per list, `(M,)`.

    A block of d tied items with total mass T, above a rest of mass R, has the d denominators `R + (1 - r / d) T`, r =
    0 .. d-1. All masses are kept as logarithms, each in two parts, and scanned in float64: neither a range of scores of
    1e30 nor a long list costs accuracy, in the value or in the gradient.
    """
    order = lists.target.argsort(dim=-1, descending=True, stable=True)
    target, real, weight = (x.gather(-1, order) for x in (lists.target, lists.real, lists.weight.double()))
    score = torch.where(real, lists.scores.double().gather(-1, order), _NOTHING)
    top = score.detach()
    mass = _Log(top, score - top + torch.where(real, weight, 1.0).log())

    block = _blocks(target, ties)
    size, rank = _sizes_and_ranks(block, real)
    rest = _mass_below(mass, block)
    own = _mass_of_block(mass, block)
    left = torch.where(real, 1 - rank.double() / size.clamp(min=1), 1.0)
    denominator = _log_add(rest, _Log(own.top, own.rest + left.log()))
    mean_weight = torch.zeros_like(weight).scatter_add(-1, block, weight).gather(-1, block) / size.clamp(min=1)
    above = denominator.top - mass.top + (denominator.rest - mass.rest)
    terms = mean_weight * above + (mean_weight - weight) * (mass.top + mass.rest)
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


class _Log(NamedTuple):
    """`top + rest`: the logarithm of a sum of masses, `(M, N)`.

    Attributes:
        top: The largest score of the sum, without a graph.
        rest: The logarithm of the sum over the mass of that score: beside a score of 1e30 it would have no digit left.
    """

    top: Tensor
    rest: Tensor


def _mass_below(mass: _Log, block: Tensor) -> _Log:
    """The mass of all items below each item's block.

    The scan doubles its reach in each step. (torch.logcumsumexp would do, but its second derivative is nan.)
    """

    def ahead(x: _Log, reach: int, kept: int) -> _Log:
        """What stands so far ahead; no mass behind the end."""
        return _Log(F.pad(x.top[:, kept:], (0, reach), value=_NOTHING), F.pad(x.rest[:, kept:], (0, reach)))

    from_here, reach = mass, 1
    while reach < mass.top.shape[-1]:
        from_here = _log_add(from_here, ahead(from_here, reach, reach))
        reach *= 2
    end = torch.zeros_like(block).scatter_add(-1, block, torch.ones_like(block)).cumsum(-1).gather(-1, block)
    return _Log(*(part.gather(-1, end) for part in ahead(from_here, 1, 0)))


def _log_add(x: _Log, y: _Log) -> _Log:
    """The logarithm of both sums, with finite derivatives of every order however far apart x and y lie."""
    top = torch.maximum(x.top, y.top)
    return _Log(top, torch.stack([x.rest + (x.top - top), y.rest + (y.top - top)]).logsumexp(0))


def _mass_of_block(mass: _Log, block: Tensor) -> _Log:
    """The mass of each item's block."""
    highest = torch.full_like(mass.top, _NOTHING).scatter_reduce(-1, block, mass.top, "amax").gather(-1, block)
    total = torch.zeros_like(mass.rest).scatter_add(-1, block, (mass.top - highest + mass.rest).exp())
    return _Log(highest, total.gather(-1, block).log())
