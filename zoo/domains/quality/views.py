"""Views of an image as the networks take them: shorter side resized, squares cut out, ImageNet statistics.

Images enter at 8 bits and are resized at 8 bits, as Pillow does it in the released code; so a file, its pixels as
uint8 and its pixels as float in [0, 1] all get the same score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from zoo.training.images import IMAGENET_MEAN, IMAGENET_STD, normalise

Crops = Literal["five", "centre"]
CROPS = 5
"""Views of an image in an evaluation: top left, top right, bottom left, bottom right, centre."""
CENTRE = 4


def to_bytes(image: Tensor) -> Tensor:
    """``(3, H, W)``, uint8 or float in [0, 1], as uint8."""
    return image if image.dtype == torch.uint8 else (image * 255).round().clamp(0, 255).to(torch.uint8)


def resized(image: Tensor, resize: int, crop: int) -> Tensor:
    """Resizes the shorter side.

    Args:
        image: ``(3, H, W)`` uint8.
        resize: Pixels of the shorter side afterwards; 0 keeps the size, unless a crop would not fit.
        crop: Side of the squares that will be cut out, at most ``resize``.
    """
    side = resize or max(crop, min(image.shape[-2:]))
    if min(image.shape[-2:]) == side:
        return image
    # by Pillow itself: torch's resizing of bytes rounds differently here and there
    pillow = v2.functional.resize(v2.functional.to_pil_image(image), [side])
    pixels: Tensor = v2.functional.pil_to_tensor(pillow)
    return pixels


def random_view(image: Tensor, resize: int, crop: int, rng: np.random.Generator) -> Tensor:
    """A training view: a square anywhere, never mirrored.

    Args:
        image: ``(3, H, W)`` uint8.
        resize: Shorter side before cutting.
        crop: Side of the square.
        rng: The item's generator.

    Returns:
        ``(3, crop, crop)``, normalised.
    """
    image = resized(image, resize, crop)
    top, left = (int(rng.integers(0, length - crop + 1)) for length in image.shape[-2:])
    return _normalised(image[:, top : top + crop, left : left + crop])


def evaluation_views(image: Tensor, resize: int, crop: int) -> Tensor:
    """The five squares of an evaluation, in the order of :data:`CROPS`.

    Args:
        image: ``(3, H, W)`` uint8.
        resize: Shorter side before cutting.
        crop: Side of the squares.

    Returns:
        ``(5, 3, crop, crop)``, normalised.
    """
    squares: Sequence[Tensor] = v2.functional.five_crop(resized(image, resize, crop), [crop, crop])
    return _normalised(torch.stack(list(squares)))


def _normalised(pixels: Tensor) -> Tensor:
    return normalise(pixels.to(torch.float32) / 255, IMAGENET_MEAN, IMAGENET_STD)
