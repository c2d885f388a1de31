"""Frames of a video, one after the other: decoded from a file by PyAV, or read from a folder of images."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import InputError
from zoo.training.data import DataError
from zoo.training.images import IMAGE_SUFFIXES, read_image

VIDEO_SUFFIXES = (
    ".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".3gp", ".ogv",
)  # fmt: skip
FOLDER_FPS = 30.0  # images say nothing of time; 30 is the rate that the annotations of UCF-Crime count in
_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


class Frames(ABC):
    """The frames of one video in their order; iterating reads them anew.

    Attributes:
        path: The file or folder.
        fps: How many of the frames make a second.
        expected: How many frames there will be, as far as the file says; None where it does not.
    """

    path: Path
    fps: float
    expected: int | None

    @abstractmethod
    def __iter__(self) -> Iterator[np.ndarray]:
        """Gives ``(H, W, 3)`` uint8 RGB, all of one size, at least one.

        Raises:
            DataError: The video is damaged, cut off or has no frame; names it.
        """

    @abstractmethod
    def at(self, seconds: float) -> np.ndarray:
        """The frame shown at a time, ``(H, W, 3)`` uint8 RGB; before the start the first, after the end the last."""


def open_frames(path: Path, fps: float | None = None) -> Frames:
    """Opens a video.

    Args:
        path: A video file, or a folder of images, which are taken in the natural order of their names (``9`` before
            ``10``).
        fps: Rate to which a file is sampled, by repeating or dropping frames: the frame shown at the time counts. None
            keeps the frames of the file. The images of a folder are taken one by one in any case; there it only says
            how many make a second (30 if None).

    Raises:
        DataError: It is no video; names it and says why.
        InputError: PyAV is not installed.
    """
    if fps is not None and not 0 < fps < math.inf:
        raise InputError(f"the frame rate must be above 0, got {fps}")
    if path.is_dir():
        return FrameFolder(path, fps or FOLDER_FPS)
    if not path.is_file():
        raise DataError(f"{path}: there is no such video or folder of frames")
    return VideoFile(path, fps)


def is_frame_folder(path: Path) -> bool:
    """Whether a folder directly holds images and no video."""
    if not path.is_dir():
        return False
    endings = {file.suffix.lower() for file in path.iterdir()}
    return not endings.isdisjoint(IMAGE_SUFFIXES) and endings.isdisjoint(VIDEO_SUFFIXES)


def frame_files(folder: Path) -> list[Path]:
    """The images of a folder in the natural order of their names."""
    found = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    return sorted(found, key=_natural)


def _natural(file: Path) -> list[tuple[int, str]]:
    words = re.split(r"(\d+)", file.name.lower())
    return [(int(word), word) if place % 2 else (0, word) for place, word in enumerate(words)]


class FrameFolder(Frames):
    """A folder of images of one size.

    Args:
        path: The folder.
        fps: How many make a second.
    """

    def __init__(self, path: Path, fps: float = FOLDER_FPS) -> None:
        self.path, self.fps = path, fps
        self.files = frame_files(path)
        self.expected: int | None = len(self.files)
        if not self.files:
            raise DataError(f"{path}: this folder holds no frames ({', '.join(IMAGE_SUFFIXES)})")

    def __iter__(self) -> Iterator[np.ndarray]:
        """See :class:`Frames`."""
        first: tuple[int, ...] = ()
        for file in self.files:
            image = read_image(file).permute(1, 2, 0).numpy()
            first = first or image.shape
            _same_size(str(file), image, first, self.files[0].name)
            yield image

    def at(self, seconds: float) -> np.ndarray:
        """See :class:`Frames`."""
        index = min(max(0, int(seconds * self.fps)), len(self.files) - 1)
        return np.asarray(read_image(self.files[index]).permute(1, 2, 0).numpy())


class VideoFile(Frames):
    """A video file; memory holds a few frames, however long it is.

    Args:
        path: The file.
        fps: Rate to sample to; None keeps the file's.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        self.path = path
        with _opened(path) as container:
            stream = _video_stream(container, path)
            self._rate = float(stream.average_rate or stream.guessed_rate or 0) or FOLDER_FPS
            self._frames, self._seconds = int(stream.frames), _seconds(container, stream)
        self._wanted = fps
        self.fps = fps or self._rate
        seconds = self._seconds if self._frames == 0 else self._frames / self._rate
        self.expected = None if seconds is None else max(1, round(seconds * self.fps))

    def __iter__(self) -> Iterator[np.ndarray]:
        """See :class:`Frames`."""
        shown = self._decoded()
        if self._wanted is None:
            yield from (image for image, _ in shown)
            return
        given = 0
        last, until = next(shown)
        for image, time in shown:
            ends = math.floor(time * self._wanted + 0.5)
            while given < ends:
                yield last
                given += 1
            last, until = image, time
        ends = max(given + (given == 0), math.floor((until + 1 / self._rate) * self._wanted + 0.5))
        while given < ends:
            yield last
            given += 1

    def at(self, seconds: float) -> np.ndarray:
        """See :class:`Frames`; decodes from the key frame before."""
        with _opened(self.path) as container:
            stream = _video_stream(container, self.path)
            start = float((stream.start_time or 0) * stream.time_base)
            container.seek(max(0, int((start + seconds) / stream.time_base)), stream=stream)
            shown: np.ndarray | None = None
            for frame in container.decode(stream):
                if shown is not None and frame.time is not None and frame.time > start + seconds:
                    break
                shown = _pixels(frame)
        if shown is None:
            raise DataError(f"{self.path}: has no frame at {clock(seconds)}")
        return shown

    def _decoded(self) -> Iterator[tuple[np.ndarray, float]]:
        """Every frame and its time in seconds from the first."""
        av: Any = import_module("av")
        count, start, time, broken = 0, None, 0.0, False
        first: tuple[int, ...] = ()
        with _opened(self.path) as container:
            stream = _video_stream(container, self.path)
            stream.thread_type = "AUTO"
            try:
                for packet in container.demux(stream):
                    broken = packet.is_corrupt if packet.size else broken  # of the last one with content
                    for frame in packet.decode():
                        image = _pixels(frame)
                        first = first or image.shape
                        _same_size(f"{self.path}: frame {count + 1}", image, first, "the first")
                        at = count / self._rate if frame.time is None else float(frame.time)
                        start = at if start is None else start
                        time = max(time, at - start)
                        yield image, time
                        count += 1
            except av.FFmpegError as error:
                raise DataError(
                    f"{self.path}: the video is damaged after frame {count} ({clock(time)}): {_reason(error)}"
                ) from error
        self._whole(count, time, broken)

    def _whole(self, count: int, time: float, broken: bool) -> None:
        """Compares what came with what the file promised."""
        if not count:
            raise DataError(f"{self.path}: the video has no frames")
        found, promised, tolerance = count, self._frames, max(5.0, 0.02 * self._frames)
        if not promised and self._seconds is not None:
            # a duration may count the sound too, and a video that ends a second before it is nothing unusual
            promised = round(self._seconds * self._rate)
            found, tolerance = round(time * self._rate) + 1, max(self._rate, 0.02 * promised)
        if found < promised - tolerance:
            raise DataError(f"{self.path}: the video is cut off: it holds {found} of {promised} frames")
        if broken:
            raise DataError(f"{self.path}: the video is cut off in frame {count}")


