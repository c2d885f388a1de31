"""The ranking core on a GPU: its tests, its figures beside peers and beside the matrix products it cannot do without.

``python evidence/gpu.py quick`` (150 s) or ``full`` (300 s), in an environment with the peers of ``make bench-env``.
Pieces run by importance, each in a process of its own and under a time limit; what each writes is on the disk case by
case. Results go to ``$OUT``, or to runs/evidence; evidence/bench.py puts them on the page.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ.get("OUT") or ROOT / "runs" / "evidence")
FLOOR = "torch (products)"
TESTS = ("tests/ranking/test_ranking_on_gpu.py", "tests/layers/test_deformable_attention_on_gpu.py")


class Piece(NamedTuple):
    """One process."""

    name: str
    seconds: int
    """At most."""
    command: tuple[str, ...]


def bench(subject: str, seconds: int, *options: str) -> Piece:
    """Runs ``zoo bench`` on the GPU."""
    command = ("-m", "zoo", "bench", subject, "--device", "cuda", "--json", str(FOLDER / f"bench_{subject}_cuda.json"))
    return Piece(f"bench {subject}", seconds, (*command, *options))


def own(name: str, seconds: int) -> Piece:
    """Runs a measurement of this file."""
    return Piece(name, seconds, (str(Path(__file__)), name))


def tests(seconds: int, *options: str) -> Piece:
    """Runs the tests that need a GPU."""
    command = ("-m", "pytest", *TESTS, "-q", "-n", "8", "-p", "no:cacheprovider", "--maxfail", "40", "--tb", "short")
    return Piece("tests", seconds, (*command, *options))


def pieces(plan: str) -> list[Piece]:
    """What a plan runs, the most important first."""
    if plan == "quick":
        return [
            tests(75, "-k", "not compiled"),
            own("blocks", 40),
            bench("losses", 40, "--quick", "--rounds", "3"),
            own("engines", 40),
            bench("layers", 20, "--quick", "--rounds", "3"),
        ]
    return [
        own("machine", 30),
        bench("losses", 200),
        bench("layers", 30),
        own("blocks", 50),
        tests(60, "-k", "compiled"),
        own("engines", 60),
    ]


def main() -> int:
    """Runs a plan, or one measurement of this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", choices=["quick", "full", *MEASUREMENTS])
    parser.add_argument("--seconds", type=int, help="for everything; default: 150 or 300")
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if args.plan in MEASUREMENTS:
        MEASUREMENTS[args.plan]()
        return 0
    end = time.monotonic() + (args.seconds or {"quick": 150, "full": 300}[args.plan])
    told = []
    for piece in pieces(args.plan):
        start = time.monotonic()
        limit = min(piece.seconds, end - start)
        outcome = _run(piece, limit) if limit > 5 else "no time left"
        told.append(f"{piece.name}: {outcome}, {time.monotonic() - start:.0f} s")
        print(told[-1], flush=True)
    _summary()
    print("\n".join(told))
    return 0


