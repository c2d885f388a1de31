"""Where the tensors of a case lie: cases are written once, and built on the device that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_PLACE: ContextVar[str] = ContextVar("place", default="cpu")


@contextmanager
def placed_on(device: str) -> Iterator[None]:
    """Inside, cases build their tensors on this device.

    Args:
        device: "cpu", or "cuda": the current GPU.
    """
    token = _PLACE.set(device)
    try:
        yield
    finally:
        _PLACE.reset(token)


def place() -> torch.device:
    """The device that the case being built is for."""
    return torch.device(_PLACE.get())
