"""Segmenting against the released code's numbers and against explicit loops."""

from itertools import pairwise

import numpy as np
import pytest

from zoo.domains.anomaly import segment_features, segment_ranges
from zoo.domains.anomaly.segments import boundaries

MODES = ("matlab", "numpy", "truncate")


def one_based(clips):
    places = boundaries(clips, 32, "matlab")
    return [(int(start) + 1, int(stop)) for start, stop in pairwise(places)]


@pytest.mark.facts
@pytest.mark.parametrize("clips", ["17", "33", "57", "131"])
def test_segments_are_those_of_the_released_code(check, clips):
    doc = check.load("anomaly.json")["segmenting"]
    features = check.fill.make_input(doc["inputs"][clips]).numpy()
    expected = doc["expected"][clips]
    assert [list(pair) for pair in one_based(int(clips))] == expected["ranges_1based"]
    differ = 0
    for mode, name in (("matlab", "matlab"), ("numpy", "ekosman")):
        segments = segment_features(features, 32, mode)
        got = {
            "shape": list(segments.shape),
            "sum": segments.sum(),
            "row_weighted_sum": (segments.sum(1) * np.arange(1, 33)).sum(),
            "column_weighted_sum": (segments.sum(0) * np.arange(1, 49)).sum(),
            "row_sums": segments.sum(1).tolist(),
            "first_row_first4": segments[0, :4].tolist(),
            "last_row_first4": segments[-1, :4].tolist(),
        }
        assert set(got) == set(expected[name])
        assert not check.fill.compare(expected[name], got, **doc["tolerance"])
    both = [segment_features(features, 32, mode) for mode in ("matlab", "numpy")]
    differ = int((np.abs(both[0] - both[1]).max(axis=1) > 1e-12).sum())
    assert differ == expected["segments_that_differ"]


def test_ranges_of_the_sheet():
    assert one_based(40)[:4] == [(1, 1), (2, 2), (3, 4), (5, 5)]
    assert one_based(40)[-3:] == [(36, 37), (38, 38), (39, 39)]
    assert one_based(49)[:4] == [(1, 2), (3, 3), (4, 5), (6, 6)]
    assert one_based(49)[-1] == (48, 48)
    assert one_based(100)[:2] == [(1, 3), (4, 6)]
    assert one_based(100)[-1] == (97, 99)
    assert (2, 1) in one_based(20)
    assert (19, 18) in one_based(20)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("segments", [32, 7, 10])
@pytest.mark.parametrize("clips", [1, 2, 17, 31, 32, 33, 49, 64, 100, 257])
def test_boundaries_are_the_rounded_linspace(mode, segments, clips):
    line = np.linspace(0, clips if mode == "truncate" else clips - 1, segments + 1)
    line = np.round(line, 9)  # the noise of linspace, where the number of segments is no power of two
    rounded = {"matlab": np.floor(line + 0.5), "numpy": np.rint(line), "truncate": np.floor(line)}[mode]
    np.testing.assert_array_equal(boundaries(clips, segments, mode), rounded)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("clips", [1, 5, 31, 32, 33, 50, 200])
def test_features_against_a_loop(mode, clips):
    rng = np.random.default_rng(clips)
    features = rng.random((clips, 3, 6))
    places = boundaries(clips, 32, mode)
    for index, segment in enumerate(segment_features(features, 32, mode)):
        start, stop = int(places[index]), int(places[index + 1])
        rows = features[start:stop] if stop > start else features[start : start + 1]
        mean = rows.sum(axis=0) / len(rows)
        if mode != "truncate":
            mean = mean / np.sqrt((mean**2).sum(axis=-1, keepdims=True))
        np.testing.assert_allclose(segment, mean, rtol=1e-12)


def test_the_last_clip_is_in_no_segment_but_with_truncate():
    used = {mode: set() for mode in MODES}
    for mode in MODES:
        for start, stop in segment_ranges(100, 32, mode):
            assert stop > start
            used[mode] |= set(range(start, stop))
    assert used["matlab"] == used["numpy"] == set(range(99))
    assert used["truncate"] == set(range(100))


def test_a_segment_of_zeros_stays_zeros():
    features = np.zeros((40, 4), dtype=np.float32)
    features[20:] = 1
    segments = segment_features(features, 32, "matlab")
    assert np.isfinite(segments).all()
    assert not segments[0].any()
    np.testing.assert_allclose(segments[-1], 0.5)


def test_dtypes_and_the_explicit_normalisation():
    features = np.random.default_rng(0).random((40, 4))
    assert segment_features(features.astype(np.float16)).dtype == np.float32
    assert segment_features(features).dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(segment_features(features, 32, "truncate", normalise=True), axis=1), 1)
    assert np.linalg.norm(segment_features(features, 32, "matlab", normalise=False), axis=1).max() != pytest.approx(1)


@pytest.mark.parametrize(("clips", "segments", "mode"), [(0, 32, "matlab"), (5, 0, "matlab"), (5, 32, "round")])
def test_wrong_arguments_are_refused(clips, segments, mode):
    with pytest.raises(ValueError, match=r"at least one clip|unknown"):
        boundaries(clips, segments, mode)
