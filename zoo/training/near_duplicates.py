"""Images that look the same: a perceptual hash and its near neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy.fft import dctn
from torch import Tensor
from torchvision.transforms import v2

_SIDE, _KEPT = 32, 8
DISTANCE = 4


def perceptual_hash(image: Tensor) -> int:
    """The 64-bit DCT hash of an image: similar images differ in few bits.

    Args:
        image: ``(3, H, W)``, uint8 or float in [0, 1].

    Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010 (pHash).
    """
    grey = v2.functional.rgb_to_grayscale(image.to(torch.float32))
    small = v2.functional.resize(grey, [_SIDE, _SIDE], antialias=True)[0].numpy()
    low = dctn(small, norm="ortho")[:_KEPT, :_KEPT]
    bits = (low > np.median(low)).reshape(-1)
    return int("".join("1" if bit else "0" for bit in bits), 2)


def near_duplicates(
    first: Sequence[int], second: Sequence[int], distance: int = DISTANCE
) -> list[tuple[int, int, int]]:
    """Pairs of hashes that differ in few bits.

    Args:
        first: Hashes of one set.
        second: Hashes of the other.
        distance: At most so many bits differ.

    Returns:
        ``(index in first, index in second, bits)`` of every such pair.
    """
    left, right = (np.array(hashes, dtype=np.uint64).view(np.uint8).reshape(-1, 8) for hashes in (first, second))
    pairs = []
    for index, row in enumerate(left):
        bits = _ones()[row ^ right].sum(1)
        pairs += [(index, int(other), int(bits[other])) for other in np.flatnonzero(bits <= distance)]
    return pairs


@lru_cache(maxsize=1)
def _ones() -> np.ndarray:
    """Bits set in each byte."""
    return np.array([value.bit_count() for value in range(256)], dtype=np.uint8)
