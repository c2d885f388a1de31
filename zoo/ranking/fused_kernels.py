"""Triton kernels of the softmax losses: one pass over a tile for its sides, one for its slopes.

Plain torch takes some fifteen passes over the tile, which together cost as much as half of its matrix products.
"""
# mypy: disable-error-code="no-untyped-def, import-untyped, no-untyped-call, untyped-decorator"

import triton
import triton.language as tl

FIELDS = 5  # of a side: highest, mass, moment, count, total


@triton.jit
def _store_side(out, x, chosen, where, kept, field, inverse, axis: tl.constexpr):
    """Five numbers of one side along an axis; `field` is how far the numbers of one field are apart."""
    y = tl.where(chosen, x, float("-inf"))
    high = tl.max(y, axis)
    base = tl.where(high == float("-inf"), 0.0, high)
    scaled = (y - tl.expand_dims(base, axis)) * inverse
    powers = tl.exp(scaled)
    mass = tl.sum(powers, axis)
    tl.store(out + where, tl.where(mass != mass, mass, high), mask=kept)  # a maximum would pass over a nan
    tl.store(out + field + where, mass, mask=kept)
    moment = tl.where(powers == 0, 0.0, scaled) * powers  # 0 * -inf would be nan
    tl.store(out + 2 * field + where, tl.sum(moment, axis), mask=kept)
    tl.store(out + 3 * field + where, tl.sum(chosen.to(tl.float32), axis), mask=kept)
    tl.store(out + 4 * field + where, tl.sum(tl.where(chosen, x, 0.0), axis), mask=kept)


@triton.jit
def sides_kernel(
    similarity,
    positive,
    negative,
    by_rows,
    by_columns,
    rows,
    columns,
    similarity_stride,
    positive_stride,
    negative_stride,
    inverse,
    ROW_WISE: tl.constexpr,
    COLUMN_WISE: tl.constexpr,
    HIGH: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Sides of the rows and of the columns inside each block of HIGH x WIDE entries.

    `by_rows`: `(2, 5, blocks across, rows)`, `by_columns`: `(2, 5, blocks down, columns)`, positives first.
    """
    down, across = tl.program_id(0), tl.program_id(1)
    row, column = down * HIGH + tl.arange(0, HIGH), across * WIDE + tl.arange(0, WIDE)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    line = row.to(tl.int64)[:, None]
    x = tl.load(similarity + line * similarity_stride + column[None, :], mask=inside, other=0.0)
    above = tl.load(positive + line * positive_stride + column[None, :], mask=inside, other=0) != 0
    below = tl.load(negative + line * negative_stride + column[None, :], mask=inside, other=0) != 0
    if ROW_WISE:
        field = tl.num_programs(1).to(tl.int64) * rows
        where, kept = across.to(tl.int64) * rows + row, row < rows
        _store_side(by_rows, x, above, where, kept, field, inverse, 1)
        _store_side(by_rows + 5 * field, x, below, where, kept, field, inverse, 1)
    if COLUMN_WISE:
        field = tl.num_programs(0).to(tl.int64) * columns
        where, kept = down.to(tl.int64) * columns + column, column < columns
        _store_side(by_columns, x, above, where, kept, field, inverse, 0)
        _store_side(by_columns + 5 * field, x, below, where, kept, field, inverse, 0)


@triton.jit
def _steepness(x, chosen, shape, at, kept, count, inverse, axis: tl.constexpr):
    """`e (level + tilt (S - h) / T) + flat` where chosen, else 0; `shape`: `(4, count)`, h, level, tilt, flat."""
    high = tl.expand_dims(tl.load(shape + at, mask=kept, other=0.0), axis)
    level = tl.expand_dims(tl.load(shape + count + at, mask=kept, other=0.0), axis)
    tilt = tl.expand_dims(tl.load(shape + 2 * count + at, mask=kept, other=0.0), axis)
    flat = tl.expand_dims(tl.load(shape + 3 * count + at, mask=kept, other=0.0), axis)
    scaled = (tl.where(chosen, x, high) - high) * inverse
    return tl.where(chosen, tl.exp(scaled) * (level + tilt * scaled) + flat, 0.0)


@triton.jit
def slopes_kernel(
    similarity,
    positive,
    negative,
    slopes,
    row_shapes,
    column_shapes,
    rows,
    columns,
    similarity_stride,
    positive_stride,
    negative_stride,
    inverse,
    ROW_WISE: tl.constexpr,
    COLUMN_WISE: tl.constexpr,
    HIGH: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Slopes of the values of all rows and columns by each entry, `(rows, columns)`.

    `row_shapes`: `(2, 4, rows)`, `column_shapes`: `(2, 4, columns)`, positives first.
    """
    row, column = tl.program_id(0) * HIGH + tl.arange(0, HIGH), tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    row_kept, column_kept = row < rows, column < columns
    inside = row_kept[:, None] & column_kept[None, :]
    line = row.to(tl.int64)[:, None]
    x = tl.load(similarity + line * similarity_stride + column[None, :], mask=inside, other=0.0)
    above = tl.load(positive + line * positive_stride + column[None, :], mask=inside, other=0) != 0
    below = tl.load(negative + line * negative_stride + column[None, :], mask=inside, other=0) != 0
    slope = tl.zeros([HIGH, WIDE], dtype=tl.float32)
    if ROW_WISE:
        slope += _steepness(x, above, row_shapes, row, row_kept, rows, inverse, 1)
        slope += _steepness(x, below, row_shapes + 4 * rows, row, row_kept, rows, inverse, 1)
    if COLUMN_WISE:
        slope += _steepness(x, above, column_shapes, column, column_kept, columns, inverse, 0)
        slope += _steepness(x, below, column_shapes + 4 * columns, column, column_kept, columns, inverse, 0)
    tl.store(slopes + line * columns + column[None, :], slope, mask=inside)
