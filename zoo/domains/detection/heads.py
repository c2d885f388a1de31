"""Class and box heads of every decoder layer and of the encoder, and the class biases of the ranks."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

PRIOR = 0.01


class BoxHead(nn.Sequential):
    """Three linear layers; the last one starts at zero, so that boxes start as their references.

    Args:
        width: Of the queries.
    """

    def __init__(self, width: int) -> None:
        last = nn.Linear(width, 4)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)


class Heads(nn.Module):
    """A class head and a box head per decoder layer, and one of each for the encoder; all copies start equal.

    Args:
        layers: Of the decoder.
        width: Of the queries.
        num_classes: C.
        queries: Ranks there are.
        rank_adaptive: Add a learnt bias per rank and class to the logits of each layer (zero at the start).
    """

    def __init__(self, layers: int, width: int, num_classes: int, queries: int, rank_adaptive: bool = True) -> None:
        super().__init__()
        classes, boxes = nn.Linear(width, num_classes), BoxHead(width)
        nn.init.constant_(classes.bias, -math.log((1 - PRIOR) / PRIOR))
        self.classes = nn.ModuleList(copy.deepcopy(classes) for _ in range(layers + 1))
        self.boxes = nn.ModuleList(copy.deepcopy(boxes) for _ in range(layers + 1))
        self.ranks = nn.ParameterList(torch.zeros(queries, num_classes) for _ in range(layers if rank_adaptive else 0))

    def scores(self, layer: int, x: Tensor) -> Tensor:
        """Logits ``(B, N, C)`` of the plain class head of a layer (-1: the encoder's) for ``x (B, N, width)``."""
        return _wide(self.classes[layer](x))

    def adapt(self, layer: int, scores: Tensor) -> Tensor:
        """The scores with the bias of each rank; as they are without the rank-adaptive head."""
        return scores + self.ranks[layer][: scores.shape[1]] if len(self.ranks) else scores

    def shift(self, layer: int, x: Tensor) -> Tensor:
        """What is added to the logits of the boxes, ``(B, N, 4)``."""
        return _wide(self.boxes[layer](x))


def _wide(x: Tensor) -> Tensor:
    """Half precision is not enough for scores that are sorted and boxes of an image with a thousand columns."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
