"""One process of test_agreement.py: `agreement_worker.py RANK WORLD INIT_FILE OUT`; the first has most images."""

import importlib.util
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from zoo.metrics import QualityAgreement


def main(rank: int, world: int, init: str, out: str) -> None:
    found = importlib.util.spec_from_file_location("made", Path(__file__).with_name("test_agreement.py"))
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    dist.init_process_group("gloo", init_method=f"file://{init}", rank=rank, world_size=world)
    predicted, target, scene = module.made()
    rows = torch.arange(len(scene))
    mine = rows[rows % 5 != 0] if rank == 0 else rows[rows % 5 == 0]
    metric = QualityAgreement()
    for part in mine.split(16):
        metric.update(predicted[part], target[part], scene[part])
    torch.save({name: value.item() for name, value in metric.compute().items()}, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
