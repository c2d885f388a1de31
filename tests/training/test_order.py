"""The order of samples: a function of (seed, epoch), shared out exactly, resumable."""

import itertools

import numpy as np
import pytest

from zoo.training import EpochOrder, EvaluationOrder
from zoo.training.order import Seeded


def flat(batches):
    return [key for batch in batches for key in batch]


def test_order_is_a_function_of_seed_and_epoch():
    order = EpochOrder(20, 4, seed=1)
    first = list(order)
    assert list(EpochOrder(20, 4, seed=1)) == first
    assert list(EpochOrder(20, 4, seed=2)) != first
    order.set_epoch(1)
    second = list(order)
    assert [[i for _, i in batch] for batch in second] != [[i for _, i in batch] for batch in first]
    assert sorted(i for _, i in flat(second)) == list(range(20))
    assert {epoch for epoch, _ in flat(second)} == {1}


def test_resume_skips_what_was_seen_and_the_next_epoch_is_whole():
    order = EpochOrder(20, 4, seed=1)
    order.set_epoch(3)
    whole = list(order)
    resumed = EpochOrder(20, 4, seed=1)
    resumed.resume(3, 2)
    resumed.set_epoch(3)
    assert list(resumed) == whole[2:]
    assert len(resumed) == len(whole)  # Lightning counts from the start of the epoch
    resumed.set_epoch(4)
    assert len(list(resumed)) == 5


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_each_global_batch(world):
    size, per = 31, 4
    one = EpochOrder(size, per * world, seed=5)
    shares = [list(EpochOrder(size, per, seed=5, rank=r, world_size=world)) for r in range(world)]
    assert len({len(share) for share in shares}) == 1
    for step, batch in enumerate(one):
        if step < len(shares[0]):
            assert sorted(key for share in shares for key in share[step]) == sorted(batch)


@pytest.mark.parametrize(("size", "drop_last", "steps"), [(9, False, 2), (8, False, 1), (9, True, 1), (3, True, 0)])
def test_last_batch_gives_every_process_a_sample_or_is_left_out(size, drop_last, steps):
    orders = [EpochOrder(size, 4, rank=r, world_size=2, drop_last=drop_last) for r in range(2)]
    expected = steps if not (size == 9 and not drop_last) else 1  # one sample cannot serve two processes
    assert [len(order) for order in orders] == [expected, expected]
    assert all(batch for order in orders for batch in order)


@pytest.mark.parametrize("world", range(1, 6))
def test_training_and_evaluation_see_every_sample_once(world):
    """A rest too small for all processes was lost, for good where nothing is shuffled."""
    for size, per in itertools.product(range(18), range(1, 5)):
        orders = [EpochOrder(size, per, seed=2, rank=rank, world_size=world) for rank in range(world)]
        shares = [list(order) for order in orders]
        assert len({len(share) for share in shares}) == 1
        assert all(batch for share in shares for batch in share)
        seen = [position for share in shares for batch in share for _, position in batch]
        assert sorted(seen) == list(range(size if size >= world else 0))
        start = len(shares[0]) // 2
        for order, share in zip(orders, shares, strict=True):
            order.resume(0, start)
            assert list(order) == share[start:]
        tested = [EvaluationOrder(size, per, rank=rank, world_size=world) for rank in range(world)]
        assert sorted(position for order in tested for batch in order for _, position in batch) == list(range(size))


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 7, 12])
def test_evaluation_sees_every_sample_once(world, size):
    shares = [list(EvaluationOrder(size, 2, rank=r, world_size=world)) for r in range(world)]
    seen = sorted(position for share in shares for batch in share for _, position in batch)
    assert seen == list(range(size))
    for rank, share in enumerate(shares):
        assert [p for batch in share for _, p in batch] == list(range(rank, size, world))
        assert len(share) == len(EvaluationOrder(size, 2, rank=rank, world_size=world))


def test_unshuffled_order_is_the_order_of_the_data():
    assert [i for _, i in flat(EpochOrder(5, 2, shuffle=False))] == list(range(5))
    assert isinstance(EpochOrder(5, 2).global_batches(0)[0], np.ndarray)


def test_items_that_change_with_the_epoch_are_told_it():
    class Plain:
        def __len__(self):
            return 4

        def item(self, index, rng):
            return {"id": index, "epoch": None, "draw": rng.integers(1000)}

    class Curriculum(Plain):
        def item_at(self, epoch, index, rng):
            return {**self.item(index, rng), "epoch": epoch}

    plain, told = (Seeded(items, 5, np.arange(4)) for items in (Plain(), Curriculum()))
    assert [plain[epoch, 2]["epoch"] for epoch in (0, 3)] == [None, None]
    assert [told[epoch, 2]["epoch"] for epoch in (0, 3)] == [0, 3]
    assert plain[3, 2]["draw"] == told[3, 2]["draw"]
