"""Check files by name, and a tiny UCF-Crime on the disk."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from zoo.domains.anomaly import synthesize


@pytest.fixture
def check(check_files):
    """The modules ``fill``, ``stages`` and ``anomaly_files`` of the check folder, and ``load(name)``."""
    sys.path.insert(0, str(check_files))
    try:
        import anomaly_files
        import fill
        import stages
    finally:
        sys.path.remove(str(check_files))
    load = lambda name: fill.load(check_files / name)  # noqa: E731
    return SimpleNamespace(fill=fill, stages=stages, files=anomaly_files, load=load)


@pytest.fixture(scope="session")
def crime(tmp_path_factory) -> Path:
    """A synthesized UCF-Crime: 12 + 12 training and 4 + 4 test videos of 16 features; not to be changed."""
    root = tmp_path_factory.mktemp("crime")
    synthesize(root, seed=3, width=16, train=12, test=4)
    return root


@pytest.fixture
def own_crime(tmp_path) -> Path:
    """The same, to be damaged."""
    root = tmp_path / "crime"
    root.mkdir()
    synthesize(root, seed=3, width=16, train=12, test=4)
    return root


def pictures(count: int, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """A square that moves over a scene: ``(count, height, width, 3)`` uint8."""
    rng = np.random.default_rng(seed)
    scene = np.repeat(np.repeat(rng.integers(40, 200, (height // 8, width // 8, 3)), 8, 0), 8, 1)
    frames = np.broadcast_to(scene, (count, height, width, 3)).astype(np.uint8).copy()
    for index in range(count):
        left = (3 * index) % (width - 16)
        frames[index, 8:24, left : left + 16] = (250, 10 * (index % 20), 0)
    return frames


def write_video(path: Path, frames: np.ndarray, fps: int = 30, codec: str = "libx264", **options: str) -> Path:
    """Encodes frames ``(n, H, W, 3)``; ``options`` are of the container."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def film():
    """``film.pictures(count)`` and ``film.write(path, frames, fps, codec)``, and ``film.folder(path, frames)``."""

    def folder(path: Path, frames: np.ndarray) -> Path:
        path.mkdir()
        for index, frame in enumerate(frames):
            Image.fromarray(frame).save(path / f"{index}.png")
        return path

    return SimpleNamespace(pictures=pictures, write=write_video, folder=folder)
