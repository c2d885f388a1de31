"""A network with its image processing in front and its reading behind, as one module that exports whole.

All sizes are worked out from the image inside the graph: an exported file takes images of any height and width. The
resize is two products with triangle-filter matrices, which is what bilinear resizing with antialiasing does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ImageSteps:
    """What a method does with an image before its network, and with the network's output.

    Attributes:
        size: Height and width that the network takes; None for one that takes any: the image stays as it is.
        resize: The shorter side is brought to this many pixels before squares are cut out; None resizes to ``size``
            whatever the shape.
        mean: Of the channels R, G, B of pixels in [0, 1].
        std: Of the channels.
        crops: Where squares are cut out: each a share of the room above and to the left, in [0, 1]; the outputs are
            averaged over them. ``(0.5, 0.5)`` is the centre.
        longer: How the length of the longer side is brought to whole pixels.
        offset: How the centre of an odd room is.
        passes: Whether values are rounded to 8 bits after each direction (Pillow), or once at the end.
        inputs: Names of the network's inputs that the image takes the place of.
        finish: Turns the network's output into what a user wants, e.g. logits into probabilities.
        longest: Nothing is cut out: the shorter side becomes ``resize`` unless the longer one would pass this, and the
            image lies in the upper left corner of ``size``, which holds it upright or lying; zeros are around it after
            normalisation, and the network's second input says where it ends, ``(B, 2)`` height and width.
        finish_at: In place of ``finish``, for answers in pixels: takes the output, and height and width of the image as
            it came, ``(2,)``.
    """

    size: tuple[int, int] | None
    resize: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crops: tuple[tuple[float, float], ...] = ((0.5, 0.5),)
    longer: Literal["floor", "round"] = "floor"
    offset: Literal["floor", "round"] = "round"
    passes: bool = True
    inputs: tuple[str, ...] = ("images",)
    finish: Callable[[Any], Any] | None = None
    longest: int | None = None
    finish_at: Callable[[Any, Tensor], Any] | None = None


class FromImages(nn.Module):
    """Takes images as they come, instead of what the network takes.

    Args:
        network: The network.
        names: Names of all its inputs, in order.
        steps: What to do with the images.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, names: list[str], steps: ImageSteps) -> None:
        super().__init__()
        self.network, self.names, self.steps = network, names, steps
        self.register_buffer("mean", torch.tensor(steps.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(steps.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, *others: Tensor) -> Any:
        """Runs everything.

        Args:
            images: ``(B, 3, H, W)`` uint8, RGB, upright; H and W as they are.
            others: The network's further inputs, in order.
        """
        pixels = images.to(torch.float32)
        if self.steps.longest is not None:
            return self._whole(pixels)
        found = [self._one(pixels, place, others) for place in self.steps.crops]
        output = found[0] if len(found) == 1 else _averaged(found)
        return output if self.steps.finish is None else self.steps.finish(output)

    def _whole(self, pixels: Tensor) -> Any:
        """The network on the whole images, in the corner of its size."""
        canvas, length, whole = self.canvas(pixels)
        output = self.network(canvas, whole.to(torch.int64).expand(canvas.shape[0], 2))
        return output if self.steps.finish_at is None else self.steps.finish_at(output, length)

    def canvas(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images resized whole.

        Args:
            pixels: ``(B, 3, H, W)``, 0 to 255.

        Returns:
            ``(B, 3, *size)`` normalised, and height and width before and after the resize, ``(2,)`` each.
        """
        steps = self.steps
        assert steps.size is not None
        rows, columns = _centres(pixels)
        length = torch.stack([rows[-1], columns[-1]]) + 0.5
        scale = torch.minimum(float(steps.resize or 0) / length.min(), float(steps.longest or 0) / length.max())
        whole = torch.clamp(torch.floor(length * scale + 0.5), min=1)
        down, across = (
            _weights(centres, length[side], whole[side], torch.zeros_like(scale), size)
            for side, (centres, size) in enumerate(zip((rows, columns), steps.size, strict=True))
        )
        found = torch.matmul(pixels, across.T)
        found = _bytes(torch.matmul(down, _bytes(found) if steps.passes else found))
        inside = down.sum(1)[:, None] * across.sum(1)[None]  # 1 on the image, 0 beside it
        return (found / 255 - self.mean) / self.std * inside.round(), length, whole

    def _one(self, pixels: Tensor, place: tuple[float, float], others: tuple[Tensor, ...]) -> Any:
        prepared = (self.view(pixels, place) / 255 - self.mean) / self.std
        rest = iter(others)
        return self.network(*(prepared if name in self.steps.inputs else next(rest) for name in self.names))

    def view(self, pixels: Tensor, place: tuple[float, float]) -> Tensor:
        """Resizes and cuts out.

        Args:
            pixels: ``(B, 3, H, W)``, 0 to 255.
            place: Of the square.

        Returns:
            ``(B, 3, *size)``, whole numbers from 0 to 255; the image as it is where no size is wanted.
        """
        if self.steps.size is None:
            return pixels
        rows, columns = _centres(pixels)
        height, width = rows[-1] + 0.5, columns[-1] + 0.5
        down = self._matrix(rows, height, torch.minimum(height, width), 0, place[0])
        across = self._matrix(columns, width, torch.minimum(height, width), 1, place[1])
        found = torch.matmul(pixels, across.T)
        found = _bytes(found) if self.steps.passes else found
        return _bytes(torch.matmul(down, found))

    def _matrix(self, centres: Tensor, length: Tensor, short: Tensor, side: int, share: float) -> Tensor:
        """The weights ``(size, length)`` of the pixels of one direction."""
        steps = self.steps
        assert steps.size is not None
        size = steps.size[side]
        if steps.resize is None:
            whole, start = torch.full_like(length, float(size)), torch.zeros_like(length)
        else:
            whole = length * steps.resize / short
            whole = torch.floor(whole + 1e-4) if steps.longer == "floor" else torch.round(whole)
            start = (whole - size) * share
            start = torch.floor(start) if steps.offset == "floor" else torch.round(start)
        return _weights(centres, length, whole, start, size)


def _centres(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Centres of the rows and of the columns of pixels, in pixels."""
    rows, columns = (torch.ones_like(line).cumsum(0) - 0.5 for line in (pixels[0, 0, :, 0], pixels[0, 0, 0, :]))
    return rows, columns


def _weights(centres: Tensor, length: Tensor, whole: Tensor, start: Tensor, size: int) -> Tensor:
    """Triangle weights ``(size, length)`` of the pixels of one direction; rows beyond the image are zero.

    Args:
        centres: Of the pixels.
        length: Their number.
        whole: To which they are resized.
        start: Where the cut begins in that.
        size: Of the cut.
    """
    scale = length / whole
    wanted = (torch.arange(size, dtype=centres.dtype, device=centres.device) + start + 0.5) * scale
    reach = torch.clamp(scale, min=1.0)
    weights = torch.clamp(1 - torch.abs(centres[None] - wanted[:, None]) / reach, min=0)
    weights = torch.where(wanted[:, None] < length, weights, torch.zeros_like(weights))
    return weights / torch.clamp(weights.sum(1, keepdim=True), min=1e-6)


def _bytes(pixels: Tensor) -> Tensor:
    """Rounded to 8 bits, halves upwards as Pillow does; so much more that float noise below a half counts as one."""
    return torch.clamp(torch.floor(pixels + 0.501), 0, 255)


def _averaged(outputs: list[Any]) -> Any:
    """Field by field of named tuples; None stays."""
    if isinstance(outputs[0], Tensor):
        return torch.stack(outputs).mean(0)
    if outputs[0] is None:
        return None
    return type(outputs[0])(*(_averaged(list(parts)) for parts in zip(*outputs, strict=True)))
