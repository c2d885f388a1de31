"""Check files by name, a network for two cores, and a tiny CUHK-PEDES on the disk."""

import sys
from types import SimpleNamespace

import pytest
import torch

from zoo.domains.reid import CUHKPEDES, RDE, RDENetwork, TextTransformer, VisionTransformer, synthesize

SIZE, WORDS, CONTEXT = (32, 16), 64, 12


@pytest.fixture
def check(check_files):
    """The modules ``fill`` and ``stages`` of the check folder, and ``load(name)``."""
    sys.path.insert(0, str(check_files))
    try:
        import fill
        import stages
    finally:
        sys.path.remove(str(check_files))
    return SimpleNamespace(fill=fill, stages=stages, load=lambda name: fill.load(check_files / name))


def small_towers(seed=0):
    torch.manual_seed(seed)
    image = VisionTransformer(SIZE, patch=8, stride=8, width=32, layers=2, heads=2, embed=16)
    text = TextTransformer("hashed", WORDS, CONTEXT, width=32, layers=2, heads=2, embed=16)
    return image, text


@pytest.fixture
def network():
    """RDE over two small transformers, in eval mode."""
    return RDENetwork(*small_towers(), ratio=0.5, tse=24).eval()


@pytest.fixture
def small():
    """Builds an RDE over two small transformers: ``small(seed=0, **arguments)``."""

    def build(seed=0, **arguments):
        image, text = small_towers(seed)
        return RDE(image, text, **{"ratio": 0.5, "tse": 24, **arguments})

    return build


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A synthesized CUHK-PEDES of 8 + 3 + 4 persons, 2 images each; not to be changed."""
    folder = tmp_path_factory.mktemp("cuhk_pedes")
    synthesize(folder, persons=(8, 3, 4), images=2)
    return folder


@pytest.fixture
def data(made):
    """Opens it: ``data(**arguments)``."""
    return lambda **arguments: CUHKPEDES(root=str(made), **{"image_size": SIZE, "batch_size": 8, **arguments})
