"""Where data lies: ``--data.root``, the recipe's ``root``, ``$ZOO_DATA``, ``data/``; and the cache folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from zoo import cache_dir
from zoo._version import __version__
from zoo.errors import InputError
from zoo.training.whole import whole_folder

__all__ = ["cache_dir", "candidates", "resolve_root", "synthesized"]


def candidates(root: str | None, domain: str, dataset: str) -> list[Path]:
    """The folders in which a data set is looked up, in order.

    Args:
        root: The recipe's ``root``; relative roots are looked up under ``$ZOO_DATA``, then the current folder.
        domain: Name of the domain, e.g. ``"anomaly"``.
        dataset: Folder name of the data set inside the domain, e.g. ``"ucf_crime"``.
    """
    bases = [Path(os.environ["ZOO_DATA"])] if os.environ.get("ZOO_DATA") else []
    if root is None:
        return [base / domain / dataset for base in bases] + [Path("data") / domain / dataset]
    given = Path(root).expanduser()
    return [given] if given.is_absolute() else [*(base / given for base in bases), given]


def resolve_root(root: str | None, domain: str, dataset: str, name: str) -> Path:
    """Finds the folder of a data set.

    Args:
        root: The recipe's ``root``, or None.
        domain: Name of the domain.
        dataset: Folder name of the data set inside the domain.
        name: What ``zoo data show`` calls the data set.

    Raises:
        InputError: No such folder, or an empty one; the message names every place that was looked at.
    """
    places = candidates(root, domain, dataset)
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        file = next((place for place in places if place.exists()), None)
        if file is not None:
            raise InputError(f"{file}: the data root of {name} must be a folder, this is a file")
        looked = ", ".join(str(place) for place in places)
        raise InputError(
            f"no data for {name}: looked in {looked}; give --data.root DIR or set ZOO_DATA "
            f"(zoo data show {name} says where to get it)"
        )
    try:
        empty = not any(found.iterdir())
    except OSError as error:
        raise InputError(
            f"{found}: the data folder of {name} cannot be read: {(error.strerror or str(error)).lower()}"
        ) from error
    if empty:
        raise InputError(f"{found}: the data folder of {name} is empty (zoo data show {name} says its layout)")
    return found


def synthesized(name: str, arguments: Mapping[str, object], make: Callable[[Path], None]) -> Path:
    """The cached folder of a synthesized data set, made if it is absent.

    The folder appears whole or not at all: it is written beside its place and renamed, so that several processes may
    ask at once. The key holds the zoo's version too: another version may write another content.

    Args:
        name: Class of the data, part of the key.
        arguments: Everything that the content depends on, the seed included; plain values.
        make: Writes the data set into the empty folder that it is given.
    """
    text = json.dumps({**arguments, "version": __version__}, sort_keys=True)
    key = hashlib.sha256(f"{name} {text}".encode()).hexdigest()[:16]
    place = cache_dir() / "synthesized" / f"{name}-{key}"
    if place.is_dir():
        return place
    try:
        with whole_folder(place) as working:
            make(working)
    except OSError:
        if not place.is_dir():  # another process was first: its folder holds the same
            raise
    return place
