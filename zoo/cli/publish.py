"""``zoo publish``: evaluates a checkpoint and writes it as a pretrained model, with its card and index row."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from zoo.cli.arguments import TARGET
from zoo.cli.show import size

HELP = "evaluate a checkpoint and write it as a pretrained model with its card"
EXAMPLES = (
    "zoo publish runs/anomaly/demo --name anomaly-mine",
    "zoo publish best.ckpt --name mine --half --url hf://me/mine/mine.safetensors --licence Apache-2.0",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("target", metavar="TARGET", help=TARGET)
    parser.add_argument("--name", help="of the model; default: that of the run or file")
    parser.add_argument("--out", type=Path, default=Path("published"), metavar="DIR", help="default: published")
    parser.add_argument("--half", action="store_true", help="store float16 weights, if the main metric holds")
    parser.add_argument("--index", type=Path, metavar="FILE", help="index that gets the row; default: DIR/index.yaml")
    parser.add_argument("--url", action="append", default=[], metavar="URL", help="where it will be (again for more)")
    parser.add_argument("--licence", default="Apache-2.0", metavar="SPDX", help="of the weights; default: Apache-2.0")
    parser.add_argument(
        "--data-licence", default="", metavar="TEXT", help="of the training data; default: as it states"
    )
    parser.add_argument("--sample", default="", metavar="FILE", help="an input beside the index, for the row")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="MODULE", help="let the checkpoint import MODULE"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from zoo.hub import publish

    done = publish(
        args.target,
        args.name or default_name(args.target),
        args.out,
        half=args.half,
        index=args.index,
        urls=args.url,
        licence=args.licence,
        data_licence=args.data_licence,
        sample=args.sample,
        trust=args.trust,
        overrides=args.overrides,
        overwrite=args.overwrite,
    )
    for name in done.measured.main_first:
        pair = done.measured.intervals.get(name)
        interval = f"  [{pair[0]:.4g}, {pair[1]:.4g}]" if pair else ""
        print(f"  {name:<24}{done.measured.values[name]:.6g}{interval}")
    print(f"{done.file}: {size(done.row['bytes'])}, sha256 {done.row['sha256']}")
    print(f"{done.card}: its card; {done.index}: its row (ZOO_INDEX={done.index} zoo predict {done.row['name']} ...)")
    return 0


def default_name(target: str) -> str:
    """``anomaly-demo`` for ``runs/anomaly/demo``, else the file's or folder's own name."""
    path = Path(target)
    parts = path.parts[1:] if path.parts[:1] == ("runs",) else (path.name,)
    if path.suffix and path.stem in ("best", "last"):
        parts = (path.absolute().parent.name,)
    text = re.sub(r"-[0-9a-f]{8}$", "", "-".join(parts).removesuffix(".safetensors").removesuffix(".ckpt"))
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._") or "model"
