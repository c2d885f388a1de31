"""Publishes a checkpoint: evaluates it, and writes the safetensors file, its card and its row of the index.

The same checkpoint gives the same bytes: tensors and metadata stand in a fixed order, nothing of the day, the machine
or the folder enters, and figures are rounded to six digits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo._version import __version__
from zoo.checkpoint import Checkpoint, write_safetensors
from zoo.errors import InputError
from zoo.hub.cache import digest
from zoo.hub.cards import card_text
from zoo.hub.measuring import Measured, measure
from zoo.hub.rows import write_row
from zoo.hub.targets import open_target
from zoo.training.whole import write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.checkpoint import Opened

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
HOLDS, WITHIN = 0.005, 0.02
"""What float16 weights may change of the main metric: relative to its size, or to the width of its 95 % interval."""


@dataclass(frozen=True)
class Published:
    """What was written.

    Attributes:
        file: The safetensors file, ``NAME-SHA8.safetensors``.
        card: The model card.
        index: The index that got the row.
        row: The row.
        measured: The evaluation.
    """

    file: Path
    card: Path
    index: Path
    row: dict[str, Any]
    measured: Measured


def publish(
    target: str | Path,
    name: str,
    out: str | Path = "published",
    *,
    half: bool = False,
    index: str | Path | None = None,
    urls: Sequence[str] = (),
    licence: str = "Apache-2.0",
    data_licence: str = "",
    sample: str = "",
    trust: Sequence[str] = (),
    overrides: Any = (),
    overwrite: bool = False,
) -> Published:
    """Evaluates a checkpoint on the test split of its data and publishes it.

    Args:
        target: A ``.ckpt``, a ``.safetensors``, the folder of a run, or the name of a pretrained model.
        name: Of the model, e.g. ``anomaly-small``.
        out: Folder of the file and of the card.
        half: Store the weights as float16, if the main metric holds with them.
        index: The index file that gets the row; ``out/index.yaml`` by default. It is made if absent.
        urls: Where the file will be, in order of preference; its place beside the index comes first by default.
        licence: Terms of the weights, an SPDX name.
        data_licence: Terms of the data it was trained on; those that the data set states by default.
        sample: A file beside the index that the model predicts on.
        trust: Modules outside the zoo that the carried recipe may import.
        overrides: Keys of the carried recipe's data and their values.
        overwrite: Whether files may be replaced.

    Raises:
        InputError: The name is none, the target or its data cannot be used, files are there already, or float16 costs
            too much.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"--name {name!r}: a model's name has small letters, digits, . _ -")
    folder = Path(out)
    opened = open_target(target, trust, overrides)
    measured = measure(opened)
    checkpoint = opened.checkpoint
    if half:
        checkpoint = replace(checkpoint, state=_halved(checkpoint.state))
        measured = _held(measured, replace(opened, checkpoint=checkpoint))
    terms = {"weights": licence, "data": data_licence or measured.terms}
    # what the file says of itself must not depend on how it was written, so its own size and name are not in it
    said = {
        "name": name,
        "metrics": {key: _figure(measured, key) for key in measured.main_first},
        "data": measured.data,
        "data_version": measured.fingerprint,
        "protocol": measured.protocol,
        "licence": terms,
        "code": f"zoo {__version__}",
    }
    metrics = {key: value for key, value in checkpoint.metrics.items() if key.startswith("val/")}
    metrics |= {f"test/{key}": value for key, value in measured.values.items()}
    folder.mkdir(parents=True, exist_ok=True)
    card = folder / f"{name}.md"
    file = _write(folder, name, replace(checkpoint, metrics=metrics, published=said), overwrite, card)
    place = Path(index) if index is not None else folder / "index.yaml"
    row = {
        "name": name,
        "domain": measured.domain,
        "recipe": measured.recipe,
        "source": "ours",
        "urls": [*(urls or [f"file://{_beside(file, place)}"])],
        "sha256": digest(file),
        "bytes": file.stat().st_size,
        "metrics": {"data": measured.data, "protocol": measured.protocol, "values": said["metrics"]},
        "licence": terms,
        **({"sample": sample} if sample else {}),
    }
    write_row(place, row)
    # at last: it says that all is there
    write_whole(card, card_text(row, replace(checkpoint, published=said), measured))
    return Published(file, card, place, row, measured)


def _write(folder: Path, name: str, checkpoint: Checkpoint, overwrite: bool, card: Path) -> Path:
    """The file under the name that its content gives it; older ones of that model go where they may be replaced.

    The same file without a card is one whose publishing was cut off.
    """
    working = folder / f".{name}.safetensors"
    write_safetensors(working, checkpoint, overwrite=True)
    file = folder / f"{name}-{digest(working)[:8]}.safetensors"
    older = [path for path in folder.glob(f"{name}-????????.safetensors") if path != file]
    if (older or (file.exists() and card.exists())) and not overwrite:
        working.unlink()
        raise InputError(f"{older[0] if older else file}: exists already; pass --overwrite to replace it")
    working.replace(file)
    for path in older:
        path.unlink()
    return file


def _beside(file: Path, index: Path) -> str:
    """The place of a file as seen from the index, absolute where it lies elsewhere."""
    whole, home = file.resolve(), Path(os.path.realpath(index)).parent
    return whole.relative_to(home).as_posix() if whole.is_relative_to(home) else whole.as_posix()


def _halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """float16 where that holds every value; what would overflow stays."""
    import torch

    result = {}
    for key, tensor in state.items():
        small = tensor.half() if tensor.dtype in (torch.float32, torch.float64) else tensor
        result[key] = small if bool(torch.isfinite(small).all()) else tensor
    return result


def _held(whole: Measured, halved: Opened) -> Measured:
    """The evaluation of the rounded weights, which is what is published with them."""
    found = measure(halved)
    before, after = whole.values[whole.main], found.values[whole.main]
    low, high = whole.intervals.get(whole.main, (before, before))
    if not abs(after - before) <= max(HOLDS * max(abs(before), 1e-9), WITHIN * (high - low)):
        raise InputError(
            f"--half: {whole.main} changes from {before:.6g} to {after:.6g} with float16 weights; "
            "publish without --half"
        )
    return found


def _figure(measured: Measured, key: str) -> float | list[float]:
    interval = measured.intervals.get(key)
    value = measured.values[key]
    return value if interval is None else [value, *interval]
