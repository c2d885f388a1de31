"""Fixtures of the ranking tests: a plain-Python reading of the rules that all score losses share, and random input."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
import torch

ListValue = Callable[[Sequence[float], Sequence[float], Sequence[float]], float]


def _by_loops(
    list_value: ListValue, scores, target, *, group=None, mask=None, weight=None, reduction="mean", tied_lists="skip"
):
    """Evaluate `list_value(scores, targets, weights)` list by list, group by group, in Python floats."""
    items = scores.shape[-1]

    def rows(tensor, default):
        filled = torch.full(scores.shape, default) if tensor is None else tensor
        return filled.reshape(-1, items).tolist()

    tensors = ((scores, 0), (target, 0), (group, 0), (mask, True), (weight, 1.0))
    values, rankable = [], []
    for s, t, g, m, w in zip(*(rows(*tensor) for tensor in tensors), strict=True):
        real = [i for i in range(items) if m[i] and w[i] != 0]
        found = []
        for name in {g[i] for i in real}:
            members = [i for i in real if g[i] == name]
            different = len({t[i] for i in members}) > 1
            if different or (tied_lists == "keep" and len(members) > 1):
                found.append(list_value([s[i] for i in members], [t[i] for i in members], [w[i] for i in members]))
        values.append(sum(found) / len(found) if found else 0.0)
        rankable.append(bool(found))
    if reduction == "none":
        return torch.tensor(values, dtype=torch.float64).reshape(scores.shape[:-1])
    total = sum(values)
    return torch.tensor(total if reduction == "sum" else total / max(sum(rankable), 1), dtype=torch.float64)


@pytest.fixture
def by_loops():
    return _by_loops


def _score_case(seed: int, shape: tuple[int, ...], extras: str = "", grades: int = 4) -> SimpleNamespace:
    """Random lists in float64 with tied targets; `extras` names which of group, mask, weight to add."""
    generator = torch.Generator().manual_seed(seed)

    def uniform():
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    scores, target = 4 * uniform() - 2, torch.randint(0, grades, shape, generator=generator)
    options = {
        "group": torch.randint(-2, 2, shape, generator=generator) * 10**12,
        "mask": uniform() < 0.8,
        "weight": (3 * uniform()).where(uniform() < 0.85, 0.0),
    }
    chosen = {name: tensor for name, tensor in options.items() if name in extras.split("+")}
    return SimpleNamespace(scores=scores, target=target, options=chosen)


@pytest.fixture
def score_case():
    return _score_case


def _similarity_case(seed: int, rows: int, gallery: int, extras: str = "") -> SimpleNamespace:
    """Random rows in float64; `extras` names which of mask, weight to add."""
    generator = torch.Generator().manual_seed(seed)
    similarity = 2 * torch.rand(rows, gallery, generator=generator, dtype=torch.float64) - 1
    positive = torch.rand(rows, gallery, generator=generator) < 0.4
    options = {
        "mask": torch.rand(rows, gallery, generator=generator) < 0.8,
        "weight": torch.rand(rows, generator=generator, dtype=torch.float64).where(torch.arange(rows) % 3 != 1, 0.0),
    }
    chosen = {name: tensor for name, tensor in options.items() if name in extras.split("+")}
    return SimpleNamespace(similarity=similarity, positive=positive, options=chosen)


@pytest.fixture
def similarity_case():
    return _similarity_case
