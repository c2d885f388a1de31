"""The objective of TreeFormer: what is known of labelled images, what must hold of unlabelled ones.

With densities y0, y1, y2 (fine to coarse), token counts c, points p, their number n and their histogram G:

=================== ========= =========================================================================================
term                factor    what it is
=================== ========= =========================================================================================
count               1         mean over images of ``|sum y - n|``
transport           0.1       optimal transport between the points and ``y / sum y`` (:mod:`.transport`)
variation           0.01      mean over images of ``n sum |y / (sum y + 1e-6) - G / (n + 1e-6)|``
token               1         mean ``|c - n|`` over the three tokens
ranking             1         a region inside another holds no more trees: a ranking loss over five nested regions
consistency         1         the three maps of a region agree
token_consistency   1         mean ``|c - mean c|`` over the three tokens
=================== ========= =========================================================================================

The first four are of labelled images, the rest of unlabelled ones. The variants differ in single switches:

===================== ============================================== ==================================================
switch                official (released code)                       paper
===================== ============================================== ==================================================
``transport_eps``     1; it is a factor of ``count`` as well         10, as in DM-Count; no factor
``transport_batch``   sum over the images of a batch                 mean
``supervised``        ``fine``: y0 alone                             ``all``: y0, y1 and y2, mean of the three
``regions``           ``resized`` crops, of places of its own for    ``nested``: true counts; an outer region of one
                      each map; their sums are mean densities        map against an inner one of any map
``consistency_kind``  ``official``: crops of different places,       ``aligned``: one place for all maps, a divergence
                      a KL of raw densities, which may be negative   of densities that is 0 only where they agree
===================== ============================================== ==================================================

Both add 1e-16 to the divisions of the transport, as DM-Count does; ``transport_floor: false`` has exact potentials.

True counts of nested regions of one map are in order by themselves, because a density is not negative: comparing each
map with itself alone would never cost anything. So they are compared across the maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import log
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from zoo.domains.counting.regions import Region, nested_regions, region_counts, resized
from zoo.domains.counting.transport import Transport, transport_terms
from zoo.errors import InputError
from zoo.ranking import Hinge, ScoreLoss, gather
from zoo.ranking.checks import wide
from zoo.training.choices import check_choice

Variant = Literal["paper", "official"]
Batched = Literal["mean", "sum"]
Supervised = Literal["all", "fine"]
Regions = Literal["nested", "resized"]
Consistency = Literal["aligned", "official"]

LABELLED = ("count", "transport", "variation", "token")
UNLABELLED = ("ranking", "consistency", "token_consistency")


@dataclass(frozen=True)
class Weights:
    """Factor of each term, >= 0; a term of factor 0 is not computed."""

    count: float = 1.0
    transport: float = 0.1
    variation: float = 0.01
    token: float = 1.0
    ranking: float = 1.0
    consistency: float = 1.0
    token_consistency: float = 1.0

    def __post_init__(self) -> None:
        for part in fields(self):
            if not getattr(self, part.name) >= 0:
                raise InputError(f"model.weights.{part.name} must not be negative, got {getattr(self, part.name)}")


@dataclass(frozen=True)
class Switches:
    """Where the released code and the paper differ; see the head of this file."""

    transport: Transport = field(default_factory=Transport)
    transport_batch: Batched = "mean"
    supervised: Supervised = "all"
    regions: Regions = "nested"
    consistency_kind: Consistency = "aligned"
    count_by_eps: bool = False

    def __post_init__(self) -> None:
        for name, words in (
            ("transport_batch", Batched),
            ("supervised", Supervised),
            ("regions", Regions),
            ("consistency_kind", Consistency),
        ):
            check_choice(f"model.{name}", getattr(self, name), get_args(words))


VARIANTS: dict[Variant, Switches] = {
    "paper": Switches(),
    "official": Switches(Transport(eps=1.0), "sum", "fine", "resized", "official", True),
}


def switches(
    variant: Variant, eps: float | None = None, normalised: bool | None = None, floor: bool | None = None, **others: Any
) -> Switches:
    """The switches of a variant, some of them turned.

    Args:
        variant: ``paper`` or ``official``.
        eps: Of the transport.
        normalised: Of the transport.
        floor: Of the transport.
        others: Further switches by name; None leaves what the variant says.

    Raises:
        InputError: A word is none of the known ones.
    """
    check_choice("model.variant", variant, tuple(VARIANTS))
    base = VARIANTS[variant]
    turned = {"eps": eps, "normalised": normalised, "floor": floor}
    transport = replace(base.transport, **_given(turned))
    return replace(base, transport=transport, **_given(others))


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


# -- labelled images


def count_errors(density: Tensor, count: Tensor) -> Tensor:
    """``|sum y - n|`` ``(B,)`` of densities ``(B, 1, h, w)`` and counts ``(B,)``."""
    return (wide(density).sum((1, 2, 3)) - count).abs()


def variations(density: Tensor, cells: Tensor) -> Tensor:
    """``n sum |y / (sum y + 1e-6) - G / (n + 1e-6)|`` ``(B,)``, DM-Count's total variation times the count.

    Args:
        density: ``(B, 1, h, w)``.
        cells: ``(B, 1, h, w)`` points per cell.
    """
    density, count = wide(density), cells.sum((1, 2, 3), keepdim=True)
    shape = density / (density.sum((1, 2, 3), keepdim=True) + 1e-6)
    return ((shape - cells / (count + 1e-6)).abs() * count).sum((1, 2, 3))


def labelled_terms(
    maps: Sequence[Tensor],
    token_counts: Tensor,
    batch: Mapping[str, Any],
    stride: int,
    weights: Weights,
    choices: Switches,
) -> dict[str, Tensor]:
    """Weighted terms of labelled images; under DistributedDataParallel those of the whole batch.

    Args:
        maps: ``(y0, y1, y2)``, each ``(B, 1, h, w)``.
        token_counts: ``(B, 3)``.
        batch: ``points`` list of ``(N, 2)`` in pixels, ``count (B,)``, ``cells (B, 1, h, w)``.
        stride: Pixels per cell.
        weights: Factors.
        choices: Switches.

    Raises:
        InputError: The histogram does not have the size of the maps.
    """
    with torch.autocast(maps[0].device.type, enabled=False):  # mixed precision has no place in sums and in transport
        return _labelled_terms([wide(y) for y in maps], wide(token_counts), batch, stride, weights, choices)


def _labelled_terms(
    maps: Sequence[Tensor],
    token_counts: Tensor,
    batch: Mapping[str, Any],
    stride: int,
    weights: Weights,
    choices: Switches,
) -> dict[str, Tensor]:
    count, cells = batch["count"].to(maps[0]), batch["cells"].to(maps[0])
    if cells.shape != maps[0].shape:
        raise InputError(f"cells {tuple(cells.shape)} do not fit density maps {tuple(maps[0].shape)}")
    supervised = maps if choices.supervised == "all" else maps[:1]
    terms = {}
    if weights.count:
        factor = choices.transport.eps if choices.count_by_eps else 1.0
        values = torch.stack([count_errors(y, count) for y in supervised]).mean(0)
        terms["count"] = weights.count * factor * gather(values).mean()
    if weights.transport:
        values = torch.stack([transport_terms(y, batch["points"], stride, choices.transport) for y in supervised]).mean(
            0
        )
        whole = gather(values)
        terms["transport"] = weights.transport * (whole.sum() if choices.transport_batch == "sum" else whole.mean())
    if weights.variation:
        values = torch.stack([variations(y, cells) for y in supervised]).mean(0)
        terms["variation"] = weights.variation * gather(values).mean()
    if weights.token:
        terms["token"] = weights.token * gather((token_counts - count[:, None]).abs()).mean()
    return terms


# -- unlabelled images


def default_ranking() -> ScoreLoss:
    """A hinge without a margin: equal counts are in order."""
    return Hinge(margin=0.0)


def count_ranking(counts: Sequence[Tensor], ranking: ScoreLoss, across: bool) -> Tensor:
    """Larger regions hold more: a ranking loss with the size of the region as target.

    Args:
        counts: For each map ``(B, levels)``, from the largest region to the smallest.
        ranking: Any score loss of ``zoo.ranking``.
        across: Compare the regions of all maps in one list instead of each map with itself; the mean over the maps
            otherwise.

    Returns:
        A scalar.
    """
    target = -torch.arange(counts[0].shape[1], device=counts[0].device)
    if across:
        together = gather(torch.cat(list(counts), dim=1))
        return ranking(together, target.repeat(len(counts)).expand(len(together), -1))
    lists = [gather(count) for count in counts]
    return torch.stack([ranking(count, target.expand(len(count), -1)) for count in lists]).mean()


def official_consistency(crops: Sequence[Sequence[Tensor]]) -> Tensor:
    """The released consistency: squared distance to the mean map, weighed by an uncertainty, plus that uncertainty.

    ``mean(d^2 e^-v) / (e^-v + 1e-8) + v`` with ``v = mean(m log m - m y)``: torch's KL divergence with a density in
    the place of a log-probability. v may be negative, and its gradient ``-m / N`` rewards any growth of y.

    Args:
        crops: For each map its five crops ``(B, 1, h, w)``.
    """
    values = []
    for level in zip(*crops, strict=True):
        maps = [gather(wide(y)) for y in level]
        m = torch.stack(maps).mean(0).detach()
        values += [uncertain_distance(y, m, uncertainty(y, m)) for y in maps]
    return torch.stack(values).mean()


def uncertainty(y: Tensor, m: Tensor) -> Tensor:
    """The released ``v``, a scalar, of a density and the mean density, ``(B, 1, h, w)`` each."""
    return (torch.xlogy(m, m) - m * y).mean()


def uncertain_distance(y: Tensor, m: Tensor, v: Tensor) -> Tensor:
    """One term of :func:`official_consistency`, a scalar, of a density, the mean density and their ``v``."""
    # e^-v / (e^-v + 1e-8), which does not overflow
    return (m - y).square().mean() * torch.sigmoid(-v - log(1e-8)) + v


def aligned_consistency(maps: Sequence[Tensor], regions: Sequence[Region]) -> Tensor:
    """Consistency of the same regions of all maps, in trees per image.

    For each region and map: ``v = sum(y log(y / m) - y + m)`` over the cells, the divergence between the map and the
    detached mean m of the maps. It is not negative, 0 only where they agree, and stays finite, because m is at least
    a third of y. Images on which the maps agree weigh more in the squared distance: weights ``e^-v``, which add up
    to 1 and are not differentiated.

    Args:
        maps: Each ``(B, 1, h, w)``, >= 0.
        regions: The same for all maps.
    """
    values = []
    for region in regions:
        parts = [wide(region.of(y)) for y in maps]
        m = torch.stack(parts).mean(0).detach()
        for y in parts:
            local = torch.stack([divergence(y, m), (m - y).square().sum((1, 2, 3))], dim=1)
            v, squared = gather(local).unbind(1)
            weight = torch.softmax(-v.detach(), dim=0)  # 0 where maps are so far apart that the square may be infinite
            values.append((weight * torch.where(weight > 0, squared, 0.0)).sum() + v.mean())
    return torch.stack(values).mean()


def divergence(y: Tensor, m: Tensor) -> Tensor:
    """``sum(y log(y / m) - y + m)`` ``(B,)`` of densities ``(B, 1, h, w)``; 0 log 0 is 0."""
    y, m = wide(y), wide(m)
    tiny = torch.finfo(y.dtype).tiny
    ratio = (y / m.clamp(min=tiny)).clamp(min=tiny).log()
    return (y * ratio - y + m).sum((1, 2, 3))


def unlabelled_terms(
    maps: Sequence[Tensor], token_counts: Tensor, weights: Weights, choices: Switches, ranking: ScoreLoss
) -> dict[str, Tensor]:
    """Weighted terms of unlabelled images; under DistributedDataParallel those of the whole batch.

    Args:
        maps: ``(y0, y1, y2)``, each ``(B, 1, h, w)``.
        token_counts: ``(B, 3)``.
        weights: Factors.
        choices: Switches.
        ranking: What compares the counts of regions.
    """
    with torch.autocast(maps[0].device.type, enabled=False):
        return _unlabelled_terms([wide(y) for y in maps], wide(token_counts), weights, choices, ranking)


def _unlabelled_terms(
    maps: Sequence[Tensor], token_counts: Tensor, weights: Weights, choices: Switches, ranking: ScoreLoss
) -> dict[str, Tensor]:
    height, width = maps[0].shape[2:]
    common = nested_regions(height, width)
    crops = _own_crops(maps, choices) if weights.ranking or weights.consistency else []
    terms = {}
    if weights.ranking:
        nested = choices.regions == "nested"
        counts = (
            [region_counts(y, common) for y in maps]
            if nested
            else [torch.stack([crop.sum((1, 2, 3)) for crop in levels], dim=1) for levels in crops]
        )
        terms["ranking"] = weights.ranking * count_ranking(counts, ranking, across=nested)
    if weights.consistency:
        aligned = choices.consistency_kind == "aligned"
        value = aligned_consistency(maps, common) if aligned else official_consistency(crops)
        terms["consistency"] = weights.consistency * value
    if weights.token_consistency:
        spread = (token_counts - token_counts.mean(1, keepdim=True)).abs()
        terms["token_consistency"] = weights.token_consistency * gather(spread).mean()
    return terms


def _own_crops(maps: Sequence[Tensor], choices: Switches) -> list[list[Tensor]]:
    """For each map five resized crops around a centre of its own, where the released terms need them."""
    if choices.regions == "nested" and choices.consistency_kind == "aligned":
        return []
    return [resized(y, nested_regions(*y.shape[2:])) for y in maps]
