"""Score losses over the pairs of a list: item i should stand above item j where target_i > target_j.

The arguments that all score losses share (`scores`, `target`, `group`, `mask`, `weight`, `pairs`, `reduction`) are
explained once, in `zoo.ranking`.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from zoo.ranking.checks import PAIRS, Pairs, Reduction, TiedLists, check_choice, check_positive
from zoo.ranking.costs import ThurstoneCost
from zoo.ranking.engines import Engine, check_engine
from zoo.ranking.lists import Lists, list_loss
from zoo.ranking.pairs import differences, reduce_pairs, unordered_pairs
from zoo.ranking.pairwise_engines import engine_for, fastest, pair_engines, value_by_engine
from zoo.ranking.penalties import (
    BinaryFidelityPenalty,
    HingePenalty,
    LogisticPenalty,
    Penalty,
    SigmoidPenalty,
    SquaredHingePenalty,
)
from zoo.ranking.tiles import tiled_pair_value

Surrogate = Literal["logistic", "hinge", "squared_hinge", "sigmoid"]
TargetProbability = Literal["thurstone", "binary"]

_SURROGATES: dict[str, Penalty] = {
    "logistic": LogisticPenalty(),
    "hinge": HingePenalty(),
    "squared_hinge": SquaredHingePenalty(),
    "sigmoid": SigmoidPenalty(),
}


def hinge(
    scores: Tensor,
    target: Tensor,
    *,
    group: Tensor | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    margin: float = 1.0,
    pairs: Pairs = "mean",
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """Margin loss over pairs: `max(0, margin - (s_i - s_j))` where i should stand above j.

    Source: Ranking SVM, Joachims, KDD 2002, optimisation problem 1 (slack of one pair).

    Args:
        scores: `(..., N)`.
        target: `(..., N)`.
        group: `(..., N)` ids or None.
        mask: `(..., N)` True = real, or None.
        weight: `(..., N)` or None; a pair weighs `w_i * w_j`.
        margin: Score difference from which a pair costs nothing.
        pairs: "mean" or "sum" over the counted pairs of a list.
        reduction: "mean", "sum" or "none" over lists.
        engine: How it is computed, "dense", "sorted", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(...)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit.
    """
    check_choice("pairs", pairs, PAIRS)
    penalty = HingePenalty(margin)
    check_engine(engine, pair_engines(penalty))
    value = partial(value_by_engine, penalty=penalty, pairs=pairs, engine=engine)
    return list_loss(value, scores, target, group=group, mask=mask, weight=weight, reduction=reduction)


def squared_hinge(
    scores: Tensor,
    target: Tensor,
    *,
    group: Tensor | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    margin: float = 1.0,
    pairs: Pairs = "mean",
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """Squared margin loss over pairs: `max(0, margin - (s_i - s_j))^2` where i should stand above j.

    Source: L2-loss RankSVM, Lee and Lin, Large-Scale Linear RankSVM, Neural Computation 2014.

    Args:
        scores: `(..., N)`.
        target: `(..., N)`.
        group: `(..., N)` ids or None.
        mask: `(..., N)` True = real, or None.
        weight: `(..., N)` or None; a pair weighs `w_i * w_j`.
        margin: Score difference from which a pair costs nothing.
        pairs: "mean" or "sum" over the counted pairs of a list.
        reduction: "mean", "sum" or "none" over lists.
        engine: How it is computed, "dense", "sorted", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(...)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit.
    """
    check_choice("pairs", pairs, PAIRS)
    penalty = SquaredHingePenalty(margin)
    check_engine(engine, pair_engines(penalty))
    value = partial(value_by_engine, penalty=penalty, pairs=pairs, engine=engine)
    return list_loss(value, scores, target, group=group, mask=mask, weight=weight, reduction=reduction)


def logistic(
    scores: Tensor,
    target: Tensor,
    *,
    group: Tensor | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    temperature: float = 1.0,
    pairs: Pairs = "mean",
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """RankNet: cross-entropy of each pair's order, `log(1 + exp(-(s_i - s_j) / temperature))`.

    Source: RankNet, Burges et al., ICML 2005, eq. 3 with target probability 1; tied pairs are left out.

    Args:
        scores: `(..., N)`.
        target: `(..., N)`.
        group: `(..., N)` ids or None.
        mask: `(..., N)` True = real, or None.
        weight: `(..., N)` or None; a pair weighs `w_i * w_j`.
        temperature: Divides the score differences.
        pairs: "mean" or "sum" over the counted pairs of a list.
        reduction: "mean", "sum" or "none" over lists.
        engine: How it is computed, "dense", "sorted", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(...)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit, or `temperature` is not above 0.
    """
    check_choice("pairs", pairs, PAIRS)
    check_positive("temperature", temperature)
    penalty = LogisticPenalty()
    check_engine(engine, pair_engines(penalty))
    value = partial(value_by_engine, penalty=penalty, pairs=pairs, temperature=temperature, engine=engine)
    return list_loss(value, scores, target, group=group, mask=mask, weight=weight, reduction=reduction)


def mann_whitney(
    scores: Tensor,
    target: Tensor,
    *,
    group: Tensor | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    surrogate: Surrogate = "logistic",
    temperature: float = 1.0,
    pairs: Pairs = "mean",
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """AUC: a smooth stand-in for the share of wrongly ordered pairs, 1 - the Mann-Whitney statistic.

    With `d = (s_i - s_j) / temperature` a pair costs `log(1 + exp(-d))` ("logistic"), `max(0, 1 - d)` ("hinge"),
    `max(0, 1 - d)^2` ("squared_hinge") or `1 / (1 + exp(d))` ("sigmoid", which tends to 1 - AUC as the temperature
    falls). Graded targets are ranked too: every pair with two different targets counts.

    Source: Yan et al., ICML 2003; surrogates in Gao and Zhou, On the Consistency of AUC Pairwise Optimization, 2015.

    Args:
        scores: `(..., N)`.
        target: `(..., N)`; for an AUC bool or 0 and 1.
        group: `(..., N)` ids or None.
        mask: `(..., N)` True = real, or None.
        weight: `(..., N)` or None; a pair weighs `w_i * w_j`.
        surrogate: "logistic", "hinge", "squared_hinge" or "sigmoid".
        temperature: Divides the score differences.
        pairs: "mean" or "sum" over the counted pairs of a list.
        reduction: "mean", "sum" or "none" over lists.
        engine: How it is computed, "dense", "tiled", "sorted" (not with a sigmoid) or "auto"; never visible in the
            result.

    Returns:
        A scalar, or `(...)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit, or `temperature` is not above 0.
    """
    check_choice("pairs", pairs, PAIRS)
    check_choice("surrogate", surrogate, tuple(_SURROGATES))
    check_positive("temperature", temperature)
    penalty = _SURROGATES[surrogate]
    check_engine(engine, pair_engines(penalty))
    value = partial(value_by_engine, penalty=penalty, pairs=pairs, temperature=temperature, engine=engine)
    return list_loss(value, scores, target, group=group, mask=mask, weight=weight, reduction=reduction)


def fidelity(
    scores: Tensor,
    target: Tensor,
    *,
    group: Tensor | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    target_probability: TargetProbability = "thurstone",
    scale: float = 1.0,
    tied_lists: TiedLists = "skip",
    pairs: Pairs = "mean",
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """Fidelity between predicted and target probability that one item of a pair is better than the other.

    A pair costs `1 - sqrt(p g + e) - sqrt((1 - p)(1 - g) + e)` with e = 1e-8 and p = Phi((s_i - s_j) / scale), Phi
    the standard normal distribution function. "thurstone": g = Phi((t_i - t_j) / scale), over all pairs i < j, a tie
    being g = 1/2 like any other value (the one loss here that compares tied targets). "binary": g = 1 over the pairs
    with t_i > t_j. The e keeps the gradient finite; it lets a saturated pair cost as little as -1e-4.

    Source: FRank, Tsai et al., SIGIR 2007; Thurstone form as in UNIQUE, Zhang et al., IEEE TIP 2021.

    Args:
        scores: `(..., N)`.
        target: `(..., N)`.
        group: `(..., N)` ids or None.
        mask: `(..., N)` True = real, or None.
        weight: `(..., N)` or None; a pair weighs `w_i * w_j`.
        target_probability: "thurstone" or "binary".
        scale: Standard deviation of a difference, in the unit of scores and targets.
        tied_lists: "skip": a list whose targets are all equal contributes 0 and is not averaged over, as in every
            score loss; "keep": its ties are compared like those of other lists (only with "thurstone").
        pairs: "mean" or "sum" over the counted pairs of a list.
        reduction: "mean", "sum" or "none" over lists.
        engine: How it is computed, "dense", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(...)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit, `scale` is not above 0, or tied lists are to be kept
            with binary probabilities, which leave ties out.
    """
    check_choice("pairs", pairs, PAIRS)
    check_choice("target_probability", target_probability, ("thurstone", "binary"))
    check_positive("scale", scale)
    check_engine(engine, ("dense", "tiled"))
    if target_probability == "thurstone":
        value = partial(_thurstone_value, scale=scale, pairs=pairs, engine=engine)
    elif tied_lists == "keep":
        raise ValueError("tied_lists: 'keep' given, expected 'skip' with target_probability 'binary' (no ties there)")
    else:
        value = partial(value_by_engine, penalty=BinaryFidelityPenalty(), pairs=pairs, temperature=scale, engine=engine)
    return list_loss(
        value, scores, target, group=group, mask=mask, weight=weight, reduction=reduction, tied_lists=tied_lists
    )


def _thurstone_value(lists: Lists, scale: float, pairs: Pairs, engine: Engine) -> Tensor:
    """Fidelity over all pairs i < j of each list; `(M,)`."""
    if engine_for(lists, engine, ("dense", "tiled"), lambda: fastest(lists)) == "tiled":
        return tiled_pair_value(lists, ThurstoneCost(scale), pairs, tied=True, features=(lists.target,))
    counted = unordered_pairs(lists)
    gap = torch.where(counted, differences(lists.scores), 0.0)
    wanted = torch.where(counted, differences(lists.target), 0)
    return reduce_pairs(ThurstoneCost(scale)(gap, wanted), counted, lists, pairs)
