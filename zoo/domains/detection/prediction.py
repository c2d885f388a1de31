"""Prediction on a user's own images and videos: in memory, and file by file for ``zoo predict``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from zoo.domains.detection.augment import resize as resize_image
from zoo.domains.detection.boxes import corners
from zoo.domains.detection.evaluation import MOST, Detected, detect
from zoo.domains.detection.outputs import Detections
from zoo.domains.detection.picture import SHOWN, draw_frames, draw_image
from zoo.errors import InputError
from zoo.training import IMAGE_SUFFIXES, Row, ZooModule, as_images, read_image
from zoo.training.video import VIDEO_SUFFIXES, open_frames

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JSON = "detections.json"
SIDES = ("left", "top", "right", "bottom")
NOTHING: Row = {"class": "", "score": None, "left": None, "top": None, "right": None, "bottom": None}


class Prediction(ZooModule):
    """What :class:`zoo.domains.detection.RankDETR` does with a user's images."""

    suffixes: ClassVar[tuple[str, ...]] = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    test_size: int
    test_longest: int
    threshold: float
    video_fps: float | None

    @torch.no_grad()
    def predict(
        self, images: Any, threshold: float = 0.0, resize: bool = True, preprocess: bool = True
    ) -> list[Detected] | Detections:
        """Detects objects.

        Args:
            images: ``(B, 3, H, W)``, ``(3, H, W)`` as a batch of one, or a list of images of any sizes; RGB, upright,
                uint8, or float in [0, 1], which is brought to 8 bits.
            threshold: Scores below it are left out, in [0, 1].
            resize: Whether images are brought to the size of the test (shorter side 800, longer at most 1,333, or as
                the recipe says); False keeps their size.
            preprocess: False hands a tensor ``(B, 3, H, W)`` of 0..255 to the network unchanged and gives its output.

        Returns:
            For each image ``.boxes (N, 4)`` left, top, right, bottom in its own pixels, clipped, ``.scores``,
            ``.labels`` and ``.class_names``: the 300 best, best first, without boxes that have no extent. Each image
            is looked at by itself, so that the others make no difference.

        Raises:
            InputError: The images or the threshold do not fit.
        """
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold must be in [0, 1], got {threshold}")
        if not preprocess:
            return self._raw(images)
        whole = [(255 * image).round().to(torch.uint8) for image in as_images(images)]
        training = self.network.training
        self.network.eval()
        try:
            return [self._one(image, threshold, resize) for image in whole]
        finally:
            self.network.train(training)

    def _one(self, image: Tensor, threshold: float, resize: bool) -> Detected:
        view = resize_image(image, self.test_size, self.test_longest) if resize else image
        output: Detections = self.network(view[None].to(self.device).float())
        return detect(output.logits[0], output.boxes[0], image.shape[-2:], threshold, self.class_names)

    def _raw(self, images: Any) -> Detections:
        if not isinstance(images, Tensor) or images.ndim not in (3, 4):
            raise InputError("images: with preprocess=False expected a tensor (B, 3, H, W) of 0..255")
        output: Detections = self.network((images if images.ndim == 4 else images[None]).to(self.device).float())
        return output

    # -- zoo predict

    def predict_file(self, file: Path) -> tuple[list[Row], Figure]:
        """Detects objects in an image or in the frames of a video.

        Returns:
            A row per object (label, score, left, top, right, bottom in pixels, frame and second in a video), one with
            an empty label for an image or frame without any; and the drawn image, or frames of the video.

        Raises:
            InputError: The file is no image or video that can be read.
        """
        if file.suffix.lower() in VIDEO_SUFFIXES:
            return self._video(file)
        image = read_image(file)
        found = self.predict(image, self.threshold)[0]
        assert isinstance(found, Detected)
        return _rows(found, image.shape[-2:], {}), draw_image(image, found, file.name, self.threshold)

    def _video(self, file: Path) -> tuple[list[Row], Figure]:
        frames = open_frames(file, self.video_fps)
        rows: list[Row] = []
        kept: list[tuple[str, Tensor, Detected]] = []
        step = 1
        for number, pixels in enumerate(frames):
            image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
            found = self.predict(image, self.threshold)[0]
            assert isinstance(found, Detected)
            second = round(number / frames.fps, 3)
            rows += _rows(found, image.shape[-2:], {"frame": number, "second": second})
            if number % step == 0:
                kept.append((f"{second:g} s", image, found))
                if len(kept) > SHOWN:  # every second one of those kept, and of those to come
                    kept, step = kept[::2], 2 * step
        count = sum(row["label"] != "" for row in rows)
        return rows, draw_frames(kept, f"{file.name}   {count} objects, score at least {self.threshold:g}")

    def documents(self, rows: list[Row]) -> dict[str, str]:
        """``detections.json``: images, annotations with scores and categories, as COCO's tools read them."""
        return {JSON: json.dumps(coco_json(rows, self.class_names), indent=1)}


def best_pairs(output: Detections, size: Tensor) -> dict[str, Tensor]:
    """What :func:`~zoo.domains.detection.evaluation.detect` gives, for a batch and in a fixed shape.

    Args:
        output: Of the network.
        size: ``(2,)`` height and width of the images as they came.

    Returns:
        ``boxes (B, N, 4)`` left, top, right, bottom in pixels, clipped, ``scores (B, N)``, best first, and ``labels
        (B, N)``: the N = 300 best pairs of a query and a class, or all where there are fewer. A box without extent
        inside the image, which :func:`detect` leaves out, has the score 0.
    """
    classes = output.logits.shape[-1]
    pairs = output.logits.float().sigmoid().flatten(1)
    scores, order = pairs.topk(min(MOST, pairs.shape[1]), 1)
    limit = size.flip(0).repeat(2)
    every = (corners(output.boxes.float()) * limit).clamp(min=0).minimum(limit)
    boxes = every.gather(1, (order // classes).unsqueeze(-1).expand(-1, -1, 4))
    extended = (boxes[..., 2:] > boxes[..., :2]).all(-1)
    return {"boxes": boxes, "scores": scores * extended, "labels": order % classes}


def coco_json(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    """The table of ``zoo predict`` in the COCO format; category i + 1 is class i.

    Args:
        rows: With ``file``, as :meth:`Prediction.predict_file` gives them.
        names: Of the classes.
    """
    categories: list[Any] = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    tree: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
    ids: dict[tuple[str, Any], int] = {}
    for row in rows:
        key = (row["file"], row.get("frame"))
        if key not in ids:
            ids[key] = len(ids) + 1
            image: Row = {"id": ids[key], "file_name": row["file"], "width": row["width"], "height": row["height"]}
            image |= {name: row[name] for name in ("frame", "second") if name in row}
            tree["images"].append(image)
        if row["label"] != "":
            left, top, right, bottom = (row[side] for side in SIDES)
            tree["annotations"].append(
                {
                    "id": len(tree["annotations"]) + 1,
                    "image_id": ids[key],
                    "category_id": row["class"] + 1,
                    "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
                    "area": round((right - left) * (bottom - top), 2),
                    "iscrowd": 0,
                    "score": row["score"],
                }
            )
    return tree


def _rows(found: Detected, size: Sequence[int], place: Row) -> list[Row]:
    extent = {"width": int(size[1]), "height": int(size[0])}
    rows: list[Row] = []
    for box, score, label, name in zip(
        found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), found.class_names, strict=True
    ):
        sides = {side: round(value, 2) for side, value in zip(SIDES, box, strict=True)}
        rows.append({**place, "label": name, "class": label, "score": round(score, 6), **sides, **extent})
    return rows or [{**place, "label": "", **NOTHING, **extent}]
