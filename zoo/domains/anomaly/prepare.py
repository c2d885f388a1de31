"""Makes a whole data set of features out of videos: resumable, and never from stale files without saying so."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.notes import note_place, read_note
from zoo.domains.anomaly.streaming import Spool, progress, stream_rows
from zoo.domains.anomaly.strip import Reel
from zoo.domains.anomaly.weights import digest
from zoo.errors import InputError
from zoo.training import DataError
from zoo.training.video import VIDEO_SUFFIXES, frame_files, is_frame_folder, open_frames

MADE_BY, PART = "made_by.json", ".part"
LISTS = (".txt", ".csv", ".json", ".list", ".mat", ".md")
AT_ONCE = 1024  # rows


def make_features(
    extractor: Extractor,
    source: Path,
    out: Path,
    on_error: Literal["stop", "skip"] = "stop",
    device: str = "cpu",
) -> Counter[str]:
    """Makes a ``.npy`` ``(T, D)`` of every video below a folder, in the same folders below another.

    ``<video>.npy.json`` beside each says what it was made of: the content of the video by its hash, frames, rate, rows;
    ``made_by.json`` says how all were. A video whose features are there and fit is left alone, one that has changed is
    made anew. Lists and annotations (``.txt``, ``.csv``, ...) are copied.

    Args:
        extractor: What makes the features.
        source: Folder of videos, or of folders of frames.
        out: Where the features go.
        on_error: ``stop`` at a video that cannot be read, or ``skip`` such videos, name and count them.
        device: Of the extractor's network.

    Returns:
        How many videos were ``made``, ``kept``, ``changed`` (among those made) and ``skipped``, and how many features
        belong to no video any more (``orphaned``).

    Raises:
        InputError: There is no video, ``out`` holds features made in another way, or two videos would have one name.
        DataError: A video cannot be read; what was finished before stays.
    """
    places = _places(source, out)
    made_by = extractor.made_by()
    _claim(out, made_by, places)
    counts: Counter[str] = Counter(made=0, kept=0, changed=0, skipped=0)
    for number, (video, place) in enumerate(places.items(), 1):
        content = _content(video)
        old = read_note(place)
        if old is not None and old["content"] == content:
            counts["kept"] += 1
            continue
        counts["changed"] += old is not None
        label = f"{number} of {len(places)}: {video.relative_to(source)}"
        try:
            _make(extractor, video, place, content, f"{label} (changed)" if old else label, device)
        except DataError as error:
            if on_error == "stop":
                raise
            counts["skipped"] += 1
            print(f"skipped: {error}", file=sys.stderr, flush=True)
        else:
            counts["made"] += 1
    _copy_lists(source, out)
    known = set(places.values())
    orphans = [file for file in sorted(out.rglob("*.npy")) if file not in known and note_place(file).is_file()]
    counts["orphaned"] = len(orphans)
    for file in orphans:
        print(f"{file}: belongs to no video below {source}", file=sys.stderr, flush=True)
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what in ("made", "kept"))
    print(f"{out}: features of {len(places)} videos: {told}", file=sys.stderr, flush=True)
    return counts


def _places(source: Path, out: Path) -> dict[Path, Path]:
    """The feature file of every video."""
    if not source.is_dir():
        raise InputError(f"{source}: there is no such folder of videos")
    if out.resolve() == source.resolve():
        raise InputError(f"{out}: the features need a folder of their own, not that of the videos")
    places: dict[Path, Path] = {}
    names: dict[Path, Path] = {}
    for video in _videos(source):
        name = video.relative_to(source)
        place = out / (name.parent / f"{name.name if video.is_dir() else name.stem}.npy")
        if place in names:
            raise InputError(f"{video}: has the features' name of {names[place]}, {place}")
        places[video], names[place] = place, video
    if not places:
        raise InputError(f"{source}: holds no video ({', '.join(VIDEO_SUFFIXES)}) and no folder of frames")
    return places


def _videos(folder: Path) -> Iterator[Path]:
    """Videos and folders of frames, in a stable order."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            if is_frame_folder(entry):
                yield entry
            else:
                yield from _videos(entry)
        elif entry.suffix.lower() in VIDEO_SUFFIXES:
            yield entry


def _claim(out: Path, made_by: dict[str, Any], places: dict[Path, Path]) -> None:
    """Refuses a folder whose features were made in another way; clears what a killed run left behind."""
    note = out / MADE_BY
    if note.is_file():
        try:
            old = json.loads(note.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{note}: is no JSON ({error})") from error
        differing = [name for name in {**old, **made_by} if old.get(name) != made_by.get(name)]
        if differing:
            told = "; ".join(f"{name} was {old.get(name)!r}, now {made_by.get(name)!r}" for name in differing)
            raise InputError(f"{out}: holds features made in another way ({told}); name another folder with --out")
    for place in places.values():
        if place.exists() and not (note.is_file() and note_place(place).is_file()):
            raise InputError(f"{place}: zoo data make did not make this file; name another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    for left in out.rglob(f".*{PART}"):
        left.unlink()
    with _whole(note) as stream:
        stream.write(json.dumps(made_by, indent=1).encode())


def _content(video: Path) -> str:
    """Hash of a video file; of a folder of frames, that of their names and contents."""
    if not video.is_dir():
        return digest(video)
    whole = hashlib.sha256()
    for file in frame_files(video):
        whole.update(f"{file.name} {digest(file)}\n".encode())
    return whole.hexdigest()


def _make(extractor: Extractor, video: Path, place: Path, content: str, label: str, device: str) -> None:
    frames = open_frames(video, extractor.fps)
    reel = Reel(keep=1)
    with Spool() as rows:
        with progress(label, frames.expected) as tell:
            for part in stream_rows(extractor, frames, device, reel):
                rows.append(part)
                tell(len(rows) * extractor.clip)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # a feature file is never there with the note of another
        with _whole(place) as stream:
            header = {"descr": rows.dtype.str, "fortran_order": False, "shape": (len(rows), rows.width)}
            np.lib.format.write_array_header_1_0(stream, header)
            for start in range(0, len(rows), AT_ONCE):
                stream.write(rows[start : start + AT_ONCE].tobytes())
            told = {"video": video.name, "content": content, "frames": reel.count, "fps": frames.fps,
                    "rows": len(rows), "bytes": stream.tell()}  # fmt: skip
            with _whole(note_place(place)) as note:
                note.write(json.dumps(told, indent=1).encode())


@contextmanager
def _whole(place: Path) -> Iterator[IO[bytes]]:
    """A file that appears whole or not at all."""
    part = place.with_name(f".{place.name}{PART}")
    with part.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(place)


def _copy_lists(source: Path, out: Path) -> None:
    """Copies lists and annotations to the features, so that they are a data set of their own."""
    for file in sorted(source.rglob("*")):
        if file.is_file() and file.suffix.lower() in LISTS and out.resolve() not in file.resolve().parents:
            target = out / file.relative_to(source)
            if not target.is_file() or target.read_bytes() != file.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
