"""Values and slopes of rows without autograd, for the losses whose dense form would keep many copies of a block."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.ranking.masked import masked_max
from zoo.ranking.rows import Rows


def multi_similarity_slope(rows: Rows, alpha: float, beta: float, base: float, margin: float) -> tuple[Tensor, Tensor]:
    """Of `zoo.ranking.multi_similarity`: values `(Q,)`, slopes `(Q, G)`."""
    similarity = rows.similarity
    columns, found = rows.anchors()
    chosen = similarity.gather(-1, columns)
    lowest = -masked_max(-chosen, found).unsqueeze(-1)
    below = torch.where(rows.negative, similarity, -torch.inf)
    highest = below.amax(-1, keepdim=True)
    kept = found & ~(chosen - margin >= highest)
    at_positives, pull = _soft_sum(torch.where(kept, -alpha * (chosen - base), -torch.inf))
    # what is easy is dropped; a nan is not easy
    below.masked_fill_(below + margin <= lowest, -torch.inf)
    at_negatives, slopes = _soft_sum(below.sub_(base).mul_(beta))
    row, place = kept.nonzero(as_tuple=True)
    slopes[row, columns[row, place]] = -pull[row, place]
    return at_positives / alpha + at_negatives / beta, slopes


def _soft_sum(x: Tensor) -> tuple[Tensor, Tensor]:
    """`log(1 + sum exp(x))`, `(Q,)`, and its slopes; x is overwritten."""
    high = x.amax(-1, keepdim=True).clamp(min=0) if x.shape[-1] else x.new_zeros(len(x), 1)
    powers = x.sub_(high).exp_()
    mass = powers.sum(-1, keepdim=True) + (-high).exp()
    return (mass.log() + high).squeeze(-1), powers.div_(mass)


def smooth_ap_slope(rows: Rows, temperature: float) -> tuple[Tensor, Tensor]:
    """Of `zoo.ranking.smooth_ap`: values `(Q,)`, slopes `(Q, G)`; one sigmoid for each positive and each entry."""
    similarity = rows.similarity
    columns, found = rows.anchors()
    grade = torch.where(found, rows.relevance.gather(-1, columns), 0.0)
    total = grade.sum(-1, keepdim=True)
    total = torch.where(total > 0, total, 1.0)
    real = rows.positive | rows.negative
    everything = bool(real.all())
    chosen = similarity.gather(-1, columns)
    above = torch.sub(similarity.unsqueeze(1), chosen.unsqueeze(2)).mul_(1 / temperature).sigmoid_()  # (Q, P, G)
    if not everything:
        above.mul_(real.unsqueeze(1))
    above.scatter_(2, columns.unsqueeze(2), 0.0)  # nothing stands above itself
    among = above.gather(2, columns.unsqueeze(1).expand(-1, columns.shape[1], -1))  # (Q, P, P)
    shared = torch.minimum(grade.unsqueeze(2), grade.unsqueeze(1))
    reached = grade + (shared * among).sum(-1)
    rank = 1 + above.sum(-1)
    values = 1 - (reached / rank).sum(-1) / total.squeeze(-1)
    # d value / d above_ij = reached_i / (total rank_i^2) - shared_ij / (total rank_i), the latter at positives only
    by_all, by_positives = reached / (total * rank.square()), -1 / (total * rank)
    by_all = torch.where(found, by_all, 0.0) / temperature
    steep = torch.addcmul(above, above, above, value=-1)  # of the sigmoid
    slopes = torch.bmm(by_all.unsqueeze(1), steep).squeeze(1)
    near = shared * by_positives.unsqueeze(2) / temperature * (among - among.square())
    slopes.scatter_add_(1, columns, near.sum(1))
    own = by_all * steep.sum(-1) + near.sum(-1)
    slopes.scatter_add_(1, columns, torch.where(found, -own, 0.0))
    return values, slopes
