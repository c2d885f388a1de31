"""Labelled and unlabelled images side by side: which of them make a step."""

from __future__ import annotations

import numpy as np

from zoo.training import EpochOrder
from zoo.training.order import Times, cut


class SideBySide(EpochOrder):
    """Batches of labelled images, each with unlabelled images drawn afresh from all of them, as released.

    An epoch is every labelled image once, or a number of steps; labelled images then come in one order after another.
    An image that comes again in an epoch is another occurrence of it, with a crop of its own.

    Args:
        labelled: Positions of labelled images.
        unlabelled: Positions of the others; may be empty.
        batch_size: Labelled images per process and step.
        unlabelled_batch: Unlabelled images per process and step; all of them where there are fewer.
        steps: Of an epoch; None for every labelled image once.
        seed: Of the training.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        labelled: np.ndarray,
        unlabelled: np.ndarray,
        batch_size: int,
        unlabelled_batch: int,
        steps: int | None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(len(labelled) + len(unlabelled), batch_size, seed, rank, world_size)
        self.labelled, self.unlabelled = labelled, unlabelled
        self.unlabelled_batch, self.steps = unlabelled_batch, steps

    def global_batches(self, epoch: int) -> list[np.ndarray]:
        """Positions of all processes, a batch per step: the labelled ones first."""
        times = Times(self.size)
        batches = []
        for step, labelled in enumerate(self._labelled(epoch)):
            both = np.concatenate([labelled, self._unlabelled(epoch, step)])
            batches.append(np.array([times(int(position)) for position in both], dtype=np.int64))
        return batches

    def _labelled(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([self.seed, epoch])
        if self.steps is not None:
            step = self.batch_size * self.world_size
            rounds = -(-self.steps * step // len(self.labelled))
            drawn = np.concatenate([rng.permutation(self.labelled) for _ in range(rounds)])
            return [drawn[first : first + step] for first in range(0, self.steps * step, step)]
        return cut(rng.permutation(self.labelled), self.batch_size, self.world_size)

    def _unlabelled(self, epoch: int, step: int) -> np.ndarray:
        wanted, there = self.unlabelled_batch * self.world_size, len(self.unlabelled)
        if not wanted or not there:
            return np.zeros(0, dtype=np.int64)
        rng = np.random.default_rng([self.seed, epoch, step, 1])
        if there < self.world_size:  # every process needs one
            return rng.choice(self.unlabelled, self.world_size, replace=True)
        return rng.choice(self.unlabelled, min(wanted, there), replace=False)
