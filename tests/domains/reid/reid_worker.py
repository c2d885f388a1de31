"""One process of test_reid_ddp.py: `reid_worker.py RANK WORLD INIT_FILE DATA OUT`."""

import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from torchmetrics import MetricCollection

from zoo.domains.reid import CUHKPEDES, RDE, TextTransformer, VisionTransformer

PAIRS, IMAGES = 11, 7


def model() -> RDE:
    """The same weights wherever it is made."""
    torch.manual_seed(0)
    image = VisionTransformer((32, 16), patch=8, stride=8, width=32, layers=1, heads=2, embed=16)
    text = TextTransformer("hashed", 64, 12, width=32, layers=1, heads=2, embed=16)
    module = RDE(image, text, ratio=0.5, tse=24)
    module.labels = torch.arange(32).remainder(3).ne(0).to(torch.uint8)
    return module.train()


def outcome(folder: str, rank: int, world: int) -> dict[str, object]:
    """Loss, averaged gradient, losses of the division and metrics of this process's share."""
    data = CUHKPEDES(root=folder, image_size=(32, 16), batch_size=4)
    pairs, test, module = data.items("train"), data.items("test"), model()
    batch = data.collate([pairs[0, index] for index in range(rank, PAIRS, world)])
    losses, index = module._losses(batch)
    (terms,) = [module.terms(batch)]
    sum(terms.values()).backward()
    gradients = []
    for parameter in (p for p in module.network.parameters() if p.requires_grad):
        gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        if world > 1:  # what DistributedDataParallel does: the mean over the processes
            dist.all_reduce(gradient)
            gradient /= world
        gradients.append(gradient)
    order = index.argsort()
    metrics = MetricCollection(module.eval().build_metrics(), compute_groups=False)
    with torch.no_grad():
        module.evaluate_batch(data.collate([test[0, index] for index in range(rank, IMAGES, world)]), metrics)
    return {
        "terms": {name: value.detach() for name, value in terms.items()},
        "gradients": gradients,
        "losses": {name: value.detach()[order] for name, value in losses.items()},
        "index": index[order],
        "metrics": {name: float(value) for name, value in metrics.compute().items()},
    }


def main(rank: int, world: int, init: str, folder: str, out: str) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{init}", rank=rank, world_size=world, timeout=timedelta(seconds=120)
    )
    torch.save(outcome(folder, rank, world), out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6])
