"""Large inputs pass in bounded memory, or are refused by a stated limit; the long runs are evidence/memory.py."""

import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.scoring import score_video
from zoo.metrics import average_precision, roc_auc
from zoo.training import DataError, read_image
from zoo.training.journal import Table
from zoo.training.video import open_frames


def used() -> int:
    """Address space of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@pytest.fixture
def bounded():
    """Lets a test take so many bytes more than there are in use; the address space, which is never less than memory."""
    limits = resource.getrlimit(resource.RLIMIT_AS)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (used() + size, limits[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_AS, limits)


def test_two_hundred_thousand_predictions_take_little_memory(bounded):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(200_000, generator=generator)
    bounded(200 << 20)  # a matrix of all pairs would take 160 GB
    assert float(roc_auc(scores, scores > 0.5)) == 1
    assert float(average_precision(scores, scores > 0.5)) == 1


def png_head(file: Path, width: int, height: int) -> None:
    """A PNG that says how large it is, and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(100)))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b""))


def test_a_picture_of_four_hundred_megapixels_is_refused_by_a_limit(tmp_path, bounded):
    file = tmp_path / "raster.png"
    png_head(file, 20_000, 20_000)
    bounded(200 << 20)
    with pytest.raises(
        DataError, match=r"raster\.png: has more pixels than are decoded at once \(.*limit of \d+ pixels"
    ):
        read_image(file)


HOURS = 2 * 60 * 60


@pytest.fixture(scope="module")
def two_hours(tmp_path_factory):
    """A film of two hours, a small picture a second."""
    av = pytest.importorskip("av")
    file = tmp_path_factory.mktemp("film") / "long.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        picture = np.zeros((128, 160, 3), dtype=np.uint8)
        for second in range(HOURS):
            picture[:] = second * 255 // HOURS
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file


class Brightness(Extractor):
    """A row per minute: how bright its first pictures are."""

    def __init__(self):
        super().__init__(fps=1, clip=60, batch=4, positions=(0, 1), width=2)

    def build(self):
        return torch.nn.Identity()

    def frame(self, image):
        return torch.from_numpy(image).permute(2, 0, 1)

    def encode(self, network, clips):
        return clips.float().mean((2, 3, 4))

    def settings(self):
        return {}


def test_a_film_of_two_hours_is_scored_in_little_memory(two_hours, bounded):
    for _ in zip(range(20), open_frames(two_hours), strict=False):  # threads and their stacks are there
        continue
    bounded(200 << 20)  # its pictures together would take 440 MB
    result = score_video(two_hours, Brightness(), 2, "snippet16", lambda rows: np.asarray(rows)[:, 0], row_by_row=True)
    assert result.frames == HOURS
    assert len(result.scores) == HOURS // 60
    np.testing.assert_allclose(result.scores, np.arange(0, HOURS, 60) * 255 // HOURS, atol=3)


def test_the_journal_of_a_long_training_is_on_the_disk_alone(tmp_path):
    table = Table(tmp_path / "metrics.csv")
    for step in range(500):
        table.add({"epoch": 0, "step": step, "time": 0.5, "train/loss": 0.25})
    assert all(len(held) < 10 for held in vars(table).values() if isinstance(held, list | dict))
    table.add({"epoch": 0, "step": 500, "time": 0.5, "val/auc": 1.0})  # a longer head
    found = pd.read_csv(tmp_path / "metrics.csv")
    assert found["step"].tolist() == list(range(501))
    assert found["train/loss"].isna().tolist() == [False] * 500 + [True]
    assert Table(tmp_path / "metrics.csv", 7).columns == table.columns
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 7


def test_a_large_photograph_is_drawn_small(monkeypatch):
    """matplotlib took 2 GB for the pixels of a 50-megapixel photograph."""
    from matplotlib import pyplot
    from matplotlib.axes import Axes

    from zoo.domains.calibration import sheets
    from zoo.domains.detection import picture as detection
    from zoo.domains.detection.evaluation import Detected
    from zoo.domains.quality import picture as quality

    seen = []

    def show(axis, values, **options):
        seen.append((values.shape, options.get("extent")))

    monkeypatch.setattr(Axes, "imshow", show)
    photo = torch.zeros(3, 1, 1, dtype=torch.uint8).expand(3, 6000, 3000)
    quality.draw_image(photo, None, 0.5, "a.jpg", 512, 224, "five")
    sheets.portrait(photo, ["a", "b"], [0.7, 0.3], [0.8, 0.2], 1.5, "a.jpg")
    detection.draw_image(photo, Detected(*(torch.zeros(0, *shape) for shape in ((4,), (), ())), []), "a.jpg", 0.3)
    pyplot.close("all")
    assert [shape for shape, _ in seen] == [(2048, 1024, 3)] * 3
    assert seen[0][1] == (-0.5, 2999.5, 5999.5, -0.5)
    assert seen[2][1] == (0, 3000, 6000, 0)
