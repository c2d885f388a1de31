"""``zoo eval``: evaluates a checkpoint with nothing but its file, and the data."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.arguments import TARGET
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.training import ZooData, ZooModule

HELP = "evaluate a checkpoint"
EXAMPLES = (
    "zoo eval runs/anomaly/demo",
    "zoo eval best.ckpt --data anomaly/surv_camera_fight --json --predictions scores.csv",
)

Overrides = Mapping[str, object] | Sequence[tuple[str, str]]


@dataclass
class Evaluation:
    """What an evaluation gives.

    Attributes:
        target: The file that was evaluated.
        data: Domain and name of the data set.
        protocol: Name of the evaluation protocol.
        metrics: Values by name.
        rows: One row of outputs per item, in the order of the data.
        first: Whether this process is the one that reports.
    """

    target: str
    data: str
    protocol: str
    metrics: dict[str, float]
    rows: list[dict[str, Any]] = field(default_factory=list)
    first: bool = True

    def json(self) -> str:
        """The object that ``--json`` prints; a metric that is not a number becomes null."""
        metrics = {name: value if math.isfinite(value) else None for name, value in self.metrics.items()}
        return json.dumps({"target": self.target, "data": self.data, "protocol": self.protocol, "metrics": metrics})


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("target", metavar="TARGET", help=TARGET)
    parser.add_argument("--data", metavar="RECIPE", help="evaluate on the data of another recipe")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--predictions", type=Path, metavar="FILE", help="write the outputs per item (.csv or .json)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write metrics.json, predictions.csv, pictures and what else the method reports",
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="MODULE", help="let the checkpoint import MODULE"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    if args.predictions is not None and args.predictions.suffix not in (".csv", ".json"):
        raise InputError(f"--predictions {args.predictions}: write to a .csv or a .json file")
    rows = args.predictions is not None or args.out is not None
    silent = contextlib.redirect_stdout(sys.stderr) if args.json else contextlib.nullcontext()
    with silent:
        result = _evaluate(args.target, args.overrides, args.data, args.trust, rows, args.out)
        if not result.first:
            return 0
        if args.predictions is not None:
            _write_rows(result.rows, args.predictions)
        if args.out is not None:
            _write(result, args.out)
    if args.json:
        print(result.json())
        return 0
    print(f"{result.target} on {result.data}, protocol {result.protocol}")
    width = max(len(name) for name in result.metrics)
    for name, value in result.metrics.items():
        print(f"  {name:<{width}}  {value:.6g}")
    return 0


def evaluate(
    target: str | Path,
    overrides: Overrides = (),
    *,
    data: str | Path | None = None,
    predictions: str | Path | None = None,
    trust: Sequence[str] = (),
) -> dict[str, float]:
    """Evaluates a checkpoint on the test split of its data.

    Args:
        target: A ``.ckpt``, a ``.safetensors``, a run folder or the name of a pretrained model.
        overrides: Keys of the carried recipe and their values, e.g. ``{"data.root": "..."}``; ``trainer.*`` says
            where to run.
        data: Another recipe, whose data is taken.
        predictions: Write the outputs per item to this .csv or .json file.
        trust: Modules outside the zoo that the carried recipe may import.

    Returns:
        The metrics by name.

    Raises:
        InputError: The file, its recipe or the data cannot be used.
    """
    result = _evaluate(target, overrides, data, trust, predictions is not None)
    if predictions is not None and result.first:
        _write_rows(result.rows, Path(predictions))
    return result.metrics


def evaluate_into(target: str | Path, out: Path, *, trust: Sequence[str] = ()) -> None:
    """Evaluates a checkpoint on the data it carries and writes what ``zoo eval --out`` writes.

    Args:
        target: A checkpoint or run folder.
        out: Where to.
        trust: Modules outside the zoo that the carried recipe may import.
    """
    result = _evaluate(target, (), None, trust, True, out)
    if result.first:
        _write(result, out)


def _write(result: Evaluation, out: Path) -> None:
    """``predictions.csv``, and at last ``metrics.json``: where it stands, the evaluation is whole."""
    from zoo.training.whole import write_whole

    _write_rows(result.rows, out / "predictions.csv")
    write_whole(out / "metrics.json", result.json() + "\n")


def _evaluate(
    target: str | Path,
    overrides: Overrides,
    other: str | Path | None,
    trust: Sequence[str],
    rows: bool,
    out: Path | None = None,
) -> Evaluation:
    import lightning.pytorch as pl

    from zoo.hub import open_target
    from zoo.recipe import build_data, build_trainer_arguments, read
    from zoo.training.faults import told
    from zoo.training.fit import build_trainer, quiet
    from zoo.training.loader import deaths_told
    from zoo.training.whole import draw_whole

    quiet()
    if other is None:
        opened = open_target(target, trust=trust, overrides=overrides)
        recipe = opened.recipe
    else:
        opened = open_target(target, trust=trust, overrides=_part(overrides, data=False))
        recipe = read(other, _part(overrides, data=True))
    pl.seed_everything(int(recipe.tree.get("seed_everything") or 0), workers=True, verbose=False)
    module, data = opened.module(), build_data(recipe)
    _match_classes(module, data)
    data.items("test")
    trainer = build_trainer(
        {
            "devices": 1,
            **build_trainer_arguments(opened.recipe),
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": sys.stderr.isatty() and sys.stdout.isatty(),
        }
    )
    module.rows = [] if rows else None
    with deaths_told(lambda: "run again, with --data.workers 0 if it happens again"):
        trainer.test(module, datamodule=data, verbose=False)
        if out is not None and trainer.is_global_zero:
            out.mkdir(parents=True, exist_ok=True)
            _picture(module, data, out / "picture.png")
    if out is not None and trainer.is_global_zero:
        tables, figures = module.report(module.rows or [])
        for name, table in tables.items():
            _write_rows(table, out / f"{name}.csv")
        for name, figure in figures.items():
            draw_whole(out / f"{name}.png", figure)
    for reason in data.skipped:
        print(f"skipped {reason}", file=sys.stderr)
    if data.skipped:
        print(f"skipped {told(data.skipped)}", file=sys.stderr)
    return Evaluation(
        str(opened.file),
        f"{data.domain}/{data.dataset}",
        module.protocol,
        module.results,
        module.rows or [],
        trainer.is_global_zero,
    )


def _part(overrides: Overrides, data: bool) -> Overrides:
    """The overrides of the data, or the others."""

    def fits(option: str) -> bool:
        return (option.split(".")[0] == "data") == data

    if isinstance(overrides, Mapping):
        return {option: value for option, value in overrides.items() if fits(option)}
    return [pair for pair in overrides if fits(pair[0])]


def _match_classes(module: ZooModule, data: ZooData) -> None:
    """Refuses data of another domain, or whose classes are not those that the model was trained for."""
    if module.domain != data.domain:
        raise InputError(
            f"{type(module).__name__} is of the domain {module.domain}, the data {data.dataset} of {data.domain}"
        )
    if not module.class_names:
        module.set_classes(data.class_names)
    elif data.class_names and data.class_names != module.class_names:
        known, given = ", ".join(module.class_names), ", ".join(data.class_names)
        raise InputError(
            f"the checkpoint knows {len(module.class_names)} classes ({known}), "
            f"the data has {len(data.class_names)} ({given})"
        )


def _picture(module: ZooModule, data: ZooData, file: Path) -> None:
    import torch

    from zoo.training.whole import draw_whole

    module.eval()
    batch = next(iter(data.test_dataloader()))
    with torch.no_grad():
        figure = module.picture(module.transfer_batch_to_device(batch, module.device, 0))
    if figure is not None:
        draw_whole(file, figure)


def _write_rows(rows: list[dict[str, Any]], file: Path) -> None:
    import pandas as pd

    from zoo.training.whole import whole

    if file.suffix not in (".csv", ".json"):
        raise InputError(f"{file}: predictions are written to a .csv or a .json file")
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    with whole(file) as working:
        if file.suffix == ".json":
            table.to_json(working, orient="records", indent=1)
        else:
            table.to_csv(working, index=False, errors="backslashreplace")  # names may be no text
