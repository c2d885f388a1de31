"""Large inputs pass in bounded memory, or are refused by a stated limit; the long runs are evidence/memory.py."""

import resource
import struct
import zlib
from pathlib import Path

import pytest
import torch

from zoo.metrics import average_precision, roc_auc
from zoo.training import DataError, read_image


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
