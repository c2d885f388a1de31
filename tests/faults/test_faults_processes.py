"""Two and four processes give what one gives: uneven shares, one without positives, of a single row, of nothing."""

from pathlib import Path

import pytest
import torch
from processes_worker import ROWS, learnt, measured

WORKER = Path(__file__).with_name("processes_worker.py")


@pytest.mark.parametrize("world", [2, 4])
def test_processes_give_what_one_gives(ranks, world):
    found = ranks(WORKER, world=world)
    whole = slice(0, ROWS)
    for name, (value, gradient) in learnt(whole, 1).items():
        for one in found:
            got, slope = one["learnt"][name]
            torch.testing.assert_close(got, value, msg=name)
            torch.testing.assert_close(slope, gradient, msg=name)
    expected = measured(0, 1)
    assert len(expected) > 100
    for one in found:
        assert one["measured"].keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(one["measured"][name], value, equal_nan=True, msg=name)
    tested, trained = (torch.cat([one["positions"][split] for one in found]).tolist() for split in ("test", "train"))
    assert sorted(tested) == list(range(ROWS))
    assert sorted(trained) == list(range(ROWS))  # a rest too small for all processes joins another batch
