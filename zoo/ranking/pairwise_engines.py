"""The value of a loss over pairs, by the engine that is fastest for the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zoo.ranking.banded_pairs import banded_pair_value, pairs_in_band
from zoo.ranking.binary_pairs import binary_pair_value
from zoo.ranking.checks import Pairs
from zoo.ranking.costs import PenaltyCost
from zoo.ranking.engines import Engine, choose_engine
from zoo.ranking.lists import Lists
from zoo.ranking.pairs import pair_value
from zoo.ranking.penalties import HingePenalty, LogisticPenalty, Penalty, SquaredHingePenalty
from zoo.ranking.smooth_pairs import smooth_pair_value
from zoo.ranking.smooth_sums import allowed
from zoo.ranking.sorted_pairs import sorted_pair_value, sums_hold
from zoo.ranking.tiles import tiled_pair_value

# crossovers measured on one core, medians of alternating calls
SORTED_FROM = 512  # items of a list, from which sorting beats blocks
BINARY_FROM = 128  # the same for one list of two targets
SMOOTH_FROM = 512  # items of a list, from which sums at nodes beat blocks, where the range of the scores allows them
NARROW = 0.6  # of all pairs in the band, up to which a hinge and the band beat blocks
COUNTS_FROM = 384  # items of a list, from which smooth ranks by nodes beat all pairs
TILED_FROM = {"cpu": 2**17}  # pairs, from which blocks beat dense tensors
COUNTED_FROM = {"cpu": 2**20}  # the same for smooth ranks, whose dense form is cheap
DENSE_ENTRIES = 2**24  # pairs that dense tensors may hold, whatever the device


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
        unit = abs(penalty.margin) * temperature
        if sums_hold(lists, unit, isinstance(penalty, SquaredHingePenalty)):
            if lists.binary:
                return binary_pair_value(lists, penalty, pairs, temperature)
            return sorted_pair_value(lists, penalty, pairs, temperature)
    if chosen == "sorted" and isinstance(penalty, LogisticPenalty):
        if allowed(lists.scores, lists.real, temperature):
            return smooth_pair_value(lists, penalty, pairs, temperature)
        if sums_hold(lists, temperature, squared=False):  # scores too far apart for sums at nodes
            return banded_pair_value(lists, pairs, temperature)
    if chosen in ("tiled", "sorted"):
        return tiled_pair_value(lists, PenaltyCost(penalty, temperature), pairs)
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
    items = lists.scores.shape[-1]
    if _smooth(penalty) and items >= SMOOTH_FROM and _smooth_form(lists, temperature):
        return "sorted"
    if _sortable(penalty) and (items >= SORTED_FROM or (items >= BINARY_FROM and lists.binary)):
        return "sorted"
    return fastest(lists)


def _smooth_form(lists: Lists, temperature: float) -> bool:
    """Whether the scores lie close together, or so far apart that few pairs are close."""
    if allowed(lists.scores, lists.real, temperature):
        return True
    if not sums_hold(lists, temperature, squared=False):
        return False
    return pairs_in_band(lists, temperature) < NARROW * lists.scores.numel() * lists.scores.shape[-1] / 2


def fastest(lists: Lists) -> str:
    """The engine for lists of this size, if it is not sorted."""
    pairs = lists.scores.numel() * lists.scores.shape[-1]
    return "tiled" if pairs >= TILED_FROM.get(lists.scores.device.type, DENSE_ENTRIES) else "dense"


def fastest_counts(lists: Lists) -> str:
    """The engine for smooth ranks; where "sorted" meets scores too far apart, it goes on in blocks."""
    if lists.scores.shape[-1] >= COUNTS_FROM:
        return "sorted"
    pairs = lists.scores.numel() * lists.scores.shape[-1]
    return "tiled" if pairs >= COUNTED_FROM.get(lists.scores.device.type, DENSE_ENTRIES) else "dense"


def _sortable(penalty: Penalty) -> bool:
    return isinstance(penalty, HingePenalty | SquaredHingePenalty)


def _smooth(penalty: Penalty) -> bool:
    return isinstance(penalty, LogisticPenalty)
