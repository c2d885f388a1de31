"""What a run folder and its evaluation hold, read from the disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from zoo.errors import InputError
from zoo.training import ZooModule, history

EVALUATION = "evaluation"
"""Folder of the evaluation inside the run folder: what ``zoo eval --out`` writes."""


@dataclass(frozen=True)
class Run:
    """One evaluated run.

    Attributes:
        name: Its folder, as it is called on the page.
        folder: Its folder.
        text: The resolved recipe.
        method: The class of its module.
        curves: ``metrics.csv``.
        history: ``run.json``; empty for runs without one.
        data: Domain and name of the test data.
        protocol: Of the evaluation.
        metrics: Test metrics by name.
        rows: Outputs per test item.
        figures: Pictures of the evaluation, by name.
    """

    name: str
    folder: Path
    text: str
    method: type[ZooModule]
    curves: pd.DataFrame
    history: dict[str, Any]
    data: str
    protocol: str
    metrics: dict[str, float]
    rows: pd.DataFrame
    figures: dict[str, Path] = field(default_factory=dict)

    @property
    def recipe(self) -> dict[str, Any]:
        """The resolved recipe as a tree."""
        found: dict[str, Any] = yaml.safe_load(self.text)
        return found

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.recipe.get("seed_everything") or 0)

    @property
    def setting(self) -> str:
        """The recipe without what does not change a method: runs of one setting are seeds of it."""
        tree = {key: value for key, value in self.recipe.items() if key != "seed_everything"}
        return json.dumps(tree, sort_keys=True, default=str)


def read_run(folder: Path) -> Run:
    """Reads a run folder with its evaluation.

    Raises:
        InputError: It is no run folder, or a file of it cannot be read; names the file.
    """
    recipe, evaluation = folder / "recipe.yaml", folder / EVALUATION
    if not recipe.is_file():
        raise InputError(f"{folder} is no run folder (it has no recipe.yaml)")
    text = recipe.read_text()
    result = _json(evaluation / "metrics.json")
    metrics = {name: float("nan") if value is None else float(value) for name, value in result["metrics"].items()}
    return Run(
        folder.as_posix(),
        folder,
        text,
        _class(yaml.safe_load(text)["model"]["class_path"], recipe),
        _csv(folder / "metrics.csv"),
        history.read(folder),
        result["data"],
        result["protocol"],
        metrics,
        _csv(evaluation / "predictions.csv"),
        {file.stem: file for file in sorted(evaluation.glob("*.png"))},
    )


def _class(path: str, recipe: Path) -> type[ZooModule]:
    module, _, name = path.rpartition(".")
    found = getattr(import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, ZooModule)):
        raise InputError(f"{recipe}: model.class_path {path} is no method of the zoo")
    return found


def _json(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}") from error
    return found


def _csv(file: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(file)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}") from error
