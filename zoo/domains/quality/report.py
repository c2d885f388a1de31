"""The table of scenes that ``zoo eval --out`` writes beside the metrics."""

from __future__ import annotations

import numpy as np
import pandas as pd

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


def mean_scene_srcc(rows: pd.DataFrame) -> float:
    """Mean over scenes of the rank correlation of ``score`` and ``target``, all scenes at once; NaN without any."""
    scene = rows["scene"]
    ranks = rows.groupby(scene)[["score", "target"]].rank()
    centred = ranks - ranks.groupby(scene).transform("mean")
    products = pd.DataFrame({"both": centred["score"] * centred["target"], "score": centred["score"] ** 2,
                             "target": centred["target"] ** 2}).groupby(scene).sum()  # fmt: skip
    ordered = products[products["target"] > 0]
    spread = (ordered["score"] * ordered["target"]).to_numpy() ** 0.5
    # scores that are all equal say nothing: 0, as in the metric
    values = np.divide(ordered["both"].to_numpy(), spread, out=np.zeros(len(ordered)), where=spread > 0)
    return float(values.mean()) if len(values) else float("nan")
