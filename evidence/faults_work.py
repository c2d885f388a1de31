"""The acts behind docs/faults.md, one row each: kills, stops, dirty and mangled files, requests to the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "tests" / "faults")]

import kill
from harness import ROOT, Run, machine

Result = Mapping[str, Any]
STOPS = ("full disk", "read-only folder", "data gone")
RANKS = "one process of two killed"
KILLS: dict[str, tuple[Sequence[str], int]] = {  # exact places, and how many random moments
    "places": (kill.PLANTED, 0), "moments 1": ((), 5), "moments 2": ((), 5),
}  # fmt: skip
TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp_find_unused_parameters_true")
# a demo whose data are in a package is fed files of its own where they are taken away
FILES = {
    "calibration": (
        "--data", "zoo.domains.calibration.ImageFolder", "--data.size", "16", "--data.synthesize", "true",
        "--model.classes", "4",
    )
}  # fmt: skip


# -- kills


def killed(run: Run) -> Result:
    """Kills at exact places or random moments, one process; or one of two processes killed."""
    name, part = f"{_place(run).relative_to('runs')}", run["part"]
    if run["fault"] == RANKS:
        outcome = kill.trial(f"{run['domain']}/demo", name, TWO, ("rank1:13", "rank0:7"), kills=0)
    else:
        planted, moments = KILLS[part]
        outcome = kill.trial(f"{run['domain']}/demo", name, (), planted, moments, seed=list(KILLS).index(part))
    return {"injected": sum(outcome.kills.values()), **_told(outcome.wrong)}


def _place(run: Run) -> Path:
    """A folder for this row alone."""
    words = "-".join([run["fault"], *([run["part"]] if run["part"] else [])])
    return Path("runs/evidence/faults") / run["domain"] / words.replace(" ", "-")


def _told(wrong: Sequence[str]) -> dict[str, Any]:
    """What went wrong, and on which machine."""
    return {"wrong": len(wrong), "what": " ".join("; ".join(wrong).split())[:600], "machine": machine()}


# -- stops


def stopped(run: Run) -> Result:
    """A cause that stops the training with one line; after it is gone, resuming ends as if it had never been."""
    domain, fault, place = run["domain"], run["fault"], _place(run)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    other = FILES.get(domain, ()) if fault == "data gone" else ()
    data = _data_of(domain, other, place / "data")
    base = ["train", f"{domain}/demo", *other, *(["--data.root", str(data)] if data else [])]
    name = f"{place.relative_to('runs')}/room/stopped"
    whole, folder = place / "whole", Path("runs") / name
    code, errors = kill.finish(kill.start("nothing", [*base, "--name", str(whole.relative_to("runs"))]))
    if code:
        return {"injected": 0, **_told([f"the uninterrupted run failed: {errors}"])}
    wrong: list[str] = []
    with CAUSES[fault](place, data) as (planted, cure):
        code, errors = kill.finish(kill.start(planted, [*base, "--name", name]))
        said = [line for line in errors.splitlines() if line.startswith("error:")]
        # data that are in memory by then are not missed
        if not (code == 0 and fault == "data gone") and (code not in (1, 2) or len(said) != 1 or "Error" in said[0]):
            wrong.append(f"status {code}: {errors.strip()[-400:]}")
        wrong += kill.broken(folder)
        cure()
        again = ["--resume"] if folder.is_dir() else []
        code, errors = kill.finish(kill.start("nothing", [*base, "--name", name, *again]))
        wrong += [f"did not go on: {errors.strip()[-400:]}"] if code else kill.compare(whole, folder)
    return {"injected": 1, **_told(wrong)}


def _data_of(domain: str, other: Sequence[str], place: Path) -> Path | None:
    """A copy of the demo's made-up data; None where it takes them from a package."""
    from zoo.recipe import build_data, read

    options = dict(zip((word.removeprefix("--") for word in other[::2]), other[1::2], strict=True))
    data = build_data(read(f"{domain}/demo", options))
    if not data.use_synthesized:
        return None
    shutil.copytree(data.folder(), place)
    return place.absolute()


def _mount(place: Path, size: str) -> bool:
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


Cause = Iterator[tuple[str, Callable[[], object]]]


