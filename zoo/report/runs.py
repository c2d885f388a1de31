"""What a run folder and its evaluation hold, read from the disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from zoo.errors import InputError
from zoo.recipe.trust import Trust, refusal
from zoo.training import ZooModule, history
from zoo.training.documents import parse_json, parse_yaml

EVALUATION = "evaluation"
"""Folder of the evaluation inside the run folder: what ``zoo eval --out`` writes."""

AGAIN = "; delete that folder to have the run evaluated again"


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


def read_run(folder: Path, trust: Sequence[str] = ()) -> Run:
    """Reads a run folder with its evaluation.

    Args:
        folder: Of a run; somebody else may have written it.
        trust: Modules outside the zoo that its recipe may import.

    Raises:
        InputError: It is no run folder, or a file of it cannot be read; names the file.
    """
    recipe, evaluation = folder / "recipe.yaml", folder / EVALUATION
    if not recipe.is_file():
        raise InputError(f"{folder} is no run folder (it has no recipe.yaml)")
    text, method = _recipe(recipe, Trust(False, tuple(trust)))
    result = _result(evaluation / "metrics.json")
    rows = _csv(evaluation / "predictions.csv")
    if len(rows):
        _check_rows(method, rows, result["protocol"], evaluation / "predictions.csv")
    return Run(
        folder.as_posix(),
        folder,
        text,
        method,
        _curves(folder / "metrics.csv"),
        history.read(folder),
        result["data"],
        result["protocol"],
        {name: float("nan") if value is None else float(value) for name, value in result["metrics"].items()},
        rows,
        {file.stem: file for file in sorted(evaluation.glob("*.png"))},
    )


def _recipe(file: Path, trust: Trust) -> tuple[str, type[ZooModule]]:
    """The resolved recipe, and the class of its model."""
    try:
        text = file.read_text(encoding="utf-8")
        tree = parse_yaml(text, str(file))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file}: cannot be read as yaml ({' '.join(str(error).split())[:160]})") from error
    model = tree.get("model") if isinstance(tree, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("class_path"), str):
        raise InputError(f"{file}: has no model.class_path, so it is no recipe")
    return text, _class(model["class_path"], file, trust)


def _result(file: Path) -> dict[str, Any]:
    """What an evaluation measured."""
    found = _json(file)
    texts = isinstance(found, dict) and all(isinstance(found.get(key), str) for key in ("data", "protocol"))
    metrics = found.get("metrics") if isinstance(found, dict) else None
    if not texts or not isinstance(metrics, dict):
        raise InputError(f"{file}: must hold data, protocol and metrics{AGAIN}")
    for name, value in metrics.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InputError(f"{file}: metric {name} must be a number, got {str(value)[:60]!r}{AGAIN}")
    return found


def _check_rows(method: type[ZooModule], rows: pd.DataFrame, protocol: str, file: Path) -> None:
    """Refuses rows of which a method can make no figures: they are not those that it wrote."""
    try:
        method.measured(rows, protocol)
        method.costs(rows)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{file}: gives no figures ({type(error).__name__}: {reason}){AGAIN}") from error


def _curves(file: Path) -> pd.DataFrame:
    """A table of numbers over steps."""
    found = _csv(file)
    if len(found.columns) and "step" not in found:
        raise InputError(f"{file}:1: there is no column step")
    for name in found:
        if not pd.api.types.is_numeric_dtype(found[name]):
            raise InputError(f"{file}: column {name} holds what is no number")
    return found


def _class(path: str, recipe: Path, trust: Trust) -> type[ZooModule]:
    if not trust.allows(path):
        raise InputError(f"{recipe}: {refusal(path)}")
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        found = None
    if not (isinstance(found, type) and issubclass(found, ZooModule)):
        raise InputError(f"{recipe}: model.class_path {path} is no method of the zoo")
    return found


def _json(file: Path) -> Any:
    try:
        return parse_json(file.read_text(encoding="utf-8"), str(file))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}{AGAIN}") from error


def _csv(file: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(file)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}") from error
