"""Pictures of quality: an image with its crops and its face, and contact sheets from best to worst."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.domains.quality.faces import Box
from zoo.domains.quality.views import CENTRE, CROPS, Crops
from zoo.training import IMAGENET_MEAN, IMAGENET_STD, contact_sheet
from zoo.training.images import thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 60  # images of a sheet; of more, evenly spread ranks are shown
COLUMNS = 6
FACE, SQUARE = "#ffd23f", "#ffffff"


def draw_image(image: Tensor, box: Box | None, score: float, name: str, resize: int, crop: int, crops: Crops) -> Figure:
    """An image with the squares that were scored and the face box.

    Args:
        image: ``(3, H, W)`` uint8.
        box: The face; None where the whole image was used.
        score: Its score.
        name: Of the file.
        resize: Pixels of the shorter side before cutting.
        crop: Side of the squares.
        crops: Which were scored.
    """
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    height, width = image.shape[-2:]
    tall = min(9.0, max(2.5, 6.0 * height / width))
    figure, axis = pyplot.subplots(figsize=(6.2, tall + 0.6), layout="constrained")
    pixels = (-0.5, width - 0.5, height - 0.5, -0.5)
    axis.imshow(thumbnail(image).permute(1, 2, 0).numpy(), extent=pixels)
    side = crop * min(height, width) / max(resize or min(height, width), crop)
    corners = [(0.0, 0.0), (width - side, 0.0), (0.0, height - side), (width - side, height - side)]
    middle = ((width - side) / 2, (height - side) / 2)
    for left, top in [*corners, middle] if crops == "five" else [middle]:
        # a dark line below the light one is seen on any ground
        for colour, line in (("#000000", 2.2), (SQUARE, 0.9)):
            axis.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor=colour, linewidth=line))
    if box is not None:
        size = (box.right - box.left, box.bottom - box.top)
        axis.add_patch(Rectangle((box.left, box.top), *size, fill=False, edgecolor=FACE, linewidth=2.2))
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)
    axis.axis("off")
    face = "no face: the whole image" if box is None else f"face {box.right - box.left} x {box.bottom - box.top} px"
    figure.suptitle(f"{name}   score {score:.3f}   {face}", fontsize=9)
    return figure


def draw_sheet(files: Sequence[Path], scores: Sequence[float]) -> Figure:
    """A contact sheet of files, best first.

    Args:
        files: In the order of their ranks.
        scores: Of the same.
    """
    ranks = np.unique(np.linspace(0, len(files) - 1, min(MOST, len(files))).round().astype(int)).tolist()
    titles = [f"{rank + 1}.  {scores[rank]:.3f}\n{_short(files[rank].name)}" for rank in ranks]
    heading = f"{len(files)} images from best to worst"
    if len(ranks) < len(files):
        heading += f"; {len(ranks)} ranks shown"
    return contact_sheet([files[rank] for rank in ranks], titles, COLUMNS, heading)


def draw_batch(batch: dict[str, Any], scores: Tensor) -> Figure:
    """The images of an evaluation batch, best first, with score and label.

    Args:
        batch: See :mod:`zoo.domains.quality.data`.
        scores: ``(B,)``.
    """
    image = batch["image"].detach().cpu()
    centre = image[:, CENTRE if image.shape[1] == CROPS else 0]
    pixels = centre * torch.tensor(IMAGENET_STD).view(3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    order = scores.argsort(descending=True, stable=True).tolist()
    labels = batch["score"].tolist()
    titles = [
        f"{scores[index]:.3f}  (label {labels[index]:.2f})\n{_short(str(batch['scene_name'][index]))}"
        for index in order
    ]
    return contact_sheet([pixels[index].clamp(0, 1) for index in order], titles, COLUMNS, "by predicted score")


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"{name[: most - 11]}...{name[-8:]}"
