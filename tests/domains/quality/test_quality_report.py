"""The table of scenes: its means and medians are the reported ones."""

import numpy as np
import pytest
import torch

from zoo.domains.quality.report import per_scene
from zoo.metrics import QualityAgreement
from zoo.metrics.agreement import FIGURES


def test_table_holds_what_the_metrics_average():
    rng = np.random.default_rng(0)
    rows, metric = [], QualityAgreement()
    for number, (scene, size) in enumerate((("a", 30), ("b", 12), ("flat", 5), ("c", 20))):
        target = rng.normal(size=size).astype(np.float32) if scene != "flat" else np.ones(size, dtype=np.float32)
        score = (target + 0.5 * rng.normal(size=size)).astype(np.float32)
        rows += [
            {"id": str(place), "scene": scene, "target": float(t), "score": float(s)}
            for place, (t, s) in enumerate(zip(target, score, strict=True))
        ]
        metric.update(torch.from_numpy(score), torch.from_numpy(target), torch.full((size,), number))
    table, metrics = per_scene(rows), metric.compute()
    assert [(line["scene"], line["images"]) for line in table] == [("a", 30), ("b", 12), ("flat", 5), ("c", 20)]
    assert all(table[2][name] is None for name in (*FIGURES, "fitted"))
    measured = [line for line in table if line["fitted"] is not None]
    for name in FIGURES:
        values = [line[name] for line in measured]
        assert np.mean(values) == pytest.approx(metrics[f"{name}_mean"].item(), abs=1e-6)
        assert np.median(values) == pytest.approx(metrics[f"{name}_median"].item(), abs=1e-6)
