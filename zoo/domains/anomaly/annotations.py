"""What a list says of a video, and the lists of UCF-Crime: training videos, and when test anomalies happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zoo.domains.anomaly.protocols import Event
from zoo.training import DataError, refuse, usable
from zoo.training.lines import as_text, text_lines

NORMAL = "Normal"
TEST_NORMAL = "Testing_Normal_Videos_Anomaly"
TRAIN_NORMAL = "Training_Normal_Videos_Anomaly"
ABSENT = -1
# five official events end a frame or two after their video; what lies further out is another video's
TOLERANCE = 30


@dataclass(frozen=True)
class Video:
    """A line of a list.

    Attributes:
        folder: Class folder, e.g. ``Abuse``.
        name: File name without its ending, e.g. ``Abuse001_x264``.
        anomalous: Whether anything anomalous happens in it.
        place: ``file:line`` of the list.
        frames: Length in frames, None where the list does not say.
        events: First and last frame of each event, as written; None where the list does not say.
        labels: What happens, where the folder does not say it.
    """

    folder: str
    name: str
    anomalous: bool
    place: str
    frames: int | None = None
    events: tuple[Event, ...] | None = None
    labels: str = ""

    @property
    def id(self) -> str:
        """Class folder, where there is one, and name."""
        return f"{self.folder}/{self.name}" if self.folder else self.name

    @property
    def kind(self) -> str:
        """The class that tables group by: ``Normal``, or what happens."""
        return (self.labels or self.folder or "Anomaly") if self.anomalous else NORMAL


def read_train_list(path: Path, spare: Callable[[DataError], None] = refuse) -> list[Video]:
    """Reads a list of training videos.

    ``Anomaly_Train.txt`` has ``Class/Video.mp4`` in a line, ``Train_Annotation.txt`` the same and a frame count, and
    RTFM's list the path of a feature file, ``.../Abuse001_x264_i3d.npy``, whose class stands in its name.

    Args:
        path: The list; a video is normal where the name of its class folder (or feature file) contains ``Normal``.
        spare: What is done with a malformed line; such a line is left out.

    Returns:
        The videos in the order of the file.

    Raises:
        DataError: The list is missing or empty, or a line is malformed; names file and line.
    """
    return read_videos(path, _trained, spare)


def _trained(place: str, words: list[str]) -> Video:
    if len(words) == 1 and words[0].endswith(".npy"):
        return _feature_file(place, words[0])
    if len(words) not in (1, 2):
        raise DataError(f"{place}: expected `Class/Video.mp4` or `Class/Video.mp4 frames`, got {len(words)} words")
    frames = _frames(place, words[1]) if len(words) == 2 else None
    folder, name = _path(place, words[0])
    return Video(folder, name, NORMAL not in folder, place, frames)


def read_videos(
    path: Path, read: Callable[[str, list[str]], Video], spare: Callable[[DataError], None] = refuse
) -> list[Video]:
    """The videos of the lines, each of which may stand in a list once.

    Args:
        path: The list.
        read: Gives the video of place and words of a line.
        spare: What is done with a line that cannot be used; such a line is left out.
    """
    seen: dict[str, Video] = {}
    for place, words in read_lines(path, spare):
        try:
            video = read(place, words)
            once([*([seen[video.id]] if video.id in seen else []), video])
            seen[video.id] = video
        except DataError as error:
            spare(error)
    return list(seen.values())


def read_test_list(path: Path, spare: Callable[[DataError], None] = refuse) -> list[Video]:
    """Reads ``Temporal_Anomaly_Annotation.txt`` (six columns) or ``Test_Annotation.txt`` (seven).

    Six columns: file name, class, first and last frame of two events; seven: path, number of frames, class, and the
    same events. -1 stands for an event that is not there.

    Args:
        path: The list.
        spare: What is done with a malformed line; such a line is left out.

    Returns:
        The videos in the order of the file, with their events.

    Raises:
        DataError: The list is missing or empty, a line is malformed, or an event lies beyond the video; names file
            and line.
    """
    return read_videos(path, _annotated, spare)


def _annotated(place: str, words: list[str]) -> Video:
    if len(words) == 6:
        kind, frames = words[1], None
        folder = TEST_NORMAL if kind == NORMAL else kind
        name = _stem(place, words[0])
    elif len(words) == 7:
        kind, frames = words[2], _frames(place, words[1])
        folder, name = _path(place, words[0])
    else:
        raise DataError(
            f"{place}: has {len(words)} columns, expected 6 (video, class, first, last, first, last) or 7 "
            "(path, frames, class, first, last, first, last)"
        )
    numbers = [_integer(place, word, "a frame number or -1") for word in words[-4:]]
    pairs = ((numbers[0], numbers[1]), (numbers[2], numbers[3]))
    events = tuple(_event(place, pair, frames) for pair in pairs if pair != (ABSENT, ABSENT))
    if (kind == NORMAL) != (not events):
        what = "is Normal but has an event" if events else f"is of class {kind} but has no event"
        raise DataError(f"{place}: the video {what}")
    return Video(folder, name, kind != NORMAL, place, frames, events)


def check_events(video: Video, frames: int) -> None:
    """Checks that the events of a video lie in it.

    Raises:
        DataError: One begins after its end, or ends more than a second after it; names the line.
    """
    for event in video.events or ():
        _event(video.place, event, frames)


def _event(place: str, event: Event, frames: int | None) -> Event:
    first, last = event
    if first < 0 or last < first:
        raise DataError(f"{place}: {first} to {last} is no event (first <= last, or -1 -1 where there is none)")
    if frames is not None and (first > frames or last > frames + TOLERANCE):
        raise DataError(f"{place}: the event {first} to {last} lies beyond the video, which has {frames} frames")
    return event


def read_lines(path: Path, spare: Callable[[DataError], None] = refuse) -> list[tuple[str, list[str]]]:
    """Words of each line that is not blank, with ``file:line``; ``spare`` is told of a line that is no text."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such list of videos")
    placed = usable(text_lines(path), lambda numbered: (numbered[0], as_text(*numbered).split()), spare)
    found = [(place, words) for place, words in placed if words]
    if not found:
        raise DataError(f"{path}: the list is empty")
    return found


