"""Scoring a video of two hours takes the memory of a short one."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import re, sys
import torch
from zoo.domains.anomaly import ImageFeatures, MILRanking
torch.set_num_threads(1)
extractor = ImageFeatures("test_resnet", pretrained=False, size=32, frames=1, fps=None, batch=32)
extractor.network(torch.device("cpu"))
model = MILRanking(features=extractor.width, protocol=sys.argv[2], extractor=extractor).eval()
video = model.predict_video(sys.argv[1])
# not ru_maxrss: a new process starts with that of its parent
print(video.frames, int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


def peak(path, protocol):
    """Frames of a video, and MiB of a process that scores it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), protocol], capture_output=True, text=True, check=True
    )
    frames, mebibytes = done.stdout.split()
    return int(frames), int(mebibytes)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="measures memory as Linux tells it")
def test_two_hours_take_the_memory_of_two_minutes(film, tmp_path):
    # streams of this kind may be put together as often as one likes
    short = film.write(tmp_path / "short.ts", film.pictures(300).repeat(4, axis=0), 10, "mpeg2video")
    long = tmp_path / "long.ts"
    long.write_bytes(short.read_bytes() * 60)
    few, base = peak(short, "official")
    many, mebibytes = peak(long, "official")
    print(f"{few} frames {base} MiB, {many} frames {mebibytes} MiB")
    assert few == 1200
    assert many > 71_000
    assert mebibytes < base + 60
