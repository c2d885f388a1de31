"""One process of test_outfit_ddp.py: `outfit_worker.py RANK WORLD INIT_FILE DATA POOL OUT`."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torchmetrics import MetricCollection

from zoo.domains.outfit import ItemEncoder, OutfitTransformer, PolyvoreOutfits

OUTFITS, QUESTIONS = 7, 275  # neither divides evenly


def outcome(pool: str, folder: str, rank: int, world: int) -> dict[str, object]:
    """Loss terms, averaged gradient and metrics of this process's share."""
    encoder = ItemEncoder("colours", False, 32, "words", 32)
    data = PolyvoreOutfits(folder, task="joint", encoder=encoder, negatives=4, gallery=12)
    torch.manual_seed(0)
    sizes = {"half": 16, "layers": 1, "heads": 4, "ffn": 32, "dropout": 0.0}
    module = OutfitTransformer(encoder=encoder, pool=pool, **sizes)
    items = data.items("train")
    terms = module.terms(data.collate([items[0, index] for index in range(rank, OUTFITS, world)]))
    sum(terms.values()).backward()
    gradients = [parameter.grad for parameter in module.parameters()]
    for gradient in gradients if world > 1 else ():  # what DistributedDataParallel does
        dist.all_reduce(gradient)
        gradient /= world
    metrics = MetricCollection(module.eval().build_metrics(), compute_groups=False)
    asked = data.items("val")
    # the galleries stand at the end: with this batch size a process meets batches without one kind or another
    for first in range(0, QUESTIONS, 60):
        share = range(first + rank, min(first + 60, QUESTIONS), world)
        module.evaluate_batch(data.collate([asked[0, index] for index in share]), metrics)
    return {"terms": terms, "gradients": gradients, "metrics": metrics.compute()}


def main(rank: int, world: int, init: str, folder: str, pool: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{init}", rank=rank, world_size=world)
    found = outcome(pool, folder, rank, world)
    torch.save({**found, "terms": {name: term.detach() for name, term in found["terms"].items()}}, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *(str(Path(p)) for p in sys.argv[3:5]), sys.argv[5], sys.argv[6])
