"""A user's module with every kind of constructor argument; copied into a folder of the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

from torch import nn

from zoo.training import ParameterGroup, ZooData, ZooModule

Variant = Literal["official", "paper"]
Size = Union[int, tuple[int, int]]  # noqa: UP007


class Loss(nn.Module):
    def __init__(self, margin: float = 1.0, inner: Loss | None = None) -> None:
        super().__init__()
        self.margin, self.inner = margin, inner


class Hinge(Loss):
    pass


class Steep(Loss):
    def __init__(self, slope: float, margin: float = 2.0) -> None:
        super().__init__(margin)
        self.slope = slope


@dataclass
class Flips:
    share: float = 0.5
    axes: tuple[int, int] = (1, 2)


class Net(ZooModule):
    def __init__(
        self,
        width: int,
        margin: float = 1.0,
        loss: Loss | None = None,
        losses: list[Loss] | None = None,
        flips: Flips | None = None,
        variant: Variant = "official",
        size: Size = (2, 3),
        activation: Callable | None = None,
        anything: Any = None,
        weights: dict[str, float] | None = None,
        table: Path | None = None,
        deep: bool = False,
        title: str = "net",
        monitor: str = "val/auc",
        mode: Literal["min", "max"] = "max",
        groups: list[ParameterGroup] | None = None,
    ) -> None:
        super().__init__(monitor, mode, groups)
        if margin < 0:
            raise ValueError(f"margin must not be negative, got {margin}")
        self.network = nn.Linear(width, 1)
        self.given = {
            "width": width,
            "margin": margin,
            "loss": loss,
            "losses": losses,
            "flips": flips,
            "variant": variant,
            "size": size,
            "activation": activation,
            "weights": weights,
            "table": table,
            "deep": deep,
            "title": title,
        }


class Data(ZooData):
    domain, dataset, source, terms, layout = "users", "own", "", "", ""

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 4,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
