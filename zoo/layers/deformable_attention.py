"""Multi-scale deformable attention in plain PyTorch: a few weighted samples per query from maps of several sizes.

The values of all maps are one table with a row per (image, token, head). A sample between four cells is a weighted sum
of four rows, so all samples of one query and head are one weighted bag of rows: ``embedding_bag`` reads the rows where
they lie, and no sample is ever stored. The gradient of the table is the same bags transposed. The readable form, with
``grid_sample`` per map, is the reference, and what other devices and exported networks use.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Engine = Literal["auto", "embedding_bag", "grid_sample"]
Shapes = Sequence[tuple[int, int]]
CORNERS = 4
FORWARD_ROWS, BACKWARD_ROWS = 2**18, 2**21  # table rows of one chunk: what stays in the cache, what memory may take


def deformable_attention(
    value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor, engine: Engine = "auto"
) -> Tensor:
    """Samples maps at given places, bilinearly with zeros outside, and adds up the samples by their weights.

    Source: Deformable DETR, ICLR 2021, equation 3; ``align_corners=False``: 0 and 1 are the outer edges of a map.

    Args:
        value: ``(B, S, heads, D)``, the maps row by row, one after the other.
        shapes: Height and width of each of the L maps; the areas add up to S.
        locations: ``(B, Q, heads, L, P, 2)``, x and y as fractions of each map.
        weights: ``(B, Q, heads, L, P)``.
        engine: ``embedding_bag`` (CPU), ``grid_sample``, or ``auto``: the former on a CPU, the latter on other devices
            and in exported networks. Both give the same values and gradients.

    Returns:
        ``(B, Q, heads * D)``, in the type of ``value``. Half precision is computed in float32.

    Raises:
        ValueError: The shapes do not fit each other, or there is no such engine.
    """
    _check(value, shapes, locations, weights, engine)
    if engine == "auto":
        bags = value.device.type == "cpu" and not torch.compiler.is_exporting()
        engine = "embedding_bag" if bags else "grid_sample"
    kind = torch.float64 if value.dtype == torch.float64 else torch.float32
    # neither autocast nor half precision may touch the coordinates
    mixed = torch.is_autocast_enabled(value.device.type)
    with torch.autocast(value.device.type, enabled=False) if mixed else nullcontext():
        table, places, shares = value.to(kind), locations.to(kind), weights.to(kind)
        if engine == "grid_sample":
            found = grid_sample_attention(table, shapes, places, shares)
        else:
            found = _bags(table, places, shares, [side for shape in shapes for side in shape])
    return found.to(value.dtype)


def grid_sample_attention(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """The reference of :func:`deformable_attention`: ``grid_sample`` on each map."""
    batch, _, heads, width = value.shape
    queries = locations.shape[1]
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)  # (B * heads, Q, L, P, 2)
    samples = []
    for level, (part, (height, across)) in enumerate(
        zip(value.split([height * across for height, across in shapes], 1), shapes, strict=True)
    ):
        maps = part.permute(0, 2, 3, 1).reshape(batch * heads, width, height, across)
        samples.append(F.grid_sample(maps, grids[:, :, level], padding_mode="zeros", align_corners=False))
    shares = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    found = (torch.stack(samples, -2).flatten(-2) * shares).sum(-1)  # (B * heads, D, Q)
    return found.reshape(batch, heads * width, queries).transpose(1, 2)


def _check(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor, engine: str) -> None:
    if engine not in get_args(Engine):
        raise ValueError(f"engine: {engine!r} given, expected one of {', '.join(get_args(Engine))}")
    if engine == "embedding_bag" and value.device.type != "cpu":
        raise ValueError(f"engine 'embedding_bag' is for the CPU; value is on {value.device}: take 'auto'")
    batch, tokens, heads, _ = value.shape
    queries, levels, points = locations.shape[1], locations.shape[3], locations.shape[4]
    if sum(height * across for height, across in shapes) != tokens or len(shapes) != levels:
        raise ValueError(f"the maps {list(shapes)} are not the {levels} levels of {tokens} tokens")
    if tuple(locations.shape) != (batch, queries, heads, levels, points, 2) or locations.shape[:-1] != weights.shape:
        raise ValueError(
            f"value {tuple(value.shape)}, locations {tuple(locations.shape)} and weights {tuple(weights.shape)} "
            "do not fit: expected (B, S, heads, D), (B, Q, heads, L, P, 2) and (B, Q, heads, L, P)"
        )


class _Axis(NamedTuple):
    """The two cells around each place along one axis, all ``(R, heads, L * P)``.

    Attributes:
        near: int32, the left or upper cell, moved into the map.
        far: int32, the right or lower one.
        near_inside: 1.0 where that cell is in the map, else 0.0.
        far_inside: Likewise.
        near_share: Its part of the sample, 0 outside the map.
        far_share: Likewise.
    """

    near: Tensor
    far: Tensor
    near_inside: Tensor
    far_inside: Tensor
    near_share: Tensor
    far_share: Tensor


class _Grid(NamedTuple):
    """Sizes of the maps for every head, level and point, ``(heads, L * P)``: broadcast over queries alone is fast."""

    width: Tensor
    height: Tensor
    start: Tensor  # int32, first row of the table that belongs to the level and head of an image
    points: int
    tokens: int

    @classmethod
    def of(cls, shapes: Sequence[int], heads: int, points: int, kind: torch.dtype) -> _Grid:
        size = torch.tensor(shapes).view(-1, 2)
        areas = size.prod(1)
        first = (areas.cumsum(0) - areas).repeat_interleave(points) * heads + torch.arange(heads).view(-1, 1)
        across, down = (size[:, axis].repeat_interleave(points).to(kind).expand(heads, -1) for axis in (1, 0))
        return cls(across.contiguous(), down.contiguous(), first.int(), points, int(areas.sum()))


def _axis(places: Tensor, size: Tensor) -> _Axis:
    """Cells and shares for fractions ``(R, heads, L * P)`` of maps with ``size (heads, L * P)`` cells."""
    # far away is as good as just outside, and stays within the range of whole numbers
    at = torch.minimum((places * size).sub_(0.5).clamp_(min=-2.0), size + 1)
    floor = at.floor()
    far_share = at.sub_(floor)
    cell, last = floor.int(), (size - 1).int()
    near = torch.minimum(cell.clamp(min=0), last)
    near_inside = (near == cell).to(places.dtype)
    cell += 1
    far = torch.minimum(cell.clamp(min=0), last)
    far_inside = (far == cell).to(places.dtype)
    near_share = (1 - far_share).mul_(near_inside)
    return _Axis(near, far, near_inside, far_inside, near_share, far_share.mul_(far_inside))


def _around(locations: Tensor, grid: _Grid, first: int, queries: int) -> tuple[_Axis, _Axis, Tensor]:
    """Columns, lines and rows of the table around each place.

    Args:
        locations: ``(R, heads, L, P, 2)``, queries ``first`` to ``first + R`` of all images one after the other.
        grid: The maps.
        first: See there.
        queries: Of one image.

    Returns:
        Along x, along y, and the rows ``(R, heads, 4, L * P)`` int32: upper left, upper right, lower left, lower right.
    """
    heads = locations.shape[1]
    x, y = (_axis(locations[..., axis].flatten(2), size) for axis, size in enumerate((grid.width, grid.height)))
    image = torch.arange(first, first + len(locations), dtype=torch.int32).div_(queries, rounding_mode="floor")
    start = grid.start + image.view(-1, 1, 1) * (grid.tokens * heads)
    stride = grid.width.int() * heads
    upper, lower = (line.mul(stride).add_(start) for line in (y.near, y.far))
    left, right = x.near * heads, x.far * heads
    rows = left.new_empty(*left.shape[:2], CORNERS, left.shape[2])
    for corner, (line, column) in enumerate(((upper, left), (upper, right), (lower, left), (lower, right))):
        torch.add(line, column, out=rows[:, :, corner])
    return x, y, rows


def _shares(x: _Axis, y: _Axis, weights: Tensor) -> Tensor:
    """What each corner adds to its bag, ``(R, heads, 4, L * P)``, for weights ``(R, heads, L * P)``."""
    upper, lower = y.near_share * weights, y.far_share * weights
    shares = upper.new_empty(*upper.shape[:2], CORNERS, upper.shape[2])
    pairs = ((upper, x.near_share), (upper, x.far_share), (lower, x.near_share), (lower, x.far_share))
    for corner, (line, column) in enumerate(pairs):
        torch.mul(line, column, out=shares[:, :, corner])
    return shares


def _chunks(locations: Tensor, limit: int) -> list[tuple[int, int]]:
    """Ranges of queries whose corners are at most ``limit`` rows, at least one query each."""
    count, heads, levels, points = locations.shape[:4]
    step = max(1, limit // (heads * levels * points * CORNERS))
    return [(first, min(first + step, count)) for first in range(0, count, step)]


@torch.library.custom_op("zoo::deformable_attention", mutates_args=(), device_types="cpu")
def _bags(value: Tensor, locations: Tensor, weights: Tensor, shapes: Sequence[int]) -> Tensor:
    batch, _, heads, width = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    table = value.reshape(-1, width)
    places, shares = locations.flatten(0, 1), weights.flatten(0, 1).flatten(2)
    grid = _Grid.of(shapes, heads, points, value.dtype)
    found = value.new_empty(batch * queries * heads, width)
    for first, stop in _chunks(places, FORWARD_ROWS):
        x, y, rows = _around(places[first:stop], grid, first, queries)
        bags = _shares(x, y, shares[first:stop]).view(-1, CORNERS * shares.shape[-1])
        found[first * heads : stop * heads] = F.embedding_bag(
            rows.view(bags.shape), table, per_sample_weights=bags, mode="sum"
        )
    return found.view(batch, queries, heads * width)


@_bags.register_fake
def _(value: Tensor, locations: Tensor, weights: Tensor, shapes: Sequence[int]) -> Tensor:
    return value.new_empty(value.shape[0], locations.shape[1], value.shape[2] * value.shape[3])


@torch.library.custom_op("zoo::deformable_attention_backward", mutates_args=(), device_types="cpu")
def _bags_backward(
    grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor, shapes: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Corners are made again rather than kept: they are 12 times as large as places and weights."""
    heads, width = value.shape[2:]
    queries, points = locations.shape[1], locations.shape[4]
    table, slopes = value.reshape(-1, width), grad.reshape(-1, width)
    places, shares = locations.flatten(0, 1), weights.flatten(0, 1).flatten(2)
    grid = _Grid.of(shapes, heads, points, value.dtype)
    to_table, to_places, to_shares = torch.zeros_like(table), torch.empty_like(places), torch.empty_like(shares)
    for first, stop in _chunks(places, BACKWARD_ROWS):
        x, y, rows = _around(places[first:stop], grid, first, queries)
        share, slope = shares[first:stop], slopes[first * heads : stop * heads]
        bags = rows.view(-1, CORNERS * share.shape[-1])
        to_table += _transposed(bags, _shares(x, y, share).view(bags.shape), slope, len(table))
        upper_left, upper_right, lower_left, lower_right = _dots(bags, slope, table).view(rows.shape).unbind(2)
        upper = upper_left * x.near_share + upper_right * x.far_share
        lower = lower_left * x.near_share + lower_right * x.far_share
        to_shares[first:stop] = upper * y.near_share + lower * y.far_share
        across = y.near_share * (upper_right * x.far_inside - upper_left * x.near_inside)
        across += y.far_share * (lower_right * x.far_inside - lower_left * x.near_inside)
        down = lower * y.far_inside - upper * y.near_inside
        slope_of = to_places[first:stop].flatten(2, 3)
        slope_of[..., 0] = across * share * grid.width
        slope_of[..., 1] = down * share * grid.height
    return to_table.view(value.shape), to_places.view(locations.shape), to_shares.view(weights.shape)


