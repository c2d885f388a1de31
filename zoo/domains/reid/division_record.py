"""What is kept of every division: a table of the pairs, a histogram, and one line of figures."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from zoo.domains.reid.division import Division
from zoo.metrics import roc_auc
from zoo.training.whole import draw_whole, whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Figures = dict[str, float]
BINS = 50
CLEAN, NOISY = "#1f5fa8", "#d1495b"


def figures(division: Division, epoch: int, noisy: np.ndarray | None) -> Figures:
    """The division in numbers.

    Args:
        division: Of N pairs.
        epoch: From 1.
        noisy: ``(N,)`` bool, where the noise is known.

    Returns:
        ``epoch``, ``pairs``, ``clean``, ``undecided`` (counts); where pairs of both kinds are known ``auroc`` (mean of
        both probabilities of being clean), ``auroc_bge``, ``auroc_tse``, and ``precision`` and ``recall`` of the pairs
        taken for clean.
    """
    result: Figures = {
        "epoch": float(epoch),
        "pairs": float(len(division.labels)),
        "clean": float(division.labels.sum()),
        "undecided": float(division.undecided.sum()),
    }
    if noisy is None or not 0 < noisy.sum() < len(noisy):
        return result
    truth = torch.from_numpy(~noisy)
    bge, tse = (torch.from_numpy(part.probability) for part in (division.bge, division.tse))
    for name, scores in (("auroc", bge + tse), ("auroc_bge", bge), ("auroc_tse", tse)):
        result[name] = float(roc_auc(scores, truth))
    right = float((division.labels & ~noisy).sum())
    result["precision"] = right / max(1.0, result["clean"])
    result["recall"] = right / float((~noisy).sum())
    return result


def line(values: Figures, division: Division) -> str:
    """The division in a sentence."""
    text = (
        f"division: {values['clean']:.0f} of {values['pairs']:.0f} pairs taken for clean, "
        f"{values['undecided']:.0f} by a coin"
    )
    if "auroc" in values:
        text += f"; AUROC of clean against noisy {values['auroc']:.3f}"
    for name, part in (("BGE", division.bge), ("TSE", division.tse)):
        if part.note:
            text += f"; {name}: all clean, {part.note}"
    return text


def write(
    folder: Path,
    division: Division,
    ids: Sequence[str],
    losses: tuple[np.ndarray, np.ndarray],
    noisy: np.ndarray | None,
    history: Sequence[Figures],
) -> None:
    """Writes ``epoch_<n>.csv.gz`` (a row per pair), ``epoch_<n>.png`` and ``summary.csv`` (a row per epoch).

    Args:
        folder: ``division/`` of the run.
        division: Of N pairs.
        ids: Their names.
        losses: ``(N,)`` each, of the global and of the token-selection embeddings.
        noisy: ``(N,)`` bool, where the noise is known.
        history: Figures of all epochs so far, this one last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(
        {
            "id": ids,
            "loss_bge": losses[0],
            "loss_tse": losses[1],
            "probability_bge": division.bge.probability,
            "probability_tse": division.tse.probability,
            "undecided": division.undecided.astype(int),
            "clean": division.labels.astype(int),
            **({} if noisy is None else {"noisy": noisy.astype(int)}),
        }
    )
    name = f"epoch_{int(history[-1]['epoch']):04d}"
    # a fixed time in the head of the archive: the same division is the same file
    with whole(folder / f"{name}.csv.gz") as working:
        working.write_bytes(gzip.compress(table.to_csv(index=False).encode(), mtime=1))
    with whole(folder / "summary.csv") as working:
        pd.DataFrame(history).to_csv(working, index=False)
    draw_whole(folder / f"{name}.png", histogram(division, losses, noisy, history[-1]), dpi=90)


def histogram(
    division: Division, losses: tuple[np.ndarray, np.ndarray], noisy: np.ndarray | None, values: Figures
) -> Figure:
    """Draws the losses of both embeddings, pairs known to be noisy apart, and the probability of being clean.

    Args:
        division: Of N pairs.
        losses: ``(N,)`` each.
        noisy: ``(N,)`` bool, where the noise is known.
        values: Its figures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, name, loss, part in zip(
        figure.subplots(1, 2), ("BGE", "TSE"), losses, (division.bge, division.tse), strict=True
    ):
        edges = np.linspace(loss.min(), loss.max() if loss.max() > loss.min() else loss.min() + 1, BINS + 1)
        if noisy is None:
            panel.hist(loss, edges, color=CLEAN, alpha=0.7, label="pairs")
        else:
            panel.hist(loss[~noisy], edges, color=CLEAN, alpha=0.65, label="right captions")
            panel.hist(loss[noisy], edges, color=NOISY, alpha=0.65, label="shuffled captions")
        panel.set_xlabel(f"{name} loss of a pair")
        panel.set_ylabel("pairs")
        order = loss.argsort()
        share = panel.twinx()
        share.plot(loss[order], part.probability[order], color="black", linewidth=1.2, label="probability of clean")
        share.set_ylim(-0.03, 1.03)
        auroc = values.get(f"auroc_{name.lower()}")
        panel.set_title(f"{name}" + ("" if auroc is None else f": AUROC {auroc:.3f}"), fontsize=10)
        handles = [*panel.get_legend_handles_labels()[0], *share.get_legend_handles_labels()[0]]
        panel.legend(handles=handles, fontsize=7, loc="upper center")
    figure.suptitle(
        f"epoch {values['epoch']:.0f}: {values['clean']:.0f} of {values['pairs']:.0f} pairs taken for clean, "
        f"{values['undecided']:.0f} by a coin",
        fontsize=10,
    )
    return figure
