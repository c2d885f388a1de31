"""Tiny made-up ranking data in the layout of MQ2008."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FEATURES = 46
PARTS = 5
QUERIES = 32  # per part
_EMPTY = 16  # every 16th query has no relevant document
_INFORMATIVE = 8
_WORLD = 2008  # what makes a document relevant; the seed decides which documents there are


def synthesize(root: Path, seed: int = 0) -> None:
    """Writes S1.txt to S5.txt, the same for the same seed.

    A hidden score, linear and quadratic in a few of the features, plus noise, grades the documents of a query: the
    best 15 % are 2, the next 25 % are 1. What makes a document relevant is the same for every seed. As in LETOR 4.0
    every feature is scaled to [0, 1] within its query, and some queries have no relevant document.

    Args:
        root: An existing folder.
        seed: Which queries and documents there are.
    """
    world, rng = np.random.default_rng(_WORLD), np.random.default_rng(seed)
    linear = world.normal(size=_INFORMATIVE)
    quadratic = world.normal(size=_INFORMATIVE)
    qid = 1
    for part in range(1, PARTS + 1):
        with (root / f"S{part}.txt").open("w", encoding="utf-8", newline="\n") as stream:
            for _ in range(QUERIES):
                stream.writelines(_query(rng, qid, linear, quadratic))
                qid += 1


def _query(rng: np.random.Generator, qid: int, linear: np.ndarray, quadratic: np.ndarray) -> list[str]:
    """The lines of one query."""
    count = int(rng.integers(5, 21))
    raw = rng.normal(size=(count, FEATURES))
    informative = raw[:, :_INFORMATIVE]
    hidden = informative @ linear + 0.3 * informative**2 @ quadratic + 0.2 * rng.normal(size=count)
    place = hidden.argsort()[::-1].argsort() / count
    target = np.select([place < 0.15, place < 0.4], [2, 1], 0)
    if qid % _EMPTY == 0:
        target = np.zeros_like(target)
    low, high = raw.min(0), raw.max(0)
    features = (raw - low) / (high - low)
    lines = []
    for number, (label, row) in enumerate(zip(target, features, strict=True)):
        values = " ".join(f"{index}:{value:.6f}" for index, value in enumerate(row, start=1))
        lines.append(f"{label} qid:{qid} {values} #docid = ZOO{qid:04d}-{number:02d} inc = 1 prob = 1\n")
    return lines
