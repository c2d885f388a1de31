"""What ``zoo bench layers`` times."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from zoo.bench.place import place
from zoo.layers.deformable_attention import deformable_attention
from zoo.training.speed import Case, Work

Maps = tuple[tuple[int, int], ...]
HEADS, WIDTH, POINTS = 8, 32, 4
SMALL = ((64, 64), (32, 32), (16, 16), (8, 8))  # of an image of 512 x 512
LARGE = ((100, 167), (50, 84), (25, 42), (13, 21))  # of one of 800 x 1333


def _inputs(shapes: Maps, queries: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = sum(height * width for height, width in shapes)
    value = torch.randn(1, tokens, HEADS, WIDTH, generator=generator)
    locations = torch.rand(1, queries or tokens, HEADS, len(shapes), POINTS, 2, generator=generator)
    weights = torch.randn(1, queries or tokens, HEADS, len(shapes) * POINTS, generator=generator).softmax(-1)
    weights = weights.view(*locations.shape[:-1])
    return value.to(place()), locations.to(place()), weights.to(place())


def _ours(shapes: Maps, queries: int, trained: bool) -> Work:
    return _work(
        lambda value, locations, weights: deformable_attention(value, shapes, locations, weights),
        shapes,
        queries,
        trained,
    )


def _transformers(shapes: Maps, queries: int, trained: bool) -> Work:
    module: Any = import_module("transformers.models.deformable_detr.modeling_deformable_detr")
    layer, sizes = module.MultiScaleDeformableAttention(), torch.tensor(shapes, device=place())
    starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])

    def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        found: Tensor = layer(value, sizes, list(shapes), starts, locations, weights, 64)
        return found

    return _work(attend, shapes, queries, trained)


def _work(attend: Any, shapes: Maps, queries: int, trained: bool) -> Work:
    inputs = [x.requires_grad_(trained) for x in _inputs(shapes, queries)]

    def work() -> tuple[Tensor, ...]:
        found = attend(*inputs)
        if not trained:
            return (found,)
        return (found.detach(), *torch.autograd.grad(found.sum(), inputs))

    return work


def _agree(ours: Any, peer: Any) -> None:
    """All but one entry in a million: a location on a pixel's centre has two slopes, and rounding chooses."""
    for found, expected in zip(ours, peer, strict=True):
        apart = (found - expected).abs() > 1e-5 * max(1.0, float(expected.abs().max()))
        assert not apart.sum() > apart.numel() // 10**6, f"{int(apart.sum())} of {apart.numel()} values differ"


def cases(device: str = "cpu") -> list[Case]:
    """Deformable attention of an encoder and of a decoder, forward alone and with gradients; alike on each device."""
    found = []
    for name, shapes, queries, slow in (
        ("encoder, 512 x 512", SMALL, 0, False),
        ("decoder, 300 queries", SMALL, 300, False),
        ("decoder, 1800 queries", SMALL, 1800, False),
        ("encoder, 800 x 1333", LARGE, 0, True),
    ):
        for trained in (False, True):
            kind = "forward and backward" if trained else "forward"
            peer = {"transformers": partial(_transformers, shapes, queries, trained)}
            ours = partial(_ours, shapes, queries, trained)
            found.append(Case(f"deformable attention, {name}, {kind}", ours, peer, _agree, slow))
    return found
