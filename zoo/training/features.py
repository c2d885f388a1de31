"""Features of files, computed once: kept in the cache folder by the content of the file and by how they were made."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo._version import __version__
from zoo.errors import InputError
from zoo.training.root import cache_dir
from zoo.training.whole import whole

Compute = Callable[[list[Path]], Sequence[np.ndarray]]
_INDEX, _MADE_BY = "files.json", "made_by.json"


class FeatureStore:
    """Features of files on the disk. A file that changed, or another way of making, is computed anew.

    Args:
        name: Of the folder, e.g. ``"mango-images"``.
        made_by: Everything that the features depend on beside the file, as plain values: network, weights, size.
        folder: Where to keep them; the cache folder by default.

    Attributes:
        computed: Features that the last :meth:`get` computed.
        reused: Features it found.
        changed: Files it computed anew because their content had changed.
    """

    def __init__(self, name: str, made_by: Mapping[str, Any], folder: Path | None = None) -> None:
        text = json.dumps({**made_by, "version": __version__}, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.folder = folder or cache_dir() / "features" / f"{name}-{key}"
        self.made_by = text
        self.computed = self.reused = self.changed = 0

    def get(
        self, files: Sequence[Path], compute: Compute, batch: int = 32, label: str = "features"
    ) -> list[np.ndarray]:
        """The features of files, in their order; what is missing is computed, and kept file by file.

        Args:
            files: Existing files.
            compute: Gives an array per file that it is given; called with at most ``batch`` files.
            batch: Files of one call.
            label: What the progress line calls them.

        Raises:
            InputError: A file cannot be read, or the folder was made in another way.
        """
        self._claim()
        places = [self._place(file) for file in files]
        self._count(files, places)
        missing = list(dict.fromkeys(position for position, place in enumerate(places) if not place.is_file()))
        first = {places[position]: position for position in reversed(missing)}  # equal files once
        todo = sorted(first.values())
        self.computed, self.reused = len(todo), len(files) - len(missing)
        for start in counted(range(0, len(todo), batch), label, len(todo), batch):
            chosen = todo[start : start + batch]
            arrays = compute([files[position] for position in chosen])
            if len(arrays) != len(chosen):
                raise ValueError(f"compute gave {len(arrays)} arrays for {len(chosen)} files")
            for position, array in zip(chosen, arrays, strict=True):
                _write(places[position], np.asarray(array))
        return [np.load(place, allow_pickle=False) for place in places]

    def _claim(self) -> None:
        """Refuses a folder whose features were made in another way."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / _MADE_BY
        if note.is_file() and note.read_text() != self.made_by:
            raise InputError(
                f"{self.folder}: its features were made by {note.read_text()}, asked for are {self.made_by}; "
                "delete the folder or name another"
            )
        if not note.is_file():
            _replace(note, self.made_by.encode())

    def _place(self, file: Path) -> Path:
        try:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "blake2b").hexdigest()[:32]
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error
        return self.folder / digest[:2] / f"{digest}.npy"

    def _count(self, files: Sequence[Path], places: Sequence[Path]) -> None:
        """Counts files whose content is another than when they were last asked for."""
        index = self.folder / _INDEX
        known: dict[str, str] = json.loads(index.read_text()) if index.is_file() else {}
        now = {str(file.absolute()): place.stem for file, place in zip(files, places, strict=True)}
        self.changed = sum(known.get(file, digest) != digest for file, digest in now.items())
        if self.changed:
            print(f"{self.changed} files changed since their features were made; they are made anew", file=sys.stderr)
        if any(known.get(file) != digest for file, digest in now.items()):
            _replace(index, json.dumps({**known, **now}).encode())


def counted(steps: range, label: str, total: int, batch: int) -> Iterator[int]:
    """Goes through steps with a progress bar on a terminal, else with a line at the start of long work.

    Args:
        steps: Where each batch starts.
        label: What the bar says in front.
        total: How many items there are.
        batch: Items of a step.
    """
    if not total:
        return
    if not sys.stderr.isatty():
        print(f"{label}: {total} to compute", file=sys.stderr, flush=True)
        yield from steps
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        for step in steps:
            yield step
            bar.update(task, completed=min(total, step + batch))


def _write(place: Path, array: np.ndarray) -> None:
    """Writes an array; a file under the final name is always whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with whole(place) as working, working.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def _replace(place: Path, content: bytes) -> None:
    with whole(place) as working:
        working.write_bytes(content)
