"""Two processes with uneven shares of a batch give the terms and the gradient of one, in both variants."""

import importlib.util
from pathlib import Path

import torch

WORKER = Path(__file__).with_name("counting_worker.py")


def worker():
    spec = importlib.util.spec_from_file_location("counting_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_equal_one(ranks):
    parts = ranks(WORKER)
    for variant in worker().VARIANTS:
        one = worker().outcome(variant, 0, 1)
        assert len(one["terms"]) == 7
        assert all(float(one["terms"][name]) != 0 for name in ("count", "variation", "token", "consistency"))
        for part in parts:
            found = part[variant]
            assert found["terms"].keys() == one["terms"].keys()
            for name, value in one["terms"].items():
                torch.testing.assert_close(found["terms"][name], value, atol=1e-4, rtol=1e-4, msg=name)
            for name, gradient in one["gradients"].items():
                scale = float(gradient.abs().max())
                torch.testing.assert_close(
                    found["gradients"][name], gradient, atol=1e-6 + 1e-3 * scale, rtol=1e-3, msg=f"{variant} {name}"
                )
