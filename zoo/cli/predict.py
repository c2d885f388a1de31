"""``zoo predict``: predicts on files of a user's own; writes a table and pictures."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

HELP = "predict on files of your own"
EXAMPLES = (
    "zoo predict runs/anomaly/demo video_features.npy",
    "zoo predict best.ckpt features/ 'more/*.txt' list.csv --out predictions",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("target", metavar="TARGET", help="a .ckpt, a .safetensors or a run folder")
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", help="a file, a folder, a glob, or a csv with a column `file`"
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: predictions")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps; default: cpu")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="MODULE", help="let the checkpoint import MODULE"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    table = predict(args.target, args.inputs, args.out, device=args.device, trust=args.trust, overrides=args.overrides)
    print(table.to_string(index=False, max_rows=20, float_format=lambda value: f"{value:.4f}"))
    print(f"{args.out / 'table.csv'} and {len(list(args.out.glob('*.png')))} pictures in {args.out}")
    return 0


def predict(
    target: str | Path,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    *,
    device: str = "cpu",
    trust: Sequence[str] = (),
    overrides: Any = (),
) -> pd.DataFrame:
    """Predicts on files.

    Args:
        target: A ``.ckpt``, a ``.safetensors`` or a run folder.
        inputs: Files, folders, globs, or csv files with a column ``file`` (relative to the csv).
        out: Folder for ``table.csv`` and a picture per input; nothing is written when None.
        device: Where to run.
        trust: Modules outside the zoo that the carried recipe may import.
        overrides: Keys of the carried recipe and their values.

    Returns:
        The table, ``file`` first.

    Raises:
        InputError: No input, or inputs that cannot be used; the table of the others is written before.
    """
    import pandas as pd
    from matplotlib import pyplot

    from zoo.checkpoint import open_target
    from zoo.training.fit import quiet

    quiet()
    module = open_target(target, trust=trust, overrides=overrides).module(device)
    files = expand([inputs] if isinstance(inputs, str | Path) else inputs, module.suffixes)
    names = _picture_names(files)
    folder = None if out is None else Path(out)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    for file in files:
        try:
            found, figure = module.predict_file(file)
        except InputError as error:
            failures.append(str(error))
            continue
        rows.extend({"file": str(file), **row} for row in found)
        if folder is not None:
            figure.savefig(folder / names[file], dpi=120)
        pyplot.close(figure)
    table = pd.DataFrame(rows)
    if folder is not None and rows:
        table.to_csv(folder / "table.csv", index=False)
    if failures:
        written = f"; the other {len(files) - len(failures)} are in {folder / 'table.csv'}" if folder and rows else ""
        raise InputError("\n".join([*failures, f"{len(failures)} of {len(files)} inputs cannot be used{written}"]))
    return table


def expand(inputs: Iterable[str | Path], suffixes: Sequence[str]) -> list[Path]:
    """Turns files, folders, globs and csv lists into files, each once, in a stable order.

    Args:
        inputs: What the user named.
        suffixes: Endings that the model takes.

    Raises:
        InputError: Something named does not exist, has another ending, or holds nothing that fits.
    """
    found: dict[Path, None] = {}
    for text in map(str, inputs):
        for file in _one(text, suffixes):
            found[file] = None
    return list(found)


def _one(text: str, suffixes: Sequence[str]) -> list[Path]:
    path, takes = Path(text), ", ".join(suffixes)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in suffixes)
        if not files:
            raise InputError(f"{path}: no file in this folder ends in {takes}")
        return files
    if path.is_file():
        if path.suffix.lower() == ".csv" and ".csv" not in suffixes:
            return _listed(path, suffixes)
        if path.suffix.lower() not in suffixes:
            raise InputError(f"{path}: this model takes {takes}")
        return [path]
    matches = sorted(Path(match) for match in glob.glob(text, recursive=True))
    fitting = [match for match in matches if match.is_file() and match.suffix.lower() in suffixes]
    if matches and not fitting:
        raise InputError(f"{text}: none of {len(matches)} matches ends in {takes}")
    if not fitting:
        raise InputError(f"{text}: no such file, folder or match")
    if len(fitting) < len(matches):
        print(f"{text}: {len(matches) - len(fitting)} matches do not end in {takes} and are left out", file=sys.stderr)
    return fitting


def _listed(table: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files of the column ``file`` of a csv."""
    import csv

    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        if "file" not in (reader.fieldnames or []):
            raise InputError(f"{table}:1: no column `file`; columns are {', '.join(reader.fieldnames or []) or 'none'}")
        files = []
        for row in reader:
            file = table.parent / (row["file"] or "")
            if not file.is_file() or file.suffix.lower() not in suffixes:
                raise InputError(
                    f"{table}:{reader.line_num}: {row['file']!r} is no file ending in {', '.join(suffixes)}"
                )
            files.append(file)
    if not files:
        raise InputError(f"{table}: the list holds no file")
    return files


def _picture_names(files: Sequence[Path]) -> dict[Path, str]:
    """A picture name per file; files of one name in several folders get their folder in front."""
    stems = [file.stem for file in files]
    names: dict[Path, str] = {}
    for file in files:
        name = file.stem if stems.count(file.stem) == 1 else "_".join([*file.parts[:-1], file.name]).lstrip("/_")
        names[file] = f"{name}.png"
    return names
