"""A tiny method and data set, for tests of the training floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torchmetrics import MeanMetric

from zoo.training import ZooData, ZooModule


class Points:
    def __init__(self, size: int, nan_at: int | None = None) -> None:
        self.size, self.nan_at = size, nan_at

    def __len__(self) -> int:
        return self.size

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        x = torch.linspace(-1, 1, 4) * (index + 1) / self.size + torch.from_numpy(rng.normal(size=4) * 0.1).float()
        if index == self.nan_at:
            x = x * float("nan")
        return {"id": f"point{index}", "x": x, "y": torch.tensor([index / self.size])}


class ToyData(ZooData):
    """Points on a line."""

    domain, dataset, source, terms, layout = "toy", "points", "made up", "none", "nothing"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 4,
        workers: int = 0,
        synthesize: bool = True,
        limit: int | None = None,
        on_error: str = "stop",
        size: int = 26,
        nan_at: int | None = None,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
        self.size, self.nan_at = size, nan_at

    def read(self, root: Path, split: str) -> Points:
        return Points(self.size if split == "train" else 7, self.nan_at if split == "train" else None)

    def make(self, root: Path) -> None:
        (root / "empty.txt").write_text("nothing")


class ToyModule(ZooModule):
    """Regression with dropout."""

    domain = "toy"

    def __init__(
        self, monitor: str = "val/error", mode: str = "min", groups: list | None = None, dropout: float = 0.3
    ) -> None:
        super().__init__(monitor, mode, groups)
        self.network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1))

    def terms(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        error = self.network(batch["x"]) - batch["y"]
        return {"square": error.square().mean(), "absolute": 0.1 * error.abs().mean()}

    def build_metrics(self) -> dict[str, Any]:
        return {"error": MeanMetric().set_dtype(torch.float64)}

    def evaluate_batch(self, batch: dict[str, Any], metrics: Any) -> list[dict[str, Any]]:
        error = (self.network(batch["x"]) - batch["y"]).abs().flatten()
        for value in error:
            metrics["error"].update(value.double())
        return [{"id": name, "error": float(value)} for name, value in zip(batch["id"], error, strict=True)]
