"""Frame-level scores and truth of the three evaluations, against the check file and frame by frame."""

import numpy as np
import pytest
import torch

from zoo.domains.anomaly import frame_scores, frame_truth
from zoo.domains.anomaly.segments import boundaries
from zoo.metrics import VideoDetection, roc_auc


@pytest.mark.facts
@pytest.mark.parametrize("protocol", ["official", "ekosman"])
def test_frame_level_numbers_of_the_check_file(check, protocol):
    doc = check.load("anomaly.json")["frame_auc"]
    scores, truth, metric = [], [], VideoDetection()
    for video in doc["videos"]:
        spread = frame_scores(np.array(video["scores32"]), video["frames"], protocol, video["clips"])
        events = [tuple(event) for event in video["events_1based_inclusive"]]
        scores.append(spread)
        truth.append(frame_truth(events, video["frames"], protocol, len(spread)))
        metric.update(0.0, int(bool(events)), torch.from_numpy(scores[-1]), torch.from_numpy(truth[-1]))
    together, marks = np.concatenate(scores), torch.from_numpy(np.concatenate(truth))
    ties = ("auc_ties_grouped", "auc_stable_descending_no_grouping") if protocol == "official" else ("auc", None)
    got = {
        "frames": len(together),
        "positive_frames": int(marks.sum()),
        "zero_score_frames": int((together == 0).sum()),
        "score_sum": float(together.sum()),
        ties[0]: roc_auc(torch.from_numpy(together), marks).item(),
    }
    if ties[1]:
        got[ties[1]] = roc_auc(torch.from_numpy(together), marks, ties="order").item()
    expected = doc[protocol]
    assert set(got) == set(expected)
    assert got.pop("score_sum") == pytest.approx(expected["score_sum"], abs=1e-5)  # given to 10 digits
    assert not check.fill.compare({name: expected[name] for name in got}, got, rtol=0, **doc["tolerance"])
    assert metric.compute()["auc"].item() == pytest.approx(expected[ties[0]], abs=1e-8)


@pytest.mark.parametrize("clips", [1, 5, 31, 33, 60])
@pytest.mark.parametrize("tail", [0, 7])
def test_official_frame_by_frame(clips, tail):
    rng = np.random.default_rng(clips)
    scores, frames = rng.uniform(0.1, 1, 32), clips * 16 + tail
    places = boundaries(clips, 32, "matlab") + 1  # from 1, as Matlab counts
    expected = np.zeros(clips * 16)
    for segment in range(32):
        start, stop = places[segment], places[segment + 1] - 1
        stop = max(stop, start)
        for frame in range((start - 1) * 16 + 1, stop * 16 + 1):
            expected[frame - 1] = scores[segment]
    expected = np.concatenate([expected, np.full(tail, expected[-1])])
    np.testing.assert_array_equal(frame_scores(scores, frames, "official"), expected)
    if clips > 32:
        assert not expected[-16 - tail :].any()


def test_official_with_more_clips_than_the_video_has_frames():
    spread = frame_scores(np.linspace(0.1, 1, 32), 500, "official", clips=40)
    assert len(spread) == 640
    truth = frame_truth([(490, 700)], 500, "official", len(spread))
    np.testing.assert_array_equal(np.flatnonzero(truth), np.arange(489, 500))


@pytest.mark.parametrize("frames", [10, 32, 333, 1573])
def test_ekosman_frame_by_frame(frames):
    scores = np.random.default_rng(frames).uniform(0.1, 1, 32)
    length, expected = frames // 32, np.zeros(frames)
    for segment in range(32):
        for frame in range(segment * length, (segment + 1) * length):
            expected[frame] = scores[segment]
    np.testing.assert_array_equal(frame_scores(scores, frames, "ekosman"), expected)


def test_snippets_are_repeated_and_must_fit_the_video():
    scores = np.arange(1, 7) / 10
    np.testing.assert_array_equal(frame_scores(scores, 99, "snippet16"), np.repeat(scores, 16))
    with pytest.raises(ValueError, match="6 rows cover 96 frames at 16 frames per snippet, the video has 1573"):
        frame_scores(scores, 1573, "snippet16")
    with pytest.raises(ValueError, match="look like the 32 segments of protocol official"):
        frame_scores(np.zeros(32), 1573, "snippet16")


def test_truth_counts_the_same_numbers_differently():
    events = [(3, 5), (9, 14)]
    marks = {protocol: np.flatnonzero(frame_truth(events, 12, protocol, 16)).tolist()
             for protocol in ("official", "ekosman", "snippet16")}  # fmt: skip
    assert marks["official"] == marks["snippet16"] == [2, 3, 4, 8, 9, 10, 11]
    assert marks["ekosman"] == [3, 4, 9, 10, 11]
    assert frame_truth([(0, 2)], 12, "official", 12).tolist()[:3] == [1, 1, 0]
    assert not frame_truth([], 12, "official", 12).any()


@pytest.mark.parametrize(("scores", "frames"), [(np.zeros((2, 2)), 5), (np.zeros(0), 5), (np.zeros(3), 0)])
def test_wrong_arguments_are_refused(scores, frames):
    with pytest.raises(ValueError, match="are needed"):
        frame_scores(scores, frames, "official")


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="protocol 'oficial' is unknown; there are official, ekosman, snippet16"):
        frame_scores(np.zeros(32), 99, "oficial")
