"""Sorting the rows of a matrix, ties in their given order: what the sorted engines spend most of their time in.

On a processor numpy sorts whole numbers with vector instructions, about ten times as fast as torch sorts anything with
its places. So a key that fits into 32 bits is packed with its place into one whole number: sorting these is stable,
and the place is read off the result. Everything else is left to torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.ranking.engines import can_look

PACKED_FROM = 2048  # numbers; fewer are sorted as fast by torch
_LOW = 2**32 - 1


def sort_rows(x: Tensor, descending: bool = False) -> tuple[Tensor, Tensor]:
    """Sorted values and the places they came from.

    Args:
        x: `(..., N)`; carries no gradient here.
        descending: Largest first; nan counts as the largest.

    Returns:
        Values `(..., N)`, and int64 places `(..., N)`; items that tie stand in their given order.
    """
    x = x.detach()
    order = order_rows(x, descending)
    return x.gather(-1, order), order


def order_rows(x: Tensor, descending: bool = False) -> Tensor:
    """The places alone, see :func:`sort_rows`."""
    x = x.detach()
    key = _key(x) if can_look(x) and x.numel() >= PACKED_FROM and x.shape[-1] < 2**31 else None
    if key is None:
        return x.argsort(dim=-1, descending=descending, stable=True)
    packed = (key.bitwise_not_() if descending else key).bitwise_left_shift_(32)
    packed.add_(torch.arange(x.shape[-1]))
    packed.numpy().sort(axis=-1)
    return packed.bitwise_and_(_LOW)


def _key(x: Tensor) -> Tensor | None:
    """A new int64 tensor in the order of x whose numbers fit into 32 bits; None where there is none."""
    if x.dtype == torch.float32:
        bits = torch.where(x.isnan(), torch.nan, x + 0.0).view(torch.int32)  # one nan, one zero
        return (bits ^ ((bits >> 31) & (2**31 - 1))).long()  # below 0 the order of the bits is turned round
    if x.dtype == torch.int64:
        low, high = (int(end) for end in x.aminmax())
        return x - low if high - low < 2**31 else None
    if x.dtype in (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32):
        return x.long()
    return None
