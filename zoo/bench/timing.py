"""Times work, ours and peers' alternately in one run, and measures its peak memory under a limit.

On a processor by the wall clock, on a GPU by CUDA events around a round's calls, after calls that warm up; what the
GPU waits for the processor counts. Memory is the growth of a forked process, on a GPU what the allocator gave beyond
what lay there before the call.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from zoo.bench.place import place, placed_on
from zoo.errors import InputError, ZooError
from zoo.training.speed import Case, Work

ROUNDS, WARM_UP = 5, 3
LONG = 10.0  # seconds of a call, from which a case is timed by one round
LEAST_SECONDS = {"cpu": 0.2, "cuda": 0.05}  # of a round: a GPU is alone with its work
OUT_OF_MEMORY = float("inf")
FAILURES = (RuntimeError, TypeError, ValueError)  # of a peer that was not written for a GPU


@dataclass(frozen=True)
class Timing:
    """One contestant of a case.

    Attributes:
        case: What was timed.
        who: ``zoo``, or the peer's package.
        seconds: Median of one call; None where it could not run.
        low: Fastest round.
        high: Slowest round.
        memory: Growth of the peak, in MiB, of a process of its own or of the GPU's allocator; None where it could not
            run.
        ratio: The peer's median over ours; None for ours.
        note: Why it did not run.
        line: The line of the growth plot, if any.
        size: Where on that line.
        rounds: How many values the median is of.
        device: "cpu", or the GPU's name.
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
    rounds: int = 0
    device: str = "cpu"


SUBJECTS = ("losses", "metrics", "layers", "startup", "training")
PLACED = ("losses", "layers")  # whose cases build on any device


