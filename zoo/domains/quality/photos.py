"""Photographs with a score and a scene, read one by one as what the network takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from zoo.domains.quality.faces import Box, crop_face
from zoo.domains.quality.liqe import read_aux
from zoo.domains.quality.views import evaluation_views, random_view
from zoo.errors import InputError
from zoo.training import DataError, Split
from zoo.training.images import read_image


@dataclass(frozen=True)
class Photo:
    """One scored image.

    Attributes:
        name: Its path as the table writes it, with forward slashes.
        file: Where it lies.
        score: Higher is better; comparable within its scene.
        scene: Name of its scene.
        place: What names it in errors: table, line and image.
        box: Face ``(left, top, right, bottom)`` in pixels of the upright image; None takes the whole image.
        split: Which part of the data set it is in.
    """

    name: str
    file: Path
    score: float
    scene: str
    place: str
    split: Split
    box: Box | None = None


@dataclass(frozen=True)
class View:
    """How images become what the network takes.

    Attributes:
        resize: Pixels of the shorter side before cutting.
        crop: Side of the squares.
        margin: Pixels by which a face box is enlarged on each side.
        aux: Folder of LIQE logits; None gives no ``aux``.
    """

    resize: int
    crop: int
    margin: int
    aux: Path | None

    def __post_init__(self) -> None:
        if self.crop < 1 or (self.resize and self.resize < self.crop):
            raise InputError(f"data.crop must be 1 to data.resize, got {self.crop} and {self.resize}")
        if self.margin < 0:
            raise InputError(f"data.margin must not be negative, got {self.margin}")


class Photos:
    """Photographs by index.

    Args:
        photos: Of one split.
        scenes: Names of the scenes of all splits; their places are the numbers.
        view: How they are cut.
        train: One random square each; otherwise the five of an evaluation.
    """

    def __init__(self, photos: Sequence[Photo], scenes: Sequence[str], view: View, train: bool) -> None:
        self.photos, self.view, self.train = list(photos), view, train
        self._number = {name: number for number, name in enumerate(scenes)}

    def __len__(self) -> int:
        return len(self.photos)

    def scene(self, index: int) -> str:
        """Name of the scene of an item."""
        return self.photos[index].scene

    def name(self, index: int) -> str:
        """What an item is called."""
        return self.photos[index].name

    def made_of(self, index: int) -> str:
        """The photograph: which are held out, and which are compared, depends on all."""
        return self.photos[index].name

    def pixels(self, index: int) -> tuple[Tensor, Box | None]:
        """The image of an item, uint8 ``(3, H, W)``, upright, and the face box in its pixels."""
        photo = self.photos[index]
        return read_image(photo.file, photo.place), photo.box

    def place(self, index: int) -> str:
        """What names an item in errors."""
        return self.photos[index].place

    def score(self, index: int) -> float:
        """The score of an item."""
        return self.photos[index].score

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """One image as the batch holds it, see :mod:`zoo.domains.quality.data`.

        Image and face are cut independently of each other, as in the released training.

        Raises:
            DataError: The image or its LIQE logits cannot be read; names table, line and file.
        """
        image, box = self.pixels(index)
        try:
            face = crop_face(image, box, self.view.margin)
        except ValueError as error:
            raise DataError(f"{self.place(index)}: {error}") from error
        resize, crop = self.view.resize, self.view.crop
        if self.train:
            views = [random_view(one, resize, crop, rng) for one in (image, face)]
        else:
            views = [evaluation_views(one, resize, crop) for one in (image, face)]
        scene = self.scene(index)
        item = {
            "id": self.name(index),
            "image": views[0],
            "face": views[1],
            "score": self.score(index),
            "scene": self._number[scene],
            "scene_name": scene,
        }
        if self.view.aux is not None:
            item["aux"] = read_aux(self.view.aux, self.photos[index].name)
        return item


def require_files(photos: Sequence[Photo], what: str) -> None:
    """Refuses a table whose images are not all there, before anything is trained.

    Args:
        photos: To check.
        what: What names the images, for the message.

    Raises:
        DataError: Counts the missing ones and names the first.
    """
    missing = [photo for photo in photos if not photo.file.is_file()]
    if missing:
        first = missing[0]
        raise DataError(
            f"{first.place}: there is no image {first.file}; {len(missing)} of {len(photos)} images of {what} are "
            "missing"
        )


def with_boxes(photos: Sequence[Photo], boxes: Sequence[Box | None]) -> list[Photo]:
    """The photographs with their face boxes."""
    return [replace(photo, box=box) for photo, box in zip(photos, boxes, strict=True)]


def scene_names(photos: Sequence[Photo]) -> list[str]:
    """Names of all scenes, sorted, so that their numbers do not depend on the split that is read."""
    return sorted({photo.scene for photo in photos})
