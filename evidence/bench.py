"""The tables of the ranking core beside its peers, and how they grow: ``make evidence-bench``.

Runs ``zoo bench`` in the environment of ``make bench-env``, writes runs/evidence/bench_*.json and, from these, the
table and the plot of docs/bench.md. A part that is there already is not run again (--again runs it). Figures of a GPU,
which evidence/gpu.py writes on a machine that has one (bench_*_cuda.json), are shown where they lie there too.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from harness import FOLDER, ROOT, machine, write_card

from zoo.bench import SUBJECTS, cases
from zoo.bench.plot import draw, growth_rows
from zoo.bench.timing import free_memory
from zoo.training.speed import Work

PAGE = ROOT / "docs" / "bench.md"
PLOT = ROOT / "docs" / "growth.png"
ON_GPU = ("losses", "layers")
ALLOCATED = FOLDER / "bench_allocated.json"
PEERS = ROOT / ".venv" / "bench" / "bin" / "python"
HEAD = ("| case | zoo | memory | peer | its time | its memory | peer / zoo |", "|---|---|---|---|---|---|---|")


@dataclass(frozen=True)
class Target:
    """What issue and facts ask of a case, and what their prototypes reached.

    Attributes:
        case: Its name.
        peer: Beside whom.
        floor: Least ratio of times, in every run.
        aim: The prototype's ratio.
        lighter: Least ratio of memories.
        most: Largest memory of ours, MiB.
    """

    case: str
    peer: str
    floor: float
    aim: float
    lighter: float = 0.0
    most: float = float("inf")


TARGETS = (
    *(Target(f"AUC {name}, n = 1024", "libauc", 10, aim) for name, aim in (("hinge", 22), ("squared_hinge", 19))),
    *(Target(f"AUC {name}, n = 16384", "libauc", 200, 500, 300) for name in ("hinge", "squared_hinge")),
    Target("graded hinge, n = 16384", "torch", 200, 500),
    Target("RankNet, graded, n = 16384", "torch", 150, 500),
    Target("RankNet, no ties, n = 16384", "torch", 150, 500),
    Target("RankNet, scores 500 apart, n = 16384", "torch", 20, 40, most=8),
    Target("LambdaRank, 256 lists of 512", "allrank", 10, 17, 100),
    Target("LambdaRank @10, 256 lists of 512", "allrank", 200, 680),
    *(
        Target(f"ListMLE, {size}", "allrank", 1.2, 1.4)
        for size in ("64 lists of 128", "256 lists of 512", "64 lists of 2048")
    ),
    Target("TAL both ways, N = 4096, D = 512", "torch", 2.5, 3, 10),
    Target("multi-similarity, N = 4096, D = 512", "pytorch_metric_learning", 2.5, 3.4, 15),
    Target("threshold-consistent margin, N = 1024, D = 512", "pytorch_metric_learning", 300, 900, most=64),
    Target("SmoothAP, N = 1024, D = 512", "torch", 300, 900, most=64),
)


def main() -> None:
    """Runs what is missing, then writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3, help="how often; after the first one, what has a target")
    parser.add_argument("--quick", action="store_true", help="leave out what is slow")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--plan", action="store_true", help="only print what would be run")
    parser.add_argument("--allocations", type=Path, help="only measure what the allocator gives, into this file")
    args = parser.parse_args()
    if args.allocations:
        return measure_allocations(args.allocations)
    files = {(subject, 0): FOLDER / f"bench_{subject}_0.json" for subject in SUBJECTS}
    files |= {("losses", run): FOLDER / f"bench_losses_{run}.json" for run in range(1, args.runs)}
    for (subject, run), file in files.items():
        if file.exists() and not args.again:
            continue
        print(f"{subject}, run {run + 1}", flush=True)
        if not args.plan:
            _bench(subject, run, file, args)
    if args.plan:
        return
    if args.again or not ALLOCATED.exists():
        subprocess.run([str(PEERS), __file__, "--allocations", str(ALLOCATED)], check=True, cwd=ROOT)
    _write(files, args.runs)


def _bench(subject: str, run: int, file: Path, args: argparse.Namespace) -> None:
    if not PEERS.exists():
        raise SystemExit(f"{PEERS} is not there; make bench-env makes it")
    command = [str(PEERS), "-m", "zoo", "bench", subject, "--rounds", str(args.rounds), "--json", str(file)]
    command += ["--memory", f"{0.85 * free_memory() / 1024:.1f}", *(["--quick"] if args.quick else [])]
    if run:
        command += ["--only", *(target.case for target in TARGETS)]
    subprocess.run(command, check=True, cwd=ROOT)


def allocated(work: Work) -> float:
    """Most bytes that torch's allocator gave at a time during one call, MiB: what the facts call memory."""
    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most / 2**20


def measure_allocations(file: Path) -> None:
    """MiB of ours and of the peer, for each target that asks for a ratio of memories."""
    found, rows = {case.name: case for case in cases("losses")}, {}
    for target in TARGETS:
        if target.lighter:
            case = found[target.case]
            rows[target.case] = [allocated(case.ours()), allocated(case.peers[target.peer]())]
    file.write_text(json.dumps(rows, indent=1) + "\n")


