"""Sliding windows: a density is computed window by window and put together from top to bottom, overlaps averaged.

Nothing larger than one row of windows is held: the same code counts a photograph and a mosaic of 10^9 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from zoo.domains.counting.network import STRIDE
from zoo.domains.counting.raster import Window

Tiling = Literal["exact", "official"]
OFFICIAL = 256
"""Side and step of the released evaluation's windows."""

Run = Callable[[list[Tensor]], tuple[Tensor, Tensor]]
"""Counts equally large windows ``(3, h, w)`` uint8 or float: densities ``(n, 1, h/4, w/4)`` and tokens ``(n, 3)``."""


class Source(Protocol):
    """An image that is read by windows."""

    height: int
    width: int

    def read(self, window: Window) -> Tensor:
        """The pixels ``(3, height, width)`` of a window."""

    def holds_data(self, window: Window) -> Tensor:
        """Which of them hold data, bool ``(height, width)``."""


class Held:
    """An image in memory as a source; all of it holds data.

    Args:
        image: ``(3, H, W)``.
    """

    def __init__(self, image: Tensor) -> None:
        self.image = image
        self.height, self.width = int(image.shape[1]), int(image.shape[2])

    def read(self, window: Window) -> Tensor:
        """The pixels of a window."""
        return self.image[:, window.top : window.top + window.height, window.left : window.left + window.width]

    def holds_data(self, window: Window) -> Tensor:
        """Everything."""
        return torch.ones(window.height, window.width, dtype=torch.bool)


class Plan(NamedTuple):
    """How windows lie.

    Attributes:
        window: Side in pixels; 0 for the whole image at once.
        step: From one to the next.
        stride: Pixels per element of the density: 4, or 1 where windows are brought to full size.
    """

    window: int
    step: int
    stride: int


def plan(tiling: Tiling | None, window: int, overlap: int) -> Plan:
    """The plan of a tiling.

    Args:
        tiling: ``exact``: the density stays at stride 4, whose sum is the count; ``official``: windows of 256 without
            overlap but for the last, each brought to full size by a factor of 4 and divided by 16, as released;
            None: the whole image at once.
        window: Side of a window of ``exact``, in pixels, a multiple of 4.
        overlap: Of neighbouring windows of ``exact``, in pixels, a multiple of 4.
    """
    if tiling == "official":
        return Plan(OFFICIAL, OFFICIAL, 1)
    return Plan(window, window - overlap, STRIDE) if tiling == "exact" else Plan(0, 0, STRIDE)


class Span(NamedTuple):
    """The rows, or the columns, of a window in pixels."""

    start: int
    size: int


def spans(length: int, plan: Plan) -> list[Span]:
    """Where windows lie along one side; together they cover it.

    The last window is moved back inside the image; at stride 4 to a multiple of 4, so that it may be up to 3 pixels
    shorter. An image shorter than a window is one window.

    Args:
        length: Of the side in pixels.
        plan: How windows lie.
    """
    if not plan.window or length <= plan.window:
        return [Span(0, length)]
    last = -(-(length - plan.window) // plan.stride) * plan.stride
    starts = [*range(0, last, plan.step), last]
    return [Span(start, min(plan.window, length - start)) for start in starts]


def coverage(parts: list[Span], length: int, stride: int) -> Tensor:
    """How many windows cover each row (or column) of the density, float32 ``(ceil(length / stride),)``."""
    counts = torch.zeros(-(-length // stride))
    for part in parts:
        counts[part.start // stride : -(-(part.start + part.size) // stride)] += 1
    return counts


class Band(NamedTuple):
    """Finished rows of a density.

    Attributes:
        top: The first of them.
        density: ``(rows, W / stride)`` float32, trees per element.
        tokens: ``(3,)`` share of these windows in the counts of the tokens of stages 2, 3, 4.
        windows: How many windows were counted for it.
    """

    top: int
    density: Tensor
    tokens: Tensor
    windows: int


def bands(source: Source, plan: Plan, run: Run, batch: int) -> Iterator[Band]:
    """The density of an image from top to bottom.

    The count of a window's token belongs to all of the window; where windows overlap, it is shared out by area.

    Args:
        source: The image.
        plan: How windows lie.
        run: Counts windows.
        batch: How many windows are counted at once, at most.
    """
    down, across = spans(source.height, plan), spans(source.width, plan)
    rows, columns = (
        coverage(parts, length, plan.stride) for parts, length in ((down, source.height), (across, source.width))
    )
    canvas = torch.zeros(0, len(columns))
    top = 0
    for index, part in enumerate(down):
        first, end = part.start // plan.stride, -(-(part.start + part.size) // plan.stride)
        canvas = torch.cat([canvas, torch.zeros(end - top - len(canvas), len(columns))])
        windows = [Window(part.start, other.start, part.size, other.size) for other in across]
        share = float((1 / rows[first:end]).mean())
        tokens, counted = torch.zeros(3, dtype=torch.float64), 0
        for window, density, token in _run_row(source, windows, plan, run, batch):
            left = window.left // plan.stride
            right = left + density.shape[1]
            canvas[first - top : end - top, left:right] += density
            tokens += token.double() * share * float((1 / columns[left:right]).mean())
            counted += 1
        done = down[index + 1].start // plan.stride if index + 1 < len(down) else end
        finished = canvas[: done - top] / (rows[top:done, None] * columns)
        yield Band(top, finished, tokens, counted)
        canvas, top = canvas[done - top :], done


def _run_row(
    source: Source, windows: list[Window], plan: Plan, run: Run, batch: int
) -> Iterator[tuple[Window, Tensor, Tensor]]:
    """Density ``(h, w)`` and tokens ``(3,)`` of windows of one row; windows without any data are left out."""
    waiting: list[tuple[Window, Tensor, Tensor]] = []
    for place, window in enumerate(windows):
        data = source.holds_data(window)
        if data.any():
            waiting.append((window, source.read(window), data))
        following = windows[place + 1] if place + 1 < len(windows) else None
        full = len(waiting) == batch or following is None or following.width != window.width
        if waiting and full:
            maps, tokens = run([pixels for _, pixels, _ in waiting])
            maps = full_size(maps) if plan.stride == 1 else maps
            for (one, _, valid), density, token in zip(waiting, maps[:, 0].float().cpu(), tokens.cpu(), strict=True):
                yield one, density * _any_data(valid, plan.stride), token
            waiting = []


def full_size(maps: Tensor) -> Tensor:
    """A density ``(n, 1, h, w)`` at stride 4 brought to full size as released: corners aligned, divided by 16.

    This does not keep the sum: inner mass grows by 2.4 %, mass at an edge shrinks to 64 %, in a corner to 40 %.
    """
    larger: Tensor = functional.interpolate(maps, scale_factor=STRIDE, mode="bilinear", align_corners=True)
    return larger / STRIDE**2


def _any_data(valid: Tensor, stride: int) -> Tensor:
    """Which elements hold data in at least one of their pixels, as 0 and 1."""
    held = valid.float()
    if stride > 1:
        held = functional.max_pool2d(held[None], stride, ceil_mode=True)[0]
    return held
