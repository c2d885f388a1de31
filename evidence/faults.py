"""What the software survives: kills, full and read-only disks, lost and dirty data, mangled files: docs/faults.md.

    python evidence/faults.py                      # every domain's demo, hours of one core
    python evidence/faults.py --domains ltr --fuzz 50

A finished row is kept in ``runs/evidence/faults/`` and not done again. Full and read-only disks are tmpfs where this
user may mount one; elsewhere the failing write is planted (``evidence/faulty.py``).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "tests" / "faults")]

import kill
from harness import FOLDER, ROOT, Run, Table, machine, run_all

DEMOS = sorted(file.parent.name for file in (ROOT / "recipes").glob("*/demo.yaml"))
PLACE = FOLDER / "faults"
CARD = ROOT / "docs" / "faults.md"
STOPS = ("full disk", "read-only folder", "data gone")
Result = Mapping[str, Any]
FOUND = (
    "json and yaml nested thousands deep ended an annotation reader, or the index, with Python's RecursionError",
    "a json number of more than 4,300 digits, and a yaml date that is none, were errors of Python's own",
    "a table of categories with a byte order mark lost its first category in silence",
    "a full disk was told as `unexpected pos 64 vs 0`",
    "a loader process killed while a tensor was fetched from it was told as `connection reset by peer`",
    "errors of loader processes came as the text of a traceback",
)


# -- kills


def killed(run: Run) -> Result:
    """Ten kills at random moments and six at exact places, one process; or one of two processes killed."""
    name = f"evidence/faults/{run['domain']}/{run['fault'].replace(' ', '-')}"
    if run["fault"] == "killed":
        outcome = kill.trial(f"{run['domain']}/demo", name, (), kill.PLANTED, kills=10)
    else:
        two = ["--trainer.devices", "2", "--trainer.strategy", "ddp_find_unused_parameters_true"]
        outcome = kill.trial(f"{run['domain']}/demo", name, two, ("rank1:3", "rank0:3"), kills=0)
    return {"injected": sum(outcome.kills.values()), **_told(outcome.wrong)}


def _told(wrong: Sequence[str]) -> dict[str, Any]:
    return {"wrong": len(wrong), "what": "; ".join(wrong)[:300].replace("\n", " ")}


# -- stops


def stopped(run: Run) -> Result:
    """A cause that stops the training with one line; after it is gone, resuming ends as if it had never been."""
    domain, fault = run["domain"], run["fault"]
    place = Path("runs/evidence/faults") / domain / fault.replace(" ", "-")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    data = _data_of(domain, place / "data")
    base = ["train", f"{domain}/demo", *(["--data.root", str(data)] if data else [])]
    whole, name = f"{place.relative_to('runs')}/whole", f"{place.relative_to('runs')}/room/stopped"
    code, errors = kill.finish(kill.start("nothing", [*base, "--name", whole]))
    if code:
        return {"injected": 0, **_told([f"the uninterrupted run failed: {errors}"])}
    wrong: list[str] = []
    if fault == "data gone" and data is None:
        return {"injected": 0, **_told([])}  # the data are not files of their own
    with CAUSES[fault](place, data) as (planted, cure):
        code, errors = kill.finish(kill.start(planted, [*base, "--name", name]))
        said = [line for line in errors.splitlines() if line.startswith("error:")]
        # data that are in memory by then are not missed
        if not (code == 0 and fault == "data gone") and (code not in (1, 2) or len(said) != 1 or "Error" in said[0]):
            wrong.append(f"status {code}: {errors.strip()[-200:]}")
        wrong += kill.broken(Path("runs") / name) if (Path("runs") / name).is_dir() else []
        cure()
        again = ["--resume"] if (Path("runs") / name).is_dir() else []
        code, errors = kill.finish(kill.start("nothing", [*base, "--name", name, *again]))
        wrong += (
            [f"did not go on: {errors.strip()[-200:]}"]
            if code
            else kill.compare(Path("runs") / whole, Path("runs") / name)
        )
    return {"injected": 1, **_told(wrong)}


def _data_of(domain: str, place: Path) -> Path | None:
    """A copy of the demo's made-up data; None where it takes them from a package."""
    from zoo.recipe import build_data, read

    data = build_data(read(f"{domain}/demo"))
    data.seed = int(read(f"{domain}/demo").tree.get("seed_everything") or 0)
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
    command = [sys.executable, "-m", "pytest", "-q", "tests/faults/test_faults_dirty.py", "-k", run["domain"]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return {"injected": _planted(run["domain"]), **_told([] if done.returncode == 0 else [done.stdout[-300:]])}


def _planted(domain: str) -> int:
    import tempfile

    import test_faults_dirty as tests
    from dirt import plant

    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "copy"
        shutil.copytree(tests.opened(domain).folder(), copy)
        return len(plant(copy).faults)


def fuzzed(run: Run) -> Result:
    """Mangled files of one target."""
    import tempfile

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


def _target_names() -> list[str]:
    import tempfile

    import fuzz

    with tempfile.TemporaryDirectory() as place:
        return [
            *(cls.__name__ for cls in fuzz.data_sets() if cls.__name__ != "Digits"),
            *(target.name for target in fuzz.others(Path(place))),
        ]


# -- all


def work(run: Run) -> Result:
    """Does one run."""
    acts: dict[str, Callable[[Run], Result]] = {"dirty": dirty, "fuzz": fuzzed, **dict.fromkeys(STOPS, stopped)}
    return acts.get(run["fault"], killed)(run)


def page(table: Table) -> str:
    """The tables of docs/faults.md."""
    frame = table.frame([{name: row[name] for name in table.key} for row in table.rows])
    lines = ["# Faults", "", "Written by `make evidence-faults`; a row is the sum over what was run.", ""]
    lines += ["| fault injected | domains | injected | survived | bytes lost |", "|---|---|---|---|---|"]
    for fault in ("killed", "one process of two killed", *STOPS):
        part = frame[frame["fault"] == fault]
        if len(part):
            bad = int(part["wrong"].sum())
            tried, lost = int(part["injected"].sum()), "see below" if bad else "0"
            lines.append(f"| {fault} | {len(part)} | {tried} | {tried - bad} | {lost} |")
    lines += ["", "| bad inputs | of | tried | named by our own errors | crashed |", "|---|---|---|---|---|"]
    for fault, what in (("dirty", "data sets with planted faults"), ("fuzz", "mangled files")):
        part = frame[frame["fault"] == fault]
        if len(part):
            tried, bad = int(part["injected"].sum()), int(part["wrong"].sum())
            lines.append(f"| {what} | {len(part)} | {tried} | {tried - bad} | {bad} |")
    wrong = frame[frame["wrong"] > 0]
    lines += ["", "## What went wrong", ""] if len(wrong) else []
    lines += [f"- {row['domain']}, {row['fault']}: {row['what']}" for row in wrong.to_dict("records")]
    lines += ["", f"Fuzz findings fixed: {len(FOUND)}; each is a test (`tests/faults`)."]
    return "\n".join([*lines, *(f"- {found}" for found in FOUND), "", machine()])


def main() -> int:
    """Runs what is left and writes the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="*", default=DEMOS)
    parser.add_argument("--faults", nargs="*", default=["killed", "one process of two killed", *STOPS, "dirty", "fuzz"])
    parser.add_argument("--fuzz", type=int, default=300, help="executions per target")
    parser.add_argument("--plan", action="store_true")
    args = parser.parse_args()
    table = Table(PLACE / "faults.csv", ("domain", "fault", "examples"))
    runs = [
        {"domain": domain, "fault": fault, "examples": 0}
        for fault in args.faults
        if fault != "fuzz"
        for domain in args.domains
    ]
    if "fuzz" in args.faults and args.fuzz:
        runs += [{"domain": name, "fault": "fuzz", "examples": args.fuzz} for name in _target_names()]
    started = time.monotonic()
    run_all(table, runs, work, seconds=60, plan_only=args.plan)
    if args.plan:
        return 0
    CARD.write_text(page(table) + "\n", encoding="utf-8")
    print(f"{CARD} ({time.monotonic() - started:.0f} s)")
    return int(any(int(row["wrong"]) for row in table.rows))


if __name__ == "__main__":
    sys.exit(main())
