"""One process of test_detection_ddp.py: `detection_worker.py RANK WORLD INIT_FILE OUT`."""

import importlib.util
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torchmetrics import MetricCollection

from zoo.domains.detection.data import padded


def tiny():
    spec = importlib.util.spec_from_file_location("detection_conftest", Path(__file__).with_name("conftest.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_tiny()


def image(number: int) -> dict[str, object]:
    """One of five images; the second holds nothing, the third has a crowd region."""
    generator = torch.Generator().manual_seed(number)
    count = (2, 0, 3, 1, 4)[number]
    size = (48, 64) if number % 2 else (48, 48)
    boxes = torch.cat(
        [0.3 + 0.4 * torch.rand(count, 2, generator=generator), 0.2 + 0.2 * torch.rand(count, 2, generator=generator)],
        1,
    )
    labels = torch.randint(0, 4, (count,), generator=generator)
    pixels = torch.tensor([size[1], size[0]] * 2)
    corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1) * pixels
    crowd = torch.zeros(count, dtype=torch.long)
    if number == 2:
        crowd[0] = 1
    return {
        "id": str(number),
        "image": torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8),
        "targets": {"labels": labels, "boxes": boxes},
        "truth": {
            "boxes": corners,
            "labels": labels,
            "iscrowd": crowd,
            "area": (corners[:, 2:] - corners[:, :2]).prod(1),
        },
        "original": torch.tensor(size),
    }


def batch(numbers: list[int]) -> dict[str, object]:
    items = [image(number) for number in numbers]
    images, sizes = padded([item["image"] for item in items])
    # to one size for all processes: what is beside an image must not depend on its company
    whole = images.new_zeros(len(images), 3, 48, 64)
    whole[:, :, : images.shape[2], : images.shape[3]] = images
    joined = {key: [item[key] for item in items] for key in ("id", "targets", "truth")}
    return {**joined, "images": whole, "sizes": sizes, "original": torch.stack([item["original"] for item in items])}


def outcome(rank: int, world: int) -> dict[str, object]:
    """Loss, averaged gradient and metrics of this process's share of five images: 3 and 2 of two processes."""
    module = tiny().train()
    inner = module.network
    own = batch(list(range(rank, 5, world)))
    if world > 1:
        wrapped = nn.parallel.DistributedDataParallel(_Layers(inner), find_unused_parameters=True)
        outputs = wrapped(own["images"].float(), own["sizes"])
        terms = module.objective(
            type(module.network.layers(own["images"].float(), own["sizes"]))(*outputs), own["targets"]
        )
    else:
        terms = module.terms(own)
    sum(terms.values()).backward()
    module.eval()
    metrics = MetricCollection(module.build_metrics(), compute_groups=False)
    with torch.no_grad():
        for number in range(rank, 5, world):
            module.evaluate_batch(batch([number]), metrics)
    return {
        "terms": {name: term.detach() for name, term in terms.items()},
        "gradients": [parameter.grad for parameter in inner.parameters() if parameter.grad is not None],
        "metrics": {name: value.float() for name, value in metrics.compute().items()},
    }


class _Layers(nn.Module):
    """What DDP can wrap: it only looks at ``forward``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images, sizes):
        return tuple(self.network.layers(images, sizes))


def main(rank: int, world: int, init: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{init}", rank=rank, world_size=world)
    torch.save(outcome(rank, world), out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5])
