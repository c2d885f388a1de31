"""Pictures of images with what a classifier says of them: one image with its classes, and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from zoo.training.images import contact_sheet, thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 60  # images of an overview
BAR, PALE, RIGHT, WRONG = "#2f6f9f", "#b9cfdf", "#1f7a4d", "#b3402a"


def portrait(
    image: Tensor, names: Sequence[str], after: Sequence[float], before: Sequence[float], temperature: float, title: str
) -> Figure:
    """An image beside the probabilities of its likeliest classes, before and after temperature scaling.

    Args:
        image: ``(3, H, W)`` uint8.
        names: Of the classes, the likeliest first.
        after: Their probabilities after scaling.
        before: Their probabilities before.
        temperature: What the logits were divided by.
        title: Above all.
    """
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(6.4, 2.8), width_ratios=(1, 1.5), layout="constrained")
    left.imshow(thumbnail(image).permute(1, 2, 0).numpy())
    left.axis("off")
    places = np.arange(len(names))
    right.barh(places - 0.2, after, height=0.38, color=BAR, label=f"scaled, T = {temperature:.2f}")
    right.barh(places + 0.2, before, height=0.38, color=PALE, label="raw")
    for place, value in zip(places, after, strict=True):
        right.text(min(value, 0.99) + 0.01, place - 0.2, f"{value:.1%}", va="center", fontsize=7)
    right.set_yticks(places, [name if len(name) < 22 else f"{name[:20]}..." for name in names], fontsize=8)
    right.invert_yaxis()
    right.set_xlim(0, 1.12)
    right.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=7)
    right.spines[["top", "right"]].set_visible(False)
    right.legend(fontsize=7, frameon=False, loc="lower right")
    figure.suptitle(title, fontsize=9)
    return figure


def overview(rows: Sequence[dict[str, Any]]) -> Figure:
    """A contact sheet of predicted files, the least confident first.

    Args:
        rows: Each with ``file``, ``class`` and ``confidence``; of many, ``MOST`` are shown, evenly spread.
    """
    order = sorted(rows, key=lambda row: float(row["confidence"]))
    shown = order
    if len(order) > MOST:
        shown = [order[index] for index in np.linspace(0, len(order) - 1, MOST).round().astype(int)]
    count = f"{len(order)} images" if shown is order else f"{MOST} of {len(order)} images, evenly spread"
    titles = [f"{row['class']} {row['confidence']:.0%}" for row in shown]
    heading = f"{count}, from the least to the most confident (after temperature scaling)"
    return contact_sheet([Path(row["file"]) for row in shown], titles, columns=10, heading=heading)


def batch_sheet(images: Sequence[Tensor], said: Sequence[str], confidence: Sequence[float]) -> Figure:
    """A contact sheet of images of a data set, the least confident first.

    Args:
        images: ``(3, H, W)`` in [0, 1].
        said: What is said of each.
        confidence: Of each, raw.
    """
    order = np.argsort(confidence, kind="stable")
    titles = [f"{said[index]} {confidence[index]:.0%}" for index in order]
    heading = "from the least to the most confident (raw)"
    return contact_sheet([images[index] for index in order], titles, heading=heading)
