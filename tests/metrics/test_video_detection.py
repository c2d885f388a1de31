"""Frame- and video-level metrics: hand-worked, against the functions, over processes with uneven shares or none."""

import importlib.util
from pathlib import Path

import pytest
import torch

from zoo.metrics import VideoDetection, average_precision, roc_auc
from zoo.metrics.binary import OneClassError

WORKER = Path(__file__).with_name("videos_worker.py")
NOTHING = torch.empty(0), torch.empty(0)


def load_worker():
    spec = importlib.util.spec_from_file_location("videos_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hand_worked():
    metric = VideoDetection(threshold=0.5)
    metric.update(0.9, 1, torch.tensor([0.9, 0.5, 0.1, 0.1]), torch.tensor([1, 1, 0, 0]))
    metric.update(0.7, 0, torch.tensor([0.5, 0.49, 0.0, 0.7, 0.2]), torch.zeros(5))
    result = {name: value.item() for name, value in metric.compute().items()}
    # positives .9 and .5; negatives .7 .5 .49 .2 .1 .1 0: .9 beats 7, .5 beats 5 and ties one
    assert result["auc"] == pytest.approx((7 + 5.5) / 14)
    # ranks: .9 (1 of 1), .7, then both .5 together (2 of 4)
    assert result["ap"] == pytest.approx((1 / 1 + 2 / 4) / 2)
    # of the five frames of the normal video, .5 and .7 are alarms; the frames of the other video do not count
    assert result["false_alarms"] == pytest.approx(2 / 5)
    assert result["video_auc"] == 1


def test_it_is_the_functions_over_all_videos():
    worker = load_worker()
    videos = worker.videos(9)
    scores, truth = (torch.cat(parts) for parts in zip(*videos, strict=True))
    normal = torch.cat([scores for scores, truth in videos if not truth.any()])
    tops = torch.stack([scores.max() for scores, _ in videos])
    measured = worker.measured(videos)
    for name in ("auc", "ap"):
        assert measured.pop(f"{name}_low") < measured[name] < measured.pop(f"{name}_high")
    assert measured == {
        "auc": roc_auc(scores, truth).item(),
        "ap": average_precision(scores, truth).item(),
        "false_alarms": pytest.approx((normal >= 0.5).double().mean().item()),
        "video_auc": roc_auc(tops, torch.tensor([int(truth.any()) for _, truth in videos])).item(),
    }


def test_what_cannot_be_measured_is_left_out():
    labels_alone = VideoDetection()
    labels_alone.update(0.2, 0, *NOTHING)
    labels_alone.update(0.3, 1, *NOTHING)
    assert {name: value.item() for name, value in labels_alone.compute().items()} == {"video_auc": 1}
    anomalous_alone = VideoDetection()
    anomalous_alone.update(0.8, 1, torch.tensor([0.2, 0.8]), torch.tensor([0, 1]))
    assert set(anomalous_alone.compute()) == {"auc", "ap"}


@pytest.mark.parametrize(("truth", "kind"), [([0, 0], "normal"), ([1, 1], "anomalous")])
def test_one_kind_of_frames_alone_is_an_error(truth, kind):
    metric = VideoDetection()
    metric.update(0.8, max(truth), torch.tensor([0.2, 0.8]), torch.tensor(truth))
    with pytest.raises(OneClassError, match=f"all 2 frames are {kind}"):
        metric.compute()


def test_one_kind_of_videos_alone_is_an_error():
    metric = VideoDetection()
    metric.update(0.2, 1, *NOTHING)
    metric.update(0.3, 1, *NOTHING)
    with pytest.raises(OneClassError, match="there are 2 anomalous and 0 normal"):
        metric.compute()


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"shapes \(3,\) and \(2,\), expected both \(F,\)"):
        VideoDetection().update(0.5, 1, torch.rand(3), torch.rand(2))
    with pytest.raises(ValueError, match=r"threshold: 1\.5 given"):
        VideoDetection(threshold=1.5)
    with pytest.raises(ValueError, match="resamples: -1 given"):
        VideoDetection(resamples=-1)


def test_processes_with_uneven_shares_and_with_none_give_what_one_gives(ranks):
    worker = load_worker()
    found = ranks(WORKER, world=3)
    expected = worker.measured(worker.videos(7))
    assert all(part == expected for part in found)
