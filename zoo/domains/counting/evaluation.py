"""Counting by windows, and the evaluation of a method: errors of counts, of token counts, and of where trees are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from zoo.domains.counting.data_items import enlarge
from zoo.domains.counting.network import TreeCounter, TreeFormerOutput
from zoo.domains.counting.picture import draw_agreement, draw_image
from zoo.domains.counting.points import local_maxima
from zoo.domains.counting.windows import OFFICIAL, Band, Held, Run, Source, Tiling, bands, plan
from zoo.errors import ZooError
from zoo.metrics import CountErrors, GridErrors, grid_errors
from zoo.training import IMAGENET_MEAN, IMAGENET_STD, Row, ZooModule, normalise

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WINDOWS = 4
"""Windows that are counted at once."""
LEVELS = (1, 2, 3)
STAGES = (2, 3, 4)


@dataclass(frozen=True)
class Count:
    """What was counted in one image.

    Attributes:
        density: ``(h, w)`` float32 trees per element, on the CPU.
        count: What it sums to.
        tokens: ``(3,)`` counts of the tokens of stages 2, 3, 4.
        stride: Pixels per element: 4, or 1 under ``official``.
        scale: By how much x and y have grown: a small image is enlarged first under ``official``.
        size: Height and width that were counted, after that.
    """

    density: Tensor
    count: float
    tokens: Tensor
    stride: int
    scale: tuple[float, float]
    size: tuple[int, int]


class Evaluation(ZooModule):
    """What :class:`zoo.domains.counting.TreeFormer` does with images whose trees are known.

    Attributes:
        tiling: How images are counted in evaluation and by ``zoo predict``.
        window: Side of a window of ``exact`` in pixels.
        overlap: Of neighbouring windows of ``exact`` in pixels.
        peak_distance: Pixels that two points are apart at least.
        peak_threshold: Trees per cell that a point has at least.
    """

    domain: ClassVar[str] = "counting"
    smaller_is_better: ClassVar[tuple[str, ...]] = ("*mae*", "*rmse*", "*mape*", "game*")
    network: TreeCounter
    crop: int
    tiling: Tiling
    window: int
    overlap: int
    peak_distance: int
    peak_threshold: float

    # -- counting

    def run(self) -> Run:
        """A function that counts equally large windows: uint8 ones are normalised first."""

        def count(windows: list[Tensor]) -> tuple[Tensor, Tensor]:
            images = torch.stack(windows).to(self.device)
            if images.dtype == torch.uint8:
                images = normalise(images.float() / 255)
            output: TreeFormerOutput = self.network(images)
            return output.maps[0], output.token_counts

        return count

    def bands_of(self, source: Source, tiling: Tiling | None) -> Iterator[Band]:
        """The density of an image from top to bottom, see :func:`zoo.domains.counting.windows.bands`."""
        return bands(source, plan(tiling, self.window, self.overlap), self.run(), WINDOWS)

    def count_image(self, image: Tensor, tiling: Tiling | None) -> Count:
        """Counts one image in memory.

        Args:
            image: ``(3, H, W)`` uint8, or normalised.
            tiling: ``exact``, ``official``, or None for the whole image at once.
        """
        scale = (1.0, 1.0)
        if tiling == "official":
            image, grown = enlarge(image, OFFICIAL)
            scale = (float(grown[0]), float(grown[1]))
        found = list(self.bands_of(Held(image), tiling))
        density = torch.cat([band.density for band in found])
        tokens = torch.stack([band.tokens for band in found]).sum(0).float()
        size = (int(image.shape[1]), int(image.shape[2]))
        stride = plan(tiling, self.window, self.overlap).stride
        return Count(density, float(density.sum(dtype=torch.float64)), tokens, stride, scale, size)

    def points_of(self, found: Count) -> Tensor:
        """``(N, 3)`` x, y in pixels of the image as it was given, and the height of the peak; highest first."""
        points = local_maxima(found.density, found.stride, self.peak_threshold, self.peak_distance)
        return points / points.new_tensor([*found.scale, 1.0])

    # -- evaluation

    def build_metrics(self) -> dict[str, Metric]:
        """Errors of the count (with the MAE's 95 % interval), of the mean token count, and GAME(1) to GAME(3)."""
        return {"count": CountErrors(resamples=1000), "token": CountErrors("token_"), "grid": GridErrors(LEVELS)}

    def evaluate_batch(self, batch: Any, metrics: MetricCollection) -> list[Row]:
        """One row per image: trees, count, error, token counts, GAME."""
        return [self._evaluate(item, metrics) for item in batch]

    def _evaluate(self, item: dict[str, Any], metrics: MetricCollection) -> Row:
        found = self.count_image(item["image"], self.tiling)
        if not math.isfinite(found.count):
            raise ZooError(
                f"{item['name']}: the network counts {found.count}; its weights are not finite, or it diverged"
            )
        given, device = item["points"].cpu(), self.device
        points = given * given.new_tensor(found.scale)
        true, token = float(len(points)), float(found.tokens.mean())
        target = torch.tensor([true], device=device)
        metrics["count"].update(torch.tensor([found.count], device=device), target)
        metrics["token"].update(torch.tensor([token], device=device), target)
        metrics["grid"].update(found.density, points, found.size, found.stride)
        games = grid_errors(found.density, points, found.size, found.stride, LEVELS)
        return {
            "id": item["name"],
            "trees": int(true),
            "count": found.count,
            "error": found.count - true,
            "token_count": token,
            **{f"token_stage{stage}": float(value) for stage, value in zip(STAGES, found.tokens, strict=True)},
            **{f"game{level}": value for level, value in zip(LEVELS, games, strict=True)},
        }

    @classmethod
    def measured(cls, rows: pd.DataFrame, protocol: str) -> dict[str, float]:
        """``mae`` and ``rmse`` of the count by the map, ``game1`` to ``game3``."""
        grids = {f"game{level}": float(rows[f"game{level}"].mean()) for level in LEVELS}
        return {"mae": float(rows["error"].abs().mean()), "rmse": float((rows["error"] ** 2).mean() ** 0.5), **grids}

    @classmethod
    def costs(cls, rows: pd.DataFrame) -> pd.Series:
        """Trees too many or too few."""
        return rows["error"].abs()

    def report(self, rows: list[Row]) -> tuple[dict[str, list[Row]], dict[str, Figure]]:
        """``agreement.png``: counted against true trees, by map and by token."""
        return {}, {"agreement": draw_agreement(rows)} if rows else {}

    @property
    def protocol(self) -> str:
        """The windows."""
        if self.tiling == "official":
            return "official: windows of 256, x4 / 16"
        return f"exact: windows of {self.window}, overlap {self.overlap}"

    @property
    def preprocess(self) -> dict[str, Any]:
        """How an image becomes what the network takes."""
        return {
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "colours": "RGB, upright (EXIF applied), 8 bits; never resized (official tiling: to 256 at least)",
            "tiling": self.tiling,
            "window": self.window,
            "overlap": self.overlap,
        }

    @torch.no_grad()
    def picture(self, batch: Any) -> Figure:
        """The first image of an evaluation batch: true trees, density and points."""
        item = batch[0]
        with self.evaluating():
            found = self.count_image(item["image"], self.tiling)
        pixels = item["image"].cpu() * torch.tensor(IMAGENET_STD).view(3, 1, 1)
        pixels = (pixels + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)).clamp(0, 1)
        points = self.points_of(found)
        return draw_image(pixels, found.density, points, found.count, item["name"], item["points"].cpu())

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The network in evaluation mode, and back in its own afterwards."""
        training = self.network.training
        self.network.eval()
        try:
            yield
        finally:
            self.network.train(training)