def clock(seconds: float) -> str:
    """A time as ``1:02:03.5`` or ``2:03.5``."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"


def _pixels(frame: Any) -> np.ndarray:
    image: np.ndarray = frame.to_ndarray(format="rgb24")
    turned = round(frame.rotation / 90) % 4  # as people see it: phones film sideways
    return np.ascontiguousarray(np.rot90(image, turned)) if turned else image


def _opened(path: Path) -> Any:
    try:
        av: Any = import_module("av")
    except ImportError as error:
        raise InputError(f"{path}: videos are read with PyAV, which is missing: pip install rankzoo[video]") from error
    av.logging.set_level(None)  # a Python callback would deadlock with ffmpeg's threads when a damaged file is closed
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes)")
    try:
        return av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path}: is no video, or is damaged: {_reason(error)}") from error


def _video_stream(container: Any, path: Path) -> Any:
    if not container.streams.video:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise DataError(f"{path}: holds no video stream, only {kinds}")
    return container.streams.video[0]


def _seconds(container: Any, stream: Any) -> float | None:
    """The length of the video as the file says it, if it does."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    tag = _TAG.match(next((str(value) for key, value in stream.metadata.items() if key.startswith("DURATION")), ""))
    if tag:  # Matroska
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    alone = len(container.streams) == 1  # else it may be the length of the sound
    return container.duration / 1e6 if alone and container.duration is not None else None


def _same_size(where: str, image: np.ndarray, first: tuple[int, ...], what: str) -> None:
    if image.shape != first:
        (height, width), (first_height, first_width) = image.shape[:2], first[:2]
        raise DataError(f"{where}: is {width} x {height} pixels, {what} {first_width} x {first_height}")


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)[:160]
