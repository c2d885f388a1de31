"""``zoo export``: writes a network for other runtimes, checked against the original."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli.arguments import TARGET
from zoo.errors import InputError

HELP = "write a network by torch.export or as ONNX, checked against the original"
EXAMPLES = ("zoo export runs/anomaly/demo --format onnx", "zoo export best.ckpt --format torch --out detector.pt2")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("target", metavar="TARGET", help=TARGET)
    parser.add_argument("--format", choices=("onnx", "torch"), default="onnx", help="default: onnx")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: TARGET's name with .onnx or .pt2")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="MODULE", help="let the checkpoint import MODULE"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from zoo.export import SUFFIXES, export
    from zoo.hub import open_target

    opened = open_target(args.target, trust=args.trust)
    suffix = SUFFIXES[args.format]
    name = opened.file.parent.name if opened.file.stem in ("best", "last") else opened.file.stem
    path = args.out or Path(f"{name}{suffix}")
    if path.suffix != suffix:
        raise InputError(f"--out {path}: --format {args.format} writes a file that ends in {suffix}")
    if path.is_dir() or (path.exists() and not args.overwrite):
        raise InputError(f"{path}: exists already; pass --overwrite, or name another file")
    done = export(opened.module(), path, args.format)
    for key, shape in done.inputs.items():
        print(f"input   {key} ({', '.join('any' if size is None else str(size) for size in shape)})")
    print(f"outputs {', '.join(done.outputs)}")
    opset = "" if done.opset is None else f", opset {done.opset}"
    print(f"{path}: {done.size / 2**20:.2f} MiB{opset}; equal to eager within {done.difference:.1e}")
    return 0
