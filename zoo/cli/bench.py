"""``zoo bench``: times work of the zoo, ours and peers' side by side."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import InputError, ZooError

if TYPE_CHECKING:
    from zoo.bench import Timing

HELP = "time a domain's work, ours and peers' side by side"
EXAMPLES = ("zoo bench ltr", "zoo bench losses --against libauc torch --quick --plot growth.png --json bench.json")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    subject = "losses, metrics, layers, startup, training, or a folder of zoo/domains, e.g. anomaly"
    parser.add_argument("domain", metavar="SUBJECT", help=subject)
    parser.add_argument("--against", nargs="+", metavar="PEER", help="only these packages; default: all that are known")
    parser.add_argument("--quick", action="store_true", help="leave out what is slow")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--only", nargs="+", metavar="WORDS", help="only cases whose name contains one of these")
    device = "cpu, or cuda: a GPU, timed by CUDA events (losses and layers)"
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help=device)
    memory = (
        "what a call may take, else it is told to be out of memory; default: half of the free memory, all of a GPU's"
    )
    parser.add_argument("--memory", type=float, metavar="GIB", help=memory)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw how time and memory grow with the size (.png)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    import torch

    from zoo import bench
    from zoo.bench.plot import draw, growth_rows
    from zoo.cli.table import table, terminal_width
    from zoo.training.whole import write_whole

    if args.rounds < 1:
        raise InputError(f"--rounds must be at least 1, got {args.rounds}")
    bench.check_device(args.device)
    found = bench.cases(args.domain, args.quick, args.device)
    if args.only is not None:
        for words in args.only:
            if not any(words in case.name for case in found):
                raise InputError(f"--only {words}: no case of {args.domain} has this in its name")
        found = [case for case in found if any(words in case.name for words in args.only)]
    known = sorted({peer for case in found for peer in case.peers})
    unknown = [peer for peer in args.against or () if peer not in known]
    if unknown:
        raise InputError(f"--against {unknown[0]}: known peers of {args.domain} are {', '.join(known) or 'none'}")
    if args.memory is not None and not args.memory > 0:
        raise InputError(f"--memory must be above 0, got {args.memory}")
    limit = args.memory * 1024 if args.memory is not None else None
    if limit is None and args.device == "cpu":
        limit = bench.free_memory() / 2
    timings: list[Timing] = []
    wrong = 0
    for case in found:
        print(f"{case.name} ...", file=sys.stderr, flush=True)
        try:
            timings += bench.run(case, args.against, args.rounds, limit, args.device)
        except ZooError as error:  # the other cases are worth their figures all the same
            print(f"error: {error}", file=sys.stderr, flush=True)
            wrong += 1
            continue
        if args.json is not None:  # after each case, so that a run that is cut off leaves what it has
            args.json.parent.mkdir(parents=True, exist_ok=True)
            write_whole(args.json, json.dumps([asdict(timing) for timing in timings], indent=1) + "\n")
    rows = [(t.case, t.who, *_cells(t)) for t in timings]
    head = ("case", "", "median", "range", "peak memory", "peer / zoo")
    print(table(head, rows, terminal_width()))
    where = f"{torch.get_num_threads()} threads"
    if args.device == "cuda" and timings:
        tensor_cores = torch.backends.cuda.matmul.allow_tf32
        where = f"{timings[0].device}, by CUDA events, float32 products {'as TF32' if tensor_cores else 'without TF32'}"
    print(f"torch {torch.__version__}, {where}, medians of {args.rounds} rounds, alternating")
    grown = growth_rows(timings)
    if grown:
        print(table(("grows with the size to the power of", "", "time", "memory"), grown, terminal_width()))
    if args.plot is not None:
        draw(timings, args.plot)
    if wrong:
        print(f"{wrong} of {len(found)} cases could not be timed, see above", file=sys.stderr)
    return 1 if wrong else 0


def _cells(timing: Timing) -> tuple[str, str, str, str]:
    if timing.seconds is None or timing.low is None or timing.high is None:
        return timing.note, "", "", ""
    memory = "" if timing.memory is None else f"{timing.memory:.1f} MiB"
    ratio = "" if timing.ratio is None else f"{timing.ratio:.2f}"
    return _text(timing.seconds), f"{_text(timing.low)} - {_text(timing.high)}", memory, ratio


def _text(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
