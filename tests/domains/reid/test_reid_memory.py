"""Figures of 20,000 captions and 20,000 images, and a search among 100,000, never need a full matrix."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import re, time
import torch
torch.set_num_threads(2)
def most():
    # not ru_maxrss: a new process starts with that of its parent
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024
def features(count):
    return torch.randn(count, 512, generator=generator), torch.randn(count, 1024, generator=generator)
generator = torch.Generator().manual_seed(0)
"""
EVALUATION = """
from zoo.metrics import TextImageRetrieval
metric, number = TextImageRetrieval(), torch.arange(20_000)
marks = torch.stack([number, number // 2, torch.full_like(number, -1)], 1)
texts = torch.cat([marks, torch.zeros_like(number).unsqueeze(1)], 1)
metric.update(*features(20_000), marks, *features(20_000), texts)
before, start = most(), time.perf_counter()
rank = float(metric.compute()["rank1"])
print(before, most() - before, time.perf_counter() - start, rank)
"""
SEARCH = """
from pathlib import Path
from zoo.domains.reid import Embeddings, GalleryIndex
from zoo.domains.reid.gallery import joined
index = GalleryIndex(Path(), [""] * 100_000, joined(Embeddings(*features(100_000))), 512, "", [])
texts = Embeddings(*features(1000))
before, start = most(), time.perf_counter()
scores, _ = index.search(texts, 10)
print(before, most() - before, (time.perf_counter() - start) / 1000, float(scores.max()))
"""


def measured(program):
    """MiB before, growth of the peak in MiB, seconds, and a number of the result, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", HEAD + program], capture_output=True, text=True, check=True)
    print(done.stdout)
    return [float(value) for value in done.stdout.split()]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="measures memory as Linux tells it")
def test_figures_of_20_000_by_20_000_need_no_full_matrix():
    _, growth, _, rank1 = measured(EVALUATION)
    assert growth < 800  # 246 are the items in their order; a matrix has 1,526, and there would be three
    assert rank1 < 1  # two of 20,000 are right, and the embeddings are noise


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="measures memory as Linux tells it")
def test_a_thousand_searches_among_100_000_need_no_full_matrix():
    _, growth, _, best = measured(SEARCH)
    assert growth < 300  # the similarities of all queries would have 381 MiB, twice
    assert 0 < best < 1
