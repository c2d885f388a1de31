"""Pictures of rankings: the documents of a query from left to right by score, coloured by their grade."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from zoo.metrics.ndcg import ndcg_values

QUERIES = 6
DOCUMENTS = 40
COLOURS = ("#c8ccd0", "#f0a73a", "#1f7a4d")


class Ranked(NamedTuple):
    """A query with the scores of its documents.

    Attributes:
        qid: Name of the query.
        scores: ``(N,)``.
        target: ``(N,)``, grades.
    """

    qid: str
    scores: Tensor
    target: Tensor


def draw(queries: Sequence[Ranked]) -> Figure:
    """Draws up to six queries, up to 40 documents of each.

    Args:
        queries: At least one.
    """
    shown = queries[:QUERIES]
    columns = min(2, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(5.5 * columns, 2.0 * lines + 0.8), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, query in zip(axes, shown, strict=False):
        order = query.scores.argsort(descending=True, stable=True)[:DOCUMENTS]
        scores, target = query.scores[order].tolist(), query.target[order].tolist()
        # bars grow from below the lowest score, so that the last document is seen too
        floor = min(scores) - 0.1 * (max(scores) - min(scores) or 1.0)
        colours = [COLOURS[min(max(grade, 0), len(COLOURS) - 1)] for grade in target]
        heights = [score - floor for score in scores]
        axis.bar(range(1, len(order) + 1), heights, bottom=floor, color=colours, width=0.85)
        axis.set_title(_title(query), fontsize=9, loc="left")
        axis.set_xlim(0.3, max(10, len(order)) + 0.7)
        axis.tick_params(labelsize=7)
        axis.set_xlabel("rank", fontsize=8)
        axis.set_ylabel("score", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    names = ("0", "1", "2 or more")
    handles = [Patch(color=colour, label=f"grade {name}") for colour, name in zip(COLOURS, names, strict=True)]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=8, frameon=False)
    return figure


def _title(query: Ranked) -> str:
    count = f"{len(query.scores)} documents"
    if len(query.scores) > DOCUMENTS:
        count += f", the first {DOCUMENTS} shown"
    if not torch.any(query.target > 0):
        return f"query {query.qid}: {count}, none with a grade above 0"
    value, _ = ndcg_values(query.scores.unsqueeze(0), query.target.clamp(min=0).unsqueeze(0))
    return f"query {query.qid}: {count}, NDCG@10 {value.item():.2f}"
