"""`gather` under two and three processes with uneven batches, against one process over the whole batch."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zoo.ranking import gather

WORKER = Path(__file__).with_name("gather_worker.py")


def load_worker():
    spec = importlib.util.spec_from_file_location("gather_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_processes(sizes, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parents[2])}
    arguments = [",".join(map(str, sizes)), str(folder / "init")]
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(rank), *arguments, str(folder / f"{rank}.pt")],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(len(sizes))
    ]
    try:
        failures = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all(code == 0 for _, code in failures), "\n".join(text for text, _ in failures)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(len(sizes))]


@pytest.mark.parametrize("sizes", [(3, 6), (4, 0, 5)], ids=str)
def test_value_and_averaged_gradient_equal_one_process(sizes, tmp_path):
    worker = load_worker()
    model = worker.network()
    x, identity, grade = worker.whole_batch(sum(sizes))
    loss = worker.loss_of(model(x), identity, grade)
    loss.backward()
    assert loss > 0

    results = run_processes(sizes, tmp_path)
    for result in results:
        torch.testing.assert_close(result["loss"], loss.detach(), rtol=1e-12, atol=0)
        for got, parameter in zip(result["gradients"], model.parameters(), strict=True):
            torch.testing.assert_close(got, parameter.grad, rtol=1e-10, atol=1e-14)
    assert "on process 0, expected the same on processes [1" in results[0]["error"]
    assert "on process 1, expected the same on processes [0]" in results[1]["error"]


def test_without_a_process_group_it_is_the_identity():
    x = torch.rand(3, 2, requires_grad=True)
    assert gather(x) is x


def test_without_a_group_a_scalar_comes_back_too():
    x = torch.tensor(1.0)
    assert gather(x) is x