def _write(files: dict[tuple[str, int], Path], runs: int) -> None:
    found: dict[str, list[dict[tuple[str, str], Any]]] = {}
    for (subject, _), file in files.items():
        found.setdefault(subject, []).append(_rows(file))
    text = [
        f"{machine()}. Ratios are the peer's median over ours, the lowest and the highest of {runs} runs. A case of "
        "which a call takes more than 10 s is timed once a run.\n",
        *_targets(found["losses"]),
    ]
    for subject, tables in found.items():
        text += [f"\n### {subject}\n", *HEAD, *_table(tables)]
    last = list(found["losses"][0].values())
    draw(last, PLOT)
    text += ["\n### Growth\n", "![Time and memory against the size](growth.png)\n"]
    text += ["| loss | | time grows as n to the power of | memory |", "|---|---|---|---|"]
    text += [f"| {' | '.join(row)} |" for row in growth_rows(last)]
    text += _gpu()
    if not PAGE.exists():
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text("# The ranking core beside its peers\n\n<!-- evidence: begin -->\n<!-- evidence: end -->\n")
    write_card(PAGE, "\n".join(text))


def _rows(file: Path) -> dict[tuple[str, str], Any]:
    rows = [SimpleNamespace(**row) for row in json.loads(file.read_text())]
    return {(row.case, row.who): row for row in rows}


def _gpu() -> list[str]:
    """The same table on a GPU, where its figures lie there."""
    machine_file = FOLDER / "bench_machine_cuda.json"
    if not machine_file.exists():
        return []
    card = json.loads(machine_file.read_text())
    text = [
        f"\n### On a GPU\n\n{card['device']}, torch {card['torch']}, by CUDA events, float32 products without TF32 "
        f"({card['float32_product_TFLOP_s']:.0f} TFLOP/s at 8192, a copy moves {card['copy_TB_s']:.1f} TB/s); one run. "
        "`torch (products)` is the floor: the matrix products alone. Memory is what the allocator gave beyond the "
        "inputs.\n",
    ]
    for subject in ON_GPU:
        file = FOLDER / f"bench_{subject}_cuda.json"
        if file.exists():
            text += [f"\n#### {subject}\n", *HEAD, *_table([_rows(file)])]
    return text


def _table(tables: list[dict[tuple[str, str], Any]]) -> list[str]:
    lines, last = [], tables[0]
    for (case, who), ours in last.items():
        if who != "zoo":
            continue
        peers = [row for (name, _), row in last.items() if name == case and row.who != "zoo"]
        own = f"| {case} | {_seconds(ours.seconds)} | {_mebibytes(ours.memory)} |"
        if not peers:
            lines.append(f"{own} | | | |")
        for peer in peers:
            rows = [table[case, peer.who] for table in tables if (case, peer.who) in table]
            ratios = sorted(row.ratio for row in rows if row.ratio is not None)
            ratio = " - ".join(f"{value:.2f}" for value in dict.fromkeys(ratios[:1] + ratios[-1:]))
            time = _seconds(peer.seconds) if peer.seconds else peer.note
            lines.append(f"{own} {peer.who} | {time} | {_mebibytes(peer.memory)} | {ratio} |")
    return lines


def _targets(tables: list[dict[tuple[str, str], Any]]) -> list[str]:
    memory: dict[str, list[float]] = json.loads(ALLOCATED.read_text())
    text = ["\n### Targets\n", "| case | peer | floor | reached | aim | memory: floor | reached | |", "|" + "---|" * 8]
    for target in TARGETS:
        rows = [(table[target.case, "zoo"], table[target.case, target.peer]) for table in tables]
        ratios = sorted(peer.ratio for _, peer in rows if peer.ratio is not None)
        met, asked, got = bool(ratios) and ratios[0] >= target.floor, "", ""
        if target.lighter:
            ours, peer = memory[target.case]
            met, asked, got = (
                met and peer >= target.lighter * ours,
                f"{target.lighter:.0f}x less",
                f"{peer / ours:.1f}x",
            )
        elif not math.isinf(target.most):
            heaviest = max(ours.memory for ours, _ in rows)
            met, asked, got = met and heaviest <= target.most, f"{target.most:.0f} MiB", f"{heaviest:.3g} MiB"
        reached = f"{ratios[0]:.3g} - {ratios[-1]:.3g}" if ratios else "the peer did not run"
        cells = (target.case, target.peer, f"{target.floor:g}", reached, f"{target.aim:g}", asked, got)
        text.append(f"| {' | '.join(cells)} | {'met' if met else 'not met'} |")
    text += [
        "\nRatios of memory here are of the bytes that torch's allocator gave at most; elsewhere memory is how far"
    ]
    text += ["the peak of a process rises, which no library's hidden buffers escape.\n"]
    return text


def _seconds(value: float) -> str:
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def _mebibytes(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} MiB"


if __name__ == "__main__":
    main()
