"""Pairs of which one stands in the first places: `(M, k, N)` of them where all pairs are `(M, N, N)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.ranking.costs import Cost, Room
from zoo.ranking.lists import Lists
from zoo.ranking.pair_means import averaged
from zoo.ranking.tiles import Block, add_block, difference, shape_of

ENTRIES = 2**17  # pairs of a block


def top_pair_sum(lists: Lists, cost: Cost, place: Tensor, k: int, *features: Tensor) -> Tensor:
    """Weighted sum of a cost over the pairs with target_i > target_j of which one stands in the first k places.

    Args:
        lists: The clean lists.
        cost: Of score and feature differences.
        place: `(M, N)` 0-based place of each item.
        k: Places that count, less than N.
        features: `(M, N)` each.

    Returns:
        `(M,)`, from `(M, k, N)` pairs.
    """
    top = torch.where(lists.real, place, place.shape[-1]).argsort(dim=-1)[:, :k]
    top_place, top_real = place.gather(-1, top).unsqueeze(-1), lists.real.gather(-1, top).unsqueeze(-1)
    once = (place.unsqueeze(-2) >= k) | (place.unsqueeze(-2) > top_place)  # pairs inside the top would come twice
    wanted = lists.target.gather(-1, top).unsqueeze(-1) - lists.target.unsqueeze(-2)
    counted = once & top_real & lists.real.unsqueeze(-2) & (wanted != 0)
    sign = torch.where(wanted > 0, 1, -1)

    def turned(x: Tensor) -> Tensor:
        """Difference from the item that belongs above to the other."""
        return torch.where(counted, sign * (x.gather(-1, top).unsqueeze(-1) - x.unsqueeze(-2)), 0)

    weights = torch.where(counted, lists.weight.gather(-1, top).unsqueeze(-1) * lists.weight.unsqueeze(-2), 0.0)
    costs = cost(turned(lists.scores), *(turned(feature) for feature in features))
    return (weights * costs).sum((-2, -1))


def tiled_top_pair_sum(lists: Lists, cost: Cost, place: Tensor, k: int, *features: Tensor) -> Tensor:
    """The same block by block, with slopes in closed form; the first feature has to rise with the target."""
    with torch.no_grad():
        total, slope = _sums(lists, cost, place, k, features)
    return averaged(lists.scores, total, slope, None)


def _sums(lists: Lists, cost: Cost, place: Tensor, k: int, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    count, items = lists.scores.shape
    here = torch.arange(items, device=place.device).expand_as(place)
    if not lists.plain:  # what is not real stands behind all that is
        place = torch.where(lists.real, place, items - (~lists.real).long().cumsum(-1))
    order = torch.empty_like(here).scatter(-1, place, here)
    weight = torch.where(lists.real, lists.weight, 0.0)
    scores, weight, *features = (x.gather(-1, order) for x in (lists.scores, weight, *features))
    room = Room(scores)
    total = torch.zeros(count, dtype=torch.float64, device=scores.device)
    slope = torch.zeros_like(scores, dtype=torch.float64)
    after = torch.ones(k, k, dtype=scores.dtype, device=scores.device).triu(1)  # pairs inside the top come once
    step = max(1, ENTRIES // (k * items)) if scores.device.type == "cpu" else count
    for first in range(0, count, step):
        block = Block(slice(first, first + step), slice(0, k), slice(0, items), True)
        room.begin(*shape_of(block, scores))
        wanted = difference(features[0], block, room).sign_()
        gap = difference(scores, block, room).mul_(wanted)
        found, along = cost.with_slope(room, gap, *(difference(x, block, room) for x in features))
        wanted[..., :k].mul_(after)
        along.mul_(wanted)
        found.mul_(wanted.abs_())
        add_block(block, found, along, None if lists.plain else weight, total, slope)
    return total, torch.zeros_like(slope).scatter(-1, order, slope)
