"""Errors of counts, and of where the counted things are; exact over batches and processes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from zoo.metrics.bootstrap import bootstrap_interval
from zoo.metrics.gathered import Metric


class CountErrors(Metric):
    """MAE, RMSE, R2, MAPE and bias of counts.

    torchmetrics has the first three; its MAPE divides an image without anything by 1e-6. Here such images are left out
    of it and counted. Every count is kept and put in order before anything is summed, so that the result depends
    neither on the batch size nor on how images are shared out to processes, to the last digit.

    Args:
        prefix: In front of each name, e.g. ``token_``.
        resamples: Bootstrap resamples of images, for the 95 % interval of the MAE; 0 for none.
    """

    is_differentiable = False
    full_state_update = False
    predicted: list[Tensor]
    target: list[Tensor]

    def __init__(self, prefix: str = "", resamples: int = 0) -> None:
        super().__init__()
        if resamples < 0:
            raise ValueError(f"resamples: {resamples} given, expected 0 or more")
        self.prefix, self.resamples = prefix, resamples
        for name in ("predicted", "target"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Adds images.

        Args:
            predicted: ``(B,)`` counts, finite.
            target: ``(B,)`` true counts, finite.

        Raises:
            ValueError: The shapes differ, or a value is not finite.
        """
        if predicted.ndim != 1 or predicted.shape != target.shape:
            raise ValueError(f"predicted and target: shapes {tuple(predicted.shape)} and {tuple(target.shape)}")
        for name, values in (("predicted", predicted), ("target", target)):
            if not torch.isfinite(values).all():
                raise ValueError(f"{name}: {int((~torch.isfinite(values)).sum())} of {len(values)} are not finite")
        self.predicted.append(predicted.detach().float())
        self.target.append(target.detach().float())

    def compute(self) -> dict[str, Tensor]:
        """All errors.

        Returns:
            ``mae``, ``rmse``, ``bias`` (mean of predicted minus true), ``r2`` (as scikit-learn's ``r2_score``; NaN of
            fewer than two images), ``mape`` (a share, over images that hold something; NaN where none does),
            ``mae_low`` and ``mae_high`` where resamples are asked for, and ``empty_images``.

        Raises:
            ValueError: There was no image.
        """
        predicted, target = _ordered(self.predicted, self.target)
        if not len(target):
            raise ValueError("no image was counted")
        error = predicted - target
        held = target > 0
        values = {
            "mae": error.abs().mean(),
            "rmse": error.square().mean().sqrt(),
            "r2": _r2(error, target),
            "mape": (error[held].abs() / target[held]).mean(),
            "bias": error.mean(),
            "empty_images": (~held).sum(),
        }
        if self.resamples:
            distance = error.abs().numpy()
            low, high = bootstrap_interval(lambda drawn: float(distance[drawn].mean()), len(distance), self.resamples)
            values |= {"mae_low": torch.tensor(low), "mae_high": torch.tensor(high)}
        return {f"{self.prefix}{name}": value.float() for name, value in values.items()}


def _ordered(predicted: list[Tensor], target: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Everything seen in float64, ordered by target and prediction."""
    one, two = (dim_zero_cat(state).cpu().double() if len(state) else torch.empty(0) for state in (predicted, target))
    order = torch.argsort(one, stable=True)
    order = order[torch.argsort(two[order], stable=True)]
    return one[order], two[order]


def _r2(error: Tensor, target: Tensor) -> Tensor:
    """1 - residual / total; of equal targets 1 where there is no error, else 0."""
    if len(target) < 2:
        return torch.tensor(torch.nan)
    residual, total = error.square().sum(), (target - target.mean()).square().sum()
    if total == 0:
        return (residual == 0).double()
    return 1 - residual / total


class GridErrors(Metric):
    """GAME(L), the grid average mean absolute error: the error of the count within each of ``4 ** L`` equal regions.

    The sum of the absolute errors of all regions of an image, averaged over images; GAME(0) is the MAE. A count that is
    right by chance, too many here and too few there, is found out. An element of a density that lies in two regions
    is shared out by area.

    Args:
        levels: L of each figure, at least 0.

    Source: Guerrero-Gomez-Olmedo et al., Extremely Overlapping Vehicle Counting, IbPRIA 2015, equation 4.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, levels: tuple[int, ...] = (1, 2, 3)) -> None:
        super().__init__()
        if not levels or min(levels) < 0:
            raise ValueError(f"levels: {levels} given, expected numbers of at least 0")
        self.levels = levels
        for level in levels:
            self.add_state(f"game{level}", default=[], dist_reduce_fx="cat")

    def update(self, density: Tensor, points: Tensor, size: tuple[int, int], stride: int) -> None:
        """Adds one image.

        Args:
            density: ``(h, w)``, things per element.
            points: ``(N, 2)`` true x and y in pixels; those beyond the edge count to the nearest region.
            size: Height and width of the image in pixels.
            stride: Side of an element in pixels; those at the right and the bottom may be cut by the edge.

        Raises:
            ValueError: The density does not fit the size, or a value is not finite.
        """
        for level, value in zip(self.levels, grid_errors(density, points, size, stride, self.levels), strict=True):
            getattr(self, f"game{level}").append(torch.tensor([value], dtype=torch.float32, device=self.device))

    def compute(self) -> dict[str, Tensor]:
        """``game<L>`` of each level.

        Raises:
            ValueError: There was no image.
        """
        result = {}
        for level in self.levels:
            state = getattr(self, f"game{level}")
            values = dim_zero_cat(state).cpu().double() if len(state) else torch.empty(0)
            if not len(values):
                raise ValueError("no image was counted")
            result[f"game{level}"] = values.sort().values.mean().float()
        return result


def grid_errors(
    density: Tensor, points: Tensor, size: tuple[int, int], stride: int, levels: tuple[int, ...] = (1, 2, 3)
) -> list[float]:
    """The sum of absolute errors over the regions of one image, for each level; see :class:`GridErrors`."""
    expected = tuple(-(-length // stride) for length in size)
    if tuple(density.shape) != expected:
        raise ValueError(f"density: shape {tuple(density.shape)}, an image of {size} at stride {stride} has {expected}")
    values, places = density.detach().cpu().double(), points.detach().cpu().double().reshape(-1, 2)
    for name, given in (("density", values), ("points", places)):
        if not torch.isfinite(given).all():
            raise ValueError(f"{name}: {int((~torch.isfinite(given)).sum())} of {given.numel()} are not finite")
    found = []
    for level in levels:
        parts = 2**level
        down, across = (_shares(length, stride, parts) for length in size)
        predicted = down @ values @ across.T
        row = (places[:, 1] * parts / size[0]).floor().long().clamp(0, parts - 1)
        column = (places[:, 0] * parts / size[1]).floor().long().clamp(0, parts - 1)
        true = torch.zeros(parts * parts, dtype=torch.float64)
        true.index_add_(0, row * parts + column, torch.ones(len(row), dtype=torch.float64))
        found.append(float((predicted - true.view(parts, parts)).abs().sum()))
    return found


def _shares(length: int, stride: int, parts: int) -> Tensor:
    """``(parts, elements)``: which share of each element along a side lies in each part of it."""
    edges = torch.arange(-(-length // stride) + 1, dtype=torch.float64) * stride
    edges[-1] = length
    bounds = torch.arange(parts + 1, dtype=torch.float64) * length / parts
    overlap = torch.minimum(edges[1:], bounds[1:, None]) - torch.maximum(edges[:-1], bounds[:-1, None])
    return overlap.clamp(min=0) / (edges[1:] - edges[:-1])
