"""Which samples come when: an order that is a function of (seed, epoch), shared out to processes, resumable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch.utils.data import Dataset, Sampler

Key = tuple[int, int]


class Items(Protocol):
    """What a domain's reader gives: items by index, each a dict with its ``id``."""

    def __len__(self) -> int:
        """How many items there are."""

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Reads one item.

        Args:
            index: In [0, len).
            rng: The only source of randomness that augmentation may use; a function of (seed, epoch, index).

        Returns:
            A dict of tensors, numbers and texts with the key ``id``.

        Raises:
            DataError: The item cannot be read; names file and row.
        """


@runtime_checkable
class EpochItems(Items, Protocol):
    """Items whose training changes from epoch to epoch, e.g. a curriculum; ``item`` gives those of the first."""

    def item_at(self, epoch: int, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Reads one item as ``item`` does, for an epoch counted from 0."""


@runtime_checkable
class SourcedItems(Items, Protocol):
    """Items that are made of sources that splits, draws or other items depend on too.

    With ``on_error: skip`` the sources that cannot be used are found first, and :meth:`zoo.training.ZooData.kept`
    leaves them out before anything else is done: what is learnt is what the data without them would give.
    """

    def made_of(self, index: int) -> str:
        """What the item is made of, e.g. a file; several items may be of one."""


class Seeded(Dataset[dict[str, Any]]):
    """Items addressed by (epoch, index), each with a generator of its own.

    Args:
        items: The domain's items.
        seed: Seed of the training.
        subset: Indices into ``items`` that are used, in order.
    """

    def __init__(self, items: Items, seed: int, subset: np.ndarray) -> None:
        self.items, self.seed, self.subset = items, seed, subset
        # asked once: for a protocol, isinstance looks at every method, which took a tenth of a small network's training
        self._by_epoch = items.item_at if isinstance(items, EpochItems) else None

    def __len__(self) -> int:
        return len(self.subset)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, position = key
        index = int(self.subset[position])
        # by its place among the items that are used: an unusable one that is left out changes nothing for the others
        rng = np.random.default_rng([self.seed, epoch, position])
        if self._by_epoch is not None:
            return self._by_epoch(epoch, index, rng)
        return self.items.item(index, rng)


class Occurrences(Seeded):
    """Items that may come several times in an epoch, each time with random numbers of its own.

    Position ``p + k * len(self)`` is item ``p`` for the k-th time.
    """

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, position = key
        time, place = divmod(position, len(self.subset))
        return self.items.item(int(self.subset[place]), np.random.default_rng([self.seed, epoch, place, time]))


class Times:
    """Counts how often a position was given, and gives it anew as another occurrence.

    Args:
        size: Number of items.
    """

    def __init__(self, size: int) -> None:
        self.size, self.seen = size, np.zeros(size, dtype=np.int64)

    def __call__(self, position: int) -> int:
        """The position of the next occurrence of an item."""
        times = int(self.seen[position])
        self.seen[position] += 1
        return position + times * self.size


class EpochOrder(Sampler[list[Key]]):
    """A batch sampler whose batches are a function of (seed, epoch); one process gets its share of each batch.

    A subclass decides the order by overriding :meth:`global_batches`.

    Args:
        size: Number of samples.
        batch_size: Samples per process and step, >= 1.
        seed: Seed of the training.
        rank: This process.
        world_size: Number of processes; together they take ``batch_size * world_size`` samples a step.
        shuffle: Whether each epoch has a new order.
        drop_last: Whether an incomplete last batch is left out.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.shuffle, self.drop_last = shuffle, drop_last
        self.epoch = 0
        self.start = 0

    def global_batches(self, epoch: int) -> list[np.ndarray]:
        """Positions of the samples of all processes, a batch per step.

        Args:
            epoch: From 0.

        Returns:
            Integer arrays; process r takes the samples ``[r::world_size]`` of each.
        """
        order = np.arange(self.size)
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.size)
        return cut(order, self.batch_size, self.world_size, self.drop_last)

    @property
    def sampler(self) -> EpochOrder:
        """Itself: Lightning calls ``set_epoch`` on the ``sampler`` of a batch sampler only."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch; a later epoch starts at its first batch."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def resume(self, epoch: int, start: int) -> None:
        """Goes to a place inside an epoch, so that samples already seen are not read again.

        Args:
            epoch: From 0.
            start: Batches of that epoch already done.
        """
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        return len(self.global_batches(self.epoch))

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.epoch
        for batch in self.global_batches(epoch)[self.start :]:
            yield [(epoch, int(position)) for position in batch[self.rank :: self.world_size]]


def cut(order: np.ndarray, batch_size: int, world_size: int, drop_last: bool = False) -> list[np.ndarray]:
    """Batches of all processes that give every process a sample: one that got none would wait for ever.

    A rest that is too small for all processes joins the batch before it, so that no sample is lost; fewer samples than
    processes are no batch.

    Args:
        order: ``(N, ...)``.
        batch_size: Samples per process and step.
        world_size: Number of processes.
        drop_last: Whether an incomplete last batch is left out.
    """
    step = batch_size * world_size
    batches = [order[first : first + step] for first in range(0, len(order), step)]
    if batches and len(batches[-1]) < (step if drop_last else world_size):
        rest = batches.pop()
        if batches and not drop_last:
            batches[-1] = np.concatenate([batches[-1], rest])
    return batches


class EvaluationOrder(EpochOrder):
    """Every sample once, in the order of the data, shared out to the processes without repeats."""

    def global_batches(self, epoch: int) -> list[np.ndarray]:
        """All samples; the last batch may be smaller on some processes."""
        step = self.batch_size * self.world_size
        return [np.arange(first, min(first + step, self.size)) for first in range(0, self.size, step)]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in self.global_batches(0):
            own = batch[self.rank :: self.world_size]
            if len(own):
                yield [(0, int(position)) for position in own]
