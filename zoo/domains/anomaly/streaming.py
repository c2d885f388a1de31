"""From frames to rows of features: decoding in a thread beside the network, memory not growing with the video."""

from __future__ import annotations

import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.domains.anomaly.extractors import Extractor, ImageFeatures
from zoo.errors import InputError
from zoo.training import DataError
from zoo.training.video import FrameFolder, Frames

Seen = Callable[[int, np.ndarray], None]
Told = Callable[[int], None]
_SILENT = 10.0  # seconds between two lines where there is no terminal


def stream_rows(
    extractor: Extractor, frames: Frames, device: torch.device | str = "cpu", seen: Seen | None = None
) -> Iterator[Tensor]:
    """Makes the rows of a video while it is being decoded.

    Frames are decoded, resized and gathered to clips in a thread; the network works on the batch before. At most two
    batches of clips are waiting, so memory does not depend on the length of the video.

    Args:
        extractor: What makes a row of every clip.
        frames: Sampled at the extractor's rate.
        device: Of the network.
        seen: Called with the number of every frame, from 0, and the frame, in the thread.

    Yields:
        ``(n, D)`` float32 on the CPU, in the order of the clips.

    Raises:
        DataError: The video cannot be read to its end, or is shorter than a clip.
    """
    place = torch.device(device)
    network = extractor.network(place)
    clips = _Decoding(extractor, frames, seen)
    try:
        rows = 0
        for part in _without_gradient(extractor.join(_encoded(extractor, network, clips, place))):
            rows += len(part)
            yield part.to("cpu", torch.float32)
        if not rows:
            sampled = isinstance(extractor, ImageFeatures) and isinstance(frames, FrameFolder)
            hint = "; were they sampled already, name fewer (extractor.clip, extractor.frames)" if sampled else ""
            raise DataError(
                f"{frames.path}: has {clips.count} frames at {frames.fps:g} per second, a row of features takes "
                f"{extractor.clip}{hint}"
            )
    finally:
        clips.stop()


def _without_gradient(parts: Iterator[Tensor]) -> Iterator[Tensor]:
    """Runs each step of an iterator without gradient, and nothing between the steps."""
    while True:
        with torch.inference_mode():
            part = next(parts, None)
        if part is None:
            return
        yield part


def _encoded(extractor: Extractor, network: Any, clips: _Decoding, device: torch.device) -> Iterator[Tensor]:
    waiting: list[Tensor] = []
    for clip in clips:
        waiting.append(clip)
        if len(waiting) == extractor.batch:
            yield extractor.encode(network, torch.stack(waiting).to(device))
            waiting = []
    if waiting:
        yield extractor.encode(network, torch.stack(waiting).to(device))


class _Decoding:
    """Clips ``(P, 3, h, w)`` out of a thread that decodes.

    Args:
        extractor: Says what a clip is made of.
        frames: To be decoded.
        seen: See :func:`stream_rows`.

    Attributes:
        count: Frames decoded so far.
    """

    def __init__(self, extractor: Extractor, frames: Frames, seen: Seen | None) -> None:
        self.extractor, self.frames, self.seen, self.count = extractor, frames, seen, 0
        self._queue: queue.Queue[Tensor | BaseException | None] = queue.Queue(maxsize=2 * extractor.batch)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"decoding {frames.path.name}", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Tensor]:
        """Gives clips as they come.

        Raises:
            DataError: What went wrong in the thread.
        """
        while (found := self._queue.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)  # it may be waiting for room
            except queue.Empty:
                continue
        self._thread.join()

    def _work(self) -> None:
        try:
            self._decode()
            self._queue.put(None)
        except BaseException as error:  # raised again where the clips are taken
            self._queue.put(error)

    def _decode(self) -> None:
        length, chosen = self.extractor.clip, set(self.extractor.positions)
        parts: list[Tensor] = []
        for index, image in enumerate(self.frames):
            if self._stopped.is_set():
                return
            self.count = index + 1
            if self.seen is not None:
                self.seen(index, image)
            if index % length in chosen:
                parts.append(self.extractor.frame(image))
            if index % length == length - 1:
                self._queue.put(torch.stack(parts))
                parts = []


class Spool:
    """Rows of features in a temporary file: as long as a video may be, in memory only what is asked for.

    Behaves as an array ``(T, D)`` of which ranges can be taken, so that
    :func:`zoo.domains.anomaly.segment_features` takes it.
    """

    dtype = np.dtype(np.float32)

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="rankzoo-features-")  # noqa: SIM115  closed by __exit__
        self._rows = self.width = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, rows: Tensor) -> None:
        """Adds ``(n, D)``."""
        self.width = rows.shape[1]
        self._rows += len(rows)
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(rows.numpy(), dtype=self.dtype).tobytes())

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, rows: slice) -> np.ndarray:
        """A range of rows ``(n, D)``."""
        start, stop, _ = rows.indices(self._rows)
        self._file.seek(start * self.width * self.dtype.itemsize)
        content = self._file.read((stop - start) * self.width * self.dtype.itemsize)
        return np.frombuffer(content, dtype=self.dtype).reshape(stop - start, self.width)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Told]:
    """A bar on a terminal, else a line at the start and one every ten seconds; on the error stream.

    Args:
        label: What is worked on.
        total: Frames there will be, if known.

    Yields:
        A function that takes the number of frames done.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda done: bar.update(task, completed=done, total=None if total is None else max(done, total))
        return
    of = "" if total is None else f" of about {total}"
    print(
        f"{label}: making features{'' if total is None else f' of about {total} frames'}", file=sys.stderr, flush=True
    )
    last = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SILENT:
            last = time.monotonic()
            print(f"{label}: {done}{of} frames", file=sys.stderr, flush=True)

    yield tell


def check_width(extractor: Extractor, width: int, rows: int | None, path: Path) -> None:
    """Refuses an extractor whose rows the model does not take.

    Args:
        extractor: Which.
        width: What the model takes.
        rows: Width of the rows; None where it is not known yet.
        path: The video.

    Raises:
        InputError: They differ.
    """
    if rows is not None and rows != width:
        raise InputError(
            f"{path}: {type(extractor).__name__} gives rows of {rows} numbers, the model takes {width}; name the "
            "extractor that made the training's features: --model.extractor CLASS"
        )
