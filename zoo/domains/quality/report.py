"""The table of scenes that ``zoo eval --out`` writes beside the metrics."""

from __future__ import annotations

import numpy as np

from zoo.metrics.agreement import FIGURES, agreement
from zoo.training import Row


def per_scene(rows: list[Row]) -> list[Row]:
    """The figures behind the means and medians, a row per scene in the order of the data.

    Args:
        rows: Of all images: ``scene``, ``target`` and ``score``.

    Returns:
        ``scene``, ``images``, srcc, krcc, plcc, rmse, mae, and ``fitted``, whether the logistic was; figures are None
        for a scene without two different scores, which has no order.
    """
    scenes: dict[str, list[Row]] = {}
    for row in rows:
        scenes.setdefault(row["scene"], []).append(row)
    table: list[Row] = []
    for scene, own in scenes.items():
        predicted, target = (np.array([row[name] for row in own], dtype=np.float64) for name in ("score", "target"))
        line: Row = {"scene": scene, "images": len(own), **dict.fromkeys((*FIGURES, "fitted"))}
        if len(set(target.tolist())) > 1:
            line.update(agreement(predicted, target)._asdict())
        table.append(line)
    return table
