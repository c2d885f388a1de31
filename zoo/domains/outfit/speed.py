"""What ``zoo bench outfit`` times: a training step, scoring, and a search among 100,000 items."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo.domains.outfit.items import Gallery
from zoo.domains.outfit.loss import focal_loss_with_logits
from zoo.domains.outfit.network import OutfitNetwork
from zoo.domains.outfit.official import OfficialOutfit
from zoo.domains.outfit.paper import PaperOutfit
from zoo.training.speed import Case, Work

ITEMS, WIDTH, NEAREST = 100_000, 128, 50


def cases() -> list[Case]:
    """The cases, small ones first."""
    return [
        Case("demo network: training step, 24 outfits of 5 items", lambda: _step(_demo(), 24)),
        Case("demo network: score 24 outfits of 5 items", lambda: _score(_demo(), 24)),
        Case("paper's network: training step, 50 outfits of 5 items", lambda: _step(PaperOutfit(), 50)),
        Case("paper's network: score 50 outfits of 5 items", lambda: _score(PaperOutfit(), 50)),
        Case(
            f"search: {NEAREST} nearest of {ITEMS} items of {WIDTH} numbers",
            _search,
            {"sklearn": _sklearn_search},
            _same,
        ),
        Case("official network: score 8 outfits of 8 items", lambda: _score(OfficialOutfit(), 8, 8), slow=True),
        Case("official network: training step, 8 outfits of 8 items", lambda: _step(OfficialOutfit(), 8, 8), slow=True),
    ]


def _demo() -> OutfitNetwork:
    return PaperOutfit(48, 64, half=32, layers=2, heads=4, ffn=128, norm_first=True)


def _batch(network: OutfitNetwork, outfits: int, items: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(outfits, items, network.features, generator=generator)
    return features, torch.ones(outfits, items, dtype=torch.bool)


def _score(network: OutfitNetwork, outfits: int, items: int = 5) -> Work:
    features, mask = _batch(network.eval(), outfits, items)

    @torch.no_grad()
    def work() -> Tensor:
        return network.logits(features, mask).sigmoid()

    return work


def _step(network: OutfitNetwork, outfits: int, items: int = 5) -> Work:
    features, mask = _batch(network.train(), outfits, items)
    labels = torch.arange(outfits) % 2
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5)

    def work() -> Tensor:
        optimizer.zero_grad()
        loss = focal_loss_with_logits(network.logits(features, mask), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return work


def _points() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(ITEMS, WIDTH)).astype(np.float32), rng.normal(size=WIDTH).astype(np.float32)


def _search() -> Work:
    items, query = _points()
    gallery, aim = Gallery(torch.from_numpy(items)), torch.from_numpy(query)
    return lambda: gallery.search(aim, NEAREST).places.tolist()


def _sklearn_search() -> Work:
    from sklearn.neighbors import NearestNeighbors

    items, query = _points()
    found = NearestNeighbors(n_neighbors=NEAREST, algorithm="brute").fit(items)
    return lambda: found.kneighbors(query[None], return_distance=False)[0].tolist()


def _same(ours: object, theirs: object) -> None:
    if ours != theirs:
        raise AssertionError(f"the nearest items differ: {ours} and {theirs}")
