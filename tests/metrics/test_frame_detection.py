"""Frame-level metrics: hand-worked, against the functions, and over processes with uneven shares or none."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zoo.metrics import FrameDetection, OneClassError, average_precision, roc_auc

WORKER = Path(__file__).with_name("frames_worker.py")


def load_worker():
    spec = importlib.util.spec_from_file_location("frames_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hand_worked():
    metric = FrameDetection(threshold=0.5)
    metric.update(torch.tensor([0.9, 0.5, 0.1, 0.1]), torch.tensor([1, 1, 0, 0]))
    metric.update(torch.tensor([0.5, 0.49, 0.0, 0.7, 0.2]), torch.zeros(5))
    result = {name: value.item() for name, value in metric.compute().items()}
    # positives .9 and .5; negatives .7 .5 .49 .2 .1 .1 0: .9 beats 7, .5 beats 5 and ties one
    assert result["auc"] == pytest.approx((7 + 5.5) / 14)
    # ranks: .9 (1 of 1), .7, then both .5 together (2 of 4)
    assert result["ap"] == pytest.approx((1 / 1 + 2 / 4) / 2)
    # of the five frames of the normal video, .5 and .7 are alarms; the frames of the other video do not count
    assert result["false_alarms"] == pytest.approx(2 / 5)


def test_it_is_the_functions_over_all_frames():
    videos = load_worker().videos(9)
    metric = FrameDetection()
    for scores, truth in videos:
        metric.update(scores, truth)
    scores, truth = (torch.cat(parts) for parts in zip(*videos, strict=True))
    result = metric.compute()
    assert result["auc"] == roc_auc(scores, truth)
    assert result["ap"] == average_precision(scores, truth)
    normal = torch.cat([scores for scores, truth in videos if not truth.any()])
    assert result["false_alarms"].item() == pytest.approx((normal >= 0.5).double().mean().item())


def test_without_normal_videos_or_without_any():
    metric = FrameDetection()
    metric.update(torch.empty(0), torch.empty(0))
    assert metric.compute() == {}
    metric = FrameDetection()
    metric.update(torch.tensor([0.2, 0.8]), torch.tensor([0, 1]))
    assert set(metric.compute()) == {"auc", "ap"}


@pytest.mark.parametrize(("truth", "kind"), [([0, 0], "normal"), ([1, 1], "anomalous")])
def test_one_class_alone_is_an_error(truth, kind):
    metric = FrameDetection()
    metric.update(torch.tensor([0.2, 0.8]), torch.tensor(truth))
    with pytest.raises(OneClassError, match=f"all 2 frames are {kind}"):
        metric.compute()


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"shapes \(3,\) and \(2,\), expected both \(F,\)"):
        FrameDetection().update(torch.rand(3), torch.rand(2))
    with pytest.raises(ValueError, match="threshold: 1.5 given"):
        FrameDetection(threshold=1.5)


@pytest.mark.parametrize("world", [2, 4])
def test_processes_with_uneven_shares_give_what_one_gives(tmp_path, world):
    worker = load_worker()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parents[2])}
    processes = [
        subprocess.Popen([sys.executable, str(WORKER), str(rank), str(world), str(tmp_path / "init"),
                          str(tmp_path / f"{rank}.pt")], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(world)
    ]  # fmt: skip
    try:
        failures = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all(code == 0 for _, code in failures), "\n".join(text for text, _ in failures)
    expected = worker.measured(worker.videos(7)[: min(7, 4 + world)])
    for rank in range(world):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == expected
