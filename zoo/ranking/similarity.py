"""Similarity losses by softmax, by weighted pairs and by average precision.

The arguments that all similarity losses share (`similarity`, `positive`, `mask`, `weight`, `reduction`) are explained
once, in `zoo.ranking`.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.ranking.checks import Reduction, check_positive
from zoo.ranking.engines import Engine
from zoo.ranking.lazy import Matrix, Relation
from zoo.ranking.masked import masked_log_softmax, masked_logsumexp, masked_max, masked_mean, masked_min
from zoo.ranking.reduction import divide
from zoo.ranking.row_engines import RowLoss, row_loss
from zoo.ranking.row_slopes import multi_similarity_slope, smooth_ap_slope
from zoo.ranking.rows import Rows
from zoo.ranking.softmax_rows import Softmax, finish_info_nce, finish_sdm


def info_nce(
    similarity: Matrix,
    positive: Relation,
    *,
    mask: Relation | None = None,
    weight: Tensor | None = None,
    temperature: float = 0.02,
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """InfoNCE: cross-entropy of the positive in the softmax of the row.

    `- log softmax(S / temperature)_p` over all real entries of the row, the mean over the positives p where a row has
    several. One direction; CLIP's two-way loss is the mean of `info_nce(S, P)` and `info_nce(S.T, P.T)`.

    Source: CPC, van den Oord et al., arXiv:1807.03748, eq. 4; several positives: SupCon, Khosla et al., 2020, eq. 2.

    Args:
        similarity: `(Q, G)`.
        positive: `(Q, G)` bool.
        mask: `(Q, G)` or None.
        weight: `(Q,)` or None.
        temperature: Divides the similarities (0.02 is a logit scale of 50).
        reduction: "mean", "sum" or "none" over rows.
        engine: How it is computed, "dense", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(Q,)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit, or `temperature` is not above 0.
    """
    check_positive("temperature", temperature)
    return row_loss(
        info_nce_rows(temperature), similarity, positive, mask=mask, weight=weight, reduction=reduction, engine=engine
    )


def info_nce_rows(temperature: float = 0.02) -> RowLoss:
    """What `info_nce` does with a row."""
    return RowLoss(partial(_info_nce_value, temperature=temperature), softmax=Softmax(finish_info_nce, temperature))


def _info_nce_value(rows: Rows, temperature: float) -> Tensor:
    logs = masked_log_softmax(rows.centred() * (1 / temperature), rows.positive | rows.negative)
    return -masked_mean(logs, rows.positive)


def sdm(
    similarity: Matrix,
    positive: Relation,
    *,
    mask: Relation | None = None,
    weight: Tensor | None = None,
    temperature: float = 0.02,
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """Similarity distribution matching: KL divergence of the row's softmax from its row-normalised labels.

    `sum_j p_j (log p_j - log(q_j + 1e-8))` with `p = softmax(S / temperature)` over the real entries of the row and q_j
    = 1 / (number of positives) for a positive, 0 for a negative. One direction; two-way is
    `sdm(S, P) + sdm(S.T, P.T)`.

    Source: IRRA, Jiang and Ye, CVPR 2023, similarity distribution matching.

    Args:
        similarity: `(Q, G)`.
        positive: `(Q, G)` bool.
        mask: `(Q, G)` or None.
        weight: `(Q,)` or None.
        temperature: Divides the similarities (0.02 is a logit scale of 50).
        reduction: "mean" (as published), "sum" or "none" over rows.
        engine: How it is computed, "dense", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(Q,)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit, or `temperature` is not above 0.
    """
    check_positive("temperature", temperature)
    return row_loss(
        sdm_rows(temperature), similarity, positive, mask=mask, weight=weight, reduction=reduction, engine=engine
    )


def sdm_rows(temperature: float = 0.02) -> RowLoss:
    """What `sdm` does with a row."""
    return RowLoss(partial(_sdm_value, temperature=temperature), softmax=Softmax(finish_sdm, temperature, moments=True))


def _sdm_value(rows: Rows, temperature: float) -> Tensor:
    real = rows.positive | rows.negative
    logs = masked_log_softmax(rows.centred() * (1 / temperature), real)
    real = real & (logs != -torch.inf)  # a probability of 0 adds 0, not 0 * inf
    logs = torch.where(real, logs, 0.0)
    labels = rows.relevance / rows.relevance.sum(-1, keepdim=True).clamp(min=1)
    terms = logs.exp() * (logs - (labels + 1e-8).log())
    return torch.where(real, terms, 0.0).sum(-1)


def multi_similarity(
    similarity: Matrix,
    positive: Relation,
    *,
    mask: Relation | None = None,
    weight: Tensor | None = None,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 1.0,
    margin: float = 0.1,
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """Multi-similarity: soft sums over mined positives and mined negatives around a base similarity.

    Mining, without gradient: a negative n is kept if `S_n + margin > min_p S_p`, a positive p if
    `S_p - margin < max_n S_n`. Loss over the kept ones:
    `1/alpha log(1 + sum_p exp(-alpha (S_p - base))) + 1/beta log(1 + sum_n exp(beta (S_n - base)))`; a row whose
    entries are all easy is worth 0 and still counts in the mean.

    Source: Multi-Similarity Loss, Wang et al., CVPR 2019, mining and weighting; its settings (2, 50, 1, 0.1).

    Args:
        similarity: `(Q, G)`, in the paper cosine similarity.
        positive: `(Q, G)` bool.
        mask: `(Q, G)` or None; leave the diagonal out here when a batch is compared with itself.
        weight: `(Q,)` or None.
        alpha: Sharpness of the sum over positives.
        beta: Sharpness of the sum over negatives.
        base: Similarity that parts positives from negatives (lambda in the paper).
        margin: Width of the mining band (epsilon in the paper); `inf` keeps every pair.
        reduction: "mean", "sum" or "none" over rows.
        engine: How it is computed, "dense", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(Q,)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit, or `alpha` or `beta` is not above 0.
    """
    check_positive("alpha", alpha)
    check_positive("beta", beta)
    loss = RowLoss(
        partial(_multi_similarity_value, alpha=alpha, beta=beta, base=base, margin=margin),
        partial(multi_similarity_slope, alpha=alpha, beta=beta, base=base, margin=margin),
    )
    return row_loss(loss, similarity, positive, mask=mask, weight=weight, reduction=reduction, engine=engine)


def _multi_similarity_value(rows: Rows, alpha: float, beta: float, base: float, margin: float) -> Tensor:
    fixed = rows.similarity.detach()
    lowest = masked_min(fixed, rows.positive).unsqueeze(-1)
    highest = masked_max(fixed, rows.negative).unsqueeze(-1)
    positives = rows.positive & ~(fixed - margin >= highest)  # what is easy is dropped; a nan is not easy
    negatives = rows.negative & ~(fixed + margin <= lowest)
    centred = rows.similarity - base
    return _soft_sum(-alpha * centred, positives) / alpha + _soft_sum(beta * centred, negatives) / beta


def _soft_sum(x: Tensor, mask: Tensor) -> Tensor:
    """`log(1 + sum exp(x))` over the True entries: `(Q, G)` -> `(Q,)`, without overflow."""
    return masked_logsumexp(F.pad(x, (1, 0), value=0.0), F.pad(mask, (1, 0), value=True))


def smooth_ap(
    similarity: Matrix,
    positive: Relation,
    *,
    mask: Relation | None = None,
    weight: Tensor | None = None,
    temperature: float = 0.01,
    reduction: Reduction = "mean",
    engine: Engine = "auto",
) -> Tensor:
    """Smooth-AP: 1 - the average precision of the row with sigmoids in place of its step functions.

    With `h_ij = sigmoid((S_j - S_i) / temperature)`, the smooth rank of a positive i is `1 + sum_{j != i} h_ij` among
    all real entries and likewise among the positives; the loss is `1 - mean_i (rank among positives / rank among all)`.
    With a relevance in place of bool, the rank among positives becomes `rel_i + sum_{j != i} min(rel_i, rel_j) h_ij`
    and the mean becomes the sum divided by the sum of relevances; for relevances 0 and 1 both are the same.

    Source: Smooth-AP, Brown et al., ECCV 2020, section 4; relevances: HAPPIER, Ramzi et al., ECCV 2022 (H-AP).

    Args:
        similarity: `(Q, G)`.
        positive: `(Q, G)` bool, or floating-point relevance >= 0, where above 0 is positive.
        mask: `(Q, G)` or None; leave the diagonal out here when a batch is compared with itself.
        weight: `(Q,)` or None.
        temperature: Divides the similarities; ranks become exact as it falls.
        reduction: "mean", "sum" or "none" over rows.
        engine: How it is computed, "dense", "tiled" or "auto"; never visible in the result.

    Returns:
        A scalar, or `(Q,)` with reduction "none".

    Raises:
        ValueError: if a shape, dtype or string does not fit, or `temperature` is not above 0.
    """
    check_positive("temperature", temperature)
    loss = RowLoss(
        partial(_smooth_ap_value, temperature=temperature),
        partial(smooth_ap_slope, temperature=temperature),
        graded=True,
        cubic=True,
    )
    return row_loss(loss, similarity, positive, mask=mask, weight=weight, reduction=reduction, engine=engine)


def _smooth_ap_value(rows: Rows, temperature: float) -> Tensor:
    columns, found = rows.anchors()
    relevance = torch.where(found, rows.relevance.gather(-1, columns), 0.0)  # what only fills a row up adds nothing

    gallery = torch.arange(rows.positive.shape[-1], device=columns.device)
    others = (rows.positive | rows.negative).unsqueeze(-2) & (columns.unsqueeze(-1) != gallery)
    gaps = rows.similarity.unsqueeze(-2) - rows.similarity.gather(-1, columns).unsqueeze(-1)
    above = (gaps / temperature).sigmoid()
    above = torch.where(others, above, 0.0)
    shared = torch.minimum(relevance.unsqueeze(-1), rows.relevance.unsqueeze(-2))
    among_positives = relevance + (shared * above).sum(-1)
    precision = among_positives / (1 + above.sum(-1))
    return 1 - divide(precision.sum(-1), relevance.sum(-1))
