"""Two processes and one see the same samples, learn the same and report the same."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest


@pytest.fixture(scope="module")
def runs(tmp_path_factory, warm):
    folders = []
    for devices in (1, 2):
        folder = tmp_path_factory.mktemp(f"processes{devices}")
        script = Path(__file__).with_name("ddp_run.py")
        done = warm.run([str(script), str(folder), str(devices)], folder, os.environ, 300)
        assert done.returncode == 0, done.stderr
        folders.append(folder)
    return folders


def test_loss_curve_and_validation_are_those_of_one_process(runs):
    one, two = (pd.read_csv(folder / "metrics.csv").drop(columns="time") for folder in runs)
    pd.testing.assert_frame_equal(one, two, check_exact=False, rtol=0, atol=1e-5)
    assert one["train/loss"].iloc[-1] < one["train/loss"].iloc[0]


def test_evaluation_is_that_of_one_process_row_by_row(runs):
    one, two = (json.loads((folder / "test.json").read_text()) for folder in runs)
    assert [row["id"] for row in two["rows"]] == [row["id"] for row in one["rows"]]
    assert len(one["rows"]) == 7
    assert two["metrics"]["error"] == pytest.approx(one["metrics"]["error"], abs=1e-6)
