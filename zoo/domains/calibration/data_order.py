"""The class-aware order of long-tailed training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zoo.training import EpochOrder
from zoo.training.order import cut


class ClassAwareOrder(EpochOrder):
    """Classes take turns in random order, each visit takes ``visit`` images of the class; an epoch is long enough for
    every class to be seen as often as the largest.

    Source: Shen, Lin and Huang, Relay backpropagation, ECCV 2016 (class-aware sampling).

    Args:
        labels: ``(N,)`` of the training images.
        batch_size: Images per process and step.
        seed: Seed of the training.
        rank: This process.
        world_size: Number of processes.
        drop_last: Whether an incomplete last batch is left out.
        visit: Images per visit of a class.
    """

    def __init__(
        self,
        labels: np.ndarray,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        visit: int = 4,
    ) -> None:
        self.pools = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        length = max(len(pool) for pool in self.pools) * len(self.pools)
        super().__init__(length, batch_size, seed, rank, world_size, drop_last=drop_last)
        self.visit = visit

    def global_batches(self, epoch: int) -> list[np.ndarray]:
        """Positions of the images of all processes, a batch per step."""
        rng = np.random.default_rng([self.seed, epoch])
        classes = cycled(np.arange(len(self.pools)), rng)
        images = [cycled(pool, rng) for pool in self.pools]
        visits = -(-self.size // self.visit)
        order = np.fromiter(
            (next(images[label]) for label in _first(classes, visits) for _ in range(self.visit)), dtype=np.int64
        )[: self.size]
        return cut(order, self.batch_size, self.world_size, self.drop_last)

    def __len__(self) -> int:
        step = self.batch_size * self.world_size
        whole, rest = divmod(self.size, step)
        return whole + int(rest >= (step if self.drop_last else self.world_size) and rest > 0)


def cycled(values: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    """The values for ever, in a new random order each time round."""
    while True:
        yield from rng.permutation(values).tolist()


def _first(values: Iterator[int], count: int) -> Iterator[int]:
    for _ in range(count):
        yield next(values)
