"""One process of test_video_detection.py: ``videos_worker.py RANK WORLD INIT_FILE OUT``."""

import sys

import torch
import torch.distributed as dist

from zoo.metrics import VideoDetection


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
    metric = VideoDetection(resamples=50)
    for scores, truth in mine:
        metric.update(scores.max(), int(truth.any()), scores, truth)
    return {name: value.item() for name, value in metric.compute().items()}


def main(rank, world, init_file, out):
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=world)
    everything = videos(7)
    torch.save(measured((everything[:5], everything[5:], [])[rank]), out)  # the third process has nothing
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