def _run(piece: Piece, limit: float) -> str:
    """How a piece ended; its output goes to a log of which the end is printed."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "COLUMNS": "150"}
    log = FOLDER / "log.txt"
    with log.open("a") as stream:
        begin = stream.tell()
        stream.write(f"\n=== {piece.name}\n")
        stream.flush()
        try:
            done = subprocess.run(
                [sys.executable, *piece.command],
                cwd=ROOT,
                env=environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
            outcome = f"exit {done.returncode}"
        except subprocess.TimeoutExpired:
            outcome = f"cut off after {limit:.0f} s"
    text = log.read_text()[begin:]
    print(text[-(300 if outcome == "exit 0" else 2500) :], flush=True)
    return outcome


def _summary() -> None:
    """A line per case of every table, and of what this file measures."""
    for file in sorted(FOLDER.glob("*.json")):
        rows = json.loads(file.read_text())
        print(f"\n== {file.name}")
        if isinstance(rows, dict):
            print(json.dumps(rows))
            continue
        found: dict[str, list[Any]] = {}
        for row in rows:
            found.setdefault(row["case"], []).append(row)
        for case, of_case in found.items():
            print(f"{case}: " + "; ".join(_contestant(row) for row in of_case))


def _contestant(row: dict[str, Any]) -> str:
    if row["seconds"] is None:
        return f"{row['who']} {row['note']}"
    memory = "" if row["memory"] is None else f" {row['memory']:.0f}M"
    ratio = "" if row["ratio"] is None else f" x{row['ratio']:.2f}"
    return f"{row['who'].replace('pytorch_metric_learning', 'PML')} {1e3 * row['seconds']:.3g}ms{memory}{ratio}"


def measure_machine() -> None:
    """The card, and its two ceilings: bytes of a copy, operations of a float32 product."""
    import torch

    found = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "copy_TB_s": 2 * 4 * 2**28 / _seconds(partial(torch.clone, torch.randn(2**28, device="cuda"))) / 1e12,
    }
    x = torch.randn(8192, 8192, device="cuda")
    found["float32_product_TFLOP_s"] = 2 * 8192**3 / _seconds(lambda: x @ x) / 1e12
    y = torch.randn(4096, 512, device="cuda")
    found["product_4096_4096_512_ms"] = 1e3 * _seconds(lambda: y @ y.T)
    small = torch.randn(4096, device="cuda")
    found["small_kernel_us"] = 1e6 * _seconds(lambda: small + small, 500)
    (FOLDER / "bench_machine_cuda.json").write_text(json.dumps(found) + "\n")
    print(found)


def _seconds(work: Callable[[], object], repeats: int = 10) -> float:
    import torch

    for _ in range(3):
        work()
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    for _ in range(repeats):
        work()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last)) / 1e3 / repeats


class Rows:
    """Timings in a file, complete after every case."""

    def __init__(self, name: str) -> None:
        gc.freeze()
        self.file, self.rows = FOLDER / f"{name}.json", list[Any]()

    def add(self, case: Any, against: tuple[str, ...] = ()) -> None:
        """Times a case."""
        from dataclasses import asdict

        from zoo import bench

        try:
            self.rows += [asdict(row) for row in bench.run(case, against, 3, None, DEVICE)]
        except Exception as error:  # the next case is worth its figure all the same
            print(f"{case.name}: {type(error).__name__}: {error}", flush=True)
        self.file.write_text(json.dumps(self.rows) + "\n")


BOTH: list[Any] = ["dense", "tiled"]
DEVICE = os.environ.get("ZOO_TEST_DEVICE", "cuda")


@contextmanager
def _blocks_of(factor: int, fused: bool) -> Iterator[None]:
    from zoo.ranking import fused_rows, row_engines

    before = row_engines.ON_GPU, fused_rows.fusible
    row_engines.ON_GPU = factor
    if not fused:
        fused_rows.fusible = lambda similarity: False
    try:
        yield
    finally:
        row_engines.ON_GPU, fused_rows.fusible = before


def measure_blocks() -> None:
    """The similarity losses beside their products, with kernels and without, in blocks of several sizes; a profile."""
    from dataclasses import replace

    from zoo import bench
    from zoo.ranking import row_engines

    measure_machine()
    rows = Rows("blocks")
    wanted = ("N = 4096", "N = 32,768")
    cases = [case for case in bench.cases("losses", device="cuda") if any(size in case.name for size in wanted)]
    usual = row_engines.ON_GPU
    for factor, fused in ((usual, True), (usual, False), (16, True), (256, True)):
        for case in cases:
            with _blocks_of(factor, fused):
                title = f"{'kernels' if fused else 'plain torch'}, blocks x{factor}: {case.name}"
                rows.add(replace(case, name=title), (FLOOR,) if factor == usual and fused else ())
                if factor == usual and fused:
                    _profile(case)


def _profile(case: Any) -> None:
    """Kernels of one call: how many, how long together, and the longest."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from zoo.bench.place import placed_on

    with placed_on(DEVICE):
        work = case.ours()
    work()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        work()
        torch.cuda.synchronize()
    kernels = [event for event in found.key_averages() if event.device_type == torch.autograd.DeviceType.CUDA]
    kernels.sort(key=lambda event: -event.self_device_time_total)
    total, count = sum(event.self_device_time_total for event in kernels), sum(event.count for event in kernels)
    print(f"{case.name}: {count} kernels and copies, {total / 1e3:.3g} ms on the GPU", flush=True)
    for event in kernels[:8]:
        print(f"    {event.self_device_time_total / 1e3:8.3f} ms {event.count:4d} x {event.key[:110]}", flush=True)


def measure_engines() -> None:
    """Every engine at several sizes, for the sizes from which each is the fastest."""
    from zoo import ranking
    from zoo.bench import losses as parts
    from zoo.training.speed import Case

    rows = Rows("engines")
    scored: Any = (
        ("hinge", ranking.hinge, 5, ("dense", "sorted", "tiled")),
        ("AUC hinge", partial(ranking.mann_whitney, surrogate="hinge"), 2, ("sorted",)),
        ("logistic", ranking.logistic, 5, ("dense", "sorted", "tiled")),
        ("fidelity", ranking.fidelity, 5, ("dense", "tiled")),
        ("approx_ndcg", ranking.approx_ndcg, 5, ("dense", "sorted", "tiled")),
    )
    for n in (1024, 4096, 16384, 256):
        for name, loss, levels, engines in scored:
            for engine in engines:
                build = parts.scored(
                    partial(loss, engine=engine), partial(parts.scores_of, n), partial(parts.grades, n, levels=levels)
                )
                rows.add(Case(f"{name} {engine} n={n}", build))
    for shape in ((64, 128), (256, 512), (64, 2048)):
        for engine in BOTH:
            build = parts.scored(
                partial(ranking.lambda_ndcg, engine=engine),
                partial(parts.scores_of, *shape),
                partial(parts.grades, *shape),
            )
            rows.add(Case(f"lambda_ndcg {engine} {shape[0]}x{shape[1]}", build))
    for n in (1024, 512, 2048, 256):
        for name, embedded in (
            ("TAL", ranking.triplet_alignment),
            ("multi-similarity", ranking.multi_similarity),
            ("SmoothAP", ranking.smooth_ap),
        ):
            for engine in BOTH:
                rows.add(Case(f"{name} {engine} N={n}", parts.embedded(partial(embedded, engine=engine), n)))


MEASUREMENTS = {"machine": measure_machine, "blocks": measure_blocks, "engines": measure_engines}


if __name__ == "__main__":
    sys.exit(main())
