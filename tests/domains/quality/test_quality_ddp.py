"""Two processes with uneven shares of a batch give the loss, the gradient and the metrics of one."""

import importlib.util
from pathlib import Path

import torch

WORKER = Path(__file__).with_name("quality_worker.py")


def worker():
    spec = importlib.util.spec_from_file_location("quality_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_equal_one(ranks):
    parts = ranks(WORKER)
    for plan in ("scene", "pair", "plcc"):
        whole = worker().outcome(plan, 0, 1)
        assert whole["loss"] > 0.01
        for part in parts:
            found = part[plan]
            torch.testing.assert_close(found["loss"], whole["loss"])
            for ours, wanted in zip(found["gradients"], whole["gradients"], strict=True):
                torch.testing.assert_close(ours, wanted, atol=1e-6, rtol=1e-4)
            assert found["metrics"].keys() == whole["metrics"].keys()
            for name, value in found["metrics"].items():
                torch.testing.assert_close(value, whole["metrics"][name], atol=1e-4, rtol=1e-3)
