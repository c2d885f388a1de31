"""Scoring a video of two hours takes the memory of a short one."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from zoo.domains.anomaly import ImageFeatures, MILRanking
torch.set_num_threads(1)
extractor = ImageFeatures("test_resnet", pretrained=False, size=32, frames=1, fps=None, batch=32)
extractor.network(torch.device("cpu"))
model = MILRanking(features=extractor.width, protocol=sys.argv[2], extractor=extractor).eval()
video = model.predict_video(sys.argv[1])
print(video.frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(path, protocol):
    """Frames of a video, and MiB of a process that scores it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), protocol], capture_output=True, text=True, check=True
    )
    frames, mebibytes = done.stdout.split()
    return int(frames), int(mebibytes)


@pytest.mark.slow
def test_two_hours_take_the_memory_of_two_minutes(film, tmp_path):
    minute = film.pictures(300)
    short = film.write(tmp_path / "short.mp4", minute.repeat(12, axis=0), 30)
    # a stream of one key frame per file may be put together as often as one likes
    clip = film.write(tmp_path / "clip.ts", minute.repeat(12, axis=0), 30, "mpeg2video")
    long = tmp_path / "long.ts"
    long.write_bytes(clip.read_bytes() * 60)
    few, base = peak(short, "official")
    for protocol in ("official", "snippet16"):
        many, mebibytes = peak(long, protocol)
        print(f"{protocol}: {few} frames {base} MiB, {many} frames {mebibytes} MiB")
        assert few == 3600
        assert many >= 215_000
        assert mebibytes < base + 60
