"""The value of a similarity loss: dense, or in blocks of rows whose slopes are found at once and forgotten again.

A block of rows sees its whole gallery, so every loss has the tiled form. Given embeddings, a block is a matrix product
that is never kept: value and gradient take three products of `Q G D` (four where the slope of every row must wait for
the backward pass) and memory for one block beside the embeddings' own gradient.

A block holds 2^19 entries on a processor, so that it stays in the cache. On a GPU it holds 2^26, for there each of
some fifty kernels costs as much to start as a pass over a million entries: at most 2 GiB in float32 (about 30 bytes an
entry), and 3 GiB where triplets are compared, whatever Q and G are.

Source: blocks of the similarity matrix as in Inf-CL, Cheng et al., arXiv:2410.17243; the slopes of the forward pass
are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.ranking.checks import REDUCTIONS, Reduction, accumulation_dtype, check_choice
from zoo.ranking.engines import Engine, PairedSlopes, Slopes, check_engine, choose_engine, refuse_second
from zoo.ranking.fused_rows import softmax_slope
from zoo.ranking.lazy import LazySimilarity, Matrix, Relation, dense
from zoo.ranking.reduction import divide, reduce_values
from zoo.ranking.rows import Rows, RowSlope, RowValue, check_rows, clean_rows
from zoo.ranking.softmax_rows import Softmax

ROW_ENGINES = ("dense", "tiled")
BLOCK = 2**19  # entries of a block of rows
LEAST_ROWS, MOST_ROWS = 64, 512  # fewer make slow matrix products, more do not speed them up
CUBIC_BLOCK = 2**20  # entries of a block of triplets
ON_GPU = 128  # times as large is a block there
TILED_FROM = 2**18  # entries from which blocks that stay in the cache beat the whole matrix
CUBIC_FROM = 2**17  # the same where the loss compares triplets


@dataclass(frozen=True)
class RowLoss:
    """What one similarity loss adds to the frame.

    Attributes:
        value: Of clean rows; the dense form, and with autograd inside a block the tiled form of any loss.
        slope: Value and slope without autograd, where that is faster.
        graded: Whether a relevance in place of a bool has a meaning.
        cubic: Whether it holds all positives against all entries, `(Q, P, G)`.
        softmax: What it makes of sums of exponentials, where it sees a row through nothing else; it can then be
            computed from parts of rows.
    """

    value: RowValue
    slope: RowSlope | None = None
    graded: bool = False
    cubic: bool = False
    softmax: Softmax | None = None


def row_loss(
    loss: RowLoss,
    similarity: Matrix,
    positive: Relation,
    *,
    mask: Relation | None,
    weight: Tensor | None,
    reduction: Reduction,
    engine: Engine = "auto",
) -> Tensor:
    """Evaluate a similarity loss: check and clean the input, value the rows, weigh, reduce.

    Args:
        loss: One value per clean row.
        similarity: `(Q, G)` floating point; float16 and bfloat16 are computed and returned in float32.
        positive: `(Q, G)` bool; where the loss is graded also a relevance >= 0. Never gets a gradient.
        mask: `(Q, G)` bool: False = neither positive nor negative.
        weight: `(Q,)` numbers >= 0; a row of weight 0 counts as having nothing to rank.
        reduction: "mean", "sum" or "none".
        engine: "dense", "tiled" or "auto".

    Returns:
        A scalar, or `(Q,)` with reduction "none"; float64 for float64 similarity, else float32.

    Raises:
        TypeError: if an argument that must be a tensor is none.
        ValueError: if a shape, dtype, device or string does not fit.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    check_engine(engine, ROW_ENGINES)
    check_rows(similarity, positive, mask, weight, loss.graded)
    dtype = accumulation_dtype(similarity)
    if not similarity.shape[-1]:
        empty = dense(similarity).to(dtype).sum(-1)
        return reduce_values(empty, torch.zeros_like(empty, dtype=torch.bool), reduction)
    if not similarity.shape[0] or choose_engine(engine, ROW_ENGINES, lambda: fastest_rows(loss, similarity)) == "dense":
        return _dense_loss(loss, dense(similarity), dense(positive), dense(mask), weight, reduction)
    with torch.autocast(similarity.device.type, enabled=False):
        if isinstance(similarity, LazySimilarity):
            return _lazy_loss(Blocks(loss, similarity, positive, mask, weight, dtype), reduction)
        return _matrix_loss(Blocks(loss, similarity, positive, mask, weight, dtype), similarity, reduction)


def fastest_rows(loss: RowLoss, similarity: Matrix) -> str:
    """The engine for a matrix of this size."""
    entries = similarity.shape[0] * similarity.shape[1]
    return "tiled" if entries >= (CUBIC_FROM if loss.cubic else TILED_FROM) else "dense"


