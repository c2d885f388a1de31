"""The ranking core: what should stand above what, what a wrong pair costs, and how costs add up.

Every ranking objective is three choices:

* an ORDER: which items should stand above which, and by how much that matters (targets, groups, masks, weights);
* a PENALTY: what a wrong pair, list or row costs (the name of the loss and its margin or temperature);
* a REDUCTION: how pairs become a value per list or row, and these become a number (`pairs`, `reduction`).

A domain's objective is a short composition of the functions below. Each has a thin module of the same options, for
recipes. Only torch is needed.

===================== ===================== ==========================================================================
function              module                what it compares
===================== ===================== ==========================================================================
Score losses: `f(scores, target, *, group=None, mask=None, weight=None, pairs="mean", reduction="mean")`
----------------------------------------------------------------------------------------------------------------------
`hinge`               `Hinge`               pairs, by a margin
`squared_hinge`       `SquaredHinge`        pairs, by a squared margin
`logistic`            `Logistic`            pairs, RankNet
`mann_whitney`        `MannWhitney`         pairs, surrogates of the AUC
`fidelity`            `Fidelity`            pairs, probability of being better against its target
`listnet`             `ListNet`             lists, softmax of the targets against softmax of the scores
`listmle`             `ListMLE`             lists, likelihood of the target order (Plackett-Luce)
`lambda_ndcg`         `LambdaNDCG`          lists, pairs weighed by the change of NDCG
`approx_ndcg`         `ApproxNDCG`          lists, NDCG with smooth ranks
`confidence_ndcg`     `ConfidenceNDCG`      lists, DCG of confidences against that of their targets
----------------------------------------------------------------------------------------------------------------------
Similarity losses: `f(similarity, positive, *, mask=None, weight=None, reduction="mean")`
----------------------------------------------------------------------------------------------------------------------
`triplet`             `Triplet`             positives and negatives of a row, by a margin
`triplet_alignment`   `TripletAlignment`    positives and a log-sum-exp of the negatives
`set_wise`            `SetWise`             the positive and all negatives, plus the hardest
`info_nce`            `InfoNCE`             softmax of a row against its positive
`sdm`                 `SDM`                 softmax of a row against its label distribution
`multi_similarity`    `MultiSimilarity`     mined positives and negatives around a base similarity
`smooth_ap`           `SmoothAP`            average precision with smooth ranks
===================== ===================== ==========================================================================

`threshold_consistent_margin` (`ThresholdConsistentMargin`) is a similarity loss too: positives and negatives against
two thresholds that all rows share. `both_ways` evaluates a similarity loss in both directions at once. `gather` brings
the whole batch to every process; `across_processes` does without. `ScoreLoss` and `SimilarityLoss` are the base
classes that a recipe slot asks for.

Score losses
    `scores`, `target`: `(..., N)`; leading dimensions are independent lists. A higher target belongs higher. Targets
    may be floating point, integer or bool, and never get a gradient.
    `group`: `(..., N)` integer ids of any value: each group is a list of its own, and the value of the list is the
    mean over its groups that have something to rank.
    `mask`: `(..., N)` bool, True = real. What is not real may hold anything, nan and inf included.
    `weight`: `(..., N)` >= 0, per item. A pair weighs `w_i * w_j` and the mean over pairs becomes the weighted mean;
    listwise losses say in their docstring what they weigh. Weight 0 is the same as not real. The mean over groups and
    lists stays a plain mean.
    `pairs`: "mean" or "sum" over the counted pairs of a list (or group); listwise losses are as published.

Similarity losses
    `similarity`: `(Q, G)`, one row per query (a gallery of its own each, or a common one); a distance enters as its
    negative. `positive`: bool `(Q, G)`. One direction only; two-way is `f(S, P) + f(S.T, P.T)`.
    Instead of the matrices, embeddings and ids: `Cosine(queries, gallery)`, `Dot` or `Euclidean` (minus the distance)
    of `(Q, D)` and `(G, D)`, `Same(label, label)` for `positive`, `Different(index, index)` for a `mask` without the
    diagonal. Large ones are then compared in blocks, in memory that grows with Q + G and not with Q times G.
    `mask`: `(Q, G)` bool, False = neither positive nor negative. The diagonal is never left out by itself.
    `weight`: `(Q,)` >= 0, per row.

Both
    `reduction`: "none" gives one value per list, shape `(...)`, or per row, `(Q,)`; "sum" adds them; "mean" averages
    over the lists or rows that have something to rank, and is 0 when there is none. With a row weight, "none" gives
    weighted values, "sum" adds these, "mean" divides their sum by the sum of the weights.
    Nothing to rank: a list without two different targets among its real items, a row without a positive or without
    a negative. It contributes exactly 0 with zero gradient (`tied_lists` of two losses makes an exception).
    float16 and bfloat16 are computed and returned in float32; float64 stays float64. No input of finite real entries
    gives nan; a nan in a real score is passed on.
    `engine`: "dense" (the readable reference), "sorted" (exact sums over sorted scores; for smooth penalties sums at
    Chebyshev nodes, to the accuracy of the dtype, where the scores lie close enough together, and blocks where not) or
    "tiled" (blocks that are forgotten again); each loss says which it has. "auto" takes the fastest. It never shows in
    the result; only "dense" has second derivatives and a gradient for the weights of items. `with use_engine("dense"):`
    chooses for all losses inside.
    A wrong shape, dtype or word raises ValueError with the argument's name, what was given and what is expected.
"""

