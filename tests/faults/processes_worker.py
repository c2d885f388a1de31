"""One process of test_faults_processes.py: ``processes_worker.py RANK WORLD INIT_FILE OUT``."""

import sys

import torch
import torch.distributed as dist
from test_faults_metrics import CASES, SIZE, drawn, figures
from test_faults_numerics import SCORE, SIMILARITY

from zoo.ranking import gather
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


def measured(rank, world):
    """Figures of every metric, of what all processes saw together."""
    edges = {1: [0, SIZE], 2: [0, SIZE, SIZE], 4: [0, 10, 10, SIZE - 1, SIZE]}[world]  # one of them sees nothing
    parts = torch.arange(*edges[rank : rank + 2]).split(7) if edges[rank] < edges[rank + 1] else []
    values = {}
    for name in CASES:
        for key, value in figures(name, drawn(SIZE, 4), parts).items():
            values[f"{name} {key}"] = torch.as_tensor(value)
    return values


def learnt(rows, world):
    """Values, and gradients averaged over processes, of every loss over the gathered batch."""
    scores, target, features, identity = made()
    found = {}
    for name, loss in SCORE.items():
        weight = torch.ones(ITEMS, dtype=torch.float64, requires_grad=True)
        value = loss(gather(scores[rows] * weight), gather(target[rows]))
        found[name] = (value.detach(), averaged(value, weight, world))
    for name, loss in SIMILARITY.items():
        weight = torch.ones(FEATURES, dtype=torch.float64, requires_grad=True)
        rowed = torch.nn.functional.normalize(gather(features[rows] * weight), dim=1)
        same = gather(identity[rows])
        value = loss(rowed @ rowed.T, same[:, None] == same)
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
    torch.save(
        {"learnt": learnt(rows, world), "measured": measured(rank, world), "positions": positions(rank, world)}, out
    )
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
