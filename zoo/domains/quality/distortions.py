"""Graded distortions of photographs: seven kinds, five levels each, like KADID-10k's; known order without people.

Source of the idea and of the five levels: Lin, Hosu and Saupe, KADID-10k, QoMEX 2019. Kinds and strengths are our own.
Strengths are in pixels and shares of the image as it comes in, so images are brought to their working size first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad
from torchvision.transforms import v2

from zoo.domains.quality.faces import Box
from zoo.errors import InputError

Kind = Literal["blur", "noise", "jpeg", "exposure", "contrast", "colour", "downscale"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LEVELS = 5

# level 1 to 5, each chosen so that a level is visibly worse than the one before
BLUR = (0.6, 1.0, 1.6, 2.5, 4.0)  # standard deviation of the Gaussian, pixels
NOISE = (0.02, 0.04, 0.075, 0.13, 0.22)  # standard deviation of the Gaussian, of a range of 1
JPEG = (50, 28, 16, 9, 4)  # Pillow's quality
EXPOSURE = (0.5, 0.95, 1.45, 2.0, 2.6)  # stops over or under
CONTRAST = (0.75, 0.55, 0.4, 0.27, 0.16)  # what differences from the mean grey are multiplied with
COLOUR = (0.65, 0.42, 0.25, 0.12, 0.0)  # what differences from the grey of the same brightness are multiplied with
DOWNSCALE = (1.4, 1.9, 2.6, 3.8, 6.0)  # factor down, and up again


def distort(image: Tensor, kind: Kind, level: int, seed: int) -> Tensor:
    """Distorts a photograph.

    Args:
        image: uint8 ``(3, H, W)``.
        kind: What happens to it.
        level: 1 (slight) to 5 (strong); 0 gives the image itself.
        seed: Decides the noise, and whether exposure goes up or down; the same for all levels of a photograph, so that
            they differ by their strength alone.

    Returns:
        uint8 ``(3, H, W)``; a function of the arguments alone.

    Raises:
        InputError: There is no such kind or level.
    """
    if kind not in KINDS:
        raise InputError(f"there is no distortion {kind!r}, only {', '.join(KINDS)}")
    if not 0 <= level <= LEVELS:
        raise InputError(f"the level of a distortion is 0 to {LEVELS}, got {level}")
    return image if level == 0 else _DISTORTIONS[kind](image, level - 1, seed)


def distort_region(image: Tensor, box: Box, inside: bool, kind: Kind, level: int, seed: int) -> Tensor:
    """Distorts a photograph inside a window only, or outside it only.

    Args:
        image: uint8 ``(3, H, W)``.
        box: Window ``(left, top, right, bottom)`` in pixels.
        inside: Which part.
        kind: What happens to it.
        level: 0 to 5.
        seed: As for :func:`distort`.
    """
    left, top, right, bottom = box
    result = distort(image, kind, level, seed).clone()
    window = (slice(None), slice(max(0, top), bottom), slice(max(0, left), right))
    if inside:
        changed = result
        result = image.clone()
        result[window] = changed[window]
    else:
        result[window] = image[window]
    return result


def quarter_windows(sizes: Sequence[tuple[int, int]], seed: int) -> list[Box]:
    """A window of a quarter of the area in each image: half as wide, half as high, anywhere.

    Args:
        sizes: ``(height, width)`` of the images.
        seed: Of their places.
    """
    rng = np.random.default_rng(seed)
    boxes = []
    for height, width in sizes:
        high, wide = height // 2, width // 2
        top, left = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
        boxes.append(Box(left, top, left + wide, top + high))
    return boxes


def _bytes(image: Tensor) -> Tensor:
    """Floats 0..255 as uint8."""
    return image.round_().clamp_(0, 255).to(torch.uint8)


def _blur(image: Tensor, level: int, seed: int) -> Tensor:
    """Along the rows, then along the columns: the same as with the square kernel, several times as fast."""
    sigma = BLUR[level]
    blurred = image.float()
    for axis in (-1, -2):
        # a kernel that reaches beyond the image could not be reflected at its edge
        reach = min(math.ceil(3 * sigma), image.shape[axis] - 1)
        steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
        sides = (reach, reach, 0, 0) if axis == -1 else (0, 0, reach, reach)
        shape = (1, 1, 1, -1) if axis == -1 else (1, 1, -1, 1)
        weight = (kernel / kernel.sum()).view(shape)
        blurred = conv2d(pad(blurred.unsqueeze(1), sides, mode="reflect"), weight).squeeze(1)
    return _bytes(blurred)


def _noise(image: Tensor, level: int, seed: int) -> Tensor:
    drawn = np.random.default_rng(seed).standard_normal(tuple(image.shape), dtype=np.float32)
    return _bytes(image.float() + torch.from_numpy(drawn) * (255 * NOISE[level]))


def _jpeg(image: Tensor, level: int, seed: int) -> Tensor:
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, "JPEG", quality=JPEG[level])
    with Image.open(stream) as opened:
        pixels: Any = np.array(opened.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _exposure(image: Tensor, level: int, seed: int) -> Tensor:
    """Over or under, in linear light (a power of 2.2), cut off at white."""
    up = bool(np.random.default_rng(seed).integers(2))
    gain = 2 ** (EXPOSURE[level] if up else -EXPOSURE[level])
    values = torch.arange(256, dtype=torch.float32) / 255
    table = _bytes(255 * (values**2.2 * gain).clamp(0, 1) ** (1 / 2.2))
    return table[image.long()]


def _contrast(image: Tensor, level: int, seed: int) -> Tensor:
    mean = v2.functional.rgb_to_grayscale(image.float()).mean()
    return _bytes(mean + CONTRAST[level] * (image.float() - mean))


def _colour(image: Tensor, level: int, seed: int) -> Tensor:
    grey = v2.functional.rgb_to_grayscale(image.float())
    return _bytes(grey + COLOUR[level] * (image.float() - grey))


def _downscale(image: Tensor, level: int, seed: int) -> Tensor:
    height, width = image.shape[-2:]
    small = [max(1, round(length / DOWNSCALE[level])) for length in (height, width)]
    # as floats: torch 2.14 stops with an internal error on images of a few bytes
    smaller = v2.functional.resize(image.float(), small, antialias=True)
    return _bytes(v2.functional.resize(smaller, [height, width], antialias=True))


_DISTORTIONS: dict[Kind, Callable[[Tensor, int, int], Tensor]] = {
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "exposure": _exposure,
    "contrast": _contrast,
    "colour": _colour,
    "downscale": _downscale,
}
