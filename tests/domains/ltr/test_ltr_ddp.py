"""Two processes with uneven batches of queries of different length give the loss, gradient and metrics of one."""

import importlib.util
import subprocess
import sys
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
def test_two_processes_equal_one(made, tmp_path, loss):
    outs = [tmp_path / f"{rank}.pt" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(rank), "2", str(tmp_path / "init"), str(made), loss, str(out)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    whole = worker().outcome(loss, str(made), 0, 1)
    for out in outs:
        part = torch.load(out, weights_only=True)
        torch.testing.assert_close(part["loss"], whole["loss"])
        for ours, wanted in zip(part["gradients"], whole["gradients"], strict=True):
            torch.testing.assert_close(ours, wanted)
        assert part["metrics"] == whole["metrics"]