@contextmanager
def _full(place: Path, data: Path | None) -> Cause:
    """Room for two checkpoints and a half."""
    room, whole = place / "room", place / "whole"
    checkpoint = (whole / "last.ckpt").stat().st_size
    rest = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file() and file.suffix != ".ckpt")
    size = rest + 6 * checkpoint + (1 << 20)
    if not _mount(room, str(size)):
        yield "full:3", lambda: None
        return
    ballast = room / "ballast"
    try:
        with ballast.open("wb") as stream:
            stream.write(bytes(size - rest // 4 - int(2.5 * checkpoint) - (1 << 16)))
        yield "nothing", ballast.unlink
    finally:
        subprocess.run(["umount", "-l", str(room)], check=True)


@contextmanager
def _read_only(place: Path, data: Path | None) -> Cause:
    room = place / "room"
    mounted = _mount(room, "1g")
    if not mounted:
        room.mkdir(exist_ok=True)

    def writable(yes: bool) -> None:
        if mounted:
            subprocess.run(["mount", "-o", f"remount,{'rw' if yes else 'ro'}", str(room)], check=True)
        else:
            room.chmod(0o755 if yes else 0o555)

    try:
        writable(False)
        yield "nothing", lambda: writable(True)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(room)], check=True)


@contextmanager
def _gone(place: Path, data: Path | None) -> Cause:
    away = Path(f"{data}.away")
    os.environ["ZOO_FAULT_DATA"] = str(data)
    yield "gone:3", lambda: away.is_dir() and away.rename(str(data))


CAUSES = {"full disk": _full, "read-only folder": _read_only, "data gone": _gone}


# -- bad inputs


def dirty(run: Run) -> Result:
    """The planted faults of tests/faults: each named when stopping, each counted when skipping."""
    files = [f"tests/faults/test_faults_{name}.py" for name in ("dirty", "rows")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", run["domain"]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return {"injected": _planted(run["domain"]), **_told([] if done.returncode == 0 else [done.stdout[-500:]])}


def _planted(domain: str) -> int:
    import test_faults_dirty as tests
    from dirt import plant

    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "copy"
        shutil.copytree(tests.opened(domain).folder(), copy)
        return len(plant(copy).faults)


def fuzzed(run: Run) -> Result:
    """Mangled files of one target."""
    import fuzz

    found: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        target = _target(run["domain"], Path(place))
        count = 0
        for seed in range(run["examples"]):
            error = fuzz.attempt(target, seed)
            count += 1
            if error is not None:
                found.append(f"seed {seed}: {type(error).__name__}: {error}")
    return {"injected": count, **_told(found)}


def _target(name: str, place: Path) -> Any:
    import fuzz

    for cls in fuzz.data_sets():
        if cls.__name__ == name:
            return fuzz.data_target(cls, place)
    return next(target for target in fuzz.others(place) if target.name == name)


def target_names() -> list[str]:
    """What there is to mangle."""
    import fuzz

    with tempfile.TemporaryDirectory() as place:
        return [
            *(cls.__name__ for cls in fuzz.data_sets() if cls.__name__ != "Digits"),
            *(target.name for target in fuzz.others(Path(place))),
        ]


# -- the network


def watched(run: Run) -> Result:
    """The demo's training under an audit hook that hears of every connection asked for."""
    name = f"{_place(run).relative_to('runs')}/run"
    code, errors = kill.finish(kill.start("network", ["train", f"{run['domain']}/demo", "--name", name, "--overwrite"]))
    asked = [line for line in errors.splitlines() if line.startswith("asked:")]
    return {"injected": 1, **_told([*asked, *([f"status {code}: {errors.strip()[-400:]}"] if code else [])])}


def work(run: Run) -> Result:
    """Does one row."""
    acts: dict[str, Callable[[Run], Result]] = {
        "killed": killed, RANKS: killed, "dirty": dirty, "fuzz": fuzzed, "network": watched,
        **dict.fromkeys(STOPS, stopped),
    }  # fmt: skip
    try:
        return acts[run["fault"]](run)
    except Exception as error:  # a row that this script fails at is not one that the software survived
        return {"injected": 0, **_told([f"{type(error).__name__}: {error}"])}
