"""Evaluates a checkpoint for publishing: figures by the protocol, with bootstrap intervals for all that allow it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat, dim_zero_sum

from zoo.errors import InputError
from zoo.hub.schema import IN_THE_FILE
from zoo.metrics import bootstrap_interval
from zoo.recipe import build_data, names, read, text
from zoo.training import ZooData, ZooModule
from zoo.training.fit import build_trainer, quiet

if TYPE_CHECKING:
    from zoo.checkpoint import Opened

RESAMPLES = 400
_SHOWN = 8


@dataclass(frozen=True)
class Measured:
    """An evaluation.

    Attributes:
        domain: Of the model.
        recipe: Name of the recipe it was trained by, ``domain/name``.
        data: Domain, data set, split, and whether it was made up.
        fingerprint: Of the evaluated items: another data set, or another version of it, has another.
        protocol: Name of the evaluation protocol.
        terms: Of the data set, as it states them.
        values: Figures by name, without the ends of intervals.
        intervals: 95 % bootstrap intervals of them.
        main: The figure that picked the checkpoint.
        note: How the intervals were made.
    """

    domain: str
    recipe: str
    data: str
    fingerprint: str
    protocol: str
    terms: str
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    main: str
    note: str = ""
    items: int = 0
    main_first: list[str] = field(default_factory=list)


def measure(opened: Opened) -> Measured:
    """Evaluates on the test split of the carried data.

    Intervals that the domain's own metrics give are taken; the others come from resampling evaluation batches of one
    item, where a figure of all items is what its states give when merged.

    Args:
        opened: A checkpoint.

    Raises:
        InputError: The data cannot be used.
    """
    import lightning.pytorch as pl

    quiet()
    seed = int(opened.recipe.tree.get("seed_everything") or 0)
    pl.seed_everything(seed, workers=True, verbose=False)
    module, data = opened.module(), build_data(opened.recipe)
    if not isinstance(data, ZooData):
        raise InputError(f"{opened.file}: {type(data).__name__} is no ZooData")
    if not module.class_names:
        module.set_classes(data.class_names)
    items = data.items("test")
    trainer = build_trainer(
        {
            "devices": 1,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
        }
    )
    trainer.test(module, datamodule=data, verbose=False)
    results = {name: rounded(value) for name, value in module.results.items() if math.isfinite(value)}
    if not results:
        raise InputError(f"{opened.file}: its evaluation gives no figure")
    intervals = {
        name: (results[f"{name}_low"], results[f"{name}_high"])
        for name in results
        if f"{name}_low" in results and f"{name}_high" in results
    }
    ends = {f"{name}_{end}" for name in intervals for end in ("low", "high")}
    values = {name: value for name, value in results.items() if name not in ends}
    note = "bootstrap over the units of the protocol" if intervals else ""
    watched = module.monitor.removeprefix("val/")
    if not intervals:
        intervals, count = _resampled(module, data, values)
        note = f"bootstrap over {count} test items" if intervals else "no interval: its metrics cannot be resampled"
    main = watched if watched in values and (watched in intervals or not intervals) else next(iter(intervals), "")
    main = main or next(iter(values))
    first = [main, *intervals, *values]
    made_up = data.use_synthesized and data.root is None
    return Measured(
        domain=module.domain,
        recipe=_recipe_name(opened),
        data=f"{data.domain}/{data.dataset}, test split" + (", made up" if made_up else ""),
        fingerprint=_fingerprint(data, len(items)),
        protocol=module.protocol,
        terms="made up by the recipe" if made_up else " ".join(data.terms.split()),
        values=values,
        intervals=intervals,
        main=main,
        note=note,
        items=len(items),
        main_first=list(dict.fromkeys(first))[:_SHOWN],
    )


def _recipe_name(opened: Opened) -> str:
    """Which recipe of the zoo has this model and data; the file carries its recipe in any case."""
    carried = opened.checkpoint.recipe
    wanted = yaml.safe_load(carried)
    domain = wanted["model"]["class_path"].split(".")[2:3]
    near = ""
    for name, file in names().items():
        if name.split("/")[0] not in domain:
            continue
        given = _carried(name, file, wanted["data"]["class_path"].rpartition(".")[2])
        if given == carried:
            return name
        if not near and given and _same(yaml.safe_load(given), wanted):
            near = name
    return near or IN_THE_FILE


def _carried(name: str, file: Path, data: str) -> str:
    """The carried text of a recipe; empty where it has other data, which shows at a glance, or mistakes."""
    if data not in file.read_text(encoding="utf-8"):
        return ""
    try:
        return text(read(name))
    except InputError:
        return ""


def _same(given: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether two recipes differ in nothing but how long and where they train."""
    return all(given.get(key) == wanted.get(key) for key in ("model", "data", "optimizer"))


