"""The base of all metrics: processes may have seen anything, or nothing."""

from __future__ import annotations

from typing import Any

import torch
import torchmetrics
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat


class Metric(torchmetrics.Metric):
    """A torchmetrics metric whose processes need not all have seen something.

    torchmetrics gathers what it collects as it lies there; of a process that saw nothing it takes an empty tensor of
    another type and shape, and the processes part.
    """

    def _sync_dist(self, *given: Any, **named: Any) -> None:
        """Gives processes that saw nothing empty states of the kind that the others have."""
        names = [name for name, how in self._reductions.items() if how is dim_zero_cat]
        own = {name: _kind(getattr(self, name)) for name in names}
        seen: list[dict[str, tuple[str, list[int]] | None]] = [{} for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(seen, own)
        for name in names:
            found = next((kinds[name] for kinds in seen if kinds[name] is not None), None)
            if found is not None and own[name] is None:
                dtype, shape = found
                setattr(self, name, [torch.empty(0, *shape, dtype=getattr(torch, dtype), device=self.device)])
        super()._sync_dist(*given, **named)
        for name in names:
            if all(kinds[name] is None for kinds in seen):
                setattr(self, name, [])


def _kind(state: list[Tensor] | Tensor) -> tuple[str, list[int]] | None:
    """Number type, and shape of a row, of what was collected; None of nothing."""
    first = state if isinstance(state, Tensor) else state[0] if state else None
    return None if first is None else (str(first.dtype).removeprefix("torch."), list(first.shape[1:]))