def feature_stem(word: str) -> str:
    """Name of a video from a line that may be the path of its feature file, ``.../NAME_i3d.npy`` or ``NAME__0.npy``."""
    name = word.replace("\\", "/").rpartition("/")[2]
    for ending in (".npy", ".npz", ".mp4", ".avi", "_i3d", "__0"):
        name = name.removesuffix(ending)
    return name


def _feature_file(place: str, word: str) -> Video:
    name = feature_stem(word)
    kind = name.rstrip("0123456789") if "_" not in name else name.partition("_")[0].rstrip("0123456789")
    if not kind.isalpha():
        raise DataError(f"{place}: {word!r} does not begin with a class and a number, as Abuse001_x264_i3d.npy does")
    anomalous = NORMAL not in name
    return Video(kind if anomalous else TRAIN_NORMAL, name, anomalous, place)


def _path(place: str, word: str) -> tuple[str, str]:
    folder, slash, file = word.partition("/")
    if not slash or not folder or "/" in file or folder in (".", ".."):
        raise DataError(f"{place}: {word!r} is no `Class/Video.mp4`")
    return folder, _stem(place, file)


def _stem(place: str, file: str) -> str:
    stem = file.removesuffix(".mp4").removesuffix(".avi")
    if not stem or "/" in stem:
        raise DataError(f"{place}: {file!r} is no file name of a video")
    return stem


def _frames(place: str, word: str) -> int:
    frames = _integer(place, word, "a number of frames")
    if frames < 1:
        raise DataError(f"{place}: a video has at least one frame, not {frames}")
    return frames


def _integer(place: str, word: str, what: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise DataError(f"{place}: {word!r} is not {what}") from None


def once(videos: list[Video]) -> list[Video]:
    """The videos, each of which may stand in a list once.

    Raises:
        DataError: One comes twice; names both lines.
    """
    seen: dict[str, Video] = {}
    for video in videos:
        if video.id in seen:
            raise DataError(f"{video.place}: {video.id} stands already at {seen[video.id].place}")
        seen[video.id] = video
    return videos
