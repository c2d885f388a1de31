"""Noisy correspondence: captions of a training set shuffled among their images, by a released file or by a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo.training import DataError


def shuffled(count: int, rate: float, seed: int) -> np.ndarray:
    """A permutation that shuffles ``int(rate * count)`` places among themselves; some may fall where they were.

    Args:
        count: Captions.
        rate: Share that is shuffled, in [0, 1].
        seed: Which places, and how.

    Returns:
        ``(count,)`` int64: place i gets caption ``result[i]``.
    """
    rng = np.random.default_rng([seed, count])
    chosen = rng.permutation(count)[: int(rate * count)]
    result = np.arange(count)
    result[chosen] = rng.permutation(chosen)
    return result


def read_permutation(file: Path, count: int, rate: float) -> np.ndarray:
    """Reads a released index file, ``noiseindex/<data set>_<rate>.npy``.

    Args:
        file: ``.npy``, whole numbers ``(count,)``.
        count: Training captions of the data set.
        rate: Share of captions that the file shall shuffle.

    Returns:
        ``(count,)`` int64: place i gets caption ``result[i]``.

    Raises:
        DataError: The file is missing or no such permutation; names it.
    """
    if not file.is_file():
        raise DataError(f"{file}: there is no such file of a permutation")
    try:
        given = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{file}: cannot be read as .npy: {error}") from None
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise DataError(f"{file}: expected whole numbers of shape ({count},), found {given.dtype} of {given.shape}")
    if len(given) != count:
        raise DataError(f"{file}: is for {len(given)} captions, the training split has {count}")
    if not np.array_equal(np.sort(given), np.arange(count)):
        raise DataError(f"{file}: is no permutation of 0 to {count - 1}: a caption is missing or stands twice")
    moved = int((given != np.arange(count)).sum())
    if moved > int(rate * count):
        raise DataError(f"{file}: moves {moved} of {count} captions, more than the share of {rate:g} asked for")
    return given.astype(np.int64)
