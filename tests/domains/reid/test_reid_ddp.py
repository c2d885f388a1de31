"""Two processes with uneven shares give the losses, gradient, division and metrics of one; every pair is divided."""

import importlib.util
from pathlib import Path

import pytest
import torch

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
