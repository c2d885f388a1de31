"""From a checkpoint to a model that is ready to use, and from a trained model to the start of another."""

from __future__ import annotations

import copy as copying
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from zoo.checkpoint.content import Checkpoint, Told
from zoo.checkpoint.files import read
from zoo.checkpoint.fitting import copy, listing, misfits
from zoo.checkpoint.target import locate
from zoo.errors import InputError
from zoo.layers import without_pretrained
from zoo.recipe import Mistake, Recipe, RecipeError, build_model, carried
from zoo.recipe.nodes import Node, Scalar
from zoo.recipe.nodes import copy as copy_tree
from zoo.recipe.overrides import Overrides
from zoo.training import ZooModule

_TAKEN = ("seed_everything", "model", "data")


@dataclass(frozen=True)
class Opened:
    """A checkpoint that was read, and its recipe, checked; nothing is built yet.

    Attributes:
        checkpoint: The weights and what goes with them.
        recipe: Seed and sections ``model`` and ``data`` of the carried recipe, and of ``trainer`` what the user's
            overrides wrote: a checkpoint does not say where or how it is run.
    """

    checkpoint: Checkpoint
    recipe: Recipe

    @property
    def file(self) -> Path:
        """The file that was read."""
        return self.checkpoint.path

    def module(self, device: str | torch.device = "cpu", strict: bool = True) -> ZooModule:
        """Builds the model and loads its weights; see :func:`load`.

        Raises:
            InputError: The recipe does not fit the weights, or there is no such device.
        """
        with without_pretrained():  # the checkpoint's own weights come right after
            module = build_model(self.recipe)
        if not isinstance(module, ZooModule):
            raise InputError(f"{self.file}: {type(module).__name__} is no ZooModule")
        _describe(module, self.checkpoint)
        _fill(module, self.checkpoint, strict)
        try:
            return module.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0][:160]}") from error


def open_target(target: str | Path, trust: Sequence[str] = (), overrides: Overrides = ()) -> Opened:
    """Reads a checkpoint and checks the recipe it carries, as text from somebody unknown.

    Args:
        target: A ``.ckpt``, a ``.safetensors`` or the folder of a run.
        trust: Modules whose classes the carried recipe may name, beside the zoo's own and the known libraries'.
        overrides: Keys of the recipe and their values.

    Returns:
        The checkpoint and its recipe.

    Raises:
        InputError: There is no such checkpoint, it cannot be read, or its recipe is not allowed.
    """
    checkpoint = read(locate(target))
    try:
        recipe = carried(checkpoint.recipe, str(checkpoint.path), tuple(trust), overrides)
    except RecipeError as error:
        raise RecipeError(_refused(error.mistakes) or error.mistakes) from error
    return Opened(checkpoint, _usable(recipe))


def _refused(mistakes: Sequence[Mistake]) -> list[Mistake]:
    """What of a stranger's recipe is refused for safety; what else is wrong with it then only follows from that."""
    said = [(mistake, str(mistake)) for mistake in mistakes]
    return [
        mistake
        for mistake, text in said
        if "is not allowed in a recipe" in text
        or ("is not imported: a recipe out of" in text and "is not known to be" not in text)
    ]


def load(
    target: str | Path, device: str | torch.device = "cpu", strict: bool = True, trust: Sequence[str] = ()
) -> ZooModule:
    """Builds the model that a checkpoint describes and loads its weights, averaged ones where training averaged.

    Args:
        target: A ``.ckpt``, a ``.safetensors`` or the folder of a run.
        device: Where the model goes.
        strict: Whether every tensor must fit. Otherwise those that do are loaded, and a warning names the others.
        trust: Modules whose classes the carried recipe may name, beside the zoo's own and the known libraries'.

    Returns:
        The module in eval mode, with ``class_names`` and ``card``; in the precision it is built in (float32), whatever
        precision the file has.

    Raises:
        InputError: There is no such checkpoint, it cannot be read, its recipe is not allowed or does not fit its
            weights or its class names, or there is no such device.
    """
    return open_target(target, trust).module(device, strict)


def _usable(recipe: Recipe) -> Recipe:
    """Seed, model and data; of the trainer only what overrides wrote, whose places have no line."""
    root = copy_tree(recipe.root)
    sections: dict[Scalar, Node] = {name: node for name, node in (root.table or {}).items() if name in _TAKEN}
    trainer = root.child("trainer")
    written = {key: node for key, node in trainer.entries() if not node.place.line} if trainer else {}
    if trainer is not None and written:
        sections["trainer"] = Node(written, trainer.place)
    taken = copying.copy(recipe)
    taken.root = Node(sections, root.place)
    return taken


def _describe(module: ZooModule, checkpoint: Checkpoint) -> None:
    """Gives a module what its checkpoint says of it: recipe, class names, card."""
    module.recipe_text = checkpoint.recipe
    module.card = Told(checkpoint.card)
    if checkpoint.classes:
        try:
            module.set_classes(checkpoint.classes)
        except InputError as error:
            raise InputError(f"{checkpoint.path}: {error}") from error


def _fill(module: ZooModule, checkpoint: Checkpoint, strict: bool) -> None:
    found = misfits(module.state_dict(), checkpoint.state)
    if found and strict:
        raise InputError(
            f"{checkpoint.path}: {len(found)} tensors do not fit {type(module).__name__}:\n{listing(found)}"
        )
    copy(module, checkpoint.state, {misfit.name for misfit in found}, str(checkpoint.path))
    if found:
        names = "\n".join(f"  {misfit}" for misfit in found)
        warnings.warn(f"{checkpoint.path}: {len(found)} tensors were not loaded:\n{names}", UserWarning, stacklevel=4)


def initialise(module: ZooModule, target: str | Path, skip: Sequence[str] = ()) -> list[str]:
    """Starts a model from the weights of a trained one, e.g. to train on with classes of one's own.

    Only the weights are taken: the checkpoint's recipe is not looked at.

    Args:
        module: The model to be trained.
        target: A ``.ckpt``, a ``.safetensors`` or the folder of a run.
        skip: Regular expressions searched in the tensors' names; what matches keeps the value it starts with.

    Returns:
        Names of the tensors that a pattern skipped, in the module's order.

    Raises:
        InputError: A tensor does not fit and no pattern skips it, a pattern is none or matches nothing, or no tensor
            is left to copy.
    """
    checkpoint = read(locate(target))
    expected = module.state_dict()
    names = list(dict.fromkeys([*expected, *checkpoint.state]))
    skipped: set[str] = set()
    for pattern in skip:
        matched = _matching(pattern, names)
        if not matched:
            raise InputError(f"--init-skip {pattern!r} matches no tensor; names are like {', '.join(names[:4])}")
        skipped.update(matched)
    found = [misfit for misfit in misfits(expected, checkpoint.state) if misfit.name not in skipped]
    if found:
        raise InputError(
            f"{checkpoint.path}: {len(found)} tensors do not fit the model:\n{listing(found)}\n"
            f"to leave them as they start: --init-skip PATTERN, e.g. --init-skip {_suggest(found[0].name)!r}"
        )
    copy(module, checkpoint.state, skipped, str(checkpoint.path))
    return [name for name in names if name in skipped]


def _matching(pattern: str, names: list[str]) -> list[str]:
    try:
        return [name for name in names if re.search(pattern, name)]
    except re.error as error:
        raise InputError(f"--init-skip {pattern!r} is no regular expression: {error}") from None


def _suggest(name: str) -> str:
    """A pattern for the layer that a tensor belongs to."""
    return f"^{name.rpartition('.')[0] or name}"
