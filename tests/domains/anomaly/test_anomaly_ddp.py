"""Two processes and one: the same objective and gradients, the same loss curve, the same evaluation."""

import importlib.util
import json
import os
from pathlib import Path

import pandas as pd
import pytest
import torch

WORKER, RUN = (Path(__file__).with_name(name) for name in ("objective_worker.py", "bags_run.py"))
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parents[3])}


def load_worker():
    spec = importlib.util.spec_from_file_location("objective_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_term_and_gradient_of_uneven_processes_is_that_of_one(ranks):
    worker, sizes = load_worker(), [2, 6]
    plain = worker.network()
    expected = worker.run(plain, plain, *worker.bags(sizes))
    results = ranks(WORKER, "2,6")
    for got in results:
        for variant, (terms, gradients) in expected.items():
            assert all(value > 0 for value in terms.values())
            for name, value in terms.items():
                torch.testing.assert_close(got[variant][0][name], value, rtol=1e-12, atol=0)
            for one, other in zip(got[variant][1], gradients, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)


@pytest.fixture(scope="module")
def runs(crime, tmp_path_factory, warm):
    folders = []
    for devices in (1, 2):
        folder = tmp_path_factory.mktemp(f"processes{devices}")
        done = warm.run([str(RUN), str(crime), str(folder), str(devices)], folder, ENVIRONMENT, 300)
        assert done.returncode == 0, done.stderr
        folders.append(folder)
    return folders


def test_the_loss_curve_is_that_of_one_process(runs):
    one, two = (pd.read_csv(folder / "metrics.csv").drop(columns="time") for folder in runs)
    pd.testing.assert_frame_equal(one, two, check_exact=False, rtol=0, atol=1e-5)
    assert one["train/loss"].dropna().nunique() > 5


def test_the_evaluation_is_that_of_one_process_video_by_video(runs):
    one, two = (json.loads((folder / "test.json").read_text()) for folder in runs)
    assert [row["id"] for row in two["rows"]] == [row["id"] for row in one["rows"]]
    assert len(one["rows"]) == 8
    assert set(one["metrics"]) == {
        "auc", "auc_low", "auc_high", "ap", "ap_low", "ap_high", "false_alarms", "video_auc",
    }  # fmt: skip
    assert two["metrics"] == pytest.approx(one["metrics"], abs=1e-6)
