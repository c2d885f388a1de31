"""What a training goes on from: ``last.ckpt`` of its run folder, and the lock that keeps a second training out."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.training import ZooModule

# of these, a resumed run may change nothing but how the data is fetched
FIXED = ("seed_everything", "model", "data", "optimizer", "lr_scheduler")
FREE = ("root", "workers")

# what Lightning and the house need to go on exactly; best.ckpt, written in the midst of an epoch's end, has not all
STATE = ("zoo_next", "global_step", "state_dict", "optimizer_states", "callbacks", "loops")

_locks: set[int] = set()


def check_last(last: Path, text: str) -> None:
    """Refuses a ``last.ckpt`` from which this training cannot go on.

    Args:
        last: The file.
        text: The resolved recipe of now.

    Raises:
        InputError: It is damaged, or of another training.
    """
    import torch

    from zoo.checkpoint import read
    from zoo.training.documents import parse_yaml

    best = last.with_name("best.ckpt")
    hint = f"; --init {best} starts another run from its weights" if best.is_file() else ""
    try:
        known = read(last)
    except InputError as error:
        raise InputError(f"{error}{hint}") from error
    before, now = parse_yaml(known.recipe, f"{last}, its recipe"), parse_yaml(text, "the recipe")
    if not isinstance(before, dict):
        raise InputError(f"{last}: the recipe in it is no mapping")
    changed = [key for top in FIXED for key in differences(before.get(top), now.get(top), top)]
    if changed:
        raise InputError(
            f"{last.parent} was trained with another {', '.join(changed)} (by its {last.name}); "
            "a resumed run cannot change it"
        )
    values = torch.load(last, map_location="cpu", weights_only=True, mmap=True)
    missing = [name for name in STATE if name not in values or values[name] in ({}, [])]
    if missing:
        raise InputError(f"{last}: no training can go on from it, it lacks {', '.join(missing)}{hint}")


def check_fit(last: Path, module: ZooModule) -> None:
    """Refuses a ``last.ckpt`` whose weights are not those of the module.

    Raises:
        InputError: Names the tensors.
    """
    from zoo.checkpoint import read
    from zoo.checkpoint.fitting import misfits

    found = misfits(module.state_dict(), read(last).state)
    if found:
        told = "; ".join(map(str, found[:3]))
        raise InputError(f"{last}: {len(found)} tensors do not fit {type(module).__name__}: {told}")


def differences(before: Any, now: Any, key: str) -> list[str]:
    """Dotted keys in which two resolved recipes differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = list(dict.fromkeys([*before, *now]))
        return [
            found
            for part in keys
            if not (key == "data.init_args" and part in FREE)
            for found in differences(before.get(part), now.get(part), f"{key}.{part}")
        ]
    return [] if before == now else [key.replace(".init_args", "")]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps a second training out of a run folder; the system gives the lock back where this process dies.

    Args:
        folder: Made if absent.

    Raises:
        InputError: Another training writes there.
    """
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    _locks.add(handle)
    try:
        with suppress(OSError):  # a file system without locks
            if not _locked(handle):
                raise InputError(f"{folder}: another training is writing there; wait for it, or give another --name")
        yield
    finally:
        _locks.discard(handle)
        os.close(handle)
        with suppress(OSError):  # it was refused before anything was written
            for place in new:
                place.rmdir()


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go() -> None:
    """In a process that loads data: it may live a little longer than the one that trains."""
    for handle in _locks:
        os.close(handle)
    _locks.clear()


os.register_at_fork(after_in_child=_let_go)
