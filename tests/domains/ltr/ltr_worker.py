"""One process of test_ltr_ddp.py: `ltr_worker.py RANK WORLD INIT_FILE DATA LOSS OUT`."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torchmetrics import MetricCollection

import zoo.ranking
from zoo.domains.ltr import MQ2008, MLPRanker

QUERIES = 13


def ranker(loss: str) -> MLPRanker:
    """The same weights wherever it is made, without dropout."""
    torch.manual_seed(0)
    return MLPRanker(None if loss == "regression" else getattr(zoo.ranking, loss)(), dropout=0.0)


def outcome(loss: str, folder: str, rank: int, world: int) -> dict[str, object]:
    """Loss, averaged gradient and metrics of this process's share of the validation queries."""
    data = MQ2008(root=folder)
    items = data.items("val")
    batch = data.collate([items[0, index] for index in range(rank, QUERIES, world)])
    module = ranker(loss)
    if world > 1:
        module.network = nn.parallel.DistributedDataParallel(module.network)
    (value,) = module.terms(batch).values()
    value.backward()
    gradients = [parameter.grad for parameter in module.network.parameters()]
    if world > 1:
        module.network = module.network.module
    metrics = MetricCollection(module.eval().build_metrics(), compute_groups=False)
    module.evaluate_batch(batch, metrics)
    return {"loss": value.detach(), "gradients": gradients, "metrics": metrics.compute()}


def main(rank: int, world: int, init: str, folder: str, loss: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{init}", rank=rank, world_size=world)
    torch.save(outcome(loss, folder, rank, world), out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *(str(Path(p)) for p in sys.argv[3:5]), sys.argv[5], sys.argv[6])
