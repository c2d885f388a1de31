"""One process of test_counting_ddp.py: `counting_worker.py RANK WORLD INIT_FILE OUT`."""

import sys

import torch
import torch.distributed as dist
from torch import nn

from zoo.domains.counting import TreeFormer

SIDE, IMAGES = 32, 5
VARIANTS = ("paper", "official")


def whole() -> dict[str, dict[str, object]]:
    """Five labelled images, the last of them without trees, and five unlabelled ones."""
    generator = torch.Generator().manual_seed(0)
    points = [SIDE * torch.rand(count, 2, generator=generator) for count in (3, 1, 4, 2, 0)]
    cells = torch.zeros(IMAGES, 1, SIDE // 4, SIDE // 4)
    for image, places in enumerate(points):
        for x, y in (places // 4).long().tolist():
            cells[image, 0, y, x] += 1
    image = torch.randn(2 * IMAGES, 3, SIDE, SIDE, generator=generator)
    count = torch.tensor([float(len(places)) for places in points])
    return {
        "labelled": {"image": image[:IMAGES], "points": points, "count": count, "cells": cells},
        "unlabelled": {"image": image[IMAGES:]},
    }


def share(part: dict[str, object], rows: list[int]) -> dict[str, object]:
    """Some images of a part of the batch."""
    return {name: value[rows] if isinstance(value, torch.Tensor) else [value[row] for row in rows]
            for name, value in part.items()}  # fmt: skip


def outcome(variant: str, rank: int, world: int) -> dict[str, object]:
    """Terms and averaged gradient of this process's share; statistics of batches left out (evaluation mode)."""
    torch.manual_seed(0)
    module = TreeFormer("test_resnet", variant=variant, crop=SIDE).eval()
    for regressor in (module.network.regression.res0, module.network.regression.res1, module.network.regression.res2):
        nn.init.constant_(regressor[-2].bias, 0.05)  # densities that are not empty
    if world > 1:
        # torch 2.8 broadcasts the statistics between the two passes, although neither changes them
        module.network = nn.parallel.DistributedDataParallel(
            module.network, find_unused_parameters=True, broadcast_buffers=False
        )
    rows = list(range(rank, IMAGES, world))
    torch.manual_seed(1)  # the same regions in each process
    terms = module.terms({name: share(part, rows) for name, part in whole().items()})
    torch.stack(list(terms.values())).sum().backward()
    network = module.network.module if world > 1 else module.network
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return {"terms": {name: value.detach() for name, value in terms.items()}, "gradients": gradients}


def main(rank: int, world: int, init: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{init}", rank=rank, world_size=world)
    torch.save({variant: outcome(variant, rank, world) for variant in VARIANTS}, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5])
