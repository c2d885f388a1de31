"""``zoo predict``: predicts on files of a user's own; writes a table and pictures."""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.cli.arguments import TARGET
from zoo.cli.progress import track
from zoo.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from zoo.training import Row, ZooModule

HELP = "predict on files of your own"
EXAMPLES = (
    "zoo predict quality-small --sample",
    "zoo predict best.ckpt features/ 'more/*.txt' list.csv --out predictions",
)

REQUESTS = ("gallery", "query", "outfit", "complete", "boxes", "top")
PICTURE, DPI = ".png", 120
OVERVIEW = f"overview{PICTURE}"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("target", metavar="TARGET", help=TARGET)
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="*", help="a file, a folder, a glob, or a csv with a column `file`"
    )
    parser.add_argument("--sample", action="store_true", help="predict on the sample that comes with a packed model")
    parser.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: predictions")
    wishes = parser.add_argument_group("further requests", "of methods that answer them (zoo show TARGET)")
    wishes.add_argument("--gallery", type=Path, metavar="DIR", help="folder of images to search or to choose from")
    wishes.add_argument("--query", action="append", metavar="TEXT", help="find these in the gallery; may be repeated")
    wishes.add_argument("--outfit", type=Path, nargs="+", metavar="FILE", help="images of one outfit")
    wishes.add_argument("--complete", metavar="CATEGORY", help="complete the outfit with this from the gallery")
    wishes.add_argument("--boxes", type=Path, metavar="CSV", help="csv of file, left, top, right, bottom in pixels")
    wishes.add_argument("--top", type=int, metavar="N", help="how many answers")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps; default: cpu")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="MODULE", help="let the checkpoint import MODULE"
    )


class Answer(NamedTuple):
    """What was found.

    Attributes:
        rows: Of the table.
        pictures: How many were written.
        failures: A line per input that cannot be used.
        inputs: How many there were.
    """

    rows: list[Row]
    pictures: int
    failures: list[str]
    inputs: int


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    request = {name: getattr(args, name) for name in REQUESTS if getattr(args, name) is not None}
    if args.sample:
        from zoo.hub.targets import sample

        args.inputs = [*args.inputs, sample(args.target)]
    table, pictures = _predict(args.target, args.inputs, args.out, request, args.device, args.trust, args.overrides)
    print(table.to_string(index=False, max_rows=20, float_format=lambda value: f"{value:.4f}"))
    print(f"{args.out / 'table.csv'} and {pictures} pictures in {args.out}")
    return 0


def predict(
    target: str | Path,
    inputs: str | Path | Iterable[str | Path] = (),
    out: str | Path | None = None,
    *,
    request: Mapping[str, Any] | None = None,
    device: str = "cpu",
    trust: Sequence[str] = (),
    overrides: Any = (),
) -> pd.DataFrame:
    """Predicts on files.

    Args:
        target: A ``.ckpt``, a ``.safetensors``, a run folder or the name of a pretrained model.
        inputs: Files, folders, globs, or csv files with a column ``file`` (relative to the csv).
        out: Folder for ``table.csv`` and a picture per input; nothing is written when None.
        request: Further requests of methods that answer them: ``{"gallery": folder, "query": [texts]}``, ...
        device: Where to run.
        trust: Modules outside the zoo that the carried recipe may import.
        overrides: Keys of the carried recipe and their values.

    Returns:
        The table, ``file`` first.

    Raises:
        InputError: No input, or inputs that cannot be used; the table of the others is written before.
    """
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    return _predict(target, given, None if out is None else Path(out), request or {}, device, trust, overrides)[0]


def _predict(
    target: str | Path,
    inputs: Sequence[str | Path],
    out: Path | None,
    request: Mapping[str, Any],
    device: str,
    trust: Sequence[str],
    overrides: Any,
) -> tuple[pd.DataFrame, int]:
    """The table, and how many pictures were written."""
    import pandas as pd
    from matplotlib import pyplot

    from zoo.hub import open_target
    from zoo.training.fit import quiet
    from zoo.training.whole import whole

    quiet()
    module = open_target(target, trust=trust, overrides=overrides).module(device)
    wishes = _wishes(module, request)
    if not inputs and not wishes:
        raise InputError("name at least one INPUT: a file, a folder, a glob, or a csv with a column `file`")
    alone = [f"--{name}" for name in wishes if inputs and name not in module.file_requests]
    if alone:
        raise InputError(f"{', '.join(alone)}: goes without INPUT, there is {inputs[0]}")
    module.wishes = wishes
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    try:
        found = _files(module, inputs, out) if inputs else _request(module, wishes, out)
    finally:
        pyplot.close("all")
    table = pd.DataFrame(found.rows)
    if out is not None and found.rows:
        with whole(out / "table.csv") as working:
            table.to_csv(working, index=False, errors="backslashreplace")  # names may be no text
    if found.failures:
        left = found.inputs - len(found.failures)
        written = f"; the other {left} are in {out / 'table.csv'}" if out is not None and found.rows else ""
        count = f"{len(found.failures)} of {found.inputs} inputs cannot be used{written}"
        raise InputError("\n".join([*found.failures, count]))
    return table, found.pictures


