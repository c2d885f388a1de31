"""Draws boxes over images: what was found, and what is there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from zoo.domains.detection.evaluation import Detected
from zoo.training.images import thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000", "#808000", "#000075",
           "#f032e6", "#469990")  # fmt: skip
SHOWN, COLUMNS = 12, 4
_THIN = 40  # boxes from which on lines are thin and unnamed


def draw_image(image: Tensor, detected: Detected, title: str, threshold: float) -> Figure:
    """One image with its detections.

    Args:
        image: uint8 ``(3, H, W)``.
        detected: What is drawn.
        title: Above.
        threshold: Of the scores, for the title.
    """
    from matplotlib import pyplot

    height, width = image.shape[-2:]
    tall = min(10.0, max(2.0, 8.0 * height / width))
    figure, axis = pyplot.subplots(figsize=(8.0, tall + 0.5), layout="constrained")
    _show(axis, image)
    _draw(axis, detected)
    figure.suptitle(f"{title}   {len(detected.scores)} objects, score at least {threshold:g}", fontsize=9)
    return figure


def draw_frames(frames: Sequence[tuple[str, Tensor, Detected]], title: str) -> Figure:
    """Frames of a video with their detections.

    Args:
        frames: Name, uint8 ``(3, H, W)`` and detections of each.
        title: Above.
    """
    figure, axes = _grid(len(frames), title)
    for axis, (name, image, detected) in zip(axes, frames, strict=False):
        _show(axis, image)
        _draw(axis, detected)
        axis.set_title(f"{name}: {len(detected.scores)} objects", fontsize=7)
    return figure


def draw_batch(batch: dict[str, Any], found: Sequence[Detected], threshold: float) -> Figure:
    """The first images of an evaluation batch with the objects (white, dashed) and the detections.

    Args:
        batch: See :mod:`zoo.domains.detection.data`; on the CPU.
        found: Detections above the threshold, in pixels of the images of the batch.
        threshold: Of the scores, for the title.
    """
    count = min(SHOWN, len(found))
    figure, axes = _grid(count, f"dashed: annotated; lines: found, score at least {threshold:g}")
    for row, axis in enumerate(axes[:count]):
        height, width = batch["sizes"][row].tolist()
        _show(axis, batch["images"][row, :, :height, :width])
        for x, y, wide, high in batch["targets"][row]["boxes"].tolist():
            box = ((x - wide / 2) * width, (y - high / 2) * height, wide * width, high * height)
            _rectangle(axis, box, "#000000", 2.0, "-")
            _rectangle(axis, box, "#ffffff", 1.0, "--")
        _draw(axis, found[row])
        axis.set_title(f"{batch['id'][row]}: {len(batch['targets'][row]['labels'])} objects", fontsize=7)
    return figure


def draw_curve(curve: Sequence[tuple[float, float]]) -> Figure:
    """AP over the IoU threshold.

    Args:
        curve: Threshold and AP.
    """
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(5, 3.5), layout="constrained")
    axis.plot([place for place, _ in curve], [value for _, value in curve], marker="o", color=COLOURS[2])
    axis.set_xlabel("IoU threshold")
    axis.set_ylabel("AP")
    axis.set_ylim(0, 1)
    axis.grid(alpha=0.3)
    return figure


def _grid(count: int, title: str) -> tuple[Figure, list[Any]]:
    from matplotlib import pyplot

    columns = max(1, min(COLUMNS, count))
    rows = max(1, math.ceil(count / columns))
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(3.0 * columns, 2.9 * rows + 0.4), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    figure.suptitle(title, fontsize=9)
    return figure, list(axes.flat)


def _show(axis: Any, image: Tensor) -> None:
    height, width = image.shape[-2:]
    # boxes are measured from the corner of the first pixel, not from its middle
    axis.imshow(thumbnail(image).permute(1, 2, 0).numpy(), extent=(0, width, height, 0))
    axis.set_xlim(0, width)
    axis.set_ylim(height, 0)
    axis.axis("off")


def _draw(axis: Any, detected: Detected) -> None:
    """Boxes, worst first, so that the best lie on top."""
    named = len(detected.scores) <= _THIN
    rows = list(zip(detected.boxes.tolist(), detected.scores.tolist(), detected.labels.tolist(), detected.class_names,
                    strict=True))  # fmt: skip
    for (left, top, right, bottom), score, label, name in reversed(rows):
        colour = COLOURS[label % len(COLOURS)]
        _rectangle(axis, (left, top, right - left, bottom - top), colour, 1.6 if named else 0.7, "-")
        if named:
            axis.text(
                left, top, f"{name} {score:.2f}", fontsize=6, color="white", va="bottom", clip_on=True,
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
            )  # fmt: skip


def _rectangle(axis: Any, box: Sequence[float], colour: str, line: float, style: str) -> None:
    from matplotlib.patches import Rectangle

    axis.add_patch(
        Rectangle((box[0], box[1]), box[2], box[3], fill=False, edgecolor=colour, linewidth=line, linestyle=style)
    )
