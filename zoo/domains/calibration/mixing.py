"""Mixup: copies of a batch mixed with itself, their soft labels, and where the random draws come from.

The draws are those of the released code: for every copy one lambda ~ Beta(a, a), then a permutation of the batch, both
from one numpy stream. Lambda is used as drawn (it may be below 1/2), and an image may be mixed with itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.errors import InputError


class Draw(NamedTuple):
    """How one mixed copy of a batch is made.

    Attributes:
        strength: Lambda in [0, 1], the share of the image itself; one number for the whole batch.
        partner: ``(B,)`` int64, a permutation of the batch: whom each image is mixed with.
    """

    strength: float
    partner: Tensor


class Draws:
    """The random numbers of mixing: a numpy stream of its own, whose state is part of every checkpoint.

    Every process of a distributed training has the same stream, and so the same lambda; each mixes its own images.

    Args:
        seed: Of the stream, in [0, 2^32).
    """

    def __init__(self, seed: int) -> None:
        if not 0 <= seed < 2**32:
            raise InputError(f"model.mix_seed must lie in [0, 2^32), got {seed}")
        self.stream = np.random.RandomState(seed)  # the stream behind np.random.seed, as in the released code

    def draw(self, copies: int, mixup_alpha: float, sizes: Sequence[int], process: int = 0) -> list[Draw]:
        """Draws for one batch; for every copy lambda first, then the permutation.

        Args:
            copies: K, >= 0.
            mixup_alpha: a of Beta(a, a); at most 0 for lambda = 1.
            sizes: Images of the batch on each process.
            process: Whose permutations are wanted.

        Returns:
            K draws.
        """
        draws = []
        for _ in range(copies):
            strength = float(self.stream.beta(mixup_alpha, mixup_alpha)) if mixup_alpha > 0 else 1.0
            partners = [self.stream.permutation(size) for size in sizes]
            draws.append(Draw(strength, torch.from_numpy(partners[process]).long()))
        return draws

    def state(self) -> dict[str, Any]:
        """The state of the stream as a tensor and plain numbers."""
        name, keys, position, has_gauss, gauss = self.stream.get_state(legacy=True)
        return {
            "name": str(name),
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "gauss": float(gauss),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a state that :meth:`state` gave."""
        keys = state["keys"].numpy().astype(np.uint32)
        self.stream.set_state((state["name"], keys, state["position"], state["has_gauss"], state["gauss"]))


def mix(values: Tensor, draws: Sequence[Draw]) -> Tensor:
    """Mixed copies ``lambda x + (1 - lambda) x[partner]``.

    Args:
        values: ``(B, ...)``, images, feature maps or one-hot labels.
        draws: K of them, at least one.

    Returns:
        ``(K * B, ...)``, all of the first copy first.
    """
    copies = [
        draw.strength * values + (1 - draw.strength) * values[draw.partner.to(values.device)] for draw in draws
    ]  # fmt: skip
    return torch.cat(copies)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels as ``(B, C)`` float32.

    Args:
        labels: ``(B,)`` int64 in [0, C).
        classes: C.
    """
    return torch.nn.functional.one_hot(labels, classes).to(torch.float32)


def by_image(values: Tensor, copies: int) -> Tensor:
    """``(K * B, ...)``, copy after copy, to ``(B, K, ...)``."""
    return values.unflatten(0, (copies, -1)).transpose(0, 1)