def _wishes(module: ZooModule, request: Mapping[str, Any]) -> dict[str, Any]:
    """The requests, if the method answers them."""
    for name in request:
        if name not in module.requests:
            answers = ", ".join(f"--{known}" for known in module.requests) or "none of these options"
            raise InputError(f"--{name}: {type(module).__name__} takes {answers}")
    wishes = dict(request)
    for name in ("gallery", "boxes"):
        if name in wishes:
            wishes[name] = Path(wishes[name])
            if not os.path.exists(wishes[name]):
                raise InputError(f"--{name} {wishes[name]}: there is no such place")
    if "outfit" in wishes:
        wishes["outfit"] = [Path(file) for file in wishes["outfit"]]
    if wishes.get("top", 1) < 1:
        raise InputError(f"--top must be at least 1, got {wishes['top']}")
    return wishes


def _request(module: ZooModule, wishes: dict[str, Any], folder: Path | None) -> Answer:
    from zoo.training.whole import draw_whole

    rows, pictures = module.predict_request(wishes, folder)
    for name, figure in pictures.items():
        if folder is not None:
            draw_whole(folder / f"{name}.png", figure, DPI)
    return Answer(rows, len(pictures) if folder is not None else 0, [], 0)


def _files(module: ZooModule, given: Sequence[str | Path], folder: Path | None) -> Answer:
    """Predicts file by file; those that cannot be used are told together at the end."""
    from matplotlib import pyplot

    from zoo.training.whole import draw_whole, write_whole

    files = expand(given, module.suffixes, module.is_item)
    names = _picture_names(files)
    rows: list[Row] = []
    failures: list[str] = []
    for file in track(files, "predict"):
        module.beside = None if folder is None else folder / names[file].removesuffix(PICTURE)
        try:
            found, figure = module.predict_file(file)
        except InputError as error:
            failures.append(str(error))
            continue
        rows.extend({"file": str(file), **row} for row in found)
        if folder is not None:
            draw_whole(folder / names[file], figure, DPI)
        pyplot.close(figure)
    rows = module.arrange(rows)
    overview = module.overview(rows) if folder is not None and len(rows) > 1 else None
    if overview is not None and folder is not None:
        draw_whole(folder / OVERVIEW, overview, DPI)
    if folder is not None and rows:
        for name, text in module.documents(rows).items():
            write_whole(folder / name, text)
    pictures = 0 if folder is None else len(files) - len(failures) + (overview is not None)
    return Answer(rows, pictures, failures, len(files))


def expand(
    inputs: Iterable[str | Path], suffixes: Sequence[str], is_item: Callable[[Path], bool] = lambda folder: False
) -> list[Path]:
    """Turns files, folders, globs and csv lists into files, each once, in a stable order.

    Args:
        inputs: What the user named.
        suffixes: Endings that the model takes.
        is_item: Whether a folder is one input by itself.

    Raises:
        InputError: Something named does not exist, has another ending, or holds nothing that fits.
    """
    found: dict[Path, None] = {}
    for text in map(str, inputs):
        for file in _one(text, suffixes, is_item):
            found[file] = None
    return list(found)


def _one(text: str, suffixes: Sequence[str], is_item: Callable[[Path], bool]) -> list[Path]:
    path, takes = Path(text), ", ".join(suffixes)

    def fits(file: Path) -> bool:
        if os.path.isdir(file):
            return is_item(file)
        there = os.path.isfile(file) or os.path.islink(file)  # a link to nowhere is told when its turn comes
        return there and file.suffix.lower() in suffixes

    if os.path.isdir(path):  # pathlib raises at names longer than any file's
        if is_item(path):
            return [path]
        files = _outermost(sorted(file for file in path.rglob("*") if fits(file)))
        if not files:
            raise InputError(f"{path}: no file in this folder ends in {takes}")
        return files
    if os.path.isfile(path):
        if path.suffix.lower() == ".csv" and ".csv" not in suffixes:
            return _listed(path, suffixes, fits)
        if path.suffix.lower() not in suffixes:
            raise InputError(f"{path}: this model takes {takes}")
        return [path]
    matches = sorted(Path(match) for match in glob.glob(text, recursive=True))
    fitting = [match for match in matches if fits(match)]
    if matches and not fitting:
        raise InputError(f"{text}: none of {len(matches)} matches ends in {takes}")
    if not fitting:
        raise InputError(f"{text}: no such file, folder or match")
    if len(fitting) < len(matches):
        print(f"{text}: {len(matches) - len(fitting)} matches do not end in {takes} and are left out", file=sys.stderr)
    return fitting


def _outermost(files: Sequence[Path]) -> list[Path]:
    """Without what lies inside a folder that is an input itself."""
    kept: list[Path] = []
    for file in files:  # sorted: a folder comes before what is in it
        if not any(folder in file.parents for folder in kept[-1:]):
            kept.append(file)
    return kept


def _listed(table: Path, suffixes: Sequence[str], fits: Callable[[Path], bool]) -> list[Path]:
    """Files of the column ``file`` of a csv."""
    from zoo.training.data import DataError
    from zoo.training.documents import read_rows
    from zoo.training.paths import below

    rows = list(read_rows(table, "list"))
    columns = rows.pop(0).values if rows else []
    if "file" not in columns:
        raise InputError(f"{table}:1: no column `file`; columns are {', '.join(columns) or 'none'}")
    files = []
    for row in rows:
        if row.problem is not None:
            raise row.problem
        name = dict(zip(columns, row.values, strict=False)).get("file", "")
        file = below(table.parent, name)
        if not name or not fits(file):
            raise DataError(f"{table}:{row.number}: {name!r} is no file ending in {', '.join(suffixes)}")
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
        names[file] = f"{name}{PICTURE}"
    return names
