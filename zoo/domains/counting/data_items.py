"""Images with points: what a data set lists, how an image is cut for training, and what the loaders give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from zoo.domains.counting.annotations import read_points
from zoo.domains.counting.points import cell_histogram, inside
from zoo.domains.counting.raster import Raster, Window, read_whole
from zoo.training import DataError, Split, normalise

BEYOND = 1.0
"""Pixels that a point may lie beyond the edge of its image: rounding, not a mistake."""


@dataclass(frozen=True)
class Picture:
    """An image of a data set.

    Attributes:
        name: Its id, the path below the root as a rule.
        file: The image, or the raster that it is a part of.
        points: ``(N, 2)`` x and y in its pixels, or the file that holds them; None where nobody has marked any.
        split: Which split it is in.
        window: Its part of a raster; None where it is a file of its own.
        place: What names its annotation in errors, e.g. a line of a csv.
    """

    name: str
    file: Path
    points: np.ndarray | Path | None
    split: Split
    window: Window | None = None
    place: str = ""

    @property
    def annotation(self) -> str:
        """What names the annotation in errors."""
        return self.place or (str(self.points) if isinstance(self.points, Path) else self.name)

    def read(self) -> Tensor:
        """The pixels, uint8 ``(3, H, W)``.

        Raises:
            DataError: They cannot be read.
        """
        if self.window is None:
            return read_whole(self.file, self.place or None)
        with Raster(self.file) as raster:
            return raster.read(self.window)

    def marked(self, height: int, width: int, drop: bool) -> np.ndarray:
        """The points ``(N, 2)``, checked against the size of the image.

        Args:
            height: Of the image.
            width: Of the image.
            drop: Whether points that lie outside are left out; else they are an error.

        Raises:
            DataError: A point lies outside the image, or the annotation cannot be read.
        """
        points = read_points(self.points) if isinstance(self.points, Path) else self.points
        if points is None:
            raise DataError(f"{self.name}: nobody has marked this image")
        x, y = points[:, 0], points[:, 1]
        far = (x < -BEYOND) | (y < -BEYOND) | (x > width + BEYOND) | (y > height + BEYOND)
        if far.any() and not drop:
            index = int(np.flatnonzero(far)[0])
            raise DataError(
                f"{self.annotation}: point {index} ({x[index]:g}, {y[index]:g}) lies outside {self.name} of {width} x "
                f"{height} pixels ({int(far.sum())} of {len(points)} do); data.outside: drop leaves such points out"
            )
        return points[~far]


class Pictures:
    """Images as items of a loader: crops for training, whole images for evaluation.

    Args:
        pictures: The labelled ones first.
        labelled: How many of them are labelled.
        training: Whether crops are cut.
        crop: Side of the crops in pixels.
        drop: Whether points outside an image are left out; else they are an error.
        keep: Whether decoded images stay in memory.
    """

    def __init__(
        self, pictures: Sequence[Picture], labelled: int, training: bool, crop: int, drop: bool, keep: bool
    ) -> None:
        self.pictures, self.labelled, self.training = list(pictures), labelled, training
        self.crop, self.drop, self.keep = crop, drop, keep
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, index: int) -> str:
        """The id of an item."""
        return self.pictures[index].name

    def made_of(self, index: int) -> str:
        """The image: which are held out depends on all."""
        return self.pictures[index].name

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Reads one item, see :mod:`zoo.domains.counting.data`."""
        picture, image = self.pictures[index], self._image(index)
        height, width = image.shape[1:]
        if not self.training:
            points = picture.marked(height, width, self.drop)
            return {"id": picture.name, "image": normalise(image.float() / 255), "points": as_tensor(points)}
        if index >= self.labelled:
            crop, _ = random_crop(image, np.zeros((0, 2)), self.crop, rng)
            return {"id": picture.name, "labelled": False, "image": normalise(crop.float() / 255)}
        crop, points = random_crop(image, picture.marked(height, width, self.drop), self.crop, rng)
        return {
            "id": picture.name,
            "labelled": True,
            "image": normalise(crop.float() / 255),
            "points": as_tensor(points),
            "count": float(len(points)),
            "cells": cell_histogram(points, self.crop, self.crop),
        }

    def _image(self, index: int) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        image = self.pictures[index].read()
        if self.keep:
            self._kept[index] = image
        return image


def as_tensor(points: np.ndarray) -> Tensor:
    """Points as float32 ``(N, 2)``."""
    return torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32))


def random_crop(image: Tensor, points: np.ndarray, side: int, rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    """A random square, mirrored every second time, as the released training cuts it.

    An image whose shorter side is too short is enlarged first (bicubic), its points with it. Points on either edge of
    the square belong to it; mirrored, x becomes ``side - x - 1``.

    Args:
        image: uint8 ``(3, H, W)``.
        points: ``(N, 2)`` x and y.
        side: Of the square in pixels.
        rng: Draws place and mirroring.

    Returns:
        uint8 ``(3, side, side)`` and the points in it, ``(M, 2)``.
    """
    image, scale = enlarge(image, side)
    points = points * scale
    height, width = image.shape[1:]
    top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    crop = image[:, top : top + side, left : left + side]
    points = points - np.array([left, top])
    points = points[inside(points, side, side)]
    if rng.random() < 0.5:
        crop = crop.flip(2)
        points = np.stack([side - points[:, 0] - 1, points[:, 1]], axis=1)
    return crop, points


def enlarge(image: Tensor, least: int) -> tuple[Tensor, np.ndarray]:
    """The image with a shorter side of at least ``least`` pixels, bicubic, and by how much x and y have grown.

    Args:
        image: uint8 or float ``(3, H, W)``.
        least: Pixels.
    """
    height, width = image.shape[1:]
    shorter = min(height, width)
    if shorter >= least:
        return image, np.ones(2)
    size = [max(least, round(length * least / shorter)) for length in (height, width)]
    larger = v2.functional.resize(image, size, interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
    return larger, np.array([size[1] / width, size[0] / height])
