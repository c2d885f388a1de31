"""One picture per objective of the ranking core: its order, its penalty, its gradient, all computed by the loss itself.

python docs/make_pictures.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib
import torch
from torch import Tensor

import zoo.ranking as core

matplotlib.use("agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

matplotlib.rcParams["svg.hashsalt"] = "rankzoo"  # the same file each time
COLOURS = ("#b9b9b9", "#e69f00", "#0072b2", "#004d40")  # by target
ARROW = {"arrowstyle": "->", "color": "#cc3311", "lw": 1.6}
TARGET = torch.tensor([3.0, 2.0, 2.0, 1.0, 0.0, 0.0])
WRONG = torch.tensor([0.2, 1.4, -0.6, 0.9, -1.2, 1.0])
POSITIVE = torch.tensor([[True, True, False, False, False, False]])
MINED = torch.tensor([[0.35, 0.75, 0.55, 0.15, 0.7, -0.3]])


@dataclass(frozen=True)
class Sketch:
    """What an objective is drawn with.

    Attributes:
        loss: Value of scores, or of a row of similarities.
        wrong: Scores in which the order is not yet right.
        ideal: Scores in which it is.
        gap: The difference of two scores that the penalty is drawn over, from minus to plus this.
        middle: Their mean.
    """

    loss: Callable[[Tensor], Tensor]
    wrong: Tensor
    ideal: Tensor
    gap: float
    middle: float = 0.0


def score_losses() -> dict[str, Sketch]:
    """The score losses, of a list with targets 3, 2, 2, 1, 0, 0."""
    ideal = torch.tensor([1.4, 0.9, 0.9, 0.2, -0.6, -0.6])
    names = ("hinge", "squared_hinge", "logistic", "mann_whitney", "fidelity", "listnet", "listmle", "lambda_ndcg")
    found = {name: Sketch(getattr(core, name), WRONG, ideal, 3.0) for name in (*names, "approx_ndcg")}
    shares = TARGET / TARGET.max()  # confidences are compared with the targets themselves
    found["confidence_ndcg"] = Sketch(core.confidence_ndcg, torch.sigmoid(WRONG), shares, 1.0, 0.5)
    return found


def similarity_losses() -> dict[str, Sketch]:
    """The similarity losses, of a query with two positives and four negatives."""
    ideal = torch.tensor([[0.8, 0.7, 0.1, 0.0, -0.1, -0.2]])
    names = ("triplet", "triplet_alignment", "set_wise", "info_nce", "sdm", "multi_similarity", "smooth_ap")
    found = {name: Sketch(getattr(core, name), MINED, ideal, 1.0, 0.25) for name in names}
    tcm = core.threshold_consistent_margin
    return {**found, "threshold_consistent_margin": Sketch(tcm, MINED, ideal, 1.0, 0.5)}


def swaps(loss: Callable[[Tensor], Tensor], ideal: Tensor) -> Tensor:
    """What the loss rises by when the items of a place and of another exchange their scores: ``(N, N)``."""
    count = ideal.shape[-1]
    risen = torch.zeros(count, count)
    for first in range(count):
        for second in range(count):
            order = torch.arange(count)
            order[[first, second]] = order[[second, first]]
            risen[first, second] = loss(ideal[..., order]) - loss(ideal)
    return risen


def draw_order(axis: Axes, risen: Tensor, labels: list[str]) -> None:
    """A square per pair of items, the darker the dearer their exchange."""
    axis.imshow(risen.clamp(min=0).numpy(), cmap="Blues")
    largest = float(risen.max())
    for row in range(len(labels)):
        for column in range(len(labels)):
            value = float(risen[row, column])
            if abs(value) > 1e-6:
                light = "white" if value > 0.6 * largest else "black"
                axis.text(column, row, f"{value:.2g}", ha="center", va="center", fontsize=7, color=light)
    axis.set_xticks(range(len(labels)), labels)
    axis.set_yticks(range(len(labels)), labels)
    axis.set_title("order: cost of exchanging two\nitems of a right order")


def draw_penalty(axis: Axes, loss: Callable[[Tensor], Tensor], sketch: Sketch, label: str) -> None:
    """The loss of two items over the difference of their scores."""
    gaps = torch.linspace(-sketch.gap, sketch.gap, 201)
    values = [float(loss(torch.stack([sketch.middle + gap / 2, sketch.middle - gap / 2]))) for gap in gaps]
    axis.plot(gaps, values, color="#0072b2")
    axis.axvline(0, color="#bbbbbb", linewidth=0.8)
    axis.set_xlabel(label)
    axis.set_title("penalty: loss of two items")


def draw_gradient(axis: Axes, loss: Callable[[Tensor], Tensor], scores: Tensor, colours: list[str]) -> None:
    """Every item at its score, an arrow where a step of gradient descent takes it; longest arrows alike."""
    given = scores.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(given), given)
    pull = -slope.flatten()
    longest = float(pull.abs().max())
    reach = 0.45 * float(scores.max() - scores.min()) / longest if longest else 0.0
    for place, (score, step, colour) in enumerate(zip(scores.flatten(), pull, colours, strict=True)):
        axis.plot(place, float(score), "o", color=colour, markersize=9)
        if abs(float(step)) > 0.01 * longest:
            head = (place, float(score + reach * step))
            axis.annotate(
                "", head, (place, float(score)), arrowprops={"arrowstyle": "->", "color": "#cc3311", "lw": 1.6}
            )
    axis.margins(0.15)
    low, high = float(scores.min()), float(scores.max())
    axis.set_ylim(low - 0.5 * (high - low), high + 0.5 * (high - low))
    axis.set_xticks([])
    axis.set_title("gradient: where a step takes\nthe items of a wrong order")


def picture(name: str, sketch: Sketch, similarity: bool, file: Path) -> None:
    """Draws the three panels of one objective.

    Args:
        name: Of the function.
        sketch: What it is drawn with.
        similarity: Whether it takes similarities; scores otherwise.
        file: Where to.
    """
    if similarity:
        whole: Callable[[Tensor], Tensor] = partial(sketch.loss, positive=POSITIVE)
        pair = lambda values: sketch.loss(values[None], torch.tensor([[True, False]]))  # noqa: E731
        labels, colours = ["+", "+", "-", "-", "-", "-"], [COLOURS[2]] * 2 + [COLOURS[0]] * 4
        gap = "similarity of the positive minus of the negative"
    else:
        whole = partial(sketch.loss, target=TARGET)
        pair = lambda values: sketch.loss(values, torch.tensor([1.0, 0.0]))  # noqa: E731
        labels, colours = [f"{int(value)}" for value in TARGET], [COLOURS[int(value)] for value in TARGET]
        gap = "score of the better minus of the worse"
    figure, axes = pyplot.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    draw_order(axes[0], swaps(whole, sketch.ideal), labels)
    draw_penalty(axes[1], pair, sketch, gap)
    draw_gradient(axes[2], whole, sketch.wrong, colours)
    axes[2].set_ylabel("similarity" if similarity else "score")
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def main(folder: Path) -> list[str]:
    """Draws all objectives; gives their names."""
    folder.mkdir(parents=True, exist_ok=True)
    families = ((score_losses(), False), (similarity_losses(), True))
    for sketches, similarity in families:
        for name, sketch in sketches.items():
            picture(name, sketch, similarity, folder / f"{name}.svg")
    return [name for sketches, _ in families for name in sketches]


if __name__ == "__main__":
    print(f"{len(main(Path(sys.argv[1])))} pictures in {sys.argv[1]}")
