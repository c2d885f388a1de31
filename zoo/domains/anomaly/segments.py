"""From the clips of a video to a fixed number of segments, and back to ranges of clips. Plain numpy."""

from __future__ import annotations

from typing import Literal

import numpy as np

Segmenting = Literal["matlab", "numpy", "truncate"]
SEGMENTS = 32


def boundaries(clips: int, segments: int = SEGMENTS, mode: Segmenting = "matlab") -> np.ndarray:
    """Where the segments of a video begin and end, counted in clips from 0.

    ``matlab`` rounds ``linspace(1, N, S + 1)`` half away from zero (the authors' Save_C3DFeatures_32Segments.m),
    ``numpy`` rounds ``linspace(0, N - 1, S + 1)`` half to even (the PyTorch port), ``truncate`` cuts
    ``linspace(0, N, S + 1)`` to integers (RTFM). All is done in integers, so no boundary depends on rounding noise.

    Args:
        clips: Number of clips N of the video, >= 1.
        segments: Number of segments S, >= 1.
        mode: Which of the three.

    Returns:
        ``(S + 1,)`` integers ``t``; segment i holds the clips ``t[i] .. t[i + 1] - 1``, or the clip ``t[i]`` alone
        where that range is empty. The last clip is in no segment with ``matlab`` and ``numpy`` once N > S: ``t``
        ends at N - 1, as in the released code.

    Raises:
        ValueError: A number is below 1, or the mode is unknown.
    """
    if clips < 1 or segments < 1:
        raise ValueError(f"at least one clip and one segment are needed, got {clips} clips and {segments} segments")
    index = np.arange(segments + 1, dtype=np.int64)
    if mode == "truncate":
        return clips * index // segments
    whole, rest = np.divmod((clips - 1) * index, segments)
    if mode == "matlab":
        return whole + (2 * rest >= segments)
    if mode == "numpy":
        return whole + ((2 * rest > segments) | ((2 * rest == segments) & (whole % 2 == 1)))
    raise ValueError(f"segmenting {mode!r} is unknown; there are matlab, numpy and truncate")


def segment_ranges(clips: int, segments: int = SEGMENTS, mode: Segmenting = "matlab") -> np.ndarray:
    """The clips of each segment.

    Args:
        clips: Number of clips, >= 1.
        segments: Number of segments S, >= 1.
        mode: See :func:`boundaries`.

    Returns:
        ``(S, 2)`` integers ``[start, stop)`` from 0, never empty: with fewer clips than segments a clip serves
        several segments.
    """
    places = boundaries(clips, segments, mode)
    return np.stack([places[:-1], np.maximum(places[1:], places[:-1] + 1)], axis=1)


def segment_features(
    features: np.ndarray, segments: int = SEGMENTS, mode: Segmenting = "matlab", normalise: bool | None = None
) -> np.ndarray:
    """Averages the clips of each segment.

    Args:
        features: ``(T, D)`` or ``(T, crops, D)``, T >= 1 clips.
        segments: Number of segments S.
        mode: See :func:`boundaries`.
        normalise: Whether each mean is divided by its L2 norm; None as the released code does: yes with ``matlab``
            and ``numpy``, no with ``truncate``. A mean of zeros stays zeros.

    Returns:
        ``(S, D)`` or ``(S, crops, D)`` in the dtype of ``features``; float16 becomes float32.

    Raises:
        ValueError: There is no clip.
    """
    ranges = segment_ranges(len(features), segments, mode)
    dtype = np.float32 if features.dtype == np.float16 else features.dtype
    means = np.stack([features[start:stop].mean(axis=0, dtype=np.float64) for start, stop in ranges])
    if mode != "truncate" if normalise is None else normalise:
        norms = np.linalg.norm(means, axis=-1, keepdims=True)
        means = np.divide(means, norms, out=means, where=norms > 0)
    return means.astype(dtype)
