"""``zoo show``: a recipe as it resolves, or what a checkpoint says of itself."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.arguments import TARGET
from zoo.cli.heads import method
from zoo.cli.table import table, terminal_width
from zoo.recipe.light import Frozen

if TYPE_CHECKING:
    from zoo.checkpoint import Card
    from zoo.hub import Entry

HELP = "show a recipe, or what a checkpoint says of itself"
EXAMPLES = ("zoo show anomaly/demo", "zoo show runs/anomaly/demo")

_CHECKPOINTS = (".ckpt", ".safetensors")
_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "I32": "int32", "U32": "uint32",
    "I64": "int64", "U64": "uint64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "C64": "complex64",
}  # fmt: skip
_COUNTED = ("running_mean", "running_var", "num_batches_tracked")
_UNITS = ("B", "kB", "MB", "GB", "TB")


class TensorLine(Frozen):
    """One tensor: its name, dtype as torch calls it, and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many values it holds."""
        return math.prod(self.shape)

    @property
    def learned(self) -> bool:
        """Whether it looks like a parameter: floating point, and no running statistic of a normalisation."""
        return "float" in self.dtype and self.name.rpartition(".")[2] not in _COUNTED


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("what", metavar="RECIPE|TARGET", help=f"a recipe, or {TARGET}")
    parser.add_argument("--tensors", action="store_true", help="list every tensor of a checkpoint too")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    entry = _pretrained(args.what)
    if entry is not None:
        print(_listed(entry))
    if entry is not None and entry.manual and not entry_file(entry).is_file():
        return 0  # the user has to fetch it; what it is has been told
    if is_target(args.what):
        print(("\n" if entry is not None else "") + _target(args.what, args.tensors))
    else:
        print(_recipe(args.what))
    return 0


def is_target(text: str) -> bool:
    """Whether a checkpoint is meant rather than a recipe, by what is there and how it is called."""
    path = Path(text).expanduser()
    if path.suffix in (".yaml", ".yml"):
        return False
    if path.suffix in _CHECKPOINTS or path.is_file() or _pretrained(text) is not None:
        return True
    if path.is_dir():
        from zoo.recipe import names

        return (path / "best.ckpt").is_file() or text.rstrip("/") not in names()
    return path.parts[:1] == ("runs",)


def _pretrained(text: str) -> Entry | None:
    """The row of the index, where a pretrained model is meant."""
    if "/" in text:  # no name has one: a recipe is shown without the index
        return None
    from zoo.hub import entries
    from zoo.hub.targets import is_name

    return entries()[text] if is_name(text) else None


def entry_file(entry: Entry) -> Path:
    """Where a model that is fetched by hand lies once it was converted."""
    from zoo.hub import models_dir

    return models_dir() / entry.filename


def _listed(entry: Entry) -> str:
    """What the index says of a pretrained model."""
    from zoo.hub.downloads import command_of

    rows = [
        ("pretrained", f"{entry.name}, {entry.domain}, of {entry.recipe}"),
        ("metrics", _pairs({name: str(figure) for name, figure in entry.metrics.items()})),
        ("measured", f"on {entry.data}; {entry.protocol}; by {entry.measured}"),
        ("licence", f"weights: {entry.licence.weights}; data: {entry.licence.data}"),
        ("from", " ".join(entry.urls)),
        ("sha256", entry.sha256 or "not known: nobody here has had the file, so what you fetch cannot be verified"),
        *([("by hand", f"fetch {entry.file}, then: {command_of(entry)}")] if entry.manual else []),
        *([("note", entry.note)] if entry.note else []),
    ]
    return table((), rows, terminal_width())


def _recipe(source: str) -> str:
    """The head of a recipe, its file, and its text with interpolations resolved and class paths in full.

    Raises:
        RecipeError: It has mistakes that the text shows; carries all of them.
    """
    from zoo.recipe import RecipeError, read, text
    from zoo.recipe.checking import static
    from zoo.recipe.mistakes import in_order

    recipe = read(source)
    if mistakes := in_order(static(recipe).mistakes):  # check() would import what the text leaves open
        raise RecipeError(mistakes)
    lines = [f"# {recipe.origin}", *(f"# {line}".rstrip() for line in recipe.head), text(recipe).rstrip()]
    return "\n".join(lines)


def _target(target: str, tensors: bool) -> str:
    """What a checkpoint says of itself; torch is imported only for a ``.ckpt``.

    Raises:
        InputError: There is no such checkpoint, or it cannot be read.
    """
    from zoo.hub import locate

    file = locate(target)
    if file.suffix == ".safetensors":
        from zoo.checkpoint import card, header

        said = card(file)
        found = [
            TensorLine(name, _DTYPES.get(entry["dtype"], entry["dtype"].lower()), tuple(entry["shape"]))
            for name, entry in header(file)["tensors"].items()
        ]
    else:
        from zoo.checkpoint import read

        checkpoint = read(file)
        said = checkpoint.card
        found = [
            TensorLine(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
            for name, tensor in checkpoint.state.items()
        ]
    return plain(_said(file, said, found, tensors))


def _said(file: Path, said: Card, found: list[TensorLine], tensors: bool) -> str:
    learned = sum(line.count for line in found if line.learned)
    others = sum(line.count for line in found if not line.learned)
    dtypes = Counter(line.dtype for line in found)
    rows = [
        ("model", method(said["recipe"]) or "-"),
        ("file", f"{file} ({size(file.stat().st_size)})"),
        ("zoo", said["version"]),
        ("parameters", f"{learned:,} in {len(found)} tensors" + (f", and {others:,} other values" if others else "")),
        ("dtypes", ", ".join(f"{name} ({count})" for name, count in dtypes.most_common()) or "-"),
        ("classes", f"{len(said['classes'])}: {', '.join(said['classes'])}" if said["classes"] else "-"),
        ("metrics", _pairs({name: f"{value:.6g}" for name, value in said["metrics"].items()})),
        ("preprocess", _pairs(said["preprocess"])),
        *([("converted from", said["source"])] if said["source"] else []),
        *([("published", _published(said["published"]))] if "published" in said else []),
    ]
    text = table((), rows, terminal_width())
    if tensors:
        shapes = [(line.name, line.dtype, "x".join(map(str, line.shape)) or "scalar") for line in found]
        text += "\n\n" + table(("tensor", "dtype", "shape"), shapes)
    return f"{text}\n\n{said['recipe'].rstrip()}"


def _published(said: Mapping[str, Any]) -> str:
    licence = said.get("licence") or {}
    terms = "; ".join(f"{what}: {text}" for what, text in licence.items()) if isinstance(licence, Mapping) else ""
    return "; ".join(str(part) for part in (said.get("data"), said.get("protocol"), terms) if part)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "-"


def size(count: int) -> str:
    """A number of bytes with its unit, in powers of 1000."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"


def plain(text: str) -> str:
    """Text out of a file, with control characters written out so that they do not reach the terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text)
