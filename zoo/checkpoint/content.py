"""What a checkpoint says of itself beside the weights, checked value by value. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from zoo.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

RECIPE, VERSION, CLASSES = "zoo_recipe", "zoo_version", "zoo_classes"
METRICS, PREPROCESS, SOURCE = "zoo_metrics", "zoo_preprocess", "zoo_source"
PART = "zoo_part"  # of a part file, which has no recipe; training reads such files (zoo/training/parts.py)


class Card(TypedDict):
    """What a checkpoint says of itself.

    Attributes:
        recipe: The resolved recipe as YAML text.
        version: The version of zoo that wrote it.
        classes: Names of the classes, in the order of the network's outputs; empty where a method has none.
        metrics: Values by name, as last measured in training.
        preprocess: What happens to a user's input before the network, as plain values.
        source: The authors' file it was converted from (name and sha256); empty for a trained one.
        file: The file it was read from.
    """

    recipe: str
    version: str
    classes: list[str]
    metrics: dict[str, float]
    preprocess: dict[str, Any]
    source: str
    file: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        path: The file it was read from, or is to be written to.
        state: Tensors by their name in the module (``network.fc1.weight``); averaged ones where training averaged.
        recipe: The resolved recipe as YAML text.
        version: The version of zoo that wrote it.
        classes: Names of the classes.
        metrics: Values by name.
        preprocess: What happens to a user's input before the network, as plain values.
        source: The authors' file it was converted from; empty for a trained one.
    """

    path: Path
    state: dict[str, Tensor]
    recipe: str
    version: str
    classes: list[str]
    metrics: dict[str, float]
    preprocess: dict[str, Any]
    source: str = ""

    @property
    def card(self) -> Card:
        """All but the weights."""
        return {
            "recipe": self.recipe,
            "version": self.version,
            "classes": self.classes,
            "metrics": self.metrics,
            "preprocess": self.preprocess,
            "source": self.source,
            "file": str(self.path),
        }


def check(path: Path, values: Mapping[str, Any]) -> Card:
    """Checks what a file says of itself; ``values`` holds the ``zoo_*`` entries as plain values.

    Args:
        path: The file, for messages.
        values: The entries by key; other keys are left alone.

    Returns:
        The card.

    Raises:
        InputError: There is no recipe (so zoo did not write the file), or an entry has the wrong type.
    """
    recipe = values.get(RECIPE)
    if RECIPE not in values:
        raise InputError(
            f"{path}: carries no recipe ({RECIPE}), so it was not written by zoo; an authors' file is turned into a "
            f"checkpoint by: zoo convert RECIPE {path} OUT.safetensors"
        )
    if not isinstance(recipe, str) or not recipe.strip():
        raise InputError(f"{path}: {RECIPE} must be the recipe as text" + _found(recipe))
    version = values.get(VERSION)
    if not isinstance(version, str):
        raise InputError(f"{path}: {VERSION} must be a version as text" + _found(version))
    classes = values.get(CLASSES, [])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise InputError(f"{path}: {CLASSES} must be a list of names" + _found(classes))
    metrics = values.get(METRICS, {})
    if not isinstance(metrics, dict) or not all(_is_metric(*item) for item in metrics.items()):
        raise InputError(f"{path}: {METRICS} must be numbers by name" + _found(metrics))
    preprocess = values.get(PREPROCESS, {})
    if not isinstance(preprocess, dict):
        raise InputError(f"{path}: {PREPROCESS} must be values by name" + _found(preprocess))
    source = values.get(SOURCE, "")
    if not isinstance(source, str):
        raise InputError(f"{path}: {SOURCE} must be text" + _found(source))
    return {
        "recipe": recipe,
        "version": version,
        "classes": classes,
        "metrics": {name: float(value) for name, value in metrics.items()},
        "preprocess": preprocess,
        "source": source,
        "file": str(path),
    }


def _is_metric(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, int | float) and not isinstance(value, bool)


def _found(value: object) -> str:
    return ", it is missing" if value is None else f", found a {type(value).__name__}"
