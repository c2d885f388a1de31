"""Score losses over whole lists: probabilities of orders, and smooth or bounded forms of the NDCG.

The arguments that all score losses share (`scores`, `target`, `group`, `mask`, `weight`, `reduction`) are explained
once, in `zoo.ranking`. Listwise losses are as published, so `pairs`, which every score loss accepts, chooses nothing
here.
"""

from functools import partial

import torch
from torch import Tensor

from zoo.ranking.checks import (
    GAINS,
    PAIRS,
    Gain,
    Pairs,
    Reduction,
    TiedLists,
    check_choice,
    check_depth,
    check_positive,
)
from zoo.ranking.costs import LambdaCost
from zoo.ranking.engines import Engine, check_engine
from zoo.ranking.lists import Lists, list_loss
from zoo.ranking.masked import masked_log_softmax
from zoo.ranking.pairs import both_real, differences, ordered_pairs, reduce_pairs
from zoo.ranking.pairwise_engines import engine_for, fastest, fastest_counts
from zoo.ranking.plackett_luce import ListTies
from zoo.ranking.plackett_luce_sums import PLACKETT_LUCE_ENGINES, plackett_luce_by_engine
from zoo.ranking.positions import discounts, gains, places
from zoo.ranking.reduction import divide
from zoo.ranking.smooth_counts import SmoothCounts
from zoo.ranking.smooth_sums import allowed
from zoo.ranking.tiles import BOUND, tiled_pair_value
from zoo.ranking.top_pairs import tiled_top_pair_sum, top_pair_sum

APPROX_ENGINES = ("dense", "sorted", "tiled")


def listnet(
    scores: Tensor,
    target: Tensor,
    *,
    group: Tensor | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    pairs: Pairs = "mean",
    reduction: Reduction = "mean",
) -> Tensor:
    """ListNet: cross-entropy between the softmax of the targets and the softmax of the scores (both temperature 1).

    `- sum_i P_i log Q_i` with `P = softmax(target)`, `Q = softmax(scores)`, the top-one probabilities. With weights an
    item's mass in both is `w_i exp(.)`, so that an item of weight 2 pulls as two equal ones do.

    Source: ListNet, Cao et al., ICML 2007, section 4 (top-one probability, cross-entropy).

    Args:
        scores: `(..., N)`.
        target: `(..., N)`; divide it by a temperature beforehand for a sharper or softer goal.
        group: `(..., N)` ids or None.
        mask: `(..., N)` True = real, or None.
        weight: `(..., N)` or None.
        pairs: Not used by a listwise loss (accepted so that all score losses are called alike).
        reduction: "mean", "sum" or "none" over lists.

    Returns:
        A scalar, or `(...)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit.
    """
    check_choice("pairs", pairs, PAIRS)
    return list_loss(_listnet_value, scores, target, group=group, mask=mask, weight=weight, reduction=reduction)


def _listnet_value(lists: Lists) -> Tensor:
    if lists.plain:
        return -(lists.target.to(lists.scores.dtype).log_softmax(-1).exp() * lists.scores.log_softmax(-1)).sum(-1)
    mass = torch.where(lists.real, lists.weight, 1.0).log()
    wanted = masked_log_softmax(lists.target.to(lists.scores.dtype) + mass, lists.real).exp()
    predicted = masked_log_softmax(lists.scores + mass, lists.real)
    return -(torch.where(lists.real, wanted, 0.0) * predicted).sum(-1)


