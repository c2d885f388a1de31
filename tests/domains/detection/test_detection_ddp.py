"""Two processes with uneven shares of a batch give the losses, the gradient and the figures of one."""

import importlib.util
from pathlib import Path

import torch

WORKER = Path(__file__).with_name("detection_worker.py")


def test_two_processes_equal_one(ranks):
    spec = importlib.util.spec_from_file_location("detection_worker", WORKER)
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    whole = worker.outcome(0, 1)
    parts = ranks(WORKER)
    assert whole["metrics"]["ap_small"] >= 0
    for name, wanted in whole["terms"].items():
        found = torch.stack([part["terms"][name] for part in parts]).mean()
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4, msg=name)
    for part in parts:
        assert len(part["gradients"]) == len(whole["gradients"]) > 30
        for ours, wanted in zip(part["gradients"], whole["gradients"], strict=True):
            torch.testing.assert_close(ours, wanted, atol=1e-4, rtol=1e-3)
        assert part["metrics"].keys() == whole["metrics"].keys()
        for name, value in part["metrics"].items():
            torch.testing.assert_close(value, whole["metrics"][name], equal_nan=True, msg=name)
