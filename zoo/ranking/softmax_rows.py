"""Losses that see a row through sums of exponentials, from running sums: online log-sum-exp and its slopes.

A row (or a column, in the other direction) is told by two sides, its positives and its negatives. Each side is kept as
its highest similarity h so far, `sum e` and `sum e (S - h) / T` with `e = exp((S - h) / T)`. Sides of further entries
merge into it, in any order and from any place: a tile of the matrix or another process. What a loss adds is one
function from finished sides to its value and to the few numbers per row of which the slope of every entry is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.ranking.rows import Rows

LIST_SHARE = 16  # positives are looked up one by one where they are at most one in so many entries
NEAR = 50.0  # nats between two maxima that one float32 exponential can serve both


@dataclass(frozen=True)
class Side:
    """Some entries of each of n rows; all `(n,)` float64. A row without entries has the highest -inf and sums of 0."""

    high: Tensor
    mass: Tensor
    moment: Tensor
    count: Tensor
    total: Tensor
    """Sum of the similarities themselves; of positives only."""

    def merge(self, other: Side, temperature: float) -> Side:
        """Both together."""
        high = torch.maximum(self.high, other.high)
        mass, moment = torch.zeros_like(high), torch.zeros_like(high)
        for side in (self, other):
            moved = torch.where(side.high == high, 0.0, (side.high - high) / temperature)
            share = moved.exp()
            mass = mass + share * side.mass
            moment = moment + share * (side.moment + torch.where(side.mass > 0, moved * side.mass, 0.0))
        return Side(high, mass, moment, self.count + other.count, self.total + other.total)

    def part(self, rows: slice) -> Side:
        """Some of the rows."""
        return Side(*(x[rows] for x in (self.high, self.mass, self.moment, self.count, self.total)))


def join(sides: Sequence[Side]) -> Side:
    """Sides of different rows, one below the other."""
    parts = zip(*((s.high, s.mass, s.moment, s.count, s.total) for s in sides), strict=True)
    return Side(*(torch.cat(part) for part in parts))


def no_entries(rows: int, device: torch.device) -> Side:
    """A side to start from."""
    zero = torch.zeros(rows, dtype=torch.float64, device=device)
    return Side(torch.full_like(zero, -torch.inf), zero, zero, zero, zero)


@dataclass(frozen=True)
class Shape:
    """How steep a row is at each of its entries: `e (level + tilt (S - h) / T) + flat`; all `(n,)` float64."""

    level: Tensor
    tilt: Tensor | None = None
    flat: Tensor | None = None

    def times(self, share: Tensor) -> Shape:
        """As steep as the row counts, `(n,)`; where that is 0, the slope is 0."""
        parts = (self.level, self.tilt, self.flat)
        level, tilt, flat = (None if x is None else torch.where(share == 0, 0.0, x * share) for x in parts)
        assert level is not None
        return Shape(level, tilt, flat)

    def part(self, rows: slice) -> Shape:
        """Some of the rows."""
        level, tilt, flat = (None if x is None else x[rows] for x in (self.level, self.tilt, self.flat))
        assert level is not None
        return Shape(level, tilt, flat)


Finish = Callable[[Side, Side, float], tuple[Tensor, Shape, Shape]]
"""Positives, negatives, temperature -> the value of each row and its slope at positives and at negatives."""


class Tile:
    """A block of the similarity matrix, read along its rows or along its columns.

    Args:
        rows: The clean rows of the block, `(q, g)`.
        temperature: Divides the similarities.
    """

    def __init__(self, rows: Rows, temperature: float) -> None:
        self.temperature = temperature
        self.similarity = rows.similarity
        self.listed = int(rows.positive.sum()) * LIST_SHARE <= rows.positive.numel()
        self.positive = rows.positive
        self.at = rows.positive.nonzero(as_tuple=True) if self.listed else ()
        self.chosen = rows.similarity[self.at] if self.listed else rows.similarity
        self.negative = rows.negative
        self.below = torch.where(rows.negative, rows.similarity, -torch.inf)
        self._powers: tuple[Tensor, Tensor] | None = None

    def sides(self, dim: int, moments: bool = False) -> tuple[Side, Side]:
        """Positives and negatives of each row (dim 1) or column (dim 0) of the tile."""
        return self._positives(dim), self._negatives(dim, moments)

    def both_sides(self, moments: bool = False) -> tuple[tuple[Side, Side], tuple[Side, Side]]:
        """Of the rows and of the columns, from one exponential where one can serve both."""
        highs = [self.below.amax(dim) for dim in (1, 0)]
        top = torch.maximum(highs[0].amax(), torch.tensor(torch.finfo(self.below.dtype).min, device=self.below.device))
        lowest = torch.minimum(highs[0].amin(), highs[1].amin())
        if moments or not bool((top - lowest) / self.temperature <= NEAR):  # not: a nan is not near
            return self.sides(1, moments), self.sides(0, moments)
        powers = (self.below - top).mul_(1 / self.temperature).exp_()
        found = []
        for dim, high in ((1, highs[0]), (0, highs[1])):
            moved = ((high.double() - top.double()) / self.temperature).exp()
            mass = powers.sum(dim).double() / moved
            zero, count = torch.zeros_like(mass), self.negative.sum(dim).double()
            found.append((self._positives(dim), Side(high.double(), mass, zero, count, zero)))
        return found[0], found[1]

    def slopes(self, dim: int, sides: tuple[Side, Side], shapes: tuple[Shape, Shape]) -> Tensor:
        """Slope of each row's (column's) value at each entry, `(q, g)`; 0 where an entry is neither."""
        slope = self._entries(self.below, sides[1], shapes[1], dim, cached=True)
        if not self.listed:
            above = torch.where(self.positive, self.similarity, -torch.inf)
            found = self._entries(above, sides[0], shapes[0], dim)
            if shapes[0].flat is not None:
                found = found + shapes[0].flat.unsqueeze(dim).to(found.dtype)
            return torch.where(self.positive, found, slope)
        owner, double = self.at[1 - dim], self.chosen.double()
        scaled = (double - sides[0].high[owner]) / self.temperature
        found = (
            shapes[0].level[owner]
            if shapes[0].tilt is None
            else (shapes[0].level[owner] + shapes[0].tilt[owner] * scaled)
        )
        found = scaled.exp() * found
        if shapes[0].flat is not None:
            found = found + shapes[0].flat[owner]
        slope[self.at] = found.to(slope.dtype)
        return slope

    def both_slopes(
        self,
        rows: tuple[Side, Side],
        row_shapes: tuple[Shape, Shape],
        columns: tuple[Side, Side],
        column_shapes: tuple[Shape, Shape],
    ) -> Tensor:
        """Slope of the rows' and columns' values together, `(q, g)`."""
        return self.slopes(1, rows, row_shapes).add_(self.slopes(0, columns, column_shapes))

    def _entries(self, x: Tensor, side: Side, shape: Shape, dim: int, cached: bool = False) -> Tensor:
        """`e (level + tilt (S - h) / T)`, 0 where x is -inf."""
        high = _finite(side.high).to(x.dtype).unsqueeze(dim)
        if cached and self._powers is not None and dim == 1 and self._powers[0] is side.high:
            powers = self._powers[1]
        else:
            powers = (x - high).mul_(1 / self.temperature).exp_()
        level = shape.level.to(x.dtype).unsqueeze(dim)
        if shape.tilt is None:
            return powers * level
        scaled = torch.where(x == -torch.inf, 0.0, (x - high) / self.temperature)
        return powers * (level + shape.tilt.to(x.dtype).unsqueeze(dim) * scaled)

    def _negatives(self, dim: int, moments: bool) -> Side:
        side, powers = _dense_side(self.below, dim, self.temperature, moments)
        if dim == 1:
            self._powers = (side.high, powers)
        return Side(side.high, side.mass, side.moment, self.negative.sum(dim).double(), side.total)

    def _positives(self, dim: int) -> Side:
        if not self.listed:
            above = torch.where(self.positive, self.similarity, -torch.inf)
            side, _ = _dense_side(above, dim, self.temperature, True)
            total = torch.where(self.positive, self.similarity.double(), 0.0).sum(dim)
            return Side(side.high, side.mass, side.moment, self.positive.sum(dim).double(), total)
        owner, chosen = self.at[1 - dim], self.chosen.double()
        start = no_entries(self.similarity.shape[1 - dim], chosen.device)
        high = start.high.scatter_reduce(0, owner, chosen, "amax")
        scaled = (chosen - high[owner]) / self.temperature
        add = [start.mass.index_add(0, owner, x) for x in (scaled.exp(), scaled.exp() * scaled)]
        count = torch.bincount(owner, minlength=len(high)).double()
        return Side(high, add[0], add[1], count, start.total.index_add(0, owner, chosen))


def _dense_side(x: Tensor, dim: int, temperature: float, moments: bool) -> tuple[Side, Tensor]:
    """Side of the entries that are not -inf, count and total left out, and their exponentials."""
    high = x.amax(dim)
    scaled = (x - _finite(high).unsqueeze(dim)).mul_(1 / temperature)
    powers = scaled.exp()
    mass = powers.sum(dim).double()
    zero = torch.zeros_like(mass)
    moment = torch.where(powers > 0, powers * scaled, 0.0).sum(dim).double() if moments else zero
    return Side(high.double(), mass, moment, zero, zero), powers


def _finite(high: Tensor) -> Tensor:
    """Highest values to subtract: where there is no entry, nothing."""
    return torch.where(high == -torch.inf, 0.0, high)


@dataclass(frozen=True)
class Softmax:
    """How a loss is made of the two sides of a row.

    Attributes:
        finish: From finished sides to values and slopes.
        temperature: Divides the similarities.
        moments: Whether the negatives' moment is asked for.
    """

    finish: Finish
    temperature: float
    moments: bool = False


def finish_info_nce(positives: Side, negatives: Side, temperature: float) -> tuple[Tensor, Shape, Shape]:
    """See `zoo.ranking.info_nce`."""
    high, (above, below) = _common(positives, negatives, temperature)
    mass = above * positives.mass + below * negatives.mass
    count = positives.count.clamp(min=1)
    values = mass.log() + (high - positives.total / count) / temperature
    flat = -1 / (count * temperature)
    return values, Shape(above / (mass * temperature), flat=flat), Shape(below / (mass * temperature))


def finish_sdm(positives: Side, negatives: Side, temperature: float) -> tuple[Tensor, Shape, Shape]:
    """See `zoo.ranking.sdm`."""
    high, (above, below) = _common(positives, negatives, temperature)
    mass = above * positives.mass + below * negatives.mass
    moment, offsets = torch.zeros_like(mass), []
    for side, share in ((positives, above), (negatives, below)):
        moved = torch.where(side.mass > 0, (side.high - high) / temperature, 0.0)
        moment = moment + share * (side.moment + moved * side.mass)
        offsets.append(moved)
    label = (1 / positives.count.clamp(min=1) + 1e-8).log()
    other = torch.full_like(label, 1e-8).log()
    part = above * positives.mass / mass
    expected = moment / mass - part * label - (1 - part) * other  # of log p + log-sum-exp - log label
    values = expected - mass.log()
    shapes = []
    for share, offset, log_label in ((above, offsets[0], label), (below, offsets[1], other)):
        tilt = share / (mass * temperature)
        shapes.append(Shape(tilt * (offset - log_label - expected), tilt))
    return values, shapes[0], shapes[1]


def finish_alignment(
    positives: Side, negatives: Side, temperature: float, margin: float
) -> tuple[Tensor, Shape, Shape]:
    """See `zoo.ranking.triplet_alignment`."""
    mean = positives.moment / positives.mass  # of (S_p - h) / T under alpha
    bound = torch.where(
        negatives.mass > 0, negatives.mass.log() + (negatives.high - positives.high) / temperature, -torch.inf
    )
    values = (margin + temperature * (bound - mean)).relu()
    active = (values > 0).double()
    at_negatives = torch.where(negatives.mass > 0, active / negatives.mass, 0.0)
    return values, Shape(-active / positives.mass), Shape(at_negatives)


def _common(positives: Side, negatives: Side, temperature: float) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The highest of both sides, and what the sums of each are worth there."""
    high = torch.maximum(positives.high, negatives.high)
    above, below = (
        torch.where(side.high == high, 0.0, (side.high - high) / temperature).exp() for side in (positives, negatives)
    )
    return high, (above, below)
