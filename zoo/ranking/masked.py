"""Reductions of the last dimension over the True entries of a mask.

All give 0 where a row has no True entry, and every gradient is finite: what must not count is replaced before an
operation, not after it (0 * inf and 0 * nan are nan, in a gradient too).
"""

import torch
from torch import Tensor


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the True entries: `(..., N)` -> `(...)`."""
    return torch.where(mask, x, 0.0).sum(-1) / mask.sum(-1).clamp(min=1)


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """Largest True entry: `(..., N)` -> `(...)`; entries that tie share the gradient equally."""
    if not x.shape[-1]:
        return x.sum(-1)
    largest = torch.where(mask, x, -torch.inf).amax(-1)
    return torch.where(mask.any(-1), largest, 0.0)


def masked_min(x: Tensor, mask: Tensor) -> Tensor:
    """Smallest True entry: `(..., N)` -> `(...)`; entries that tie share the gradient equally."""
    return -masked_max(-x, mask)


def masked_logsumexp(x: Tensor, mask: Tensor) -> Tensor:
    """Logarithm of the sum of exp over the True entries: `(..., N)` -> `(...)`.

    The largest entry is taken out before the sum, so that the gradient has its digits however large the entries are.
    """
    found = mask.any(-1, keepdim=True)
    filled = torch.where(mask, x, torch.where(found, -torch.inf, 0.0))
    high = filled.detach().amax(-1, keepdim=True) if x.shape[-1] else filled.sum(-1, keepdim=True)
    high = torch.where(high.isinf(), 0.0, high)
    summed = (filled - high).logsumexp(-1) + high.squeeze(-1)
    return torch.where(found.squeeze(-1), summed, 0.0)


def masked_log_softmax(x: Tensor, mask: Tensor) -> Tensor:
    """Log-softmax over the True entries: `(..., N)` -> `(..., N)`, 0 where the mask is False."""
    found = mask.any(-1, keepdim=True)
    logs = torch.where(mask, x, torch.where(found, -torch.inf, 0.0)).log_softmax(-1)
    return torch.where(mask, logs, 0.0)
