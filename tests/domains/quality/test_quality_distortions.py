"""Graded distortions: five levels each worse than the last, deterministic, inside or outside a window."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from zoo.domains.quality import KINDS, LEVELS, distort, quarter_windows
from zoo.domains.quality.distortions import BLUR, CONTRAST, EXPOSURE, distort_region
from zoo.domains.quality.faces import Box
from zoo.domains.quality.synthesis import photograph
from zoo.errors import InputError

CLEAN = photograph(np.random.default_rng(4))
DARK = (CLEAN.float() * 0.5).to(torch.uint8)  # room to get brighter


def error(image, clean=CLEAN):
    return float(((image.float() - clean.float()) ** 2).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_each_level_is_further_from_the_original(kind):
    errors = [error(distort(CLEAN, kind, level, 11)) for level in range(LEVELS + 1)]
    assert errors[0] == 0
    assert all(worse > 1.15 * better for better, worse in pairwise(errors)), errors
    assert errors[1] > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_of_its_arguments_alone(kind):
    torch.manual_seed(1)
    before = CLEAN.clone()
    one = distort(CLEAN, kind, 3, 5)
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(one, distort(CLEAN, kind, 3, 5))
    assert torch.equal(before, CLEAN)
    assert (one.dtype, one.shape) == (torch.uint8, CLEAN.shape)


def test_noise_of_another_seed_is_other_noise_of_the_same_strength():
    one, two = (distort(CLEAN, "noise", 2, seed) for seed in (1, 2))
    assert not torch.equal(one, two)
    assert error(one) == pytest.approx(error(two), rel=0.05)


def test_noise_has_its_standard_deviation():
    grey = torch.full((3, 200, 200), 128, dtype=torch.uint8)
    for level, sigma in ((1, 0.02), (3, 0.075)):
        spread = distort(grey, "noise", level, 0).float().std().item()
        assert spread == pytest.approx(255 * sigma, rel=0.02)


def test_levels_of_a_seed_share_their_noise():
    grey = torch.full((3, 50, 50), 128, dtype=torch.uint8)
    one, two = (distort(grey, "noise", level, 7).float().flatten() - 128 for level in (1, 2))
    assert torch.corrcoef(torch.stack([one, two]))[0, 1] > 0.99


def test_exposure_goes_one_way_by_seed_in_stops():
    grey = torch.full((3, 4, 4), 100, dtype=torch.uint8)
    ways = set()
    for seed in range(8):
        values = [distort(grey, "exposure", level, seed)[0, 0, 0].item() for level in range(LEVELS + 1)]
        rising = values[1] > values[0]
        ways.add(rising)
        assert values == sorted(values, reverse=not rising)
        stops = EXPOSURE[0] if rising else -EXPOSURE[0]
        assert values[1] == round(255 * ((100 / 255) ** 2.2 * 2**stops) ** (1 / 2.2))
    assert ways == {True, False}


def test_blur_is_the_gaussian_of_a_point():
    point = torch.zeros(3, 41, 41, dtype=torch.uint8)
    point[:, 20, 20] = 255
    blurred = distort(point, "blur", 3, 0).float()[0]
    sigma = BLUR[2]
    steps = torch.arange(-20, 21).float()
    line = torch.exp(-0.5 * (steps / sigma) ** 2) * (steps.abs() <= np.ceil(3 * sigma))
    line /= line.sum()
    assert torch.equal(blurred, (255 * line[:, None] * line[None]).round())


def test_contrast_and_colour_keep_the_mean():
    flat = distort(CLEAN, "contrast", 5, 0).float()
    assert flat.std().item() == pytest.approx(CONTRAST[4] * CLEAN.float().std().item(), rel=0.02)
    grey = distort(CLEAN, "colour", 5, 0)
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[1], grey[2])


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (7, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_tiny_images(kind, size):
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    assert distort(image, kind, 5, 0).shape == image.shape


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_changed_inside_or_outside_only(kind):
    box = Box(10, 20, 58, 56)
    inside = distort_region(CLEAN, box, True, kind, 4, 3)
    outside = distort_region(CLEAN, box, False, kind, 4, 3)
    window = torch.zeros(CLEAN.shape[-2:], dtype=torch.bool)
    window[20:56, 10:58] = True
    whole = distort(CLEAN, kind, 4, 3)
    for image, changed in ((inside, window), (outside, ~window)):
        assert torch.equal(image[:, ~changed], CLEAN[:, ~changed])
        assert torch.equal(image[:, changed], whole[:, changed])
        assert not torch.equal(image[:, changed], CLEAN[:, changed])


def test_windows_are_a_quarter_and_lie_inside():
    sizes = [(72, 96), (151, 201), (224, 149)] * 40
    boxes = quarter_windows(sizes, seed=1)
    assert boxes == quarter_windows(sizes, seed=1) != quarter_windows(sizes, seed=2)
    for (height, width), box in zip(sizes, boxes, strict=True):
        assert 0 <= box.left < box.right <= width
        assert 0 <= box.top < box.bottom <= height
        area = (box.right - box.left) * (box.bottom - box.top)
        assert area == pytest.approx(height * width / 4, rel=0.02)
    assert len({box.left for box in boxes}) > 20


def test_unknown_kind_and_level():
    with pytest.raises(InputError) as wrong:
        distort(CLEAN, "blurr", 1, 0)  # type: ignore[arg-type]
    assert str(wrong.value) == (
        "there is no distortion 'blurr', only blur, noise, jpeg, exposure, contrast, colour, downscale"
    )
    with pytest.raises(InputError) as wrong:
        distort(CLEAN, "blur", 6, 0)
    assert str(wrong.value) == "the level of a distortion is 0 to 5, got 6"
