"""Two processes with uneven shares give the terms, gradient and metrics of one."""

import importlib.util
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).with_name("outfit_worker.py")


def worker():
    spec = importlib.util.spec_from_file_location("outfit_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("pool", ["sampled", "batch"])
def test_two_processes_equal_one(polyvore, ranks, pool):
    parts = ranks(WORKER, polyvore, pool)
    whole = worker().outcome(pool, str(polyvore), 0, 1)
    for part in parts:
        torch.testing.assert_close(part["terms"], {name: term.detach() for name, term in whole["terms"].items()})
        for ours, wanted in zip(part["gradients"], whole["gradients"], strict=True):
            torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-6)
        assert {name: float(v) for name, v in part["metrics"].items()} == pytest.approx(
            {name: float(v) for name, v in whole["metrics"].items()}, abs=1e-6
        )
