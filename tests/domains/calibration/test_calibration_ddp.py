"""Two processes with uneven batches: loss and gradient of one over the whole batch, and one stream of draws."""

import importlib.util
from pathlib import Path

import torch

WORKER = Path(__file__).with_name("calibration_worker.py")


def worker():
    spec = importlib.util.spec_from_file_location("calibration_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_equal_one(ranks):
    parts = ranks(WORKER)
    one = worker()
    for objective in one.OBJECTIVES:
        whole = one.outcome(objective, 0, 1)
        assert any(gradient.abs().max() > 1e-4 for gradient in whole["gradients"])
        for part in (found[objective] for found in parts):
            torch.testing.assert_close(part["loss"], whole["loss"])
            for ours, wanted in zip(part["gradients"], whole["gradients"], strict=True):
                torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-6)
        first, second = (found[objective] for found in parts)
        assert first["position"] == second["position"]
        assert torch.equal(first["keys"], second["keys"])