from zoo.ranking.base_modules import ScoreLoss, SimilarityLoss
from zoo.ranking.distributed import gather
from zoo.ranking.engines import use_engine
from zoo.ranking.lazy import Cosine, Different, Dot, Euclidean, Same
from zoo.ranking.listwise import approx_ndcg, confidence_ndcg, lambda_ndcg, listmle, listnet
from zoo.ranking.pairwise import fidelity, hinge, logistic, mann_whitney, squared_hinge
from zoo.ranking.processes import across_processes
from zoo.ranking.score_modules import (
    ApproxNDCG,
    ConfidenceNDCG,
    Fidelity,
    Hinge,
    LambdaNDCG,
    ListMLE,
    ListNet,
    Logistic,
    MannWhitney,
    SquaredHinge,
)
from zoo.ranking.similarity import info_nce, multi_similarity, sdm, smooth_ap
from zoo.ranking.similarity_modules import (
    SDM,
    InfoNCE,
    MultiSimilarity,
    SetWise,
    SmoothAP,
    ThresholdConsistentMargin,
    Triplet,
    TripletAlignment,
)
from zoo.ranking.thresholds import threshold_consistent_margin
from zoo.ranking.triplets import set_wise, triplet, triplet_alignment
from zoo.ranking.two_way import both_ways

__all__ = [
    "SDM",
    "ApproxNDCG",
    "ConfidenceNDCG",
    "Cosine",
    "Different",
    "Dot",
    "Euclidean",
    "Fidelity",
    "Hinge",
    "InfoNCE",
    "LambdaNDCG",
    "ListMLE",
    "ListNet",
    "Logistic",
    "MannWhitney",
    "MultiSimilarity",
    "Same",
    "ScoreLoss",
    "SetWise",
    "SimilarityLoss",
    "SmoothAP",
    "SquaredHinge",
    "ThresholdConsistentMargin",
    "Triplet",
    "TripletAlignment",
    "across_processes",
    "approx_ndcg",
    "both_ways",
    "confidence_ndcg",
    "fidelity",
    "gather",
    "hinge",
    "info_nce",
    "lambda_ndcg",
    "listmle",
    "listnet",
    "logistic",
    "mann_whitney",
    "multi_similarity",
    "sdm",
    "set_wise",
    "smooth_ap",
    "squared_hinge",
    "threshold_consistent_margin",
    "triplet",
    "triplet_alignment",
    "use_engine",
]
