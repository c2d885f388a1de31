"""Runs side by side: seeds pooled, intervals and differences by bootstrap over test items, Borda rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import combinations

import numpy as np
import pandas as pd

from zoo.report.runs import Run

RESAMPLES = 500


@dataclass(frozen=True)
class Group:
    """Runs of one setting, which differ in nothing but the seed.

    Attributes:
        name: As it is called on the page.
        runs: One per seed.
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def metrics(self) -> pd.DataFrame:
        """A row per run, a column per metric."""
        return pd.DataFrame([run.metrics for run in self.runs])


@dataclass(frozen=True)
class Difference:
    """How much a metric of one group differs from that of another, on the same test items.

    Attributes:
        metric: Its name.
        first: The group it is the figure of.
        second: The group that is subtracted.
        value: First minus second, mean over seeds.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p: Share of resamples on the other side of 0, doubled.
        items: How many test units were resampled.
    """

    metric: str
    first: str
    second: str
    value: float
    low: float
    high: float
    p: float
    items: int


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Pools the runs of each setting, in the order given."""
    settings: dict[str, list[Run]] = {}
    for run in runs:
        settings.setdefault(f"{run.data} {run.setting}", []).append(run)
    return [Group(_name(found), tuple(found)) for found in settings.values()]


def _name(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return runs[0].name
    parents = {run.folder.parent.as_posix() for run in runs}
    return parents.pop() if len(parents) == 1 else f"{runs[0].name} and {len(runs) - 1} more"


def smaller_is_better(run: Run, metric: str) -> bool:
    """Whether less of a metric is better."""
    return any(fnmatch(metric, pattern) for pattern in run.method.smaller_is_better)


def intervals(group: Group, resamples: int = RESAMPLES) -> dict[str, tuple[float, float]]:
    """95 % intervals of those metrics that follow from the rows alone, over test units; mean over the seeds.

    Args:
        group: Runs that were evaluated on the same items.
        resamples: How many are drawn.
    """
    units = _units(group.runs)
    if len(units) < 2:
        return {}
    drawn = _resampled(group.runs, units, resamples)
    return {name: _ends(values) for name, values in drawn.items()}


def differences(groups: Sequence[Group], resamples: int = RESAMPLES) -> list[Difference]:
    """Every pair of groups, on the test units that all their runs have; paired: both see the same resamples."""
    found = []
    for first, second in combinations(groups, 2):
        runs = (*first.runs, *second.runs)
        units = _units(runs) if first.runs[0].method.unit == second.runs[0].method.unit else []
        if len(units) < 2 or first.runs[0].data != second.runs[0].data:
            continue
        ours, theirs = _resampled(first.runs, units, resamples), _resampled(second.runs, units, resamples)
        whole, other = _whole(first.runs, units), _whole(second.runs, units)
        for metric in ours.keys() & theirs.keys():
            values = ours[metric] - theirs[metric]
            values = values[~np.isnan(values)]
            if not len(values):
                continue
            low, high = _ends(values)
            tail = min((values <= 0).mean(), (values >= 0).mean())
            found.append(
                Difference(metric, first.name, second.name, whole[metric] - other[metric], low, high,
                           float(min(1.0, 2 * max(tail, 1 / (len(values) + 1)))), len(units))
            )  # fmt: skip
    return sorted(found, key=lambda difference: (difference.first, difference.second, difference.metric))


def borda(groups: Sequence[Group]) -> dict[str, float]:
    """Mean share of the other groups that a group beats, over the metrics of :meth:`ZooModule.measured` that all have.

    Returns:
        By group: 1 where it is best in every metric, 0 where it is worst in every one; ties count one half. Empty for
        one group, or where no metric is shared.
    """
    tables = [_whole(group.runs) for group in groups]
    table = pd.DataFrame(dict(zip([group.name for group in groups], tables, strict=True))).dropna()
    if len(groups) < 2 or table.empty:
        return {}
    signs = [-1 if smaller_is_better(groups[0].runs[0], str(name)) else 1 for name in table.index]
    points = table.mul(signs, axis=0).rank(axis=1) - 1
    return {str(name): float(share) for name, share in (points.mean() / (len(groups) - 1)).items()}


def _units(runs: Sequence[Run]) -> list[str]:
    """The test units (items, or what holds several of them) that all runs have rows of, in a stable order."""
    unit = runs[0].method.unit
    if any(unit not in run.rows for run in runs):
        return []
    shared = set.intersection(*(set(run.rows[unit].astype(str)) for run in runs))
    return sorted(shared)


def _whole(runs: Sequence[Run], units: Sequence[str] | None = None) -> pd.Series:
    """The metrics over all units, or over some; mean over the runs."""
    found = []
    for run in runs:
        rows = run.rows if units is None else run.rows[run.rows[run.method.unit].astype(str).isin(units)]
        found.append(run.method.measured(rows, run.protocol) if len(rows) else {})
    return pd.DataFrame(found).mean()


def _resampled(runs: Sequence[Run], units: Sequence[str], resamples: int) -> dict[str, np.ndarray]:
    """Metrics of each resample of the units, mean over the runs: ``(resamples,)`` by metric."""
    rng, size = np.random.default_rng(0), len(units)
    draws = [rng.integers(0, size, size) for _ in range(resamples)]
    tables = []
    for run in runs:
        places = run.rows.groupby(run.rows[run.method.unit].astype(str)).indices
        rows = [places[unit] for unit in units]
        found = []
        for draw in draws:
            sample = run.rows.iloc[np.concatenate([rows[index] for index in draw])].copy()
            # a unit drawn twice is two units, not one of twice the size
            sample[run.method.unit] = np.repeat(np.arange(size), [len(rows[index]) for index in draw])
            found.append(run.method.measured(sample, run.protocol))
        tables.append(pd.DataFrame(found))
    mean = sum(tables[1:], tables[0]) / len(tables)
    return {str(name): mean[name].to_numpy(float) for name in mean}


def _ends(values: np.ndarray) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)
