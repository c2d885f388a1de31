"""What ``zoo bench anomaly`` times."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.domains.anomaly.c3d import C3D
from zoo.domains.anomaly.extractors import ImageFeatures
from zoo.domains.anomaly.module import MILRanking
from zoo.domains.anomaly.prediction import VideoModule
from zoo.domains.anomaly.rtfm import RTFM
from zoo.domains.anomaly.streaming import stream_rows
from zoo.training.speed import Case, Work
from zoo.training.video import open_frames

SECONDS, RATE, HEIGHT, WIDTH = 8, 30, 240, 320


def _step(module: VideoModule, bags: int, width: int) -> Work:
    """A training step on ``bags`` bags of 32 segments, half of them anomalous."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(bags) < bags // 2
    batch = {
        "features": torch.rand(bags, 32, width, generator=generator),
        "label": label.float(),
        "id": [str(bag) for bag in range(bags)],
    }
    optimizer = torch.optim.Adagrad(module.parameters(), lr=0.01)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.stack(list(module.terms(batch).values())).sum()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def _scoring(width: int, clips: int) -> Work:
    """Scores of every frame of a video of so many clips, from its clip features."""
    module = MILRanking(features=width).eval()
    features = np.random.default_rng(0).random((clips, width), dtype=np.float32)
    return lambda: module.predict_frames(features, clips * 16)


@cache
def _film() -> Path:
    """A video of a moving square over noise, encoded once."""
    av: Any = import_module("av")
    folder = Path(tempfile.mkdtemp(prefix="rankzoo-speed-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    scene = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    scene = scene.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(folder / "film.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(SECONDS * RATE):
            frame = scene.copy()
            left = 3 * index % (WIDTH - 64)
            frame[80:144, left : left + 64] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return folder / "film.mp4"


def extraction() -> Work:
    """Rows of EfficientNet-Lite0 of the film, decoding beside the network."""
    extractor, film = ImageFeatures("tf_efficientnet_lite0", pretrained=False, frames=4), _film()
    extractor.network(torch.device("cpu"))
    return lambda: torch.cat(list(stream_rows(extractor, open_frames(film, extractor.fps))))


def decoding() -> Work:
    """Nothing but decoding the film to RGB frames."""
    film = _film()
    return lambda: sum(1 for _ in open_frames(film, RATE))


def network_alone() -> Work:
    """The network on as many frames as :func:`extraction` looks at, already decoded."""
    extractor = ImageFeatures("tf_efficientnet_lite0", pretrained=False, frames=4)
    network = extractor.network(torch.device("cpu"))
    clips = torch.zeros(SECONDS * RATE // 16, 4, 3, 224, 224)

    def work() -> object:
        with torch.inference_mode():
            return [extractor.encode(network, part) for part in clips.split(extractor.batch)]

    return work


def c3d() -> Work:
    """C3D on one clip."""
    network, clip = C3D().eval(), torch.zeros(1, 3, 16, 112, 112)

    def work() -> torch.Tensor:
        with torch.inference_mode():
            rows: torch.Tensor = network(clip)
        return rows

    return work


def cases() -> list[Case]:
    """Training steps, scoring, and the extraction of features against decoding and network by themselves."""
    film = f"{SECONDS * RATE} frames of {WIDTH} x {HEIGHT}"
    return [
        Case("training step, demo: 32 bags, 64 features", lambda: _step(MILRanking(features=64), 32, 64)),
        Case("training step, paper: 60 bags, 4096 features", lambda: _step(MILRanking(), 60, 4096)),
        Case("training step, RTFM: 8 bags, 2048 features", lambda: _step(RTFM(), 8, 2048), slow=True),
        Case("scores of all frames, 1 minute, 64 features", lambda: _scoring(64, 112)),
        Case("scores of all frames, 2 hours, 4096 features", lambda: _scoring(4096, 13_500), slow=True),
        Case(f"features of EfficientNet-Lite0, {film}; av: decoding alone", extraction, {"av": decoding}, slow=True),
        Case(f"the network of these features alone, {film}", network_alone, slow=True),
        Case("C3D, one clip of 16 frames", c3d, slow=True),
    ]
