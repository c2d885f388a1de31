"""One process of test_faults_processes.py: ``processes_worker.py RANK WORLD INIT_FILE OUT``."""

import sys

import torch
import torch.distributed as dist

from zoo.metrics import NDCG, ExpectedCalibrationError, QualityAgreement, RankQuality
from zoo.ranking import gather, hinge, lambda_ndcg, listnet, sdm, triplet_alignment
from zoo.training.order import EpochOrder, EvaluationOrder

ROWS, ITEMS, FEATURES = 26, 7, 5


def made():
    """The whole data: lists of scores, and rows of features; only the first third of the lists has positives."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(ROWS, ITEMS, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 3, (ROWS, ITEMS), generator=generator)
    target[ROWS // 3 :] = 0
    target[ROWS // 2] = torch.arange(ITEMS) % 2
    features = torch.randn(ROWS, FEATURES, generator=generator, dtype=torch.float64)
    return scores, target, features, torch.arange(ROWS) // 2


def share(rank, world):
    """Rows of a process: uneven, one row in the last of four; the second without positives."""
    edges = {1: [0, ROWS], 2: [0, 17, ROWS], 4: [0, 10, 13, ROWS - 1, ROWS]}[world]
    return slice(edges[rank], edges[rank + 1])


def measured(rows):
    """Figures of the metrics that saw some rows."""
    scores, target, _, identity = made()
    ndcg, quality, agreement = NDCG(k=5), RankQuality(), QualityAgreement(resamples=50)
    error = ExpectedCalibrationError(bins=5)
    for row in range(*rows.indices(ROWS)):
        ndcg.update(scores[row : row + 1], target[row : row + 1])
        quality.update(scores[row], scores[row] + target[row], torch.full((ITEMS,), row))
        agreement.update(scores[row], scores[row].sin() + target[row], torch.full((ITEMS,), row % 3))
        error.update(scores[row : row + 1, :4], identity[row : row + 1] % 4)
    values = {}
    for name, metric in (("ndcg", ndcg), ("quality", quality), ("agreement", agreement), ("error", error)):
        found = metric.compute()
        for key, value in found.items() if isinstance(found, dict) else [("", found)]:
            values[f"{name} {key}"] = torch.as_tensor(value, dtype=torch.float64)
    return values


def learnt(rows, world):
    """Values, and gradients averaged over processes, of losses over the gathered batch."""
    scores, target, features, identity = made()
    found = {}
    for name, loss in (("hinge", hinge), ("listnet", listnet), ("lambda_ndcg", lambda_ndcg)):
        weight = torch.ones(ITEMS, dtype=torch.float64, requires_grad=True)
        value = loss(gather(scores[rows] * weight), gather(target[rows]))
        found[name] = (value.detach(), averaged(value, weight, world))
    for name, loss in (("sdm", sdm), ("triplet_alignment", triplet_alignment)):
        weight = torch.ones(FEATURES, dtype=torch.float64, requires_grad=True)
        rowed = torch.nn.functional.normalize(gather(features[rows] * weight), dim=1)
        same = gather(identity[rows])
        value = loss(rowed @ rowed.T, same[:, None] == same, temperature=0.5)
        found[name] = (value.detach(), averaged(value, weight, world))
    return found


def averaged(value, weight, world):
    """The gradient as DDP averages it."""
    (gradient,) = torch.autograd.grad(value, weight)
    if world > 1:
        dist.all_reduce(gradient)
    return gradient / world


def positions(rank, world):
    """Samples that a process gets in training and in evaluation."""
    training = EpochOrder(ROWS, 2, 3, rank, world)
    training.set_epoch(1)
    return {
        "train": torch.tensor([place for batch in training for _, place in batch]),
        "test": torch.tensor([place for batch in EvaluationOrder(ROWS, 3, 0, rank, world) for _, place in batch]),
    }


def main(rank: int, world: int, init: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{init}", rank=rank, world_size=world)
    rows = share(rank, world)
    torch.save({"learnt": learnt(rows, world), "measured": measured(rows), "positions": positions(rank, world)}, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