def cases(subject: str, quick: bool = False, device: str = "cpu") -> list[Case]:
    """What there is to be timed.

    Args:
        subject: One of :data:`SUBJECTS`, or the name of a domain.
        quick: Leave out what is slow.
        device: Where it is to be timed, "cpu" or "cuda".

    Raises:
        InputError: There is no such subject, it has nothing to be timed, or not on this device.
    """
    if device != "cpu" and subject not in PLACED:
        raise InputError(f"zoo bench {subject} is for the cpu; on {device} there are {', '.join(PLACED)}")
    if subject in PLACED:
        placed: list[Case] = import_module(f"zoo.bench.{subject}").cases(device)
        return [case for case in placed if not (quick and case.slow)]
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


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        InputError: naming it.
    """
    if device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"--device {device}: this torch ({torch.__version__}) sees no GPU")


def run(
    case: Case,
    against: Sequence[str] | None = None,
    rounds: int = ROUNDS,
    limit: float | None = None,
    device: str = "cpu",
) -> list[Timing]:
    """Times one case: each round calls ours, then every peer.

    Args:
        case: What to time.
        against: The peers wanted; all by default.
        rounds: At least 5 for a median worth the name.
        limit: MiB of address space that a call may take on top of what the process holds, on a GPU of its memory;
            whoever needs more is told to be out of memory, and not timed.
        device: "cpu" or "cuda"; where the case builds its tensors.

    Returns:
        Ours first.

    Raises:
        ZooError: A peer's result is another than ours, or ours itself ran out of memory.
    """
    gc.collect()
    gc.freeze()  # what is imported by now needs no look at every collection between two rounds
    try:
        with placed_on(device):
            return _run(case, against, rounds, limit)
    except torch.OutOfMemoryError as error:  # each fits by itself, and not with what the others hold
        raise ZooError(f"{case.name}: out of memory with all contestants at once") from error
    finally:
        gc.unfreeze()


def _run(case: Case, against: Sequence[str] | None, rounds: int, limit: float | None) -> list[Timing]:
    peers = {name: build for name, build in case.peers.items() if against is None or name in against}
    build: dict[str, Callable[[], Work]] = {"zoo": case.ours}
    build |= {name: peer for name, peer in peers.items() if _installed(name)}
    timings = [_not_timed(case, name, "not installed") for name in peers if name not in build]
    memory: dict[str, float | None] = {}
    for name, make in list(build.items()):
        try:
            memory[name] = _memory(make, limit)
        except FAILURES as error:
            if name == "zoo":
                raise
            timings.append(_not_timed(case, name, f"fails: {(str(error).splitlines() or [''])[0][:80]}"))
            del build[name]
            continue
        if memory[name] == OUT_OF_MEMORY:
            if name == "zoo":
                raise ZooError(f"{case.name}: out of memory under {_size(_most(limit))}")
            timings.append(_not_timed(case, name, f"out of memory ({_size(_most(limit))})"))
            del build[name]
    works = {name: make() for name, make in build.items()}
    first = _agree(case, works)
    rounds = 1 if max(first.values()) > LONG else rounds
    repeats = {name: 1 if first[name] > LONG else _repeats(work) for name, work in works.items()}
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(_time(work, repeats[name]))
    ours = statistics.median(times["zoo"])
    timed = []
    for name, values in times.items():
        middle = statistics.median(values)
        ratio = None if name == "zoo" else middle / ours
        found = Timing(case.name, name, middle, min(values), max(values), memory[name], ratio, rounds=rounds)
        timed.append(replace(found, line=case.line, size=case.size, device=_device_name()))
    return timed + timings


def _not_timed(case: Case, who: str, note: str) -> Timing:
    return Timing(case.name, who, None, note=note, line=case.line, size=case.size, device=_device_name())


def _device_name() -> str:
    return torch.cuda.get_device_name(place()) if place().type == "cuda" else "cpu"


def _most(limit: float | None) -> float:
    """The limit, or without one on a GPU what it has, MiB."""
    if limit is None and place().type == "cuda":
        return float(torch.cuda.get_device_properties(place()).total_memory / 2**20)
    return limit or 0.0


def _installed(peer: str) -> bool:
    """Whether a peer can be imported; what stands behind the name in brackets tells two forms of one apart."""
    return find_spec(peer.partition(" ")[0].partition(".")[0]) is not None


def _size(mebibytes: float) -> str:
    return f"{mebibytes / 1024:.0f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"


def _agree(case: Case, works: dict[str, Work]) -> dict[str, float]:
    """Compares the results; seconds of each first call."""
    results, seconds = {}, {}
    for name, work in works.items():
        start = time.perf_counter()
        results[name] = work()
        seconds[name] = time.perf_counter() - start
    for name, result in results.items():
        try:
            if name != "zoo" and case.agree is not None:
                case.agree(results["zoo"], result)
        except AssertionError as error:
            raise ZooError(f"{case.name}: {name} gives another result than zoo: {str(error)[:300]}") from error
    return seconds


def _repeats(work: Work) -> int:
    """Calls of one round, so that it is long enough to be timed."""
    if place().type == "cuda":
        for _ in range(WARM_UP):  # kernels are loaded and chosen at their first calls
            work()
    return max(1, min(1000, round(LEAST_SECONDS[place().type] / max(_time(work, 1), 1e-6))))


def _time(work: Work, repeats: int) -> float:
    if place().type == "cuda":
        return _time_on_gpu(work, repeats)
    gc.collect()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats


def _time_on_gpu(work: Work, repeats: int) -> float:
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    for _ in range(repeats):
        work()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last)) / 1e3 / repeats


def _memory(build: Callable[[], Work], limit: float | None) -> float | None:
    """Growth of the peak while the work runs, MiB, in a forked process; None where the system does not tell."""
    if place().type == "cuda":
        found = _memory_on_gpu(build, limit)
        gc.collect()  # what an error held
        torch.cuda.empty_cache()
        return found
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


def _memory_on_gpu(build: Callable[[], Work], limit: float | None) -> float:
    """What the allocator gave at most beyond what the inputs take, MiB."""
    gc.collect()
    torch.cuda.empty_cache()
    try:
        work = build()
        before = torch.cuda.memory_allocated()
        if limit is not None:
            share = (before / 2**20 + limit) / _most(None)
            torch.cuda.set_per_process_memory_fraction(min(1.0, share))
        torch.cuda.reset_peak_memory_stats()
        work()
        return float(torch.cuda.max_memory_allocated() - before) / 2**20
    except torch.cuda.OutOfMemoryError:
        return OUT_OF_MEMORY
    finally:
        if limit is not None:
            torch.cuda.set_per_process_memory_fraction(1.0)


def _measure(build: Callable[[], Work], sender: Any, limit: float | None) -> None:
    torch.set_num_threads(1)  # a forked process cannot use its parent's pool of threads
    try:
        if limit is not None:
            allowed = int((_memory_of("VmSize") + limit) * 2**20)
            resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
        work = build()
        start = time.perf_counter()
        growth = _growth(work)
        if time.perf_counter() - start < LONG:  # again, without what only the first call loads: code, threads
            growth = _growth(work)
        sender.send(growth)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
            raise
        sender.send(OUT_OF_MEMORY)


def _growth(work: Work) -> float:
    """How far one call raises the peak of the process, MiB."""
    gc.collect()
    _give_free_memory_back()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak, which a forked process has from its parent
    # where the system forgets nothing, memory is filled up to the old peak, so that any growth raises it
    ballast = b"x" * max(0, int((_memory_of("VmHWM") - _memory_of("VmRSS")) * 2**20))
    before = _memory_of("VmHWM")
    work()
    growth = max(0.0, _memory_of("VmHWM") - before)
    del ballast
    return growth


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
