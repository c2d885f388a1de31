"""``zoo convert``: turns a released checkpoint of the authors into one of this zoo."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "turn a released checkpoint of the authors into one of this zoo"
EXAMPLES = (
    "zoo convert anomaly/milranking_ucfcrime_c3d weights_L1L2.mat milranking.safetensors",
    "zoo convert anomaly/milranking_ucfcrime_c3d epoch_80000.pt milranking.safetensors --overwrite",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="the recipe whose model the file belongs to")
    parser.add_argument("official", type=Path, metavar="OFFICIAL", help="the authors' file")
    parser.add_argument("out", type=Path, metavar="OUT", help="the file to write, ending in .safetensors")
    parser.add_argument("--part", metavar="NAME", help="OFFICIAL holds only this part of the network (a backbone, ...)")
    parser.add_argument("--half", action="store_true", help="store the weights as float16")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from zoo.checkpoint import convert

    notes = convert(args.recipe, args.official, args.out, overwrite=args.overwrite, part=args.part, half=args.half)
    for note in notes:
        print(note)
    print(f"wrote {args.out}" + ("" if args.part else f"; look at it: zoo show {args.out}"))
    return 0