def _dense_loss(
    loss: RowLoss,
    similarity: Tensor,
    positive: Tensor,
    mask: Tensor | None,
    weight: Tensor | None,
    reduction: Reduction,
) -> Tensor:
    rows, rankable = clean_rows(similarity, positive, mask, weight, accumulation_dtype(similarity))
    if weight is not None:
        weight = torch.where(rankable, weight.to(rows.similarity.dtype), 0.0)
    return reduce_values(torch.where(rankable, loss.value(rows), 0.0), rankable, reduction, weight)


def larger_on_gpu(device: torch.device) -> int:
    """How many times as large a block is on this device as on a processor."""
    return ON_GPU if device.type == "cuda" else 1


def block_slices(count: int, gallery: int, device: torch.device) -> Iterator[slice]:
    """So many rows of so many entries, in blocks that suit the device."""
    factor = larger_on_gpu(device)
    step = max(LEAST_ROWS, min(MOST_ROWS * factor, BLOCK * factor // max(gallery, 1)))
    return (slice(first, min(first + step, count)) for first in range(0, count, step))


@dataclass(frozen=True)
class Blocks:
    """A loss and its input, to be gone through block by block."""

    loss: RowLoss
    similarity: Matrix
    positive: Relation
    mask: Relation | None
    weight: Tensor | None
    dtype: torch.dtype

    def slices(self) -> Iterator[slice]:
        """Which rows come together."""
        count, gallery = self.similarity.shape
        return block_slices(count, gallery, self.similarity.device)

    def clean(self, similarity: Tensor, rows: slice) -> tuple[Rows, Tensor]:
        """The rows of a block, and which of them have something to rank."""
        mask = None if self.mask is None else self.mask[rows]
        weight = None if self.weight is None else self.weight.detach()[rows]
        return clean_rows(similarity, self.positive[rows], mask, weight, self.dtype, look=True)

    def valued(self, rows: Rows, rankable: Tensor, sloped: bool) -> tuple[Tensor, Tensor | None]:
        """Values `(R,)` of a block and, if wanted, their slopes `(R, G)`; both 0 where there is nothing to rank."""
        parts = [self._valued(rows.part(part), sloped) for part in self._inner(rows)]
        values = torch.cat([value for value, _ in parts])
        values = torch.where(rankable, values, 0.0)
        if not sloped:
            return values, None
        slopes = torch.cat([slope for _, slope in parts if slope is not None]) if len(parts) > 1 else parts[0][1]
        if slopes is not None and not bool(rankable.all()):
            slopes = torch.where(rankable.unsqueeze(-1), slopes, 0.0)
        return values, slopes

    def _valued(self, rows: Rows, sloped: bool) -> tuple[Tensor, Tensor | None]:
        if not sloped:
            return self.loss.value(rows), None
        if self.loss.softmax is not None:
            return softmax_slope(rows, self.loss.softmax)
        if self.loss.slope is not None:
            return self.loss.slope(rows)
        with torch.enable_grad():
            leaf = rows.similarity.detach().requires_grad_()
            values = self.loss.value(Rows(leaf, rows.positive, rows.negative, rows.grade))
            (slopes,) = torch.autograd.grad(values.sum(), leaf)
        return values.detach(), slopes

    def _inner(self, rows: Rows) -> Iterator[slice]:
        count, step = len(rows.positive), len(rows.positive)
        if self.loss.cubic:
            anchors = max(1, int(rows.positive.sum(-1).max()))
            block = CUBIC_BLOCK * larger_on_gpu(rows.positive.device)
            step = max(1, block // (anchors * rows.positive.shape[1]))
        return (slice(first, first + step) for first in range(0, count, step))


def _matrix_loss(blocks: Blocks, similarity: Tensor, reduction: Reduction) -> Tensor:
    """A row's slope is its own, so it can be found before it is known how the rows add up."""
    values, rankable = _empty(blocks)
    sloped = similarity.requires_grad and torch.is_grad_enabled()
    slopes = torch.empty(similarity.shape if sloped else (0,), dtype=blocks.dtype, device=similarity.device)
    with torch.no_grad():
        for rows in blocks.slices():
            clean, rankable[rows] = blocks.clean(similarity[rows], rows)
            values[rows], found = blocks.valued(clean, rankable[rows], sloped)
            if found is not None:
                slopes[rows] = found
    if sloped:
        values = Slopes.apply(similarity.to(blocks.dtype), values, slopes)
    return reduce_values(values, rankable, reduction, _row_weight(blocks, rankable))


def _lazy_loss(blocks: Blocks, reduction: Reduction) -> Tensor:
    assert isinstance(blocks.similarity, LazySimilarity)
    queries, gallery = blocks.similarity.parts()
    learned = torch.is_grad_enabled() and (queries.requires_grad or gallery.requires_grad)
    waits = reduction == "none" or (blocks.weight is not None and blocks.weight.requires_grad)
    if not learned or waits:
        values, rankable = _Waiting.apply(queries, gallery, blocks)
        return reduce_values(values, rankable, reduction, _row_weight(blocks, rankable))
    with torch.no_grad():
        values, rankable, *slopes = sweep(blocks, queries, gallery, _own_weight)
        total = reduce_values(values, rankable, reduction, _row_weight(blocks, rankable))
        if reduction == "mean":
            mass = _own_weight(blocks, slice(None), rankable).sum()
            slopes = [slope.mul_(divide(torch.ones_like(mass), mass).to(slope.dtype)) for slope in slopes]
    summed: Tensor = PairedSlopes.apply(queries, gallery, total, *slopes)
    return summed


def _own_weight(blocks: Blocks, rows: slice, rankable: Tensor) -> Tensor:
    """What the values of a block count, `(R,)`."""
    if blocks.weight is None:
        return rankable.to(blocks.dtype)
    return torch.where(rankable, blocks.weight.detach()[rows].to(blocks.dtype), 0.0)


def row_statistics(
    measure: Callable[[Rows], Tensor],
    similarity: Matrix,
    positive: Relation,
    mask: Relation | None,
    weight: Tensor | None,
) -> Tensor:
    """Numbers of clean rows, without a gradient.

    Args:
        measure: `Rows` -> `(Q, K)`, 0 where nothing is real.
        similarity: As in `row_loss`, and checked already.
        positive: The same.
        mask: The same.
        weight: The same.

    Returns:
        `(Q, K)`.
    """
    blocks = Blocks(
        RowLoss(lambda rows: rows.similarity[:, 0]), similarity, positive, mask, weight, accumulation_dtype(similarity)
    )
    with torch.no_grad(), torch.autocast(similarity.device.type, enabled=False):
        if isinstance(similarity, LazySimilarity):
            queries, gallery = similarity.parts()
            tiles = ((rows, similarity.tile(queries[rows], gallery)) for rows in blocks.slices())
        else:
            tiles = ((rows, similarity[rows]) for rows in blocks.slices())
        found = [measure(blocks.clean(tile, rows)[0]) for rows, tile in tiles]
    return torch.cat(found)


def _row_weight(blocks: Blocks, rankable: Tensor) -> Tensor | None:
    return None if blocks.weight is None else torch.where(rankable, blocks.weight.to(blocks.dtype), 0.0)


def _empty(blocks: Blocks) -> tuple[Tensor, Tensor]:
    count, device = blocks.similarity.shape[0], blocks.similarity.device
    return torch.zeros(count, dtype=blocks.dtype, device=device), torch.zeros(count, dtype=torch.bool, device=device)


def sweep(blocks: Blocks, queries: Tensor, gallery: Tensor, share: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Goes once through all blocks of embeddings.

    Args:
        blocks: The loss and its input.
        queries: `(Q, D)`.
        gallery: `(G, D)`.
        share: What the rows of a block count: `share(blocks, rows, rankable)`, `(R,)`; None asks for no slopes.

    Returns:
        Values `(Q,)`; bool `(Q,)`, which have something to rank; slopes of their weighted sum, `(Q, D)` and `(G, D)`.
    """
    assert isinstance(blocks.similarity, LazySimilarity)
    values, rankable = _empty(blocks)
    pulled, into = (torch.zeros_like(x) if share is not None else x[:0] for x in (queries, gallery))
    for rows in blocks.slices():
        tile = blocks.similarity.tile(queries[rows], gallery)
        clean, rankable[rows] = blocks.clean(tile, rows)
        values[rows], slopes = blocks.valued(clean, rankable[rows], share is not None)
        if slopes is not None:
            slopes = slopes * share(blocks, rows, rankable[rows]).unsqueeze(-1)
            pulled[rows] = blocks.similarity.pull(slopes, tile, queries[rows], gallery, into)
    return values, rankable, pulled, into


class _Waiting(torch.autograd.Function):
    """Values of rows whose slopes are found in the backward pass, when it is known what each row counts."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, gallery: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(queries, gallery)
        ctx.blocks = blocks
        values, rankable, _, _ = sweep(blocks, queries, gallery, None)
        ctx.mark_non_differentiable(rankable)
        return values, rankable

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None]:
        queries, gallery = ctx.saved_tensors
        with torch.no_grad(), torch.autocast(queries.device.type, enabled=False):
            _, _, pulled, into = sweep(ctx.blocks, queries, gallery, lambda _, rows, __: outer[0][rows])
        return refuse_second(pulled, queries, outer[0]), refuse_second(into, gallery, outer[0]), None
