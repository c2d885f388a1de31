"""Two processes with uneven batches: loss and gradient of one over the whole batch, and one stream of draws."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import torch

WORKER = Path(__file__).with_name("calibration_worker.py")


def worker():
    spec = importlib.util.spec_from_file_location("calibration_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_equal_one(tmp_path):
    outs = [tmp_path / f"{rank}.pt" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(rank), "2", str(tmp_path / "init"), str(out)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    parts = [torch.load(out, weights_only=True) for out in outs]
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