def _fingerprint(data: ZooData, items: int) -> str:
    """Sixteen digits for names and sizes of the files of the data, or for its class and size where it has none."""
    parts = [type(data).__name__, str(items)]
    try:
        folder = data.folder()
    except InputError:
        folder = None  # a set inside a package
    if folder is not None and folder.is_dir():
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        parts += [f"{file.relative_to(folder).as_posix()} {file.stat().st_size}" for file in files]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _resampled(
    module: ZooModule, data: ZooData, values: dict[str, float]
) -> tuple[dict[str, tuple[float, float]], int]:
    """Intervals over items, from the states that a metric has after each item by itself.

    A figure gets one only if all states together give the figure of the evaluation.

    Returns:
        Intervals by name, and the number of items.
    """
    data.batch_size = 1
    module.eval()
    units: list[MetricCollection] = []
    with torch.no_grad():
        for batch in data.test_dataloader():
            fresh = _metrics(module)
            module.evaluate_batch(batch, fresh)
            units.append(fresh)
    found: dict[str, tuple[float, float]] = {}
    for name in [str(key) for key in units[0]] if units else []:
        parts = [_states(unit[name]) for unit in units]
        if not all(part is not None for part in parts):
            continue
        found |= _intervals(_metrics(module)[name], [part for part in parts if part is not None], name, values)
    return found, len(units)


def _metrics(module: ZooModule) -> MetricCollection:
    built: Any = module.build_metrics()
    return MetricCollection(built, compute_groups=False)


def _states(metric: Metric) -> dict[str, Any] | None:
    """What a metric has gathered; None where its states cannot be joined by adding or appending."""
    found: dict[str, Any] = {}
    for name, reduce in metric._reductions.items():
        value = getattr(metric, name)
        if isinstance(value, list):
            found[name] = list(value)
        elif reduce is dim_zero_sum:
            found[name] = value
        elif reduce is dim_zero_cat:
            found[name] = [value]
        else:
            return None
    return found


def _intervals(
    metric: Metric, parts: list[dict[str, Any]], name: str, values: dict[str, float]
) -> dict[str, tuple[float, float]]:
    def figures(drawn: Any) -> dict[str, float]:
        metric.reset()
        for state in parts[0]:
            chosen = [parts[place][state] for place in drawn]
            if isinstance(chosen[0], list):
                setattr(metric, state, [tensor for part in chosen for tensor in part])
            else:
                setattr(metric, state, torch.stack(chosen).sum(0))
        metric._update_count = len(parts)
        try:
            result = metric.compute()
        except ValueError:  # what is drawn has nothing to measure
            return {}
        given = result if isinstance(result, dict) else {name: result}
        return {str(key): float(value) for key, value in given.items() if torch.as_tensor(value).numel() == 1}

    whole = figures(range(len(parts)))
    same = [key for key, value in whole.items() if key in values and math.isclose(value, values[key], rel_tol=1e-4)]
    same = [key for key in same if values[key] != round(values[key]) or 0 <= values[key] <= 1]  # counts have none
    draws: dict[bytes, dict[str, float]] = {}

    def statistic(key: str, drawn: np.ndarray) -> float:
        marks = drawn.tobytes()  # every figure is asked with the same draws
        if marks not in draws:
            draws[marks] = figures(drawn.tolist())
        return draws[marks].get(key, float("nan"))

    found = {}
    for key in same:
        low, high = bootstrap_interval(partial(statistic, key), len(parts), RESAMPLES)
        if math.isfinite(low) and math.isfinite(high):
            found[key] = (rounded(low), rounded(high))
    return found


def rounded(value: float) -> float:
    """Six digits: the last ones of a float differ between machines."""
    return float(f"{value:.6g}") if math.isfinite(value) else value
