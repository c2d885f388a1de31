"""``zoo train``: trains a model by a recipe into a run folder."""

from __future__ import annotations

import argparse

HELP = "train a model by a recipe"
EXAMPLES = (
    "zoo train anomaly/demo",
    "zoo train anomaly/surv_camera_fight --model.dropout 0.5 --name anomaly/dropout --seeds 0,1,2",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe file, or its name (zoo list recipes)")
    parser.add_argument("--name", help="train into runs/NAME instead of runs/<recipe's name>")
    parser.add_argument("--resume", action="store_true", help="go on from last.ckpt of the run folder")
    parser.add_argument("--overwrite", action="store_true", help="delete the run folder first")
    parser.add_argument("--seeds", metavar="N,N,...", help="one run per seed, and a table of mean and deviation")
    parser.add_argument("--init", metavar="TARGET", help="start from the weights of a trained model")
    parser.add_argument(
        "--init-skip",
        action="append",
        default=[],
        metavar="PATTERN",
        help="regular expression of tensors that need not fit (again for more)",
    )
    parser.add_argument("--print", action="store_true", dest="show", help="print the resolved recipe and stop")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from zoo.cli.training import checked, train

    if args.show:
        print(checked(args.recipe, args.overrides)[1], end="")
        return 0
    options = {
        "resume": args.resume,
        "overwrite": args.overwrite,
        "init": args.init,
        "init_skip": args.init_skip,
    }
    if args.seeds is None:
        train(args.recipe, args.overrides, args.name, **options)
    else:
        from zoo.cli.seeds import train_seeds

        train_seeds(args.recipe, args.overrides, args.name, args.seeds, options)
    return 0
