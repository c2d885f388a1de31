"""What a pair costs along with its slope: the form in which the block and band engines take a loss.

A cost is called for the dense form, where autograd finds the slope, and asked for `with_slope` in a block, where a
closed form saves most of the passes over it. A penalty that is not in the table of closed forms is differentiated by
autograd, block by block: any elementwise function will do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.ranking.penalties import (
    EPS,
    BinaryFidelityPenalty,
    HingePenalty,
    LogisticPenalty,
    Penalty,
    SigmoidPenalty,
    SquaredHingePenalty,
    normal_cdf,
)


class Room:
    """Tensors of a block's shape that the next block uses again: fresh memory costs more than what is done in it.

    Args:
        like: Gives dtype and device.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._kept: list[Tensor] = []
        self._taken = 0
        self._shape: tuple[int, ...] = ()

    def begin(self, *shape: int) -> None:
        """The next block, of this shape; all tensors given before are free again."""
        self._taken, self._shape = 0, shape

    def new(self) -> Tensor:
        """A tensor of the block's shape that holds anything."""
        size = math.prod(self._shape)
        if self._taken == len(self._kept):
            self._kept.append(self._like.new_empty(size))
        if self._kept[self._taken].numel() < size:
            self._kept[self._taken] = self._like.new_empty(size)
        self._taken += 1
        return self._kept[self._taken - 1][:size].view(self._shape)


class Cost(Protocol):
    """Cost of pairs from their score differences and the differences of further numbers, all of one shape."""

    def __call__(self, gap: Tensor, *features: Tensor) -> Tensor:
        """Differentiable costs."""

    def with_slope(self, room: Room, gap: Tensor, *features: Tensor) -> tuple[Tensor, Tensor]:
        """Costs and their derivatives by the gap, without a graph; two tensors that may be written over.

        Args:
            room: Gives further tensors.
            gap: May be written over, as the features may.
            features: As for the call.
        """


@dataclass(frozen=True)
class PenaltyCost:
    """A penalty on the score difference, in units of a temperature."""

    penalty: Penalty
    temperature: float = 1.0

    def __call__(self, gap: Tensor, *features: Tensor) -> Tensor:
        """Cost of each difference, same shape."""
        return self.penalty(gap / self.temperature)

    def with_slope(self, room: Room, gap: Tensor, *features: Tensor) -> tuple[Tensor, Tensor]:
        """Cost and slope, in closed form where there is one."""
        if self.temperature != 1:
            gap.div_(self.temperature)
        cost, slope = _SLOPES.get(type(self.penalty), _by_autograd)(self.penalty, room, gap)
        return cost, slope if self.temperature == 1 else slope.div_(self.temperature)


@dataclass(frozen=True)
class LambdaCost:
    """RankNet's cost of a pair, times the change of DCG if it is swapped; features: gain and discount."""

    temperature: float = 1.0

    def __call__(self, gap: Tensor, *features: Tensor) -> Tensor:
        """`|gain difference| |discount difference| log(1 + exp(-gap / temperature))`."""
        gained, discount = features
        return gained.abs() * discount.abs() * LogisticPenalty()(gap / self.temperature)

    def with_slope(self, room: Room, gap: Tensor, *features: Tensor) -> tuple[Tensor, Tensor]:
        """The same and its derivative."""
        gained, discount = features
        change = gained.mul_(discount).abs_()
        cost, slope = PenaltyCost(LogisticPenalty(), self.temperature).with_slope(room, gap)
        return cost.mul_(change), slope.mul_(change)


@dataclass(frozen=True)
class ThurstoneCost:
    """Fidelity of two probabilities that one item is better, each normal in a difference; feature: the target."""

    scale: float = 1.0

    def __call__(self, gap: Tensor, *features: Tensor) -> Tensor:
        """`1 - sqrt(p g + e) - sqrt((1 - p)(1 - g) + e)`."""
        predicted, target = gap / self.scale, features[0].to(gap.dtype) / self.scale
        return 1 - _overlap(predicted, target) - _overlap(-predicted, -target)

    def with_slope(self, room: Room, gap: Tensor, *features: Tensor) -> tuple[Tensor, Tensor]:
        """The same and its derivative."""
        # Phi(x / scale) = erfc(-x / (sqrt(2) scale)) / 2
        minus = gap.mul_(-math.sqrt(0.5) / self.scale)
        worse = features[0].mul_(math.sqrt(0.5) / self.scale)
        better = torch.neg(worse, out=room.new()).erfc_().mul_(0.5)
        worse.erfc_().mul_(0.5)
        agreed = torch.erfc(minus, out=room.new()).mul_(0.5).mul_(better).add_(EPS).sqrt_()
        missed = torch.neg(minus, out=room.new()).erfc_().mul_(0.5).mul_(worse).add_(EPS).sqrt_()
        slope = worse.div_(missed).sub_(better.div_(agreed))
        density = minus.mul_(minus).neg_().exp_()
        slope.mul_(density).mul_(0.5 / (math.sqrt(2 * math.pi) * self.scale))
        return agreed.add_(missed).neg_().add_(1), slope


def _overlap(predicted: Tensor, wanted: Tensor) -> Tensor:
    return (normal_cdf(predicted) * normal_cdf(wanted) + EPS).sqrt()


# -- the closed forms of the penalties


def _by_autograd(penalty: Penalty, room: Room, difference: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaf = difference.detach().requires_grad_()
        found = penalty(leaf)
        (slope,) = torch.autograd.grad(found.sum(), leaf)
    return found.detach().clone(), slope.clone()


def _hinge(penalty: HingePenalty, room: Room, difference: Tensor) -> tuple[Tensor, Tensor]:
    slope: Tensor = torch.lt(difference, penalty.margin, out=room.new())
    return difference.neg_().add_(penalty.margin).relu_(), slope.neg_()


def _squared_hinge(penalty: SquaredHingePenalty, room: Room, difference: Tensor) -> tuple[Tensor, Tensor]:
    below = difference.neg_().add_(penalty.margin).relu_()
    return torch.mul(below, below, out=room.new()), below.mul_(-2)


def _logistic(penalty: LogisticPenalty, room: Room, difference: Tensor) -> tuple[Tensor, Tensor]:
    # a hinge and what dies off on both sides of it
    rest = torch.abs(difference, out=room.new()).neg_().exp_().log1p_()
    rest.sub_(torch.clamp(difference, max=0, out=room.new()))
    return rest, difference.neg_().sigmoid_().neg_()


def _sigmoid(penalty: SigmoidPenalty, room: Room, difference: Tensor) -> tuple[Tensor, Tensor]:
    cost = difference.neg_().sigmoid_()
    return cost, torch.mul(cost, cost, out=room.new()).sub_(cost)


def _binary_fidelity(penalty: BinaryFidelityPenalty, room: Room, difference: Tensor) -> tuple[Tensor, Tensor]:
    minus = difference.mul_(-math.sqrt(0.5))
    root = torch.erfc(minus, out=room.new()).mul_(0.5).add_(EPS).sqrt_()
    slope = minus.mul_(minus).neg_().exp_().div_(root).mul_(-0.5 / math.sqrt(2 * math.pi))
    return root.neg_().add_(1 - math.sqrt(EPS)), slope


_SLOPES: dict[type, Callable[[Any, Room, Tensor], tuple[Tensor, Tensor]]] = {
    HingePenalty: _hinge,
    SquaredHingePenalty: _squared_hinge,
    LogisticPenalty: _logistic,
    SigmoidPenalty: _sigmoid,
    BinaryFidelityPenalty: _binary_fidelity,
}