@_bags_backward.register_fake
def _(
    grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor, shapes: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(value), torch.empty_like(locations), torch.empty_like(weights)


def _transposed(rows: Tensor, shares: Tensor, slopes: Tensor, count: int) -> Tensor:
    """Adds ``shares[n, k] * slopes[n]`` to row ``rows[n, k]`` of ``count`` rows: torch would sort the rows first."""
    from scipy.sparse import csc_array

    starts = torch.arange(0, rows.numel() + 1, rows.shape[1], dtype=torch.int32)
    matrix = csc_array((shares.reshape(-1).numpy(), rows.reshape(-1).numpy(), starts.numpy()), shape=(count, len(rows)))
    return torch.from_numpy(matrix @ slopes.numpy())


def _dots(rows: Tensor, slopes: Tensor, table: Tensor) -> Tensor:
    """``<slopes[n], table[rows[n, k]]>``, ``(N, K)``."""
    _announced()
    starts = torch.arange(0, rows.numel() + 1, rows.shape[1], dtype=torch.int32)
    pattern = _pattern(starts, rows.reshape(-1), table.new_ones(rows.numel()), (len(rows), len(table)))
    return torch.sparse.sampled_addmm(pattern, slopes, table.T, beta=0.0).values().view(rows.shape)


def _pattern(starts: Tensor, columns: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.sparse_csr_tensor(starts, columns, values, size, check_invariants=False)


@cache
def _announced() -> None:
    """torch says once per process that its CSR tensors are in beta; a user can do nothing about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _pattern(torch.zeros(1, dtype=torch.int32), torch.zeros(0, dtype=torch.int32), torch.zeros(0), (0, 0))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    value, locations, weights, ctx.shapes = inputs
    ctx.save_for_backward(value, locations, weights)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    return (*_bags_backward(grad.contiguous(), *ctx.saved_tensors, ctx.shapes), None)


_bags.register_autograd(_backward, setup_context=_setup)
