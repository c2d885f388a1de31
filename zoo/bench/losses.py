"""What ``zoo bench losses`` times: value and gradient of the ranking core beside peers and plain dense torch.

A peer named ``torch`` is the dense form that a user would write by hand. ``torch (products)`` is no peer but a floor:
the products of matrices that a loss cannot do without, three for one direction and four for both, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo import ranking
from zoo.bench import peers
from zoo.bench.place import place
from zoo.training.speed import Case, Work

LENGTHS = (256, 1024, 4096, 16384)
BATCHES = (256, 1024, 4096)
LARGEST = 32_768
FEATURES = 512
Loss = Callable[..., Tensor]


def step(loss: Callable[[], Tensor], leaf: Tensor) -> Work:
    """Value and gradient of a loss that hangs on a leaf."""

    def work() -> tuple[Tensor, Tensor]:
        value = loss()
        (gradient,) = torch.autograd.grad(value, leaf)
        return value.detach(), gradient

    return work


def agree(ours: object, peer: object) -> None:
    """Value to 1e-4, gradient to 3e-4 of its largest entry: peers add up in float32, in other orders."""
    if peer is None:  # a floor, which computes no loss
        return
    assert isinstance(ours, tuple)
    assert isinstance(peer, tuple)
    torch.testing.assert_close(ours[0], peer[0], rtol=1e-4, atol=1e-4)
    largest = float(peer[1].abs().max())
    torch.testing.assert_close(ours[1].view_as(peer[1]), peer[1], rtol=0, atol=3e-4 * largest)


def scores_of(*shape: int, spread: float = 1.0) -> Tensor:
    """Scores of a fixed seed."""
    values = spread * torch.randn(*shape, generator=torch.Generator().manual_seed(0))  # the same on every device
    return values.to(place()).requires_grad_()


def grades(*shape: int, levels: int = 5) -> Tensor:
    """Targets 0 .. levels - 1 of a fixed seed."""
    return torch.randint(0, levels, shape, generator=torch.Generator().manual_seed(1)).to(place())


def order(*shape: int) -> Tensor:
    """Targets without ties."""
    rows = [torch.randperm(shape[-1], generator=torch.Generator().manual_seed(i)) for i in range(shape[0])]
    return torch.stack(rows).to(place())


def classes(n: int, per_class: int = 4) -> Tensor:
    """Labels of a batch, so many items of each class one after the other."""
    return torch.arange(n, device=place()) // per_class


def scored(loss: Loss, scores: Callable[[], Tensor], target: Callable[[], Tensor]) -> Callable[[], Work]:
    """Builder of the work of a score loss."""

    def build() -> Work:
        leaf, wanted = scores(), target()
        return step(lambda: loss(leaf, wanted), leaf)

    return build


def dense_pairs(penalty: Callable[[Tensor], Tensor]) -> Loss:
    """A penalty over all pairs as one writes it by hand."""

    def loss(scores: Tensor, target: Tensor) -> Tensor:
        wanted = target.unsqueeze(1) > target
        return penalty(scores.unsqueeze(1) - scores)[wanted].mean()

    return loss


def _dense_fidelity(scores: Tensor, target: Tensor) -> Tensor:
    first, second = torch.triu_indices(len(scores), len(scores), offset=1, device=scores.device)
    normal = torch.distributions.Normal(0.0, 1.0)
    p, g = normal.cdf(scores[first] - scores[second]), normal.cdf((target[first] - target[second]).float())
    return (1 - (p * g + 1e-8).sqrt() - ((1 - p) * (1 - g) + 1e-8).sqrt()).mean()


def _dense_alignment(queries: Tensor, gallery: Tensor, label: Tensor) -> Tensor:
    similarity = F.normalize(queries, dim=1) @ F.normalize(gallery, dim=1).T
    positive = label.unsqueeze(1) == label

    def one_way(scores: Tensor) -> Tensor:
        alpha = ((scores / 0.015).masked_fill(~positive, -torch.inf)).softmax(1).detach()
        bound = 0.015 * (scores / 0.015).masked_fill(positive, -torch.inf).logsumexp(1)
        return (0.1 - (alpha * scores).sum(1) + bound).clamp(min=0).mean()

    return one_way(similarity) + one_way(similarity.T)


def _dense_both_ways(x: Tensor, label: Tensor) -> Tensor:
    return _dense_alignment(x[: len(label)], x[len(label) :], label)


def _dense_smooth_ap(x: Tensor, label: Tensor) -> Tensor:
    unit = F.normalize(x, dim=1)
    similarity, here = unit @ unit.T, torch.arange(len(x), device=x.device)
    others = here.unsqueeze(1) != here
    positive = ((label.unsqueeze(1) == label) & others).float()
    above = ((similarity.unsqueeze(1) - similarity.unsqueeze(2)) / 0.01).sigmoid()  # (query, item, other)
    above = above * others * others.unsqueeze(1)
    precision = (1 + (above * positive.unsqueeze(1)).sum(2)) / (1 + above.sum(2))
    return 1 - ((precision * positive).sum(1) / positive.sum(1)).mean()


def _flat() -> list[Case]:
    found = []
    for n in LENGTHS:
        slow = n > LENGTHS[-2]
        scores, half = partial(scores_of, n), partial(grades, n, levels=2)
        for surrogate in ("hinge", "squared_hinge", "logistic"):
            ours = partial(ranking.mann_whitney, surrogate=surrogate)
            peer = partial(_libauc, surrogate)
            build = scored(ours, scores, half)
            line = f"AUC {surrogate}"
            found.append(Case(f"{line}, n = {n}", build, {"libauc": partial(peer, n)}, agree, slow, line, n))
        for name, loss, penalty, target in (
            ("graded hinge", ranking.hinge, lambda d: (1 - d).relu(), partial(grades, n)),
            ("RankNet, graded", ranking.logistic, lambda d: F.softplus(-d), partial(grades, n)),
            ("RankNet, no ties", ranking.logistic, lambda d: F.softplus(-d), lambda n=n: order(1, n)[0]),
        ):
            dense = {"torch": scored(dense_pairs(penalty), scores, target)}
            found.append(Case(f"{name}, n = {n}", scored(loss, scores, target), dense, agree, slow, name, n))
        wide = partial(scores_of, n, spread=500.0)
        name, dense = "RankNet, scores 500 apart", {"torch": scored(dense_pairs(lambda d: F.softplus(-d)), wide, half)}
        found.append(Case(f"{name}, n = {n}", scored(ranking.logistic, wide, half), dense, agree, slow, name, n))
        dense = {"torch": scored(_dense_fidelity, scores, partial(grades, n))}
        build = scored(ranking.fidelity, scores, partial(grades, n))
        found.append(Case(f"fidelity, n = {n}", build, dense, agree, slow, "fidelity", n))
    return found


def _libauc(surrogate: str, n: int) -> Work:
    loss = peers.libauc().PairwiseAUCLoss(surrogate)
    leaf, target = scores_of(n), grades(n, levels=2).float().unsqueeze(1)
    return step(lambda: loss(leaf.unsqueeze(1), target), leaf)


def _allrank(name: str, shape: tuple[int, int], target: Callable[[], Tensor], **options: Any) -> Callable[[], Work]:
    def build() -> Work:
        loss, leaf, wanted = getattr(peers.allrank(), name), scores_of(*shape), target().float()
        return step(lambda: loss(leaf, wanted, **options), leaf)

    return build


def _lists() -> list[Case]:
    found = []
    for shape in ((64, 128), (256, 512), (64, 2048)):
        size, slow = f"{shape[0]} lists of {shape[1]}", shape[0] * shape[1] > 2**14
        scores, graded, ordered = partial(scores_of, *shape), partial(grades, *shape), partial(order, *shape)
        options = {"weighing_scheme": "lambdaRank_scheme", "reduction": "sum", "reduction_log": "natural"}
        summed = partial(ranking.lambda_ndcg, reduction="sum")
        for name, loss, target, peer in (
            ("ListNet", ranking.listnet, graded, _allrank("listNet", shape, graded)),
            ("ListMLE", ranking.listmle, ordered, _allrank("listMLE", shape, ordered)),
            ("LambdaRank", summed, graded, _allrank("lambdaLoss", shape, graded, **options)),
        ):
            heavy = slow and name == "LambdaRank"
            found.append(Case(f"{name}, {size}", scored(loss, scores, target), {"allrank": peer}, agree, heavy))
        # of other values: allRank counts only pairs inside the first 10, and other ranks
        top = scored(partial(summed, k=10), scores, graded)
        peer = _allrank("lambdaLoss", shape, graded, k=10, **options)
        found.append(Case(f"LambdaRank @10, {size}", top, {"allrank": peer}, None, slow))
        peer = _allrank("approxNDCGLoss", shape, graded)
        found.append(
            Case(f"ApproxNDCG, {size}", scored(ranking.approx_ndcg, scores, graded), {"allrank": peer}, None, slow)
        )
    return found


def embedded(loss: Loss, n: int, per_class: int = 4) -> Callable[[], Work]:
    """A batch against itself."""

    def build() -> Work:
        x, label, index = scores_of(n, FEATURES), classes(n, per_class), classes(n, 1)
        same, others = ranking.Same(label, label), ranking.Different(index, index)
        return step(lambda: loss(ranking.Cosine(x, x), same, mask=others), x)

    return build


def _two_way(n: int) -> Callable[[], Work]:
    def build() -> Work:
        x, label = scores_of(2 * n, FEATURES), classes(n)

        def loss() -> Tensor:
            pairs = ranking.Cosine(x[:n], x[n:])
            return sum(ranking.both_ways(ranking.triplet_alignment, pairs, ranking.Same(label, label)), x.new_zeros(()))

        return step(loss, x)

    return build


def _by_hand(loss: Callable[[Tensor, Tensor], Tensor], n: int, sides: int = 1) -> Callable[[], Work]:
    def build() -> Work:
        x, label = scores_of(sides * n, FEATURES), classes(n)
        return step(lambda: loss(x, label), x)

    return build


def _metric_learning(name: str, **options: Any) -> Callable[[int], Work]:
    def build(n: int) -> Work:
        loss, x, label = getattr(peers.metric_learning(), name)(**options), scores_of(n, FEATURES), classes(n)
        return step(lambda: loss(x, label), x)

    return build


def _products(n: int, count: int) -> Callable[[], Work]:
    """The matrix products of a similarity and of its slopes, in blocks of rows that any memory holds."""

    def build() -> Work:
        x = scores_of(n, FEATURES).detach()

        def work() -> None:
            into = torch.zeros_like(x)
            for rows in x.split(4096):
                similarity = rows @ x.T
                into.addmm_(similarity.T, rows)
                for _ in range(count - 2):
                    similarity @ x  # as large as computing the block again

        return work

    return build


def _embeddings() -> list[Case]:
    found = []
    multi = partial(ranking.multi_similarity, base=0.5, margin=math.inf)
    library = "pytorch_metric_learning"
    similar = _metric_learning("MultiSimilarityLoss", alpha=2, beta=50, base=0.5)
    thresholds = _metric_learning("ThresholdConsistentMarginLoss")
    for n in BATCHES:
        small, middle = n <= BATCHES[0], n <= BATCHES[1]
        margin = embedded(ranking.threshold_consistent_margin, n)
        precision, by_hand = embedded(ranking.smooth_ap, n), _by_hand(_dense_smooth_ap, n)
        for name, ours, peer, build, products, quick in (
            ("TAL both ways", _two_way(n), "torch", _by_hand(_dense_both_ways, n, 2), 4, middle),
            ("multi-similarity", embedded(multi, n), library, partial(similar, n), 3, middle),
            ("threshold-consistent margin", margin, library, partial(thresholds, n), 3, small),
            ("SmoothAP", precision, "torch", by_hand, 3, small),
        ):
            rivals = {peer: build, "torch (products)": _products(n, products)}
            found.append(Case(f"{name}, N = {n}, D = {FEATURES}", ours, rivals, agree, not quick, name, n))
    return found


def _large(accelerated: bool) -> list[Case]:
    """Sizes at which no peer runs."""
    found = []
    for name, loss, n, levels in (
        ("AUC hinge", partial(ranking.mann_whitney, surrogate="hinge"), 1_000_000, 2),
        ("graded hinge", ranking.hinge, 100_000, 5),
        ("RankNet, graded", ranking.logistic, 100_000, 5),
    ):
        build = scored(loss, partial(scores_of, n), partial(grades, n, levels=levels))
        found.append(Case(f"{name}, n = {n:,}", build, line=name, size=n))
    whole: list[tuple[str, Loss]] = [
        ("TAL", ranking.triplet_alignment),
        ("InfoNCE", ranking.info_nce),
        ("multi-similarity", ranking.multi_similarity),
    ]
    floor = {"torch (products)": _products(LARGEST, 3)} if accelerated else {}  # minutes on a processor
    for name, loss in whole:
        title = f"{name}, N = {LARGEST:,}, D = {FEATURES}"
        found.append(Case(title, embedded(loss, LARGEST), floor, agree, slow=True))
    return found


def cases(device: str = "cpu") -> list[Case]:
    """Pairs, lists, embeddings, and what only the zoo can."""
    return [*_flat(), *_lists(), *_embeddings(), *_large(device != "cpu")]
