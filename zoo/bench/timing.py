"""Times work, ours and peers' alternately in one run, and measures its peak memory under a limit."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from zoo.errors import InputError, ZooError
from zoo.training.speed import Case, Work

ROUNDS, LEAST_SECONDS = 5, 0.2
OUT_OF_MEMORY = float("inf")


@dataclass(frozen=True)
class Timing:
    """One contestant of a case.

    Attributes:
        case: What was timed.
        who: ``zoo``, or the peer's package.
        seconds: Median of one call; None where it could not run.
        low: Fastest round.
        high: Slowest round.
        memory: Growth of the process's peak, in MiB, in a process of its own; None where it could not run.
        ratio: The peer's median over ours; None for ours.
        note: Why it did not run.
        line: The line of the growth plot, if any.
        size: Where on that line.
    """

    case: str
    who: str
    seconds: float | None
    low: float | None = None
    high: float | None = None
    memory: float | None = None
    ratio: float | None = None
    note: str = ""
    line: str = ""
    size: int = 0


SUBJECTS = ("losses", "metrics", "layers", "startup", "training")


def cases(subject: str, quick: bool = False) -> list[Case]:
    """What there is to be timed.

    Args:
        subject: One of :data:`SUBJECTS`, or the name of a domain.
        quick: Leave out what is slow.

    Raises:
        InputError: There is no such subject, or it has nothing to be timed.
    """
    if subject in SUBJECTS:
        found: list[Case] = import_module(f"zoo.bench.{subject}").cases()
    else:
        if find_spec(f"zoo.domains.{subject}") is None:
            words = ", ".join(SUBJECTS)
            raise InputError(f"there is no domain {subject!r} to be timed; besides domains there are {words}")
        if find_spec(f"zoo.domains.{subject}.speed") is None:
            raise InputError(f"the domain {subject!r} has nothing to be timed (zoo/domains/{subject}/speed.py)")
        found = import_module(f"zoo.domains.{subject}.speed").cases()
    return [case for case in found if not (quick and case.slow)]


def run(
    case: Case, against: Sequence[str] | None = None, rounds: int = ROUNDS, limit: float | None = None
) -> list[Timing]:
    """Times one case: each round calls ours, then every peer.

    Args:
        case: What to time.
        against: The peers wanted; all by default.
        rounds: At least 5 for a median worth the name.
        limit: MiB of address space that a call may take on top of what the process holds; whoever needs more is told
            to be out of memory, and not timed.

    Returns:
        Ours first.

    Raises:
        ZooError: A peer's result is another than ours, or ours itself ran out of memory.
    """
    peers = {name: build for name, build in case.peers.items() if against is None or name in against}
    build: dict[str, Callable[[], Work]] = {"zoo": case.ours}
    build |= {name: peer for name, peer in peers.items() if _installed(name)}
    timings = [_not_timed(case, name, "not installed") for name in peers if name not in build]
    memory: dict[str, float | None] = {}
    for name, make in list(build.items()):
        memory[name] = _memory(make, limit)
        if memory[name] == OUT_OF_MEMORY:
            if name == "zoo":
                raise ZooError(f"{case.name}: out of memory under {limit:.0f} MiB")
            timings.append(_not_timed(case, name, f"out of memory ({_size(limit or 0.0)})"))
            del build[name]
    works = {name: make() for name, make in build.items()}
    _agree(case, works)
    repeats = {name: _repeats(work) for name, work in works.items()}
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(_time(work, repeats[name]))
    ours = statistics.median(times["zoo"])
    timed = []
    for name, values in times.items():
        middle = statistics.median(values)
        ratio = None if name == "zoo" else middle / ours
        timed.append(
            Timing(case.name, name, middle, min(values), max(values), memory[name], ratio, "", case.line, case.size)
        )
    return timed + timings


def _not_timed(case: Case, who: str, note: str) -> Timing:
    return Timing(case.name, who, None, note=note, line=case.line, size=case.size)


def _installed(peer: str) -> bool:
    """Whether a peer can be imported; what stands behind the name in brackets tells two forms of one apart."""
    return find_spec(peer.partition(" ")[0].partition(".")[0]) is not None


def _size(mebibytes: float) -> str:
    return f"{mebibytes / 1024:.0f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"


def _agree(case: Case, works: dict[str, Work]) -> None:
    results = {name: work() for name, work in works.items()}
    if case.agree is None:
        return
    for name, result in results.items():
        try:
            if name != "zoo":
                case.agree(results["zoo"], result)
        except AssertionError as error:
            raise ZooError(f"{case.name}: {name} gives another result than zoo: {str(error)[:300]}") from error


def _repeats(work: Work) -> int:
    """Calls of one round, so that it is long enough to be timed."""
    return max(1, min(1000, round(LEAST_SECONDS / max(_time(work, 1), 1e-6))))


def _time(work: Work, repeats: int) -> float:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def _memory(build: Callable[[], Work], limit: float | None) -> float | None:
    """Growth of the peak while the work runs, MiB, in a forked process; None where the system does not tell."""
    if torch.cuda.is_initialized() or not Path("/proc/self/clear_refs").exists():
        return None
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(build, sender, limit))
    process.start()
    sender.close()
    try:
        return float(receiver.recv())
    except EOFError:
        return None
    finally:
        process.join()


def _measure(build: Callable[[], Work], sender: Any, limit: float | None) -> None:
    torch.set_num_threads(1)  # a forked process cannot use its parent's pool of threads
    try:
        if limit is not None:
            allowed = int((_memory_of("VmSize") + limit) * 2**20)
            resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
        work = build()
        gc.collect()
        _give_free_memory_back()
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak, which a forked process has from its parent
        # where the system forgets nothing, memory is filled up to the old peak, so that any growth raises it
        ballast = b"x" * max(0, int((_memory_of("VmHWM") - _memory_of("VmRSS")) * 2**20))
        before = _memory_of("VmHWM")
        work()
        growth = max(0.0, _memory_of("VmHWM") - before)
        del ballast
        sender.send(growth)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
            raise
        sender.send(OUT_OF_MEMORY)


def _give_free_memory_back() -> None:
    """What earlier calls left in the allocator would be used again without any growth."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _memory_of(field: str) -> float:
    """A field of the process's own status, MiB: VmRSS (in use now) or VmHWM (most in use)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def free_memory() -> float:
    """What the system could give, MiB."""
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable:")), 8 * 1024.0)
