import math

import numpy as np
import pytest

from zoo.metrics import bootstrap_interval


def test_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        sample = rng.normal(size=60)
        low, high = bootstrap_interval(lambda index, sample=sample: sample[index].mean(), 60, 300, seed=trial)
        hits += low <= 0 <= high
    assert 0.88 < hits / 200 < 0.99


def test_undefined_resamples_are_left_out():
    labels = np.array([0, 1])
    low, high = bootstrap_interval(lambda index: 1.0 if len(set(labels[index])) == 2 else math.nan, 2)
    assert (low, high) == (1.0, 1.0)
    assert all(map(math.isnan, bootstrap_interval(lambda index: math.nan, 3)))


def test_the_seed_decides():
    values = np.arange(10.0)

    def mean(index):
        return values[index].mean()

    assert bootstrap_interval(mean, 10, seed=1) == bootstrap_interval(mean, 10, seed=1)
    assert bootstrap_interval(mean, 10, seed=1) != bootstrap_interval(mean, 10, seed=2)
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval(mean, 10, level=1.0)
