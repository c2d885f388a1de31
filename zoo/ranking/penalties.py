"""What a pair costs: functions of the score difference `d` = score of the item that belongs above - the other's.

Penalties are small frozen objects rather than closures, so that an engine can see which one it was given and use
its closed form.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Penalty = Callable[[Tensor], Tensor]
EPS = 1e-8  # of the fidelity's roots, whose slope has no end at 0


@dataclass(frozen=True)
class HingePenalty:
    """`max(0, margin - d)`."""

    margin: float = 1.0

    def __call__(self, difference: Tensor) -> Tensor:
        """Cost of each difference, same shape."""
        return F.relu(self.margin - difference)


@dataclass(frozen=True)
class SquaredHingePenalty:
    """`max(0, margin - d)^2`."""

    margin: float = 1.0

    def __call__(self, difference: Tensor) -> Tensor:
        """Cost of each difference, same shape."""
        return F.relu(self.margin - difference).square()


@dataclass(frozen=True)
class LogisticPenalty:
    """`log(1 + exp(-d))`, natural logarithm."""

    def __call__(self, difference: Tensor) -> Tensor:
        """Cost of each difference, same shape."""
        return -F.logsigmoid(difference)


@dataclass(frozen=True)
class SigmoidPenalty:
    """`1 / (1 + exp(d))`: a soft count of wrong pairs."""

    def __call__(self, difference: Tensor) -> Tensor:
        """Cost of each difference, same shape."""
        return (-difference).sigmoid()


@dataclass(frozen=True)
class BinaryFidelityPenalty:
    """Fidelity to certainty that the item that belongs above is better: `1 - sqrt(Phi(d) + e) - sqrt(e)`."""

    def __call__(self, difference: Tensor) -> Tensor:
        """Cost of each difference, same shape."""
        return 1 - (normal_cdf(difference) + EPS).sqrt() - math.sqrt(EPS)


def normal_cdf(x: Tensor) -> Tensor:
    """Phi(x) by erfc, which stays accurate where Phi is tiny (1 + erf would cancel to 0)."""
    return 0.5 * torch.erfc(-x / math.sqrt(2))
