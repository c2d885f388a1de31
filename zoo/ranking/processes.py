"""Similarity losses over the galleries of all processes, in memory that does not grow with their number.

Every process keeps its own queries. The galleries travel round the ring of processes, one at a time: each meets every
process's queries once for the sums of exponentials of their rows, and once more in the backward pass, where the slope
of the gallery travels with it and comes home complete.

Source: ring reduction of the contrastive loss, Inf-CL, Cheng et al., arXiv:2410.17243.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from zoo.ranking.checks import REDUCTIONS, accumulation_dtype, check_choice
from zoo.ranking.distributed import row_counts
from zoo.ranking.engines import refuse_second
from zoo.ranking.fused_rows import FusedTile, tile_of
from zoo.ranking.lazy import LazyRelation, LazySimilarity
from zoo.ranking.row_engines import block_slices
from zoo.ranking.rows import check_rows
from zoo.ranking.softmax_rows import Side, Softmax, Tile, join, no_entries
from zoo.ranking.two_way import SOFTMAX_LOSSES, Loss, finished, mark, softmax_form


def across_processes(
    loss: Loss, similarity: LazySimilarity, positive: LazyRelation, *, mask: LazyRelation | None = None, **options: Any
) -> Tensor:
    """A similarity loss of every process's queries among the galleries of all processes.

    The same as `loss` over gathered embeddings and ids (see `gather`), without ever holding them: the value is that
    of all queries of all processes, and the gradient comes back times the number of processes, which
    DistributedDataParallel's averaging undoes. With reduction "none" it is the values of this process's queries, and
    the gradient that of the sum over all processes of what they make of theirs. Every process must call it, and its
    backward pass, in the same order. Without a process group it is `loss` itself.

    Args:
        loss: `info_nce`, `sdm` or `triplet_alignment`, function or module: losses made of sums of exponentials.
        similarity: `Cosine`, `Dot` or `Euclidean` of this process's queries `(q, D)` and its part of the gallery
            `(g, D)`; both may differ in number between processes, and be empty.
        positive: `Same` of ids that mean the same on every process.
        mask: `Different` or None; with `Different(index, index)` the indices count through all processes.
        **options: Of the function (of a module they are its own).

    Returns:
        A scalar, or `(q,)` with reduction "none".

    Raises:
        TypeError: if matrices are given in place of embeddings and ids.
        ValueError: if the loss is none of these, or a shape, dtype or string does not fit.
    """
    for name, value, kind in (("similarity", similarity, LazySimilarity), ("positive", positive, LazyRelation)):
        if not isinstance(value, kind):
            raise TypeError(f"{name}: {type(value).__name__} given, expected embeddings (Cosine) or ids (Same)")
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        alone: Tensor = loss(similarity, positive, mask=mask, **options)
        return alone
    found = softmax_form(loss, options)
    if found is None or found[0].softmax is None:
        names = ", ".join(function.__name__ for function in SOFTMAX_LOSSES)
        raise ValueError(f"loss: {getattr(loss, '__name__', type(loss).__name__)} given, expected one of {names}")
    row, rest = found
    assert row.softmax is not None
    reduction = rest.get("reduction", "mean")
    check_choice("reduction", reduction, REDUCTIONS)
    check_rows(similarity, positive, mask, None, graded=False)
    ring = _Ring(row.softmax, similarity, positive, mask)
    values, rankable = _Ringed.apply(*similarity.parts(), ring)
    if reduction == "none":
        return values
    count = dist.get_world_size()
    totals = torch.stack([values.detach().double().sum(), rankable.double().sum()])
    dist.all_reduce(totals)
    scale = 1.0 if reduction == "sum" else 1 / totals[1].clamp(min=1)
    own = count * scale * values.sum()
    return own + (totals[0] * scale - own.detach()).to(values.dtype)  # the value of all, the gradient of its own rows


class _Ring:
    """What is compared, and how galleries get from process to process."""

    def __init__(
        self, softmax: Softmax, similarity: LazySimilarity, positive: LazyRelation, mask: LazyRelation | None
    ) -> None:
        self.softmax, self.similarity, self.positive, self.mask = softmax, similarity, positive, mask
        self.dtype = accumulation_dtype(similarity)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.counts = row_counts(similarity.gallery)

    def travelling(self, gallery: Tensor) -> list[Tensor]:
        """What goes round: the prepared gallery `(g, D)` and its ids `(g,)`."""
        return [gallery, self.positive.gallery, *(() if self.mask is None else (self.mask.gallery,))]

    def around(self, parts: list[Tensor]) -> Iterator[list[Tensor]]:
        """Every process's parts, this one's first; what is put in place of a part of the list travels on."""
        for step in range(self.size):
            yield parts
            coming = self.counts[(self.rank - step - 1) % self.size]
            parts[:] = [self._pass_on(part, coming) for part in parts]

    def _pass_on(self, part: Tensor, coming: int) -> Tensor:
        """Sends to the next process, and receives from the one before; as bytes, so that every dtype can travel."""
        arrived = part.new_empty(coming, *part.shape[1:])
        sent = part.detach().contiguous()
        jobs = []
        if sent.numel():
            jobs.append(dist.isend(sent.flatten().view(torch.uint8), (self.rank + 1) % self.size))
        if arrived.numel():
            jobs.append(dist.irecv(arrived.flatten().view(torch.uint8), (self.rank - 1) % self.size))
        for job in jobs:
            if job is not None:
                job.wait()
        return arrived

    def tiles(self, queries: Tensor, met: list[Tensor]) -> Iterator[tuple[slice, Tensor, Tile | FusedTile]]:
        """Blocks of this process's queries against one gallery."""
        gallery, ids, *others = met
        for rows in block_slices(len(queries), len(gallery), queries.device):
            values = self.similarity.tile(queries[rows], gallery)
            positive = type(self.positive)(self.positive.queries[rows], ids)[slice(None)]
            mask = None
            if self.mask is not None:
                mask = type(self.mask)(self.mask.queries[rows], others[0])[slice(None)]
            yield rows, values, tile_of(mark(values, positive, mask), self.softmax.temperature)


