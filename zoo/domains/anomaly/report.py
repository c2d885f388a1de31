"""What ``zoo eval --out`` adds: measures per video and per class, and the ROC and precision-recall curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.metrics import precision_recall_curve, roc_curve

from zoo.domains.anomaly.annotations import NORMAL
from zoo.domains.anomaly.protocols import Event, Protocol, frame_scores, frame_truth
from zoo.metrics import average_precision, roc_auc
from zoo.training import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Frames:
    """A video, frame by frame: ``scores (F,)``, ``truth (F,)``; ``kind`` is its class."""

    name: str
    kind: str
    label: int
    scores: np.ndarray
    truth: np.ndarray


def frames_of(row: Row, protocol: Protocol) -> Frames | None:
    """The frames of a row of ``zoo eval --predictions``; None for a video of which only the label is known.

    Args:
        row: As :meth:`VideoEvaluation.evaluate_batch` gives it.
        protocol: That of the evaluation.
    """
    if "events" not in row:
        return None
    scores = np.array(row["scores"].split(), dtype=np.float32)
    events: list[Event] = []
    for text in row["events"].split():
        first, _, last = text.partition("-")
        events.append((int(first), int(last)))
    spread = frame_scores(scores, int(row["frames"]), protocol, int(row["clips"]) or None)
    truth = frame_truth(events, int(row["frames"]), protocol, len(spread))
    return Frames(row["id"], row["kind"], int(row["label"]), spread, truth)


def per_video(videos: Sequence[Frames], threshold: float) -> list[Row]:
    """A row per video: frames, those of events, alarms, and AUC and average precision where it has both kinds."""
    return [
        {"id": video.name, "kind": video.kind, "label": video.label, **_measures([video], threshold)}
        for video in videos
    ]


def per_class(videos: Sequence[Frames], threshold: float) -> list[Row]:
    """A row per class of anomalies, one for the normal videos, and one for all together.

    ``auc`` and ``ap`` of a class are over its videos and the normal ones together, ``auc_within`` over its videos
    alone: how well their own frames without an event are told apart.
    """
    normal = [video for video in videos if not video.label]
    kinds = sorted({video.kind for video in videos if video.label})
    rows: list[Row] = []
    for kind in kinds:
        own = [video for video in videos if video.label and video.kind == kind]
        row = {"kind": kind, "videos": len(own), **_measures(own, threshold)}
        together = _measures([*own, *normal], threshold)
        rows.append({**row, "auc": together["auc"], "ap": together["ap"], "auc_within": row["auc"]})
    for name, chosen in ((NORMAL, normal), ("all", list(videos))):
        row = {"kind": name, "videos": len(chosen), **_measures(chosen, threshold)}
        rows.append({**row, "auc_within": None})
    return rows


def curves(videos: Sequence[Frames]) -> dict[str, list[Row]]:
    """Points of the curves over all frames: ``roc`` (false positive rate, recall) and ``pr`` (recall, precision).

    Points on a straight line between others are left out; ``threshold`` is the score from which a frame is an alarm.
    """
    scores, truth = _joined(videos)
    wrong, found, roc_at = roc_curve(truth, scores)
    precision, recall, pr_at = precision_recall_curve(truth, scores, drop_intermediate=True)
    return {
        "roc": [
            {"threshold": float(at), "false_positive_rate": float(x), "recall": float(y)}
            for at, x, y in zip(roc_at, wrong, found, strict=True)
        ],
        "pr": [
            {"threshold": float(at), "recall": float(x), "precision": float(y)}
            for at, x, y in zip(pr_at, recall[:-1], precision[:-1], strict=True)
        ],
    }


def draw_curves(points: dict[str, list[Row]], auc: float, ap: float, chance: float) -> Figure:
    """Draws both curves beside each other.

    Args:
        points: From :func:`curves`.
        auc: Area under the first.
        ap: Average precision.
        chance: Share of positive frames.
    """
    from matplotlib.figure import Figure as Drawn

    figure = Drawn(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    roc, pr = points["roc"], points["pr"]
    left.plot([row["false_positive_rate"] for row in roc], [row["recall"] for row in roc], color="#c0392b")
    left.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="chance")
    left.set(title=f"ROC over frames: AUC {auc:.3f}", xlabel="false positive rate", ylabel="recall")
    right.step([row["recall"] for row in pr], [row["precision"] for row in pr], where="post", color="#c0392b")
    right.axhline(chance, color="0.6", linestyle=":", label=f"chance {chance:.3f}")
    right.set(title=f"precision and recall: AP {ap:.3f}", xlabel="recall", ylabel="precision")
    for panel in (left, right):
        panel.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
        panel.legend(loc="lower right" if panel is left else "center", frameon=False)
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def _joined(videos: Sequence[Frames]) -> tuple[np.ndarray, np.ndarray]:
    if not videos:
        return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.uint8)
    return np.concatenate([video.scores for video in videos]), np.concatenate([video.truth for video in videos])


def _measures(videos: Sequence[Frames], threshold: float) -> Row:
    """Frames counted and measured; None where there is nothing to measure."""
    scores, truth = _joined(videos)
    positive = int(truth.sum())
    alarms = scores >= threshold
    row: Row = {"frames": len(scores), "event_frames": positive, "auc": None, "ap": None}
    if 0 < positive < len(truth):
        pair = torch.from_numpy(scores), torch.from_numpy(truth)
        row |= {"auc": float(roc_auc(*pair)), "ap": float(average_precision(*pair))}
    row["highest"] = float(scores.max()) if len(scores) else None
    row["recall"] = float(alarms[truth == 1].mean()) if positive else None
    row["false_alarms"] = float(alarms[truth == 0].mean()) if positive < len(truth) else None
    return row
