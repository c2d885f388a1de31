"""One process of test_calibration_metrics.py: ``calibration_worker.py RANK WORLD INIT_FILE OUT``."""

import sys

import torch
import torch.distributed as dist

from zoo.metrics import CalibrationReport, OutOfDistribution


def samples(count=53, classes=5):
    """Logits and labels; every seventh image is of an unknown set."""
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(count, classes, generator=generator) * 2
    labels = torch.randint(0, classes, (count,), generator=generator)
    labels[::7] = -1
    return logits, labels


def measured(batches):
    report, outside = CalibrationReport(temperature=1.7), OutOfDistribution(["svhn"], temperature=1.7)
    for logits, labels in batches:
        report.update(logits[labels >= 0], labels[labels >= 0])
        outside.update(logits, labels)
    return {name: value.item() for name, value in {**report.compute(), **outside.compute()}.items()}


def main(rank, world, init_file, out):
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=world)
    logits, labels = samples()
    own = logits[rank::world], labels[rank::world]
    size = 5 + rank  # batches of another size on each process, and another number of them
    torch.save(measured(zip(own[0].split(size), own[1].split(size), strict=True)), out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
