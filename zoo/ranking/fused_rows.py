"""Tiles of the softmax losses by Triton kernels: what `softmax_rows.Tile` does, in one pass each. float32 on a GPU."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from zoo.ranking.rows import Rows
from zoo.ranking.softmax_rows import Shape, Side, Softmax, Tile

HIGH, WIDE, WARPS = 64, 64, 8  # entries of a block that one program holds


def fusible(similarity: Tensor) -> bool:
    """Whether the kernels can take this matrix."""
    return similarity.is_cuda and similarity.dtype == torch.float32 and _runs_on(similarity.device)


@cache
def _runs_on(device: torch.device) -> bool:
    """Whether kernels can be built and run here; a compiler may be missing, or Triton itself."""
    if find_spec("triton") is None:
        return False
    matrix = torch.zeros(2, 2, device=device)
    try:
        tile = FusedTile(Rows(matrix, matrix == 0, matrix > 0), 1.0)
        tile.slopes(1, tile.sides(1), (Shape(matrix[0].double()), Shape(matrix[0].double())))
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        warnings.warn(
            f"Triton does not run on {device} ({type(error).__name__}: {first}); similarity losses use plain torch, "
            "with the same results",
            stacklevel=2,
        )
        return False
    return True


def _kernels() -> Any:
    return import_module("zoo.ranking.fused_kernels")


class FusedTile:
    """See `softmax_rows.Tile`.

    Args:
        rows: The clean rows of the block, `(q, g)`.
        temperature: Divides the similarities.
    """

    def __init__(self, rows: Rows, temperature: float) -> None:
        self.temperature = temperature
        self.matrices = [_in_rows(x) for x in (rows.similarity, rows.positive, rows.negative)]
        self.shape = rows.similarity.shape

    def sides(self, dim: int, moments: bool = False) -> tuple[Side, Side]:
        """Positives and negatives of each row (dim 1) or column (dim 0) of the tile."""
        return self._sides(dim == 1, dim == 0)[0]

    def both_sides(self, moments: bool = False) -> tuple[tuple[Side, Side], tuple[Side, Side]]:
        """Of the rows and of the columns."""
        found = self._sides(True, True)
        return found[0], found[1]

    def slopes(self, dim: int, sides: tuple[Side, Side], shapes: tuple[Shape, Shape]) -> Tensor:
        """Slope of each row's (column's) value at each entry, `(q, g)`; 0 where an entry is neither."""
        packed = _pack(sides, shapes)
        return self._slopes(packed, None) if dim == 1 else self._slopes(None, packed)

    def both_slopes(
        self,
        rows: tuple[Side, Side],
        row_shapes: tuple[Shape, Shape],
        columns: tuple[Side, Side],
        column_shapes: tuple[Shape, Shape],
    ) -> Tensor:
        """Slope of the rows' and columns' values together, `(q, g)`."""
        return self._slopes(_pack(rows, row_shapes), _pack(columns, column_shapes))

    def _grid(self) -> tuple[int, int]:
        return -(-self.shape[0] // HIGH), -(-self.shape[1] // WIDE)

    def _numbers(self) -> tuple[Any, ...]:
        return (*self.shape, *(x.stride(0) for x in self.matrices), 1 / self.temperature)

    def _sides(self, row_wise: bool, column_wise: bool) -> list[tuple[Side, Side]]:
        kernels, grid, device = _kernels(), self._grid(), self.matrices[0].device
        parts = [
            torch.empty(2, kernels.FIELDS, chunks, count, device=device) if wanted else torch.empty(0, device=device)
            for wanted, chunks, count in zip((row_wise, column_wise), grid[::-1], self.shape, strict=True)
        ]
        kernels.sides_kernel[grid](
            *self.matrices, *parts, *self._numbers(), row_wise, column_wise, HIGH, WIDE, num_warps=8
        )
        return [self._merged(part) for part in parts if part.numel()]

    def _merged(self, part: Tensor) -> tuple[Side, Side]:
        """Chunks `(2, 5, chunks, n)` of positives and negatives, put together."""
        high, mass, moment, count, total = part.unbind(1)
        top = high.amax(1)
        moved = torch.where(high == top.unsqueeze(1), 0.0, (high - top.unsqueeze(1)) * (1 / self.temperature))
        share = moved.exp()
        moment = share * (moment + torch.where(mass > 0, moved * mass, 0.0))
        sums = top.double(), *(x.sum(1, dtype=torch.float64) for x in (share * mass, moment, count, total))
        return Side(*(x[0] for x in sums)), Side(*(x[1] for x in sums))

    def _slopes(self, rows: Tensor | None, columns: Tensor | None) -> Tensor:
        found = torch.empty(self.shape, device=self.matrices[0].device)
        shapes = [found.new_empty(0) if x is None else x for x in (rows, columns)]
        _kernels().slopes_kernel[self._grid()](
            *self.matrices,
            found,
            *shapes,
            *self._numbers(),
            rows is not None,
            columns is not None,
            HIGH,
            WIDE,
            num_warps=8,
        )
        return found


def _in_rows(x: Tensor) -> Tensor:
    """A matrix whose rows are stored as such; truth as bytes."""
    x = x if x.stride(1) == 1 else x.contiguous()
    return x.view(torch.uint8) if x.dtype == torch.bool else x


def _pack(sides: tuple[Side, Side], shapes: tuple[Shape, Shape]) -> Tensor:
    """`(2, 4, n)` float32: what the slope of an entry is made of."""
    parts = []
    for side, shape in zip(sides, shapes, strict=True):
        high = torch.where(side.high == -torch.inf, 0.0, side.high)
        zero = torch.zeros_like(high)
        parts += [high, shape.level, *(zero if x is None else x for x in (shape.tilt, shape.flat))]
    return torch.stack(parts).view(2, 4, -1).float()


def tile_of(rows: Rows, temperature: float) -> Tile | FusedTile:
    """A tile in the form that suits its device."""
    return (FusedTile if fusible(rows.similarity) else Tile)(rows, temperature)


def softmax_slope(rows: Rows, softmax: Softmax) -> tuple[Tensor, Tensor]:
    """Values `(Q,)` and slopes `(Q, G)` of rows that are there as a whole."""
    tile = tile_of(rows, softmax.temperature)
    sides = tile.sides(1, softmax.moments)
    values, *shapes = softmax.finish(*sides, softmax.temperature)
    return values.to(rows.similarity.dtype), tile.slopes(1, sides, (shapes[0], shapes[1]))
