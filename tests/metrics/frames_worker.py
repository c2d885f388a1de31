"""One process of test_frame_detection.py: ``frames_worker.py RANK WORLD INIT_FILE OUT``."""

import sys

import torch
import torch.distributed as dist

from zoo.metrics import ROCAUC, FrameDetection


def videos(count):
    """Frame scores with ties and truth; every third video is normal."""
    generator = torch.Generator().manual_seed(7)
    made = []
    for index in range(count):
        frames = int(torch.randint(5, 60, (1,), generator=generator))
        scores = torch.randint(0, 9, (frames,), generator=generator) / 8
        truth = torch.zeros(frames, dtype=torch.uint8)
        if index % 3:
            truth[frames // 2 :] = 1
        made.append((scores, truth))
    return made


def measured(mine):
    frames, whole = FrameDetection(), ROCAUC()
    for scores, truth in mine:
        frames.update(scores, truth)
        whole.update(scores.max().reshape(1), truth.max().reshape(1))
    return {**{name: value.item() for name, value in frames.compute().items()}, "videos": whole.compute().item()}


def main(rank, world, init_file, out):
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=world)
    # process 0 has all of the first five, the others one each in turn, the last may have none
    everything = videos(7)
    mine = everything[:5] if rank == 0 else everything[4 + rank : 5 + rank]
    torch.save(measured(mine), out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