def listmle(
    scores: Tensor,
    target: Tensor,
    *,
    group: Tensor | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    ties: ListTies = "efron",
    pairs: Pairs = "mean",
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """ListMLE: negative log-likelihood of the target order under the Plackett-Luce model of the scores.

    `sum_i (log sum_{j not above i} exp(s_j) - s_i)`, a sum over the list. Items with equal targets have no order:
    "efron" takes out 0, 1/d, ... (d-1)/d of a block of d tied items from the d denominators, so that the value does
    not depend on how they stand; "order" takes the given order as the true one. With weights an item's Plackett-Luce
    mass is `w_i exp(s_i)` and its term counts w_i times (the denominators of a tied block, by its mean weight).

    Source: ListMLE, Xia et al., ICML 2008; ties: Efron, JASA 1977.

    Args:
        scores: `(..., N)`.
        target: `(..., N)`.
        group: `(..., N)` ids or None.
        mask: `(..., N)` True = real, or None.
        weight: `(..., N)` or None.
        ties: "efron" or "order".
        pairs: Not used by a listwise loss (accepted so that all score losses are called alike).
        reduction: "mean", "sum" or "none" over lists.
        engine: How it is computed, "dense" (a scan of logarithms), "sorted" (running sums in float64) or "auto"; never
            visible in the result.

    Returns:
        A scalar, or `(...)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit.
    """
    check_choice("pairs", pairs, PAIRS)
    check_choice("ties", ties, ("efron", "order"))
    check_engine(engine, PLACKETT_LUCE_ENGINES)
    value = partial(plackett_luce_by_engine, ties=ties, engine=engine)
    return list_loss(value, scores, target, group=group, mask=mask, weight=weight, reduction=reduction)


def lambda_ndcg(
    scores: Tensor,
    target: Tensor,
    *,
    group: Tensor | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    k: int | None = None,
    gain: Gain = "exp2",
    temperature: float = 1.0,
    pairs: Pairs = "mean",
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """LambdaRank: RankNet's pair cost times the change of NDCG that swapping the pair would make, summed over pairs.

    `sum_{t_i > t_j} |g_i - g_j| |D(r_i) - D(r_j)| / ideal * log(1 + exp(-(s_i - s_j) / temperature))` with gain
    `g = 2^t - 1` ("exp2") or `t` ("linear"), discount `D(r) = 1 / log2(1 + r)`, 0 beyond rank k, and `ideal` the
    largest possible DCG@k. Ranks r come from the present scores and carry no gradient; equal scores are ranked in
    their given order. Targets should be >= 0; a list with negative ones is shifted up to start at 0.

    Source: LambdaRank, Burges, MSR-TR-2010-82, section 4, as the loss of Wang et al., LambdaLoss, CIKM 2018.

    Args:
        scores: `(..., N)`.
        target: `(..., N)`.
        group: `(..., N)` ids or None.
        mask: `(..., N)` True = real, or None.
        weight: `(..., N)` or None; a pair weighs `w_i * w_j`.
        k: Depth of the NDCG; None is the whole list.
        gain: "exp2" or "linear".
        temperature: Divides the score differences.
        pairs: Not used by a listwise loss (accepted so that all score losses are called alike).
        reduction: "mean", "sum" or "none" over lists.
        engine: How it is computed, "dense", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(...)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit, `k` is below 1 or `temperature` is not above 0.
    """
    check_choice("pairs", pairs, PAIRS)
    check_choice("gain", gain, GAINS)
    check_depth(k)
    check_positive("temperature", temperature)
    check_engine(engine, ("dense", "tiled"))
    value = partial(_lambda_value, k=k, gain=gain, temperature=temperature, engine=engine)
    return list_loss(value, scores, target, group=group, mask=mask, weight=weight, reduction=reduction)


def _lambda_value(lists: Lists, k: int | None, gain: Gain, temperature: float, engine: Engine) -> Tensor:
    dtype = lists.scores.dtype
    gained = gains(lists, gain)
    place = places(lists.scores, lists.real)
    present = discounts(place, lists.real, dtype, k)
    ideal = (gained * discounts(places(lists.target, lists.real), lists.real, dtype, k)).sum(-1)
    cost, blocks = LambdaCost(temperature), engine_for(lists, engine, ("dense", "tiled"), lambda: fastest(lists))
    if k is not None and k < lists.scores.shape[-1]:
        # inf - inf, of pairs that do not count, is masked in the dense form alone
        top = tiled_top_pair_sum if blocks == "tiled" and bool((lists.scores.abs() < BOUND).all()) else top_pair_sum
        total = top(lists, cost, place, k, gained, present)
    elif blocks == "tiled":
        total = tiled_pair_value(lists, cost, "sum", features=(gained, present))
    else:
        counted = ordered_pairs(lists)
        gap = torch.where(counted, differences(lists.scores), 0.0)
        costs = cost(gap, differences(gained), differences(present))
        total = reduce_pairs(costs, counted, lists, "sum")
    return divide(total, ideal)


def approx_ndcg(
    scores: Tensor,
    target: Tensor,
    *,
    group: Tensor | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    gain: Gain = "exp2",
    temperature: float = 0.1,
    pairs: Pairs = "mean",
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """ApproxNDCG: 1 - the NDCG whose ranks are replaced by smooth ones.

    Smooth rank `r_i = 1 + sum_{j != i} sigmoid((s_j - s_i) / temperature)`, gain `g = 2^t - 1` ("exp2") or `t`
    ("linear"), loss `1 - sum_i g_i / log2(1 + r_i) / ideal` with the largest DCG of any order as the ideal. With
    weights a gain counts w_i times, in the ideal too. Targets should be >= 0; a list with negative ones is shifted up
    to start at 0.

    Source: ApproxNDCG, Qin, Liu and Li, Information Retrieval 2010; temperature as in Bruch et al., SIGIR 2019.

    Args:
        scores: `(..., N)`.
        target: `(..., N)`.
        group: `(..., N)` ids or None.
        mask: `(..., N)` True = real, or None.
        weight: `(..., N)` or None.
        gain: "exp2" or "linear".
        temperature: Divides the score differences; ranks become exact as it falls.
        pairs: Not used by a listwise loss (accepted so that all score losses are called alike).
        reduction: "mean", "sum" or "none" over lists.
        engine: How it is computed, "dense", "sorted", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(...)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit, or `temperature` is not above 0.
    """
    check_choice("pairs", pairs, PAIRS)
    check_choice("gain", gain, GAINS)
    check_positive("temperature", temperature)
    check_engine(engine, APPROX_ENGINES)
    value = partial(_approx_value, gain=gain, temperature=temperature, engine=engine)
    return list_loss(value, scores, target, group=group, mask=mask, weight=weight, reduction=reduction)


def _approx_value(lists: Lists, gain: Gain, temperature: float, engine: Engine) -> Tensor:
    gained = gains(lists, gain) * lists.weight
    chosen = engine_for(lists, engine, APPROX_ENGINES, lambda: fastest_counts(lists))
    if chosen != "dense":
        nodes = chosen == "sorted" and allowed(lists.scores, lists.real, temperature)
        above = SmoothCounts.apply(lists.scores, lists.real, temperature, nodes)
    else:
        others = both_real(lists) & ~torch.eye(lists.real.shape[-1], dtype=torch.bool, device=lists.real.device)
        above = torch.where(others, (-differences(lists.scores) / temperature).sigmoid(), 0.0).sum(-1)
    reached = (gained / (2 + above).log2()).sum(-1)
    ideal = (gained * discounts(places(gained, lists.real), lists.real, gained.dtype)).sum(-1)
    return 1 - divide(reached, ideal)


def confidence_ndcg(
    scores: Tensor,
    target: Tensor,
    *,
    group: Tensor | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    tied_lists: TiedLists = "skip",
    pairs: Pairs = "mean",
    reduction: Reduction = "mean",
) -> Tensor:
    """M-NDCG: 1 - the DCG of the confidences over that of their targets, in target order, folded to at most 1.

    With p the place of an item in descending order of target (equal targets stand in their given order),
    `DCG = sum_p s_p / log2(p + 2)` from p = 0, `IDCG` the same sum of the targets, and the loss `1 - min(r, 1 / r)` for
    `r = DCG / IDCG`. Gains are linear and neither sum is normalised, so the loss also pulls the level of the scores
    to that of the targets. Meant for scores and targets in [0, 1]. For RankMixup a list holds the raw image's
    confidence with target 1 first, then those of its mixes with their label maxima. With weights both terms of an item
    count w_i times.

    Source: RankMixup, Noh et al., ICCV 2023, M-NDCG.

    Args:
        scores: `(..., N)` confidences.
        target: `(..., N)` >= 0; a list whose targets' DCG is not above 0 is worth 1.
        group: `(..., N)` ids or None.
        mask: `(..., N)` True = real, or None.
        weight: `(..., N)` or None.
        tied_lists: "skip": a list whose targets are all equal contributes 0 and is not averaged over, as in every
            score loss; "keep": it counts, as published (an image all of whose mixes are of its own class).
        pairs: Not used by a listwise loss (accepted so that all score losses are called alike).
        reduction: "mean", "sum" or "none" over lists.

    Returns:
        A scalar, or `(...)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit.
    """
    check_choice("pairs", pairs, PAIRS)
    return list_loss(
        _confidence_value,
        scores,
        target,
        group=group,
        mask=mask,
        weight=weight,
        reduction=reduction,
        tied_lists=tied_lists,
    )


def _confidence_value(lists: Lists) -> Tensor:
    discount = discounts(places(lists.target, lists.real), lists.real, lists.scores.dtype) * lists.weight
    reached = (lists.scores * discount).sum(-1)
    ideal = (lists.target.to(discount.dtype) * discount).sum(-1)
    below = ideal > reached
    return 1 - divide(torch.where(below, reached, ideal), torch.where(below, ideal, reached))
