"""Retrieval by similarity: CMC, mAP and mINP, block by block, so that no full matrix of similarities is needed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from zoo.metrics.bootstrap import bootstrap_interval
from zoo.metrics.gathered import Metric

RANKS = (1, 5, 10)
BLOCK = 1 << 22  # similarities of a block: 16 MB in float32
PASSES = 8  # relevant items of a query, from which one sort of its row is cheaper than a pass for each
KINDS = ("bge", "tse", "fused")
SAME, OTHER = "same_camera", "other_camera"


class Ranks(NamedTuple):
    """Where the relevant items of each query stand, all ``(Q,)``.

    Attributes:
        first: Rank of the best relevant item, from 1.
        ap: Average precision in [0, 1].
        inp: Inverse negative penalty in [0, 1]: the number of relevant items over the rank of the last one.
        counted: Whether the query has a relevant item; where not, the others are 0.
        best: Column of the item that stands first.
    """

    first: Tensor
    ap: Tensor
    inp: Tensor
    counted: Tensor
    best: Tensor


def rank_values(similarity: Tensor, relevant: Tensor, mask: Tensor | None = None) -> Ranks:
    """Ranks the gallery of each query by similarity.

    Of equal similarities the relevant items stand last, so that a network that tells nothing apart gets the worst
    figures, not those of a lucky order.

    Source: CMC and mAP as in Zheng et al., ICCV 2015; mINP: Ye et al., arXiv:2001.04193, eq. 1.

    Args:
        similarity: ``(Q, G)``, finite; higher stands higher.
        relevant: ``(Q, G)`` bool.
        mask: ``(Q, G)`` bool, False = not in this query's gallery; None where all are.

    Raises:
        ValueError: A shape does not fit, or a similarity is not finite; names it.
    """
    if similarity.ndim != 2 or not similarity.shape[1]:
        raise ValueError(f"similarity: shape {tuple(similarity.shape)} given, expected (Q, G) with G at least 1")
    for name, given in (("relevant", relevant), ("mask", mask)):
        if given is not None and (given.shape != similarity.shape or given.dtype != torch.bool):
            raise ValueError(
                f"{name}: {given.dtype} {tuple(given.shape)} given, expected bool {tuple(similarity.shape)}"
            )
    if not torch.isfinite(similarity).all():
        raise ValueError(f"similarity: {int((~torch.isfinite(similarity)).sum())} values are not finite")
    inside = similarity if mask is None else similarity.masked_fill(~mask, -torch.inf)
    return _ranks(inside, relevant if mask is None else relevant & mask)


def _at_least(similarity: Tensor, scores: Tensor) -> Tensor:
    """How many items of each row are at least as similar as each of its scores, int64 ``(Q, P)``.

    A pass over the rows for each score, or with many of them one sort, which numpy does with vector instructions.
    """
    if scores.shape[1] <= PASSES:
        return torch.stack([torch.count_nonzero(similarity >= score.unsqueeze(1), dim=1) for score in scores.T], 1)
    wide = similarity.detach() if similarity.dtype in (torch.float32, torch.float64) else similarity.detach().float()
    if wide.device.type == "cpu":
        ordered = wide.clone(memory_format=torch.contiguous_format)
        ordered.numpy().sort(axis=1)
    else:
        ordered = wide.sort(dim=1).values
    return similarity.shape[1] - torch.searchsorted(ordered, scores.to(ordered.dtype))


def _ranks(similarity: Tensor, relevant: Tensor) -> Ranks:
    """The ranks of the relevant items, which are few in a row."""
    row, column = relevant.nonzero(as_tuple=True)
    count = torch.bincount(row, minlength=len(similarity))
    place = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    scores = similarity.new_full((len(similarity), max(1, int(count.max()))), -torch.inf)
    scores[row, place] = similarity[row, column]
    scores = scores.sort(dim=1, descending=True).values
    reached = _at_least(similarity, scores)
    first, ap, rank = (torch.zeros(len(similarity), dtype=torch.float64, device=similarity.device) for _ in range(3))
    for number in range(scores.shape[1]):
        score = scores[:, number : number + 1]
        there = number < count
        above = reached[:, number] - torch.count_nonzero(scores >= score, dim=1)
        rank = torch.where(there, above + number + 1.0, rank)
        ap += torch.where(there, (number + 1) / rank.clamp(min=1), 0)
        first = rank if number == 0 else first
    counted = count > 0
    inp = torch.where(counted, count / rank.clamp(min=1), 0)
    return Ranks(first, ap / count.clamp(min=1), inp, counted, similarity.argmax(1))


class Side(NamedTuple):
    """Queries or gallery items.

    Attributes:
        bge: ``(N, D)``, of unit length.
        tse: ``(N, T)``, of unit length.
        identity: ``(N,)``.
        camera: ``(N,)``, -1 where it is not known.
    """

    bge: Tensor
    tse: Tensor
    identity: Tensor
    camera: Tensor


def blocked_ranks(queries: Side, gallery: Side, cameras: bool = False, block: int = BLOCK) -> dict[str, Ranks]:
    """Ranks the gallery for every query by the cosine of both embeddings and by their mean.

    Args:
        queries: Q of them.
        gallery: G of them; an item is relevant to the queries of its identity.
        cameras: Also rank by the mean with only the relevant items of the query's own camera (``same_camera``), or only
            those of another (``other_camera``); the other relevant items are left out of the gallery then.
        block: Similarities that are held at once; the peak of memory is about eight times as many numbers.

    Returns:
        ``bge``, ``tse``, ``fused`` and, if asked for, ``same_camera`` and ``other_camera``.
    """
    step, count = max(1, block // max(1, len(gallery.identity))), len(queries.identity)
    # all results are there before the first block: small ones between large ones would keep the heap from shrinking
    kinds = (*KINDS, *((SAME, OTHER) if cameras else ()))
    found = {name: _no_ranks(count, queries.bge.device) for name in kinds}
    for start in range(0, count, step):
        part = Side(*(tensor[start : start + step] for tensor in queries))
        relevant = part.identity.unsqueeze(1) == gallery.identity
        bge, tse = part.bge @ gallery.bge.T, part.tse @ gallery.tse.T
        for name, similarity in (("bge", bge), ("tse", tse)):
            _put(found[name], start, _ranks(similarity, relevant))
        fused = bge.add_(tse).div_(2)
        _put(found["fused"], start, _ranks(fused, relevant))
        if cameras:
            same = part.camera.unsqueeze(1) == gallery.camera
            for name, wanted in ((SAME, same), (OTHER, ~same)):
                kept = relevant & wanted
                _put(found[name], start, _ranks(fused.masked_fill(relevant & ~wanted, -torch.inf), kept))
    return found


def _no_ranks(count: int, device: torch.device) -> Ranks:
    first, ap, inp = (torch.zeros(count, dtype=torch.float64, device=device) for _ in range(3))
    counted = torch.zeros(count, dtype=torch.bool, device=device)
    return Ranks(first, ap, inp, counted, torch.zeros(count, dtype=torch.long, device=device))


def _put(found: Ranks, start: int, part: Ranks) -> None:
    for whole, values in zip(found, part, strict=True):
        whole[start : start + len(values)] = values


def summary(ranks: Ranks) -> dict[str, float]:
    """``rank1``, ``rank5``, ``rank10``, ``map``, ``minp`` in per cent, and ``rsum``, the sum of the first three.

    Args:
        ranks: Of Q queries; those without a relevant item do not count. NaN where none counts.
    """
    counted = ranks.counted
    first, ap, inp = (values[counted] for values in (ranks.first, ranks.ap, ranks.inp))
    shares = {f"rank{k}": _mean((first <= k).double()) for k in RANKS}
    return {**shares, "map": _mean(ap), "minp": _mean(inp), "rsum": math.fsum(shares.values())}


def _mean(values: Tensor) -> float:
    """Per cent, exact whatever the order of the values."""
    return 100 * math.fsum(values.tolist()) / len(values) if len(values) else math.nan


class TextImageRetrieval(Metric):
    """Text-to-image and image-to-text retrieval by two embeddings and by the mean of their cosines.

    Keeps the embeddings of all captions and images; items are put in order of their numbers before anything is
    compared, so that the result depends neither on the batches nor on how they are shared out to processes.
    Similarities are computed in blocks: 20,000 captions by 20,000 images never need a full matrix (1.6 GB each).

    Source: Qin et al., RDE, CVPR 2024, evaluation; the figures are per cent, averaged over queries.

    Args:
        intervals: Also give 95 % bootstrap intervals of ``rank1`` and ``map``; identities are resampled with all their
            queries, since captions of one person are no independent trials.
        seed: Of the resampling.

    Attributes:
        queries: After :meth:`compute`, what became of each caption, in order of owner and number: numpy arrays
            ``owner``, ``number``, ``rank``, ``ap``, ``best`` (the image that stands first, by its number).
    """

    is_differentiable = False
    full_state_update = False
    image_bge: list[Tensor]
    image_tse: list[Tensor]
    images: list[Tensor]
    text_bge: list[Tensor]
    text_tse: list[Tensor]
    texts: list[Tensor]

    def __init__(self, intervals: bool = False, seed: int = 0) -> None:
        super().__init__()
        self.intervals, self.seed = intervals, seed
        self.queries: dict[str, np.ndarray] = {}
        for name in ("image_bge", "image_tse", "images", "text_bge", "text_tse", "texts"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(
        self,
        image_bge: Tensor,
        image_tse: Tensor,
        images: Tensor,
        text_bge: Tensor,
        text_tse: Tensor,
        texts: Tensor,
    ) -> None:
        """Adds images and captions, which need not belong together.

        Args:
            image_bge: ``(B, D)``, raw.
            image_tse: ``(B, T)``, raw.
            images: ``(B, 3)`` whole numbers: number, identity and camera (-1: unknown) of each image.
            text_bge: ``(C, D)``, raw.
            text_tse: ``(C, T)``, raw.
            texts: ``(C, 4)`` whole numbers: number of the image that a caption was written for, its identity, its
                camera, and which of its captions it is.

        Raises:
            ValueError: A shape does not fit, or an embedding is not finite or 0; names it.
        """
        for name, features, rows, columns in (
            ("image_bge", image_bge, images, 3),
            ("image_tse", image_tse, images, 3),
            ("text_bge", text_bge, texts, 4),
            ("text_tse", text_tse, texts, 4),
        ):
            if features.ndim != 2 or rows.shape != (len(features), columns):
                raise ValueError(
                    f"{name}: shape {tuple(features.shape)} with marks of {tuple(rows.shape)}, "
                    f"expected (B, D) and (B, {columns})"
                )
            found = features.detach().float()
            length = found.norm(dim=1)
            odd = ~torch.isfinite(length) | (length < torch.finfo(torch.float32).tiny)
            if odd.any():  # squares leave the range long before the numbers do
                found = torch.where(odd.unsqueeze(1), found / found.abs().amax(1, keepdim=True), found)
                length = found.norm(dim=1)
            bad = (~torch.isfinite(length)).nonzero()
            if len(bad):
                raise ValueError(f"{name}: row {int(bad[0])} is not finite or 0")
            getattr(self, name).append(found / length.unsqueeze(1))
        self.images.append(images.long())
        self.texts.append(texts.long())

    def compute(self) -> dict[str, Tensor]:
        """The figures, in per cent.

        Returns:
            ``rank1``, ``rank5``, ``rank10``, ``map``, ``minp``, ``rsum`` of the fused similarity from text to image;
            the same with ``bge_`` and ``tse_`` before; all of these again with ``i2t_`` before, from image to text;
            where cameras are known ``rank1_same_camera``, ``map_same_camera`` and the same with ``other_camera``;
            with ``intervals`` also ``rank1_low``, ``rank1_high``, ``map_low``, ``map_high``.

        Raises:
            ValueError: No caption has an image of its identity.
        """
        images, image_rows = self._side("image", self.images, lambda rows: rows[:, 0])
        texts, text_rows = self._side("text", self.texts, lambda rows: rows[:, 0] * (1 << 20) + rows[:, 3])
        known = bool((images.camera >= 0).all() and (texts.camera >= 0).all())
        forward = blocked_ranks(texts, images, cameras=known)
        fused = forward["fused"]
        if not fused.counted.any():
            raise ValueError("retrieval needs a caption with an image of its identity, there is none")
        backward = blocked_ranks(images, texts)
        result: dict[str, float] = {}
        for kind in ("fused", "bge", "tse"):
            mark = "" if kind == "fused" else f"{kind}_"
            result.update({f"{mark}{name}": value for name, value in summary(forward[kind]).items()})
            result.update({f"i2t_{mark}{name}": value for name, value in summary(backward[kind]).items()})
        for kind in (SAME, OTHER) if known else ():
            values = summary(forward[kind])
            result.update({f"{name}_{kind}": values[name] for name in ("rank1", "map")})
        if self.intervals:
            result.update(self._intervals(fused, texts.identity))
        self.queries = {
            "owner": text_rows[:, 0].cpu().numpy(),
            "number": text_rows[:, 3].cpu().numpy(),
            "rank": fused.first.long().cpu().numpy(),
            "ap": fused.ap.cpu().numpy(),
            "best": image_rows[fused.best, 0].cpu().numpy(),
        }
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in result.items()}

    def _side(self, name: str, rows: list[Tensor], order: object) -> tuple[Side, Tensor]:
        marks = dim_zero_cat(rows)
        if not len(marks):
            raise ValueError(f"retrieval needs images and captions, there is no {name}")
        place = order(marks).argsort(stable=True)  # type: ignore[operator]
        marks = marks[place]
        bge, tse = (dim_zero_cat(getattr(self, f"{name}_{kind}"))[place] for kind in ("bge", "tse"))
        return Side(bge, tse, marks[:, 1], marks[:, 2]), marks

    def _intervals(self, ranks: Ranks, identity: Tensor) -> dict[str, float]:
        counted = ranks.counted.cpu().numpy()
        _, group = np.unique(identity.cpu().numpy()[counted], return_inverse=True)
        sizes = np.bincount(group)
        result: dict[str, float] = {}
        for name, values in (("rank1", (ranks.first <= 1).double()), ("map", ranks.ap)):
            sums = np.bincount(group, weights=values.cpu().numpy()[counted])

            def mean(chosen: np.ndarray, sums: np.ndarray = sums) -> float:
                return float(100 * sums[chosen].sum() / sizes[chosen].sum())

            low, high = bootstrap_interval(mean, len(sizes), seed=self.seed)
            result.update({f"{name}_low": low, f"{name}_high": high})
        return result
