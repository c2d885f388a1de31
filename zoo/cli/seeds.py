"""``zoo train --seeds``: one run per seed, and a table of mean and deviation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.errors import InputError


def parse_seeds(text: str) -> list[int]:
    """Reads ``"0,1,2"``.

    Raises:
        InputError: Not a list of different whole numbers >= 0.
    """
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--seeds takes whole numbers such as 0,1,2, not {text!r}") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(f"--seeds takes different numbers >= 0, not {text!r}")
    return seeds


def train_seeds(recipe: str, overrides: Any, name: str | None, text: str, options: dict[str, Any]) -> None:
    """Trains each seed into ``runs/<name>/seed<k>``, evaluates its best checkpoint, and prints the table.

    Runs that are already whole are kept with ``--resume``; the table is also written to ``runs/<name>/seeds.csv``.

    Args:
        recipe: A recipe file or its name.
        overrides: Recipe keys and their values.
        name: Name of the folder that holds the runs; the recipe's name by default.
        text: Seeds, separated by commas.
        options: Further arguments of :func:`zoo.train`.
    """
    from zoo.cli.eval import evaluate
    from zoo.cli.training import train
    from zoo.recipe import read

    seeds = parse_seeds(text)
    pairs = list(overrides.items()) if isinstance(overrides, dict) else list(overrides)
    base = name or read(recipe, overrides).name
    rows: dict[int, dict[str, float]] = {}
    for seed in seeds:
        run = Path("runs") / base / f"seed{seed}"
        resume = options["resume"] and run.is_dir()
        train(recipe, [*pairs, ("seed_everything", str(seed))], f"{base}/seed{seed}", **{**options, "resume": resume})
        rows[seed] = evaluate(run)
    _report(rows, Path("runs") / base / "seeds.csv")


def _report(rows: dict[int, dict[str, float]], file: Path) -> None:
    import pandas as pd

    from zoo.training.whole import whole

    table = pd.DataFrame(rows).T.rename_axis("seed")
    with whole(file) as working:
        table.to_csv(working)
    shown = pd.concat([table, pd.DataFrame({"mean": table.mean(), "deviation": table.std(ddof=1)}).T])
    print(shown.to_string(float_format=lambda value: f"{value:.4f}"))
    print(f"test metrics of best.ckpt of each seed; also in {file}")
