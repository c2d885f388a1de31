"""The whole batch on every process, with gradients."""

import zlib
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather(x: Tensor) -> Tensor:
    """Concatenate `x` over all processes, in rank order, with a gradient for DistributedDataParallel.

    Every process computes the same loss over the gathered batch; the gradient of its own rows comes back times the
    number of processes, which DistributedDataParallel's averaging undoes, so that the averaged gradient is that of one
    process over the whole batch. Batches may be uneven or empty. Without a process group, or in a group of one, `x`
    itself is returned. Needs no communication in the backward pass.

    Args:
        x: `(n, ...)`, n different on each process, the rest alike; any dtype and memory layout.

    Returns:
        `(sum of all n, ...)`.

    Raises:
        ValueError: if `x` has no first dimension, or the processes hold rows of different shapes or dtypes.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    if x.ndim == 0:
        raise ValueError("x: shape () given, expected (n, ...)")
    gathered: Tensor = _Gather.apply(x)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        counts = row_counts(x)
        rank = dist.get_rank()
        ctx.start, ctx.count, ctx.processes = sum(counts[:rank]), counts[rank], len(counts)
        return _all_rows(x, counts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.narrow(0, ctx.start, ctx.count) * ctx.processes


def row_counts(x: Tensor) -> list[int]:
    """Number of rows on each process, once all are seen to hold the same kind of row."""
    kind = f"{x.dtype} rows of shape {tuple(x.shape[1:])}"
    own = torch.tensor([len(x), zlib.crc32(kind.encode())], device=x.device)
    seen = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(seen, own)
    counts, kinds = torch.stack(seen).T.tolist()
    others = [rank for rank, other in enumerate(kinds) if other != kinds[dist.get_rank()]]
    if others:
        raise ValueError(f"x: {kind} on process {dist.get_rank()}, expected the same on processes {others}")
    return [int(count) for count in counts]


def _all_rows(x: Tensor, counts: list[int]) -> Tensor:
    """All processes' rows. They travel as bytes, padded to the longest batch, so that every dtype can."""
    flat = x.detach().reshape(len(x), x.shape[1:].numel()).contiguous().view(torch.uint8)
    padded = flat.new_zeros(max(counts), flat.shape[1])
    padded[: len(x)] = flat
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    rows = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return rows.flatten().view(x.dtype).reshape(len(rows), *x.shape[1:])
