"""The value of a loss over pairs, by the engine that is fastest for the input."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.ranking.checks import Pairs
from zoo.ranking.engines import Engine, choose_engine
from zoo.ranking.lists import Lists
from zoo.ranking.pairs import pair_value
from zoo.ranking.penalties import HingePenalty, Penalty, SquaredHingePenalty
from zoo.ranking.sorted_pairs import sorted_pair_value
from zoo.ranking.tiles import tiled_pair_value

SORTED_FROM = 384  # items of a list, from which sorting beats all pairs
TILED_FROM = 768  # items of a list, from which blocks that stay in the cache beat all pairs at once
DENSE_ENTRIES = 2**24  # pairs that dense tensors may hold, whatever the length of the lists


def pair_engines(penalty: Penalty) -> tuple[str, ...]:
    """The engines that a penalty has: sorting needs one that ends at a margin."""
    return ("dense", "sorted", "tiled") if _sortable(penalty) else ("dense", "tiled")


def value_by_engine(
    lists: Lists, penalty: Penalty, pairs: Pairs, temperature: float = 1.0, engine: Engine = "auto"
) -> Tensor:
    """The penalty over all pairs with target_i > target_j, per list; `(M,)`.

    Args:
        lists: The clean lists.
        penalty: Cost of a score difference.
        pairs: "mean" or "sum" within a list.
        temperature: Divides the score differences.
        engine: One of :func:`pair_engines`, or "auto".
    """
    chosen = choose_engine(engine, pair_engines(penalty), lambda: fastest(lists, _sortable(penalty)))
    if chosen == "sorted" and isinstance(penalty, HingePenalty | SquaredHingePenalty):
        return sorted_pair_value(lists, penalty, pairs, temperature)
    if chosen == "tiled":
        return tiled_pair_value(lists, lambda gap, _: penalty(gap / temperature), pairs)
    return pair_value(lists, penalty, pairs, temperature)


def fastest(lists: Lists, sortable: bool = False) -> str:
    """The engine for lists of this size."""
    count, items = lists.scores.shape
    if sortable and (items >= SORTED_FROM or count * items**2 > DENSE_ENTRIES):
        # an infinite score has no place among differences of sums
        return "sorted" if bool(torch.isfinite(lists.scores).all()) else "tiled"
    return "tiled" if items >= TILED_FROM or count * items**2 > DENSE_ENTRIES else "dense"


def _sortable(penalty: Penalty) -> bool:
    return isinstance(penalty, HingePenalty | SquaredHingePenalty)
