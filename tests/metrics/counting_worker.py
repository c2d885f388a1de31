"""One process of test_counting.py: `counting_worker.py RANK WORLD INIT_FILE OUT`; the first has most images."""

import importlib.util
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from zoo.metrics import CountErrors, GridErrors


def main(rank: int, world: int, init: str, out: str) -> None:
    found = importlib.util.spec_from_file_location("made", Path(__file__).with_name("test_counting.py"))
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    dist.init_process_group("gloo", init_method=f"file://{init}", rank=rank, world_size=world)
    predicted, target, images = module.made()
    mine = [index for index in range(len(target)) if (index % 5 != 0) == (rank == 0)]
    counts, grid = CountErrors(resamples=100), GridErrors()
    for index in mine:
        counts.update(predicted[index : index + 1], target[index : index + 1])
        grid.update(*images[index], 4)
    torch.save({**module.computed(counts), **module.computed(grid)}, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
