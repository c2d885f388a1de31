"""From what a user names to the checkpoint file it means. Imports no torch."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import InputError

SUFFIXES = (".ckpt", ".safetensors")
_BEST, _LAST = "best.ckpt", "last.ckpt"
_DEPTH, _MOST = 4, 2000


def locate(target: str | Path) -> Path:
    """Finds the file of a checkpoint.

    Args:
        target: A ``.ckpt``, a ``.safetensors``, or the folder of a run (its ``best.ckpt`` is meant).

    Returns:
        An existing file.

    Raises:
        InputError: There is no such file, or it is none of these; says what to name instead.
    """
    path = Path(target).expanduser()
    if str(target).strip() == "":
        raise InputError("the target is empty; name a checkpoint file or the folder of a run")
    try:
        if path.is_file():
            return _file(path)
        if path.is_dir():
            return _folder(path)
        near = _nearest(path)
    except OSError as error:
        raise InputError(f"{target}: cannot be looked up: {error.strerror or error}") from error
    hint = f"; did you mean {' or '.join(near)}?" if near else "; name a .ckpt, a .safetensors or the folder of a run"
    raise InputError(f"{target}: there is no such checkpoint{hint}")


def _file(path: Path) -> Path:
    if path.suffix in SUFFIXES:
        return path
    if path.suffix in (".yaml", ".yml"):
        raise InputError(f"{path}: is a recipe, not a checkpoint; train it first: zoo train {path}")
    raise InputError(
        f"{path}: is no checkpoint of zoo (.ckpt or .safetensors); an authors' file is turned into one by: "
        f"zoo convert RECIPE {path} OUT.safetensors"
    )


def _folder(path: Path) -> Path:
    best, last = path / _BEST, path / _LAST
    if best.is_file():
        return best
    if last.is_file():
        raise InputError(f"{path}: has no {_BEST} (validation has not run yet); to use the last state, name {last}")
    files = sorted(str(file) for file in path.iterdir() if file.is_file() and file.suffix in SUFFIXES)
    if files:
        raise InputError(f"{path}: is no run folder (it has no {_BEST}); name a file in it: {_some(files)}")
    runs = sorted({str(file.parent) for file in _checkpoints(path)})
    if runs:
        what = "a run of several seeds" if _is_seeds(path, runs) else "a folder of runs"
        raise InputError(f"{path}: is {what}; name one of them: {_some(runs)}")
    raise InputError(f"{path}: holds no checkpoint; a run folder holds {_BEST}")


def _is_seeds(path: Path, runs: list[str]) -> bool:
    return all(Path(run).parent == path and Path(run).name.startswith("seed") for run in runs)


def _some(names: list[str], most: int = 10) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _checkpoints(top: Path) -> Iterator[Path]:
    """The ``best.ckpt`` and ``last.ckpt`` below a folder, not too deep and not too many folders."""
    start = len(top.parts)
    for count, (folder, inner, files) in enumerate(os.walk(top)):
        here = Path(folder)
        inner[:] = sorted(name for name in inner if not name.startswith(".")) if _near(here, start, count) else []
        yield from (here / name for name in (_BEST, _LAST) if name in files)


def _near(folder: Path, start: int, count: int) -> bool:
    return len(folder.parts) - start < _DEPTH and count < _MOST


def _nearest(path: Path) -> list[str]:
    """Run folders under ``runs/`` and neighbours of the path with a similar name."""
    runs = {str(file.parent) for file in _checkpoints(Path("runs"))}
    exact = Path("runs") / path
    if str(exact) in runs:
        return [str(exact)]
    parent = path.parent
    if parent.is_dir():
        runs |= {str(file) for file in parent.iterdir() if file.suffix in SUFFIXES or (file / _BEST).is_file()}
    by_name: dict[str, str] = {}
    for run in sorted(runs):
        by_name.update({run: run, run.removeprefix("runs/"): run, Path(run).name: run})
    near = difflib.get_close_matches(str(path), by_name, n=5, cutoff=0.8)
    near = near or difflib.get_close_matches(path.name, by_name, n=5, cutoff=0.75)
    return list(dict.fromkeys(by_name[name] for name in near))[:3]
