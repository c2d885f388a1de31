"""A similarity loss in both directions from one pass over the matrix, and over galleries that lie on many processes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zoo.ranking.base_modules import SimilarityLoss
from zoo.ranking.checks import REDUCTIONS, accumulation_dtype, check_choice
from zoo.ranking.engines import choose_engine, refuse_second
from zoo.ranking.fused_rows import tile_of
from zoo.ranking.lazy import LazySimilarity, Matrix, Relation, dense
from zoo.ranking.reduction import reduce_values
from zoo.ranking.row_engines import ROW_ENGINES, RowLoss, block_slices, fastest_rows
from zoo.ranking.rows import Rows, check_rows
from zoo.ranking.similarity import info_nce, info_nce_rows, sdm, sdm_rows
from zoo.ranking.softmax_rows import Shape, Side, Softmax, join, no_entries
from zoo.ranking.triplets import alignment_rows, triplet_alignment

Loss = SimilarityLoss | Callable[..., Tensor]
SOFTMAX_LOSSES: Mapping[Any, Callable[..., RowLoss]] = {
    info_nce: info_nce_rows,
    sdm: sdm_rows,
    triplet_alignment: alignment_rows,
}


def both_ways(
    loss: Loss, similarity: Matrix, positive: Relation, *, mask: Relation | None = None, **options: Any
) -> tuple[Tensor, Tensor]:
    """A similarity loss of the queries among the gallery, and of the gallery among the queries.

    The same as `loss(S, P, mask=M)` and `loss(S.T, P.T, mask=M.T)`. Given embeddings (`Cosine(queries, gallery)`), the
    losses that are made of sums of exponentials (`info_nce`, `sdm`, `triplet_alignment`) share the products of both
    directions: four instead of six.

    Args:
        loss: A similarity loss, function or module.
        similarity: `(Q, G)`.
        positive: `(Q, G)`.
        mask: `(Q, G)` or None.
        **options: Of the function (of a module they are its own).

    Returns:
        Both values, scalars or with reduction "none" `(Q,)` and `(G,)`.

    Raises:
        ValueError: if a shape, dtype or string does not fit.
    """
    found = softmax_form(loss, options)
    if found is not None and isinstance(similarity, LazySimilarity) and all(similarity.shape):
        row, rest = found
        engine = choose_engine(rest.pop("engine", "auto"), ROW_ENGINES, lambda: fastest_rows(row, similarity))
        if engine == "tiled" and row.softmax is not None and set(rest) <= {"reduction"}:
            check_rows(similarity, positive, mask, None, graded=False)
            job = _Job(row.softmax, similarity, positive, mask)
            first, second, ranked, ranked_columns = _BothWays.apply(*similarity.parts(), job)
            how = rest.get("reduction", "mean")
            check_choice("reduction", how, REDUCTIONS)
            return reduce_values(first, ranked, how), reduce_values(second, ranked_columns, how)
        if engine == "dense":  # one matrix for both
            similarity, positive, mask = dense(similarity), dense(positive), dense(mask)
    turned = None if mask is None else mask.T
    return loss(similarity, positive, mask=mask, **options), loss(similarity.T, positive.T, mask=turned, **options)


def softmax_form(loss: Loss, options: Mapping[str, Any]) -> tuple[RowLoss, dict[str, Any]] | None:
    """What a loss does with a row, and its options that are not of the row; None for a loss of another make."""
    function: Any = loss
    given = dict(options)
    if isinstance(loss, SimilarityLoss):
        function = getattr(type(loss), "function", None)
        given = loss.options() | given
    elif isinstance(loss, partial):
        function, given = loss.func, loss.keywords | given
    make = SOFTMAX_LOSSES.get(function)
    if make is None or (isinstance(loss, SimilarityLoss) and type(loss).forward is not SimilarityLoss.forward):
        return None
    own = {name: given.pop(name) for name in inspect.signature(make).parameters if name in given}
    return make(**own), given


class _Job:
    """What both directions are made of; `first` and `second` are the finished sides of rows and columns."""

    def __init__(self, softmax: Softmax, similarity: LazySimilarity, positive: Relation, mask: Relation | None) -> None:
        self.softmax, self.similarity, self.positive, self.mask = softmax, similarity, positive, mask
        self.dtype = accumulation_dtype(similarity)

    def tile(self, queries: Tensor, gallery: Tensor, rows: slice) -> tuple[Tensor, Rows]:
        """Similarities of some rows, and the same clean: an entry that is masked is none in either direction."""
        tile = self.similarity.tile(queries[rows], gallery)
        return tile, mark(tile, self.positive[rows], None if self.mask is None else self.mask[rows])


def mark(tile: Tensor, positive: Tensor, mask: Tensor | None) -> Rows:
    """The entries of a tile `(q, g)` as they are, whether or not their row has something to rank."""
    above = positive if mask is None else positive & mask
    return Rows(
        tile if mask is None else torch.where(mask, tile, 0.0), above, ~above if mask is None else mask & ~above
    )


def rankable_sides(positives: Side, negatives: Side) -> Tensor:
    """bool `(n,)`: the row has a positive and a negative."""
    return (positives.count > 0) & (negatives.count > 0)


def finished(softmax: Softmax, sides: tuple[Side, Side]) -> tuple[Tensor, Tensor, tuple[Shape, Shape]]:
    """Values `(n,)`, 0 where there is nothing to rank; where there is something; slopes."""
    rankable = rankable_sides(*sides)
    values, above, below = softmax.finish(*sides, softmax.temperature)
    return torch.where(rankable, values, 0.0), rankable, (above, below)


class _BothWays(torch.autograd.Function):
    """One pass for the sides of all rows and columns; the backward pass computes every tile once more."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, gallery: Tensor, job: _Job) -> tuple[Tensor, ...]:
        softmax = job.softmax
        rows: list[tuple[Side, Side]] = []
        columns = no_entries(len(gallery), gallery.device), no_entries(len(gallery), gallery.device)
        with torch.autocast(queries.device.type, enabled=False):
            for chosen in block_slices(len(queries), len(gallery), queries.device):
                tile = tile_of(job.tile(queries, gallery, chosen)[1], softmax.temperature)
                row, column = tile.both_sides(softmax.moments)
                rows.append(row)
                columns = (
                    columns[0].merge(column[0], softmax.temperature),
                    columns[1].merge(column[1], softmax.temperature),
                )
        ctx.job, ctx.rows, ctx.columns = job, (join([r[0] for r in rows]), join([r[1] for r in rows])), columns
        ctx.save_for_backward(queries, gallery)
        first, ranked, _ = finished(softmax, ctx.rows)
        second, ranked_columns, _ = finished(softmax, columns)
        ctx.mark_non_differentiable(ranked, ranked_columns)
        return first.to(job.dtype), second.to(job.dtype), ranked, ranked_columns

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None]:
        queries, gallery = ctx.saved_tensors
        with torch.no_grad(), torch.autocast(queries.device.type, enabled=False):
            pulled, into = _BothWays._pull(ctx, queries, gallery, outer)
        return refuse_second(pulled, queries, outer[0]), refuse_second(into, gallery, outer[0]), None

    @staticmethod
    def _pull(ctx: Any, queries: Tensor, gallery: Tensor, outer: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        job: _Job = ctx.job
        steep = []
        for sides, share in zip((ctx.rows, ctx.columns), outer[:2], strict=True):
            _, rankable, shapes = finished(job.softmax, sides)
            share = torch.where(rankable, share.detach().double(), 0.0)
            steep.append((shapes[0].times(share), shapes[1].times(share)))
        pulled, into = torch.empty_like(queries), torch.zeros_like(gallery)
        for chosen in block_slices(len(queries), len(gallery), queries.device):
            values, rows = job.tile(queries, gallery, chosen)
            sides = ctx.rows[0].part(chosen), ctx.rows[1].part(chosen)
            shapes = steep[0][0].part(chosen), steep[0][1].part(chosen)
            slopes = tile_of(rows, job.softmax.temperature).both_slopes(sides, shapes, ctx.columns, steep[1])
            pulled[chosen] = job.similarity.pull(slopes, values, queries[chosen], gallery, into)
        return pulled, into
