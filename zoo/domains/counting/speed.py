"""What ``zoo bench counting`` times: the small and the paper's network, training and counting, and the transport.

The peer of the transport is POT (``ot``), whose Sinkhorn in the log domain solves the same problem on one image; the
other parts of the method have no peer that installs (DeepForest's re-implementation brings its own network).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.domains.counting.module import TreeFormer
from zoo.domains.counting.network import STRIDE
from zoo.domains.counting.transport import ENOUGH, sinkhorn, squared_distances
from zoo.training.speed import Case, Work

POINTS, CELLS, EPS, ITERATIONS = 40, 64, 100.0, 100


def cases() -> list[Case]:
    """The lines of the benchmark."""
    small: dict[str, Any] = {"backbone": "tf_efficientnet_lite0", "crop": 192, "window": 192, "overlap": 0}
    return [
        Case("training step, EfficientNet-Lite0, 4 labelled and 4 unlabelled crops of 192 px", lambda: _step(small, 4)),
        Case("count, EfficientNet-Lite0, one 768 x 768 image by windows of 192", lambda: _count(small, 768)),
        Case(
            "training step, released network, 1 labelled and 1 unlabelled crop of 256 px",
            lambda: _step({}, 1),
            slow=True,
        ),
        Case("count, released network, one 512 x 512 image by windows of 256", lambda: _count({}, 512), slow=True),
        Case(
            f"transport of {POINTS} points to {CELLS} x {CELLS} cells, {ITERATIONS} iterations",
            _transport,
            {"ot": _peer},
            _agree,
        ),
    ]


def _module(options: dict[str, Any]) -> TreeFormer:
    torch.manual_seed(0)
    return TreeFormer(**options)


def _step(options: dict[str, Any], images: int) -> Work:
    module = _module(options).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-5)
    side = module.crop
    points = [side * torch.rand(10, 2) for _ in range(images)]
    cells = torch.zeros(images, 1, side // STRIDE, side // STRIDE)
    cells[..., :10, 0] = 1.0
    batch = {
        "labelled": {
            "image": torch.randn(images, 3, side, side),
            "points": points,
            "count": torch.full((images,), 10.0),
            "cells": cells,
        },
        "unlabelled": {"image": torch.randn(images, 3, side, side)},
    }

    def work() -> object:
        optimizer.zero_grad()
        loss = torch.stack(list(module.terms(batch).values())).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return work


def _count(options: dict[str, Any], side: int) -> Work:
    module = _module(options).eval()
    image = torch.randint(0, 256, (3, side, side), dtype=torch.uint8)
    return lambda: module.predict(image).count


def _problem() -> tuple[Tensor, Tensor]:
    """Costs ``(N, M)`` and shares ``(M,)`` that are nowhere 0."""
    generator = torch.Generator().manual_seed(0)
    points = STRIDE * CELLS * torch.rand(POINTS, 2, generator=generator)
    share = torch.rand(CELLS * CELLS, generator=generator) + 0.1
    return squared_distances(points, CELLS, CELLS, STRIDE, False), share / share.sum()


def _transport() -> Work:
    cost, share = _problem()
    return lambda: sinkhorn(cost, share, EPS, iterations=ITERATIONS).distance


def _peer() -> Work:
    import ot

    cost, share = _problem()
    points = torch.full((POINTS,), 1 / POINTS)

    def work() -> object:
        plan = ot.sinkhorn(
            points, share, cost, EPS, method="sinkhorn_log", numItermax=ITERATIONS, stopThr=ENOUGH**0.5, warn=False
        )
        return (plan * cost).sum()

    return work


def _agree(ours: object, theirs: object) -> None:
    assert isinstance(ours, Tensor)
    assert isinstance(theirs, Tensor)
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=0.0)
