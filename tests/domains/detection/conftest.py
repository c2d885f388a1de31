"""A tiny Rank-DETR over three convolutions, and a tiny set of shapes on the disk."""

import pytest
import torch
from torch import nn

from zoo.domains.detection import RankDETR, Shapes


class Convolutions(nn.Module):
    """Three maps of strides 8, 16 and 32."""

    channels = (8, 16, 32)

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 8, 8)
        self.b = nn.Conv2d(8, 16, 2, 2)
        self.c = nn.Conv2d(16, 32, 2, 2)

    def forward(self, images):
        a = self.a(images)
        b = self.b(a)
        return a, b, self.c(b)


def make_tiny(seed=0, queries=6, **options):
    torch.manual_seed(seed)
    sizes = {"test_size": 48, "test_longest": 96}
    return RankDETR(Convolutions(), 4, 1, 2, 32, queries, 10, 2, 32, 4, **{**sizes, **options})


@pytest.fixture
def tiny():
    return make_tiny


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """Folder of ten training images of 48 pixels, two of each other split."""
    folder = tmp_path_factory.mktemp("shapes")
    Shapes(side=48, images=10, most=3).make(folder)
    return folder
