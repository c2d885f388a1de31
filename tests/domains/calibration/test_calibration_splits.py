"""Splits, long tails, orders and views: the sheet's numbers and explicit checks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as vision

from zoo.domains.calibration.data_order import ClassAwareOrder
from zoo.domains.calibration.data_splits import (
    balanced_parts,
    long_tail,
    long_tail_counts,
    shuffled_split,
    split_by_class,
)
from zoo.domains.calibration.data_views import CIFAR, View, normalised, padded, resized
from zoo.errors import InputError

NOTHING = np.random.default_rng(0)


def test_the_released_split_of_cifar_with_seed_1():
    train, val = shuffled_split(50_000, 5_000, 1)
    assert val[:6].tolist() == [26247, 35067, 34590, 16668, 12196, 2600]
    assert len(val) == 5_000
    assert sorted([*train, *val]) == list(range(50_000))


def test_the_released_long_tails():
    ten, hundred = long_tail_counts(5000, 10, 0.1), long_tail_counts(500, 100, 0.01)
    assert (ten[:3], ten[-1], sum(ten)) == ([5000, 3871, 2997], 500, 20_431)
    assert (hundred[:2], hundred[-1], sum(hundred)) == ([500, 477], 5, 10_847)


def test_a_long_tail_with_and_without_validation():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 500))
    train, none = long_tail(labels, 10, 0.1)
    assert np.bincount(labels[train]).tolist() == long_tail_counts(500, 10, 0.1)
    assert len(none) == 0
    kept, val = long_tail(labels, 10, 0.1, held=50)
    assert np.bincount(labels[val]).tolist() == [50] * 10
    assert not set(kept) & set(val)
    assert np.bincount(labels[kept]).tolist() == [450, *long_tail_counts(500, 10, 0.1)[1:]]
    # numpy's legacy generator of seed 0 shuffles each class in turn
    random, chosen = np.random.RandomState(0), []
    for label, count in enumerate(long_tail_counts(500, 10, 0.1)):
        order = np.flatnonzero(labels == label)
        random.shuffle(order)
        chosen += order[:count].tolist()
    assert train.tolist() == chosen


def test_the_last_tenth_of_each_class_is_for_validation():
    labels = np.repeat([0, 1], [20, 40])
    train, val = split_by_class(labels, 0.1, 1)
    assert np.bincount(labels[val]).tolist() == [2, 4]
    assert sorted([*train, *val]) == list(range(60))
    random = np.random.RandomState(1)
    first = np.arange(20)
    random.shuffle(first)
    assert val[:2].tolist() == first[-2:].tolist()


def test_balanced_parts_are_disjoint_and_balanced():
    labels = np.random.default_rng(0).integers(0, 5, 400)
    first, second = balanced_parts(labels, (50, 100), 3)
    assert np.bincount(labels[first]).tolist() == [10] * 5
    assert np.bincount(labels[second]).tolist() == [20] * 5
    assert not set(first) & set(second)
    assert balanced_parts(labels, (50, 100), 4)[0].tolist() != first.tolist()
    with pytest.raises(InputError, match="a balanced part of 5 classes holds a multiple of 5 images, got 52"):
        balanced_parts(labels, (52,), 0)
    with pytest.raises(InputError, match=r"class \d has \d+ images, 200 of each class are asked for"):
        balanced_parts(labels, (1000,), 0)


def test_classes_take_turns():
    labels = np.repeat([0, 1, 2], [40, 12, 3])
    order = ClassAwareOrder(labels, 16, seed=5, drop_last=True)
    batches = order.global_batches(0)
    assert len(batches) == len(order) == 120 // 16  # as long as if each class were as large as the largest
    seen = np.concatenate(batches)
    kinds = labels[seen]
    for first in range(0, len(seen) // 12 * 12, 12):  # each round of three visits sees every class, 4 images each
        assert np.bincount(kinds[first : first + 12], minlength=3).tolist() == [4, 4, 4]
    large = [place for place in seen if labels[place] == 0]
    assert len(set(large)) == len(large)  # no image of the largest class comes twice
    small = [place for place in seen if labels[place] == 2]
    assert [set(small[first : first + 3]) for first in range(0, 9, 3)] == [
        {52, 53, 54}
    ] * 3  # each time round all three
    assert np.array_equal(np.concatenate(order.global_batches(0)), seen)
    assert not np.array_equal(np.concatenate(order.global_batches(1)), seen)


@pytest.mark.parametrize("drop_last", [True, False])
def test_processes_share_class_aware_batches(drop_last):
    labels = np.repeat([0, 1], [21, 4])
    whole = [[position for _, position in batch] for batch in ClassAwareOrder(labels, 8, seed=1, drop_last=drop_last)]
    halves = [list(ClassAwareOrder(labels, 4, 1, rank, 2, drop_last)) for rank in range(2)]
    assert len(halves[0]) == len(halves[1]) == len(whole)
    for batch, zero, one in zip(whole, *halves, strict=True):
        assert sorted(batch) == sorted(position for _, position in [*zero, *one])


def test_the_view_is_a_crop_of_the_padded_image_or_its_mirror():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    view = View(32, padding=4, flip=True, crop=True)
    whole = padded(pixels, 4)
    assert whole[:, 4:36, 4:36].tolist() == pixels.tolist()
    assert whole[:, :4].max() == 0
    places, mirrored = set(), 0
    for seed in range(300):
        found = view(pixels, np.random.default_rng(seed))
        crops = [
            (top, left, flip)
            for top in range(9)
            for left in range(9)
            for flip in (False, True)
            if np.array_equal(whole[:, top : top + 32, left : left + 32][:, :, :: -1 if flip else 1], found)
        ]
        assert len(crops) == 1
        places.add(crops[0][:2])
        mirrored += crops[0][2]
    assert len(places) > 70  # of 81
    assert 110 < mirrored < 190


def test_the_test_view_leaves_images_alone_or_takes_the_centre():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 60), dtype=np.uint8)
    assert View(32)(pixels[:, :32, :32], NOTHING).tolist() == pixels[:, :32, :32].tolist()
    found = View(32, resize=40)(pixels, NOTHING)
    assert found.tolist() == pixels[:, 4:36, 14:46].tolist()


@pytest.mark.parametrize("stretch", [True, False])
def test_resizing_is_pillows_as_the_released_code_does_it(stretch):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 60), dtype=np.uint8)
    image = Image.fromarray(pixels.transpose(1, 2, 0))
    wanted = np.asarray(image.resize((20, 20) if stretch else (30, 20), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    found = resized(pixels, 20, stretch).astype(int)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1


def test_small_images_are_enlarged_to_the_input():
    assert View(32)(np.zeros((3, 8, 20), dtype=np.uint8), NOTHING).shape == (3, 32, 32)


def test_normalised_is_to_tensor_and_normalize():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 5), dtype=np.uint8)
    wanted = vision.normalize(torch.from_numpy(pixels) / 255, CIFAR.mean, CIFAR.std)
    torch.testing.assert_close(normalised(pixels, CIFAR), wanted, rtol=1e-5, atol=1e-6)


def test_views_that_cannot_be():
    with pytest.raises(InputError, match="size must be at least 1 and padding 0, got 0 and 4"):
        View(0, padding=4)
    with pytest.raises(InputError, match=r"data\.resize must be at least data\.size \(32\), got 30"):
        View(32, resize=30)
