"""Two processes with uneven batches of queries of different length give the loss, gradient and metrics of one."""

import importlib.util
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).with_name("ltr_worker.py")


def worker():
    spec = importlib.util.spec_from_file_location("ltr_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("loss", ["regression", "ListNet"])
def test_two_processes_equal_one(made, ranks, loss):
    parts = ranks(WORKER, made, loss)
    whole = worker().outcome(loss, str(made), 0, 1)
    for part in parts:
        torch.testing.assert_close(part["loss"], whole["loss"])
        for ours, wanted in zip(part["gradients"], whole["gradients"], strict=True):
            torch.testing.assert_close(ours, wanted)
        assert part["metrics"] == whole["metrics"]
