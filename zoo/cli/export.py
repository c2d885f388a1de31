"""``zoo export``: writes a network for other runtimes, checked against the original."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.arguments import TARGET
from zoo.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.recipe import Recipe
    from zoo.training import ZooModule

HELP = "write a network by torch.export or as ONNX, checked against the original"
EXAMPLES = (
    "zoo export quality-small --images --out quality.onnx",
    "zoo export best.ckpt --format torch --out detector.pt2",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("target", metavar="TARGET", help=TARGET)
    parser.add_argument("--format", choices=("onnx", "torch"), default="onnx", help="default: onnx")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: TARGET's name with .onnx or .pt2")
    parser.add_argument(
        "--images",
        action="store_true",
        help="include resize, crop, normalisation and what follows the network: the file takes RGB images, uint8",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="MODULE", help="let the checkpoint import MODULE"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from zoo.export import SUFFIXES, export
    from zoo.hub import entries, open_target

    opened = open_target(args.target, trust=args.trust)
    suffix = SUFFIXES[args.format]
    name = opened.file.parent.name if opened.file.stem in ("best", "last") else opened.file.stem
    name = args.target if args.target in entries() else name
    path = args.out or Path(f"{name}{suffix}")
    if path.suffix != suffix:
        raise InputError(f"--out {path}: --format {args.format} writes a file that ends in {suffix}")
    if path.is_dir() or (path.exists() and not args.overwrite):
        raise InputError(f"{path}: exists already; pass --overwrite, or name another file")
    module = opened.module()
    done = export(module, path, args.format, args.images, () if args.images else _seen(module, opened.recipe))
    for key, shape in done.inputs.items():
        print(f"input   {key} ({', '.join('any' if size is None else str(size) for size in shape)})")
    print(f"outputs {', '.join(done.outputs)}")
    opset = "" if done.opset is None else f", opset {done.opset}"
    real = f"random and {done.real} real" if done.real else "random"
    print(f"{path}: {done.size / 2**20:.2f} MiB{opset}; equal to eager within {done.difference:.1e} on {real} batches")
    return 0


def _seen(module: ZooModule, recipe: Recipe) -> list[dict[str, Tensor]]:
    """A batch of the test split as the network gets it, where the data is here."""
    from zoo.export import seen_inputs
    from zoo.recipe import build_data

    if module.export_refusal:
        return []
    try:
        data = build_data(recipe)
        data.items("test")
    except InputError:
        return []
    return seen_inputs(module, data)
