"""The value of a loss over pairs, by the engine that is fastest for the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zoo.ranking.binary_pairs import binary_pair_value, is_binary
from zoo.ranking.checks import Pairs
from zoo.ranking.engines import Engine, choose_engine
from zoo.ranking.lists import Lists
from zoo.ranking.pairs import pair_value
from zoo.ranking.penalties import HingePenalty, LogisticPenalty, Penalty, SquaredHingePenalty
from zoo.ranking.smooth_pairs import smooth_pair_value
from zoo.ranking.smooth_sums import allowed
from zoo.ranking.sorted_pairs import sorted_pair_value
from zoo.ranking.tiles import tiled_pair_value

# crossovers measured on one core, medians of alternating calls; dense is then at most 1.2 times as fast
SORTED_FROM = 384  # items of a list, from which sorting beats all pairs
SMOOTH_FROM = 512  # items of a list, from which sums at nodes beat blocks, where the range of the scores allows them
COUNTS_FROM = 512  # the same for smooth ranks, which read every pair twice
TILED_FROM = 1024  # items of a list, from which blocks that stay in the cache beat all pairs at once
DENSE_ENTRIES = 2**24  # pairs that dense tensors may hold, whatever the length of the lists


def pair_engines(penalty: Penalty) -> tuple[str, ...]:
    """The engines that a penalty has: "sorted" needs one that ends at a margin, or the smooth sums of the logistic."""
    return ("dense", "sorted", "tiled") if _sortable(penalty) or _smooth(penalty) else ("dense", "tiled")


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
    chosen = engine_for(lists, engine, pair_engines(penalty), lambda: _fastest_for(lists, penalty, temperature))
    if chosen == "sorted" and isinstance(penalty, HingePenalty | SquaredHingePenalty):
        if is_binary(lists):
            return binary_pair_value(lists, penalty, pairs, temperature)
        return sorted_pair_value(lists, penalty, pairs, temperature)
    if chosen == "sorted" and isinstance(penalty, LogisticPenalty) and allowed(lists.scores, lists.real, temperature):
        return smooth_pair_value(lists, penalty, pairs, temperature)
    if chosen in ("tiled", "sorted"):  # scores too far apart for sums at nodes
        return tiled_pair_value(lists, lambda gap, _: penalty(gap / temperature), pairs)
    return pair_value(lists, penalty, pairs, temperature)


def engine_for(lists: Lists, engine: Engine, available: Sequence[str], best: Callable[[], str]) -> str:
    """The engine to compute with; weights that learn are known to the dense one alone.

    Raises:
        ValueError: if another one was asked for with such weights.
    """
    if lists.weight.requires_grad and torch.is_grad_enabled():
        if engine not in ("auto", "dense"):
            raise ValueError(f"engine: {engine!r} given, expected 'dense' for a weight that requires a gradient")
        return "dense"
    return choose_engine(engine, available, best)


def _fastest_for(lists: Lists, penalty: Penalty, temperature: float) -> str:
    long = lists.scores.shape[-1] >= SMOOTH_FROM or lists.scores.numel() * lists.scores.shape[-1] > DENSE_ENTRIES
    if _smooth(penalty) and long and allowed(lists.scores, lists.real, temperature):
        return "sorted"
    return fastest(lists, _sortable(penalty))


def fastest(lists: Lists, sortable: bool = False) -> str:
    """The engine for lists of this size."""
    count, items = lists.scores.shape
    if sortable and (items >= SORTED_FROM or count * items**2 > DENSE_ENTRIES):
        # an infinite score has no place among differences of sums
        return "sorted" if bool(torch.isfinite(lists.scores).all()) else "tiled"
    return "tiled" if items >= TILED_FROM or count * items**2 > DENSE_ENTRIES else "dense"


def fastest_counts(lists: Lists) -> str:
    """The engine for smooth ranks; where "sorted" meets scores too far apart, it goes on in blocks."""
    count, items = lists.scores.shape
    return "sorted" if items >= COUNTS_FROM or count * items**2 > DENSE_ENTRIES else "dense"


def _sortable(penalty: Penalty) -> bool:
    return isinstance(penalty, HingePenalty | SquaredHingePenalty)


def _smooth(penalty: Penalty) -> bool:
    return isinstance(penalty, LogisticPenalty)
