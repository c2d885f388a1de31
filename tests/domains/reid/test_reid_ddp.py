"""Two processes with uneven shares give the losses, gradient, division and metrics of one; every pair is divided."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.domains.reid.data import DivisionOrder

WORKER = Path(__file__).with_name("reid_worker.py")


def worker():
    spec = importlib.util.spec_from_file_location("reid_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_equal_one(made, ranks):
    parts = ranks(WORKER, made)
    whole = worker().outcome(str(made), 0, 1)
    for part in parts:
        assert torch.equal(part["index"], whole["index"])
        for name in ("bge", "tse"):
            torch.testing.assert_close(part["terms"][name], whole["terms"][name])
            torch.testing.assert_close(part["losses"][name], whole["losses"][name], rtol=1e-4, atol=1e-5)
        for ours, wanted in zip(part["gradients"], whole["gradients"], strict=True):
            torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-5)
        assert part["metrics"] == pytest.approx(whole["metrics"])


@pytest.mark.parametrize(("size", "world"), [(33, 2), (32, 4), (3, 2), (9, 4), (1, 1)])
def test_the_division_leaves_no_pair_out(size, world):
    orders = [DivisionOrder(size, 2, 0, rank, world) for rank in range(world)]
    batches = orders[0].global_batches(5)
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(size))
    assert all(len(batch) >= min(world, size) for batch in batches)
    assert len({len(list(order)) for order in orders}) == 1