class _Ringed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, gallery: Tensor, ring: _Ring) -> tuple[Tensor, Tensor]:
        softmax = ring.softmax
        empty = no_entries(len(queries), queries.device)
        sides = empty, empty
        with torch.autocast(queries.device.type, enabled=False):
            for met in ring.around(ring.travelling(gallery)):
                if not (len(met[0]) and len(queries)):
                    continue
                parts = [tile.sides(1, softmax.moments) for _, _, tile in ring.tiles(queries, met)]
                seen = [join([part[side] for part in parts]) for side in (0, 1)]
                sides = _merged(sides, (seen[0], seen[1]), softmax)
        ctx.ring, ctx.sides = ring, sides
        ctx.save_for_backward(queries, gallery)
        values, rankable, _ = finished(softmax, sides)
        ctx.mark_non_differentiable(rankable)
        return values.to(ring.dtype), rankable

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None]:
        queries, gallery = ctx.saved_tensors
        with torch.no_grad(), torch.autocast(queries.device.type, enabled=False):
            pulled, into = _Ringed._pull(ctx, queries, gallery, outer[0])
        return refuse_second(pulled, queries, outer[0]), refuse_second(into, gallery, outer[0]), None

    @staticmethod
    def _pull(ctx: Any, queries: Tensor, gallery: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
        ring: _Ring = ctx.ring
        _, rankable, shapes = finished(ring.softmax, ctx.sides)
        share = torch.where(rankable, outer.double(), 0.0)
        steep = shapes[0].times(share), shapes[1].times(share)
        pulled = torch.zeros_like(queries)
        parts = [torch.zeros_like(gallery), *ring.travelling(gallery)]
        for into, *met in ring.around(parts):
            if not (len(met[0]) and len(queries)):
                continue
            for rows, values, tile in ring.tiles(queries, met):
                sides = ctx.sides[0].part(rows), ctx.sides[1].part(rows)
                slopes = tile.slopes(1, sides, (steep[0].part(rows), steep[1].part(rows)))
                pulled[rows] += ring.similarity.pull(slopes, values, queries[rows], met[0], into)
        return pulled, parts[0]  # home again after a whole round


def _merged(first: tuple[Side, Side], second: tuple[Side, Side], softmax: Softmax) -> tuple[Side, Side]:
    return first[0].merge(second[0], softmax.temperature), first[1].merge(second[1], softmax.temperature)
