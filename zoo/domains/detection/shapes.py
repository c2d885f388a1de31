"""Synthesized shapes: the data of the demo and of the claim in miniature."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.domains.detection.coco import COCOFormat
from zoo.domains.detection.synthesis import KINDS, coco_tree, scene, write_coco
from zoo.errors import InputError

ANNOTATIONS, IMAGES = "annotations/{split}.json", "{split}"


class Shapes(COCOFormat):
    """Discs, squares, stars and triangles, turned and stretched, on textured grounds; boxes are exact.

    Args:
        root: Folder of the data.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Make the images, in the cache folder.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` and report.
        side: Height and width of the images that are made, >= 16.
        images: How many training images are made; a fifth of it validates, another fifth is the test.
        most: Shapes in an image, at most.
        flip: Share of the training images that are mirrored.
        sizes: Shorter sides that training draws from; null for ``side``.
        evaluation_batch: Images per evaluation batch; all are of one size.
    """

    dataset = "shapes"
    source = "zoo data make shapes"
    terms = "made up"
    layout = """
    annotations/train.json   COCO's format; val.json and test.json likewise
    train/*.jpg              val/ and test/ likewise
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 8,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        side: int = 96,
        images: int = 200,
        most: int = 5,
        flip: float = 0.5,
        sizes: list[int] | None = None,
        evaluation_batch: int = 16,
    ) -> None:
        for name, value, least in (("side", side, 16), ("images", images, 5), ("most", most, 1)):
            if value < least:
                raise InputError(f"data.{name} must be at least {least}, got {value}")
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, ANNOTATIONS, IMAGES, "test", sizes or [side],
            2 * max(sizes or [side]), [], [side, side], flip, side, side, evaluation_batch, False, False,
        )  # fmt: skip
        self.side, self.count, self.most = side, images, most
        self.class_names = list(KINDS)

    def synthetic_arguments(self) -> dict[str, Any]:
        """What the images depend on beside the seed."""
        return {"side": self.side, "images": self.count, "most": self.most}

    def make(self, root: Path) -> None:
        """Writes the images of the three splits."""
        for number, (split, share) in enumerate((("train", 1), ("val", 5), ("test", 5))):
            rng = np.random.default_rng([self.seed, number])
            size = (self.side, self.side)
            scenes = [scene(rng, size, self.most) for _ in range(self.count // share)]
            tree = coco_tree(scenes, first=1 + number * self.count)
            write_coco(root, ANNOTATIONS.replace("{split}", split), IMAGES.replace("{split}", split), scenes, tree)
