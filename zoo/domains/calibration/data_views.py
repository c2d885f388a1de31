"""From the pixels of a file to what the network sees: resize, crop with padding, flip, and the statistics of a set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from zoo.errors import InputError


class Statistics(NamedTuple):
    """Mean and standard deviation of the channels R, G, B of pixels in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


CIFAR = Statistics((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class View:
    """What happens to the pixels of an image before they are normalised.

    Attributes:
        size: Height and width that come out.
        resize: Length of the shorter side before the crop, bilinear; None where images have their size already.
        stretch: Resize both sides to ``resize``, as the CUB recipe does, instead of keeping the shape.
        padding: Black pixels on every side before a random crop.
        flip: Mirror every second image, left to right.
        crop: Crop at random; else from the centre.
    """

    size: int
    resize: int | None = None
    stretch: bool = False
    padding: int = 0
    flip: bool = False
    crop: bool = False

    def __post_init__(self) -> None:
        if self.size < 1 or self.padding < 0:
            raise InputError(f"data: size must be at least 1 and padding 0, got {self.size} and {self.padding}")
        if self.resize is not None and self.resize < self.size:
            raise InputError(f"data.resize must be at least data.size ({self.size}), got {self.resize}")

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Gives the view of an image.

        Args:
            pixels: ``(3, H, W)`` uint8.
            rng: Source of the crop and the flip; a view without them draws nothing.

        Returns:
            ``(3, size, size)`` uint8.
        """
        side = self.resize
        if side is None and min(pixels.shape[1:]) + 2 * self.padding < self.size:
            side = self.size  # smaller than the network's input
        if side is not None:
            pixels = resized(pixels, side, self.stretch)
        if self.padding:
            pixels = padded(pixels, self.padding)
        rows, columns = pixels.shape[1] - self.size, pixels.shape[2] - self.size
        if self.crop:
            top, left = int(rng.integers(rows + 1)), int(rng.integers(columns + 1))
        else:
            top, left = rows // 2, columns // 2
        pixels = pixels[:, top : top + self.size, left : left + self.size]
        return pixels[:, :, ::-1] if self.flip and rng.random() < 0.5 else pixels


def padded(pixels: np.ndarray, padding: int) -> np.ndarray:
    """Adds black pixels on every side; ``(3, H, W)`` to ``(3, H + 2 padding, W + 2 padding)``."""
    channels, height, width = pixels.shape
    whole = np.zeros((channels, height + 2 * padding, width + 2 * padding), dtype=pixels.dtype)
    whole[:, padding : padding + height, padding : padding + width] = pixels
    return whole


def resized(pixels: np.ndarray, side: int, stretch: bool = False) -> np.ndarray:
    """Resizes bilinearly, with antialiasing.

    Args:
        pixels: ``(..., 3, H, W)`` uint8.
        side: Length of the shorter side, or of both.
        stretch: Both sides.

    Returns:
        The same type; untouched where the size fits already.
    """
    height, width = pixels.shape[-2:]
    short = min(height, width)
    wanted = (side, side) if stretch else (round(height * side / short), round(width * side / short))
    if wanted == (height, width):
        return pixels
    given = torch.from_numpy(np.ascontiguousarray(pixels))
    found: np.ndarray = vision.resize(given, list(wanted), antialias=True).numpy()
    return found


def normalised(pixels: np.ndarray, statistics: Statistics) -> Tensor:
    """Pixels as the network takes them.

    Args:
        pixels: ``(B, 3, H, W)`` uint8.
        statistics: Mean and standard deviation per channel.

    Returns:
        ``(B, 3, H, W)`` float32.
    """
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in statistics)
    # (x / 255 - mean) / std in one pass over the pixels
    scale, shift = (1 / (255 * std)).float(), (-mean / std).float()
    return torch.from_numpy(pixels).to(torch.float32).mul_(scale).add_(shift)
