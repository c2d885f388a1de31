"""From a pretrained model's name to a verified file: packed in the wheel, in the cache, or downloaded. No torch.

One download per file however many processes ask (a file lock), resumed where it broke, verified by its full sha256
before it gets its name (an atomic rename) and again whenever it is used.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from zoo.errors import InputError, ZooError
from zoo.hub.cache import digest, lock_of, models_dir, part_of
from zoo.hub.index import Entry, find

if TYPE_CHECKING:
    from zoo.hub.transfer import Progress

_ROOM = 16 << 20  # bytes that stay free on the disk
_NO = ("", "0", "false", "no", "off")


class DownloadError(ZooError):
    """No source gave the file as the index describes it."""


def pretrained(name: str, offline: bool | None = None) -> Path:
    """The file of a pretrained model, downloaded first where it is not there yet; verified every time.

    Args:
        name: Of the index (``zoo list models``).
        offline: Whether the network may not be used; by default as ``$ZOO_OFFLINE`` (or ``$HF_HUB_OFFLINE``) says.

    Returns:
        An existing file, to be read and not to be written to.

    Raises:
        InputError: There is no such name, the model has to be fetched by hand, or it is not here and the network may
            not be used, or the disk is too full.
        DownloadError: No source gave the file.
    """
    entry = find(name)
    return _manual(entry) if entry.manual else _file(entry, is_offline() if offline is None else offline)


def is_offline() -> bool:
    """Whether the environment forbids the network."""
    return any(os.environ.get(name, "").lower() not in _NO for name in ("ZOO_OFFLINE", "HF_HUB_OFFLINE"))


def command_of(entry: Entry) -> str:
    """The command that turns the authors' file of a manual model into the file that its name means."""
    return entry.convert.replace("{out}", str(models_dir() / entry.filename))


def _manual(entry: Entry) -> Path:
    place = models_dir() / entry.filename
    if place.is_file():
        return place
    raise InputError(
        f"{entry.name}: is handed out by its authors and fetched by hand: get {entry.file} from {entry.urls[0]} "
        f"{'(its sha256 is not known here: nothing verifies it)' if not entry.sha256 else f'(sha256 {entry.sha256})'}\n"
        f"  then: {command_of(entry)}"
    )


def _file(entry: Entry, offline: bool) -> Path:
    notes: list[str] = []
    local = _local(entry, notes)
    if local is not None:
        return local
    place = models_dir() / entry.filename
    if not offline or place.exists():
        _folder(place.parent)
    elif offline:
        raise InputError(_not_here(entry))
    with _held(entry, place):
        if place.is_file():
            given = digest(place)
            if given == entry.sha256:
                return place
            place.unlink()
            print(f"{place}: damaged (expected sha256 {entry.sha256}, got {given}); removed", file=sys.stderr)
        if offline:
            raise InputError(_not_here(entry))
        return _download(entry, place, notes)


def _not_here(entry: Entry) -> str:
    return f"{entry.name}: is not in the cache and the network is off (offline); once online: zoo download {entry.name}"


def _folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: the cache cannot be written ({error.strerror}); set ZOO_CACHE") from error


def _local(entry: Entry, notes: list[str]) -> Path | None:
    """The first ``file://`` place that holds the file; it is used where it lies."""
    for url in entry.urls:
        if not url.startswith("file://"):
            continue
        file = local_file(url, entry.origin)
        if not file.is_file():
            notes.append(f"{url}: there is no such file")
        elif (given := digest(file)) != entry.sha256:
            notes.append(f"{url}: expected sha256 {entry.sha256}, got {given}")
        else:
            return file
    return None


def local_file(url: str, origin: Path) -> Path:
    """The file of a ``file://`` place: absolute, or relative to the index file (``file://models/NAME``)."""
    place = Path(unquote(url.removeprefix("file://")))
    return place if place.is_absolute() else origin.parent / place


@contextmanager
def _held(entry: Entry, place: Path) -> Iterator[None]:
    """Holds the lock of a file, and says so where that takes waiting."""
    from filelock import Timeout

    lock = lock_of(place)
    try:
        lock.acquire(timeout=0.5)
    except Timeout:
        print(f"{entry.name}: another process is at it, waiting", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def sources(entry: Entry) -> list[str]:
    """Where a file is asked for over the network, in order: ``$ZOO_MIRROR`` first, then as the index says."""
    mirror = os.environ.get("ZOO_MIRROR", "").rstrip("/")
    if mirror and urlsplit(mirror).scheme not in ("http", "https"):
        raise InputError(f"ZOO_MIRROR must start with http:// or https://, not {mirror!r}")
    remote = [_address(url) for url in entry.urls if not url.startswith("file://")]
    return [*([f"{mirror}/{entry.filename}"] if mirror else []), *remote]


def _address(url: str) -> str:
    """``hf://OWNER/REPO/FILE`` as the address that serves it; ``$HF_ENDPOINT`` is another such service."""
    if not url.startswith("hf://"):
        return url
    owner, repo, file = url.removeprefix("hf://").split("/", 2)
    repo, _, revision = repo.partition("@")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return f"{endpoint}/{owner}/{repo}/resolve/{revision or 'main'}/{quote(file)}"


def _download(entry: Entry, place: Path, notes: list[str]) -> Path:
    from zoo.hub.transfer import Gone, Patience, fetch

    part = part_of(place)
    patience = Patience.of_environment()
    for url in sources(entry):
        resumed = part.exists()
        _check_room(entry, part)
        try:
            with progress_bar(entry) as progress:
                fetch(url, part, entry.bytes, patience, progress)
                if resumed and digest(part) != entry.sha256:  # its first bytes may be another source's: all anew
                    part.unlink()
                    fetch(url, part, entry.bytes, patience, progress)
        except Gone as error:
            notes.append(f"{url}: {error}")
            continue
        given = digest(part)
        if given == entry.sha256:
            _publish(part, place)
            return place
        part.unlink()
        notes.append(f"{url}: expected sha256 {entry.sha256}, got {given}")
    tried = "".join(f"\n  {note}" for note in notes) or " (the index names no source)"
    raise DownloadError(f"{entry.name}: could not be downloaded:{tried}")


def _publish(part: Path, place: Path) -> None:
    part.chmod(0o644)
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(part, place)


def _check_room(entry: Entry, part: Path) -> None:
    missing = entry.bytes - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(part.parent).free
    if missing + _ROOM > free:
        raise InputError(
            f"{entry.name}: needs {missing / 2**20:.0f} MiB more in {part.parent}, {free / 2**20:.0f} MiB are free; "
            "make room (zoo cache clear) or set ZOO_CACHE"
        )


@contextmanager
def progress_bar(entry: Entry) -> Iterator[Progress]:
    """A bar with speed and time left on a terminal, one line at the start elsewhere; both on standard error."""
    if not sys.stderr.isatty():
        print(f"downloading {entry.name}, {entry.bytes / 2**20:.1f} MiB", file=sys.stderr, flush=True)
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn(entry.name), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(entry.name, total=entry.bytes)
        yield lambda done: bar.update(task, completed=done)


def _silent(done: int) -> None:
    """Tells nobody: no terminal is there."""
