"""One process of test_quality_ddp.py: `quality_worker.py RANK WORLD INIT_FILE OUT`."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torchmetrics import MetricCollection

from zoo.domains.quality import DNPIQA, PLCC

PAIRS, SIDE = 5, 32
PLANS = ("scene", "pair", "plcc")
IMAGES = 2 * PAIRS


def whole(views: tuple[int, ...] = ()) -> dict[str, object]:
    """Ten images of three scenes; image i and image i + 5 are a pair."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(IMAGES, *views, 3, SIDE, SIDE, generator=generator)
    return {
        "image": image,
        "face": image.flip(-1),
        "score": torch.randn(IMAGES, generator=generator),
        "scene": torch.tensor([0, 1, 0, 2, 0] * 2),
        "scene_name": ["scene"] * IMAGES,
        "id": [str(number) for number in range(IMAGES)],
    }


def share(batch: dict[str, object], rows: list[int]) -> dict[str, object]:
    """Some rows of a batch."""
    return {name: value[rows] if isinstance(value, torch.Tensor) else [value[row] for row in rows]
            for name, value in batch.items()}  # fmt: skip


def outcome(plan: str, rank: int, world: int) -> dict[str, object]:
    """Loss, averaged gradient and metrics of this process's share."""
    torch.manual_seed(0)
    loss = PLCC() if plan == "plcc" else None
    module = DNPIQA(loss, backbone="test_convnext", liqe=False, resize=SIDE, crop=SIDE, dropout=0.0)
    if world > 1:
        module.network = nn.parallel.DistributedDataParallel(module.network)
        module.network.liqe = False
    if plan == "pair":
        own = list(range(rank, PAIRS, world))
        batch = share(whole(), [*own, *(row + PAIRS for row in own)])
        batch["pair"] = torch.tensor([[row, row + len(own)] for row in range(len(own))])
    else:
        batch = share(whole(), list(range(rank, IMAGES - 1, world)))
    (value,) = module.terms(batch).values()
    value.backward()
    if world > 1:
        module.network = module.network.module
    gradients = [parameter.grad for parameter in module.network.parameters()]
    metrics = MetricCollection(module.eval().build_metrics(), compute_groups=False)
    with torch.no_grad():
        module.evaluate_batch(share(whole((5,)), list(range(rank, IMAGES, world))), metrics)
    return {"loss": value.detach(), "gradients": gradients, "metrics": metrics.compute()}


def main(rank: int, world: int, init: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{init}", rank=rank, world_size=world)
    torch.save({plan: outcome(plan, rank, world) for plan in PLANS}, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5])
