"""TARGET of every verb: a checkpoint file, the folder of a run, or the name of a pretrained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import checkpoint
from zoo.errors import InputError
from zoo.hub.index import entries, find, nearest

if TYPE_CHECKING:
    import torch

    from zoo.checkpoint import Opened
    from zoo.training import ZooModule


def is_name(target: str) -> bool:
    """Whether a pretrained model is meant: its name, and no run folder or file that is called so."""
    path = Path(target)
    # a name has no slash; so no index is read for a path or a recipe
    return "/" not in target and target in entries() and not path.is_file() and not (path / "best.ckpt").is_file()


def locate(target: str | Path) -> Path:
    """Finds the file that a target means; a pretrained model is downloaded first where it is not there yet.

    A run folder of that name goes first.

    Args:
        target: A ``.ckpt``, a ``.safetensors``, the folder of a run, or the name of a pretrained model.

    Raises:
        InputError: There is no such file and no such name; names the nearest.
        ZooError: A pretrained model could not be downloaded.
    """
    name = str(target)
    if is_name(name):
        from zoo.hub.downloads import pretrained

        return pretrained(name)
    try:
        return checkpoint.locate(target)
    except InputError as error:
        said = str(error)
        near = nearest(name) if "there is no such checkpoint" in said else []
        if not near:
            raise
        models = " or ".join(map(repr, near))
        hint = f", or the pretrained {models}?" if "did you mean" in said else f"; did you mean {models}?"
        raise InputError(said.partition("; name a .ckpt")[0].rstrip("?") + hint) from error


def sample(name: str) -> Path:
    """The input that comes with a pretrained model, to try it on.

    Raises:
        InputError: There is no such model, or it comes with none.
    """
    entry = find(name)
    place = entry.origin.parent / entry.sample
    if not entry.sample or not place.exists():
        having = [other.name for other in entries().values() if other.sample]
        raise InputError(f"{name}: comes with no sample input; these do: {', '.join(having) or 'none'}")
    return place


def open_target(target: str | Path, trust: Sequence[str] = (), overrides: Any = ()) -> Opened:
    """Reads a checkpoint and checks the recipe it carries, see :func:`zoo.checkpoint.open_target`.

    Args:
        target: A ``.ckpt``, a ``.safetensors``, the folder of a run, or the name of a pretrained model.
        trust: Modules whose classes the carried recipe may name, beside the zoo's own and the known libraries'.
        overrides: Keys of the recipe and their values.
    """
    return checkpoint.open_target(locate(target), trust, overrides)


def load(
    target: str | Path, device: str | torch.device = "cpu", strict: bool = True, trust: Sequence[str] = ()
) -> ZooModule:
    """Builds the model that a checkpoint describes and loads its weights, see :func:`zoo.checkpoint.load`.

    Args:
        target: A ``.ckpt``, a ``.safetensors``, the folder of a run, or the name of a pretrained model
            (``zoo.list_models()``).
        device: Where the model goes.
        strict: Whether every tensor must fit. Otherwise those that do are loaded, and a warning names the others.
        trust: Modules whose classes the carried recipe may name, beside the zoo's own and the known libraries'.

    Returns:
        The module in eval mode; its ``card`` prints class names, preprocessing and metrics.

    Raises:
        InputError: There is no such target, it cannot be read, or its recipe is not allowed or does not fit.
        ZooError: A pretrained model could not be downloaded.
    """
    return checkpoint.load(locate(target), device, strict, trust)
