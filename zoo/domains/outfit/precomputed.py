"""Features that somebody computed before: ``{ids, embeddings}`` in a pickle (as released), ``.npz`` or a folder."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from zoo.training import DataError

# all that a pickle of lists and arrays asks for, in numpy 1 and 2
_ALLOWED = {
    (f"numpy.{package}.{part}", name)
    for package in ("core", "_core")
    for part, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
} | {("numpy", "ndarray"), ("numpy", "dtype")}


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Refuses everything but numpy arrays."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"asks for {module}.{name}; only lists and arrays are read")
        return super().find_class(module, name)


def read_features(place: Path) -> dict[str, np.ndarray]:
    """The features by item id; they need not be finite.

    Args:
        place: A ``.pkl`` or ``.npz`` of ``ids`` (N) and ``embeddings`` (N, F), or a folder of such files
            (``polyvore_0.pkl``, ``polyvore_1.pkl``, ... of the released code, one per process).

    Raises:
        DataError: There is none, or one cannot be used; names it.
    """
    files = sorted([*place.glob("*.pkl"), *place.glob("*.npz")]) if place.is_dir() else [place]
    if not files or not files[0].is_file():
        raise DataError(f"{place}: there are no precomputed features (.pkl or .npz of ids and embeddings)")
    features: dict[str, np.ndarray] = {}
    for file in files:
        ids, embeddings = _read(file)
        for name, row in zip(ids, embeddings, strict=True):
            features[name] = row
    widths = {row.shape for row in features.values()}
    if len(widths) != 1:
        raise DataError(f"{place}: features of different widths, {sorted(shape[0] for shape in widths)}")
    return features


def _read(file: Path) -> tuple[list[str], np.ndarray]:
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                found: Any = {name: archive[name] for name in archive.files}
        else:
            with file.open("rb") as stream:
                found = _Arrays(stream).load()
    except Exception as error:  # whatever a damaged pickle or archive raises
        raise DataError(f"{file}: cannot be read: {str(error)[:160]}") from error
    if not isinstance(found, dict) or not {"ids", "embeddings"} <= set(found):
        raise DataError(f"{file}: expected a dictionary of ids and embeddings")
    try:
        ids, embeddings = [str(name) for name in found["ids"]], np.asarray(found["embeddings"], dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: embeddings are no array of numbers ({error})") from error
    if embeddings.ndim != 2 or len(ids) != len(embeddings):
        raise DataError(f"{file}: {len(ids)} ids and embeddings of shape {embeddings.shape}, expected (ids, F)")
    return ids, embeddings
