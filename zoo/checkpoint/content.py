"""What a checkpoint says of itself beside the weights, checked value by value. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from zoo.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

RECIPE, VERSION, CLASSES = "zoo_recipe", "zoo_version", "zoo_classes"
METRICS, PREPROCESS, SOURCE = "zoo_metrics", "zoo_preprocess", "zoo_source"
PUBLISHED = "zoo_published"  # of a file that `zoo publish` wrote: how it was evaluated, its terms
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
        published: Of a published model: its name, and how, on what and by which version its metrics were measured, with
            intervals; its terms. Others have no such key.
        file: The file it was read from.
    """

    recipe: str
    version: str
    classes: list[str]
    metrics: dict[str, float]
    preprocess: dict[str, Any]
    source: str
    published: NotRequired[dict[str, Any]]
    file: str


class Told(dict[str, Any]):
    """A card whose text is for people: ``print(zoo.load(...).card)``."""

    def __str__(self) -> str:
        said = self.get("published") or {}
        figures = {str(name): _figure(value) for name, value in said.get("metrics", {}).items()}
        figures = figures or {name: f"{value:.6g}" for name, value in self.get("metrics", {}).items()}
        classes = self.get("classes") or []
        rows = [
            ("model", said.get("name", "")),
            ("file", self.get("file", "")),
            ("zoo", self.get("version", "")),
            ("classes", f"{len(classes)}: {', '.join(classes)}" if classes else "none"),
            (
                "preprocess",
                ", ".join(f"{name} {value}" for name, value in self.get("preprocess", {}).items()) or "none",
            ),
            ("metrics", ", ".join(f"{name} {value}" for name, value in figures.items()) or "none"),
            ("measured on", ", ".join(filter(None, (said.get("data", ""), said.get("protocol", ""))))),
            ("licence", ", ".join(f"{what}: {terms}" for what, terms in said.get("licence", {}).items())),
            ("converted from", self.get("source", "")),
        ]
        return "\n".join(f"{name:<14}  {value}" for name, value in rows if value)


def _figure(value: Any) -> str:
    if isinstance(value, list) and len(value) == 3:
        return "{:.4g} [{:.4g}, {:.4g}]".format(*value)
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


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
        published: What ``zoo publish`` measured; empty for others.
    """

    path: Path
    state: dict[str, Tensor]
    recipe: str
    version: str
    classes: list[str]
    metrics: dict[str, float]
    preprocess: dict[str, Any]
    source: str = ""
    published: dict[str, Any] = field(default_factory=dict)

    @property
    def card(self) -> Card:
        """All but the weights."""
        said: Card = {
            "recipe": self.recipe,
            "version": self.version,
            "classes": self.classes,
            "metrics": self.metrics,
            "preprocess": self.preprocess,
            "source": self.source,
            "file": str(self.path),
        }
        if self.published:
            said["published"] = self.published
        return said


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
    published = values.get(PUBLISHED, {})
    if not isinstance(published, dict):
        raise InputError(f"{path}: {PUBLISHED} must be values by name" + _found(published))
    said: Card = {
        "recipe": recipe,
        "version": version,
        "classes": classes,
        "metrics": {name: float(value) for name, value in metrics.items()},
        "preprocess": preprocess,
        "source": source,
        "file": str(path),
    }
    if published:
        said["published"] = published
    return said


def _is_metric(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, int | float) and not isinstance(value, bool)


def _found(value: object) -> str:
    return ", it is missing" if value is None else f", found a {type(value).__name__}"
