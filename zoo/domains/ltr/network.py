"""The scorer: a multilayer perceptron that values each document by itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn


class RankerOutput(NamedTuple):
    """What the scorer gives.

    Attributes:
        scores: ``(B, N)``, any number; a higher score stands higher within its query.
    """

    scores: Tensor


class MLP(nn.Module):
    """Linear layers with ReLU and dropout between, down to one score per document.

    A document's score depends on its own features only, so padding and the order of documents change nothing.

    Args:
        features: F, features of a document, >= 1.
        hidden: Widths of the hidden layers; none for a linear scorer.
        dropout: Probability of dropping a hidden unit, in [0, 1).
    """

    def __init__(self, features: int = 46, hidden: Sequence[int] = (64, 32), dropout: float = 0.1) -> None:
        super().__init__()
        widths = [features, *hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, features: Tensor) -> RankerOutput:
        """Scores documents.

        Args:
            features: ``(B, N, F)``.
        """
        return RankerOutput(self.layers(features).squeeze(-1))
