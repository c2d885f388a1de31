"""Resampled videos: the values of the frames written out, and an interval that does not depend on their order."""

import numpy as np
import pytest
import torch

from zoo.metrics import average_precision, bootstrap_interval, roc_auc
from zoo.metrics.resampling import Cells, video_intervals


def videos(count, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, 60, count)
    scores = [(rng.integers(0, 9, length) / 8).astype(np.float32) for length in lengths]
    truth = [(rng.random(length) < 0.4 * (index % 3 > 0)).astype(np.uint8) for index, length in enumerate(lengths)]
    return scores, truth


def drawn_frames(scores, truth, drawn):
    return (torch.from_numpy(np.concatenate([parts[index] for index in drawn])) for parts in (scores, truth))


def cells(scores, truth):
    owner = np.repeat(np.arange(len(scores)), [len(part) for part in scores])
    return Cells(np.concatenate(scores), np.concatenate(truth), owner, len(scores))


def test_a_draw_is_the_metric_of_its_frames():
    scores, truth = videos(12)
    counted = cells(scores, truth)
    rng = np.random.default_rng(1)
    for _ in range(20):
        drawn = rng.integers(0, 12, 12)
        auc, ap = counted.measure(drawn)
        frames = tuple(drawn_frames(scores, truth, drawn))
        assert auc == pytest.approx(roc_auc(*frames).item(), abs=1e-12)
        assert ap == pytest.approx(average_precision(*frames).item(), abs=1e-12)


def test_draws_of_one_kind_are_undefined():
    scores, truth = videos(6)
    assert not truth[0].any()
    assert np.isnan(cells(scores, truth).measure(np.array([0, 0]))).all()
    assert np.isnan(Cells(np.empty(0), np.empty(0), np.empty(0, dtype=int), 2).measure(np.array([0, 1]))).all()


def test_intervals_are_the_bootstrap_of_whole_videos():
    scores, truth = videos(15)
    ordered = sorted(range(15), key=lambda index: (len(scores[index]), float(scores[index].astype(float).sum())))

    def auc(drawn):
        return roc_auc(*drawn_frames(scores, truth, [ordered[index] for index in drawn])).item()

    expected = bootstrap_interval(auc, 15, 200)
    lengths = torch.tensor([len(part) for part in scores])
    found = video_intervals(*drawn_frames(scores, truth, range(15)), lengths, 200)
    assert (found["auc_low"], found["auc_high"]) == pytest.approx(expected, abs=1e-12)
    assert found["ap_low"] < found["ap_high"]
    shuffled = [7, 3, 14, 0, 1, 2, 4, 5, 6, 8, 13, 12, 11, 10, 9]
    assert video_intervals(*drawn_frames(scores, truth, shuffled), lengths[shuffled], 200) == found


def test_identical_videos_have_no_spread():
    scores, truth = [np.array([0.1, 0.7, 0.5], dtype=np.float32)] * 8, [np.array([0, 1, 0])] * 8
    frames = tuple(drawn_frames(scores, truth, range(8)))
    found = video_intervals(*frames, torch.tensor([3] * 8), 50)
    assert found == {"auc_low": 1, "auc_high": 1, "ap_low": 1, "ap_high": 1}
