"""How an image and its boxes become what the network sees: DETR's random sizes and crops, or the size of the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from zoo.domains.detection.boxes import resized
from zoo.domains.detection.records import SMALLEST
from zoo.errors import InputError

CROP_SHARE = 0.5  # of the images that are cropped


@dataclass(frozen=True)
class Views:
    """The sizes of training and test.

    Attributes:
        sizes: Shorter sides that training draws from.
        longest: Most that the longer side may have in training.
        crop_sizes: Shorter sides before a crop; empty for no crops.
        crop: Least and most pixels of a crop's sides.
        flip: Share of the training images that are mirrored.
        test_size: Shorter side in the test.
        test_longest: Longer side in the test.
    """

    sizes: tuple[int, ...]
    longest: int
    crop_sizes: tuple[int, ...]
    crop: tuple[int, int]
    flip: float
    test_size: int
    test_longest: int

    def __post_init__(self) -> None:
        if not self.sizes or min(*self.sizes, *self.crop_sizes, *self.crop, self.test_size, self.longest) < 1:
            raise InputError(
                "data.sizes, data.crop_sizes, data.crop, data.longest and data.test_size must be at least 1"
            )
        if self.crop[0] > self.crop[1]:
            raise InputError(f"data.crop is the least and the most of a side, got {list(self.crop)}")
        if not 0 <= self.flip <= 1:
            raise InputError(f"data.flip must be in [0, 1], got {self.flip}")

    def train(self, image: Tensor, boxes: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A random view: mirrored or not, perhaps cropped, resized.

        Args:
            image: uint8 ``(3, H, W)``.
            boxes: ``(N, 4)`` left, top, right, bottom in pixels.
            rng: Decides everything.

        Returns:
            The image, the boxes that are still in it, and ``(N,)`` bool, which these are.
        """
        picture = tv_tensors.Image(image)
        shapes = _as_boxes(boxes, image.shape[-2:])
        if rng.random() < self.flip:
            picture, shapes = F.horizontal_flip(picture), F.horizontal_flip(shapes)
        if self.crop_sizes and rng.random() < CROP_SHARE:
            height, width = resized(picture.shape[-2:], _drawn(self.crop_sizes, rng), None)
            picture, shapes = _resize(picture, shapes, height, width)
            high, wide = (
                int(rng.integers(min(side, self.crop[0]), min(side, self.crop[1]) + 1)) for side in (height, width)
            )
            top, left = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
            picture, shapes = F.crop(picture, top, left, high, wide), F.crop(shapes, top, left, high, wide)
        height, width = resized(picture.shape[-2:], _drawn(self.sizes, rng), self.longest)
        picture, shapes = _resize(picture, shapes, height, width)
        found = F.clamp_bounding_boxes(shapes).as_subclass(Tensor)
        kept = ((found[:, 2:] - found[:, :2]) > SMALLEST).all(1)
        return picture.as_subclass(Tensor), found[kept], kept

    def test(self, image: Tensor) -> Tensor:
        """The image at the size of the test."""
        return resize(image, self.test_size, self.test_longest)


def resize(image: Tensor, shortest: int, longest: int | None) -> Tensor:
    """Resizes ``(3, H, W)``, bilinear with antialiasing; the shorter side as wished where the longer one allows it."""
    size = resized(image.shape[-2:], shortest, longest)
    if size == tuple(image.shape[-2:]):
        return image
    found: Tensor = F.resize(image, list(size), antialias=True)
    return found


def _resize(
    picture: tv_tensors.Image, shapes: tv_tensors.BoundingBoxes, height: int, width: int
) -> tuple[tv_tensors.Image, tv_tensors.BoundingBoxes]:
    if (height, width) == tuple(picture.shape[-2:]):
        return picture, shapes
    return F.resize(picture, [height, width], antialias=True), F.resize(shapes, [height, width])


def _as_boxes(boxes: Tensor, canvas: Sequence[int]) -> tv_tensors.BoundingBoxes:
    found: tv_tensors.BoundingBoxes = tv_tensors.BoundingBoxes(
        boxes.to(torch.float32), format="XYXY", canvas_size=(int(canvas[0]), int(canvas[1]))
    )
    return found


def _drawn(sizes: Sequence[int], rng: np.random.Generator) -> int:
    return sizes[int(rng.integers(len(sizes)))]
