"""A tiny Polyvore Outfits, small networks, and the check files."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from zoo.domains.outfit import ItemEncoder, OfficialOutfit, OutfitTransformer, PaperOutfit, PolyvoreOutfits, synthesize


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


@pytest.fixture(scope="session")
def polyvore(tmp_path_factory) -> Path:
    """A synthesized Polyvore Outfits; not to be changed."""
    root = tmp_path_factory.mktemp("polyvore")
    synthesize(root, seed=0)
    return root


def colours(**arguments) -> ItemEncoder:
    """An encoder without weights: 48 + 32 features."""
    return ItemEncoder(**{"image": "colours", "pretrained": False, "size": 32, "words": 32, **arguments})


@pytest.fixture
def encoder():
    return colours


@pytest.fixture
def data(polyvore):
    """The synthesized set with the colours encoder."""

    def build(**arguments) -> PolyvoreOutfits:
        given = {"root": str(polyvore), "encoder": colours(), "batch_size": 16, **arguments}
        return PolyvoreOutfits(**given)

    return build


@pytest.fixture
def model():
    """A small paper's network over the colours encoder, without dropout, seeded."""

    def build(**arguments) -> OutfitTransformer:
        torch.manual_seed(1)
        sizes = {"half": 16, "layers": 2, "heads": 4, "ffn": 64, "dropout": 0.0}
        return OutfitTransformer(**{"encoder": colours(), **sizes, **arguments}).eval()

    return build


@pytest.fixture(params=["official", "paper", "official projected"])
def network(request):
    """A small network of each design, in eval mode, seeded; features 48 + 32."""
    torch.manual_seed(2)
    if request.param == "paper":
        built = PaperOutfit(48, 32, half=16, layers=2, heads=4, ffn=64)
    elif request.param == "official":
        built = OfficialOutfit(40, 40, half=40, layers=2, heads=4, ffn=50, embedding=24)
    else:
        built = OfficialOutfit(48, 32, half=40, layers=2, heads=4, ffn=50, embedding=24, max_items=None)
    return built.eval()
