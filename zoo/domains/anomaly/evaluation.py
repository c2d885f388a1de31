"""What the methods of this domain share: from scores of segments or snippets to frames, metrics and rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from zoo.domains.anomaly.network import SegmentNetwork
from zoo.domains.anomaly.protocols import PROTOCOLS, Protocol, frame_scores, frame_truth
from zoo.domains.anomaly.report import curves, draw_curves, frames_of, per_class, per_video
from zoo.domains.anomaly.segments import SEGMENTS, Segmenting, segment_features
from zoo.errors import InputError
from zoo.metrics import VideoDetection, roc_auc
from zoo.metrics.binary import OneClassError
from zoo.training import Batch, ParameterGroup, Row, ZooModule
from zoo.training.choices import check_choice

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# each published evaluation makes its segments in its own way
SEGMENTING: dict[Protocol, Segmenting] = {"official": "matlab", "ekosman": "numpy"}


class VideoEvaluation(ZooModule):
    """Scores videos and measures them frame by frame; a method gives :attr:`network`.

    A network that does not score row by row comes with a :meth:`_scores` of its own.

    Args:
        protocol: How scores become frame-level scores and truth, see :mod:`zoo.domains.anomaly.protocols`.
        threshold: Score from which a frame is an alarm, in [0, 1].
        bootstrap: Resamples of the test videos behind the confidence intervals; 0 for none.
        monitor: Metric that picks ``best.ckpt``.
        mode: Whether more or less of it is better.
        groups: Parameter groups of the optimizer.
    """

    domain = "anomaly"
    smaller_is_better = ("false_alarms*",)
    network: SegmentNetwork

    def __init__(
        self,
        protocol: Protocol,
        threshold: float,
        bootstrap: int,
        monitor: str,
        mode: Literal["min", "max"],
        groups: list[ParameterGroup] | None,
    ) -> None:
        super().__init__(monitor, mode, groups)
        check_choice("model.protocol", protocol, PROTOCOLS)
        if not 0 <= threshold <= 1:
            raise InputError(f"model.threshold must be in [0, 1], got {threshold}")
        if bootstrap < 0:
            raise InputError(f"model.bootstrap must not be negative, got {bootstrap}")
        self.threshold, self.bootstrap, self._protocol = threshold, bootstrap, protocol
        self._testing = False

    def _scores(self, features: Tensor, names: list[str]) -> Tensor:
        """Scores ``(B, T)`` of ``(B, T, D)`` or ``(B, T, crops, D)``, averaged over crops.

        Raises:
            InputError: The rows are not as wide as the model's; names the video.
        """
        self._check_width(features, names)
        if features.ndim == 3:
            scores: Tensor = self.network(features).scores
            return scores
        scores = self.network(features.transpose(1, 2).flatten(0, 1)).scores
        return scores.unflatten(0, (len(features), -1)).mean(1)

    def _check_width(self, features: Tensor, names: list[str]) -> None:
        if features.shape[-1] != self.network.features:
            raise InputError(
                f"{names[0]}: has {features.shape[-1]} features per row, the model takes {self.network.features} "
                "(model.features)"
            )

    # -- evaluation

    def build_metrics(self) -> dict[str, Metric]:
        """AUC over videos; frame-level ``auc``, ``ap`` and ``false_alarms`` where there are annotated events.

        A test adds bootstrap intervals over videos; validations, one per epoch, do without.
        """
        return {"videos": VideoDetection(self.threshold, self.bootstrap if self._testing else 0)}

    def on_test_epoch_start(self) -> None:
        """Fresh metrics, with intervals."""
        self._testing = True
        super().on_test_epoch_start()
        self._testing = False

    def evaluate_batch(self, batch: Batch, metrics: MetricCollection) -> list[Row]:
        """Scores each video by itself, so that its scores do not depend on the others in the batch.

        A row tells a video: ``id``, ``kind`` (its class), ``label``, ``score`` (the highest), and where its events are
        known ``frames``, ``clips`` (rows of features it was given as, 0 where those were segments) and ``events``; at
        last ``scores``, in as many digits as make them exact.
        """
        rows: list[Row] = []
        for index, name in enumerate(batch["id"]):
            events, frames = batch["events"][index], batch["frames"][index]
            scores, spread = self._evaluate(batch, index)
            truth = frame_truth(events or (), frames or 0, self._protocol, len(spread))
            marks = torch.from_numpy(spread).to(self.device), torch.from_numpy(truth).to(self.device)
            label, top = int(batch["label"][index]), float(scores.max())
            metrics["videos"].update(top, label, *marks)
            row: Row = {"id": name, "kind": batch["kind"][index], "label": label, "score": top}
            if events is not None:
                clips = 0 if batch["segmented"][index] else int(batch["length"][index])
                row |= {
                    "frames": frames,
                    "clips": clips,
                    "events": " ".join(f"{first}-{last}" for first, last in events),
                }
            rows.append({**row, "scores": " ".join(f"{score:.9g}" for score in scores.tolist())})
        return rows

    def _evaluate(self, batch: Batch, index: int) -> tuple[Tensor, np.ndarray]:
        """Scores ``(S,)`` of one video, and one per frame; none of the latter where its events are not known."""
        name, frames = batch["id"][index], batch["frames"][index]
        features = batch["features"][index, : batch["length"][index]]
        if batch["events"][index] is None or frames is None:
            return self._scores(features[None], [name])[0].float(), np.empty(0, dtype=np.float32)
        clips = None
        if self._protocol != "snippet16" and not batch["segmented"][index]:
            clips = len(features)
            segments = segment_features(features.float().cpu().numpy(), SEGMENTS, SEGMENTING[self._protocol])
            features = torch.from_numpy(segments).to(self.device)
        scores = self._scores(features[None], [name])[0].float()
        try:
            return scores, frame_scores(scores.cpu().numpy(), frames, self._protocol, clips)
        except ValueError as error:
            raise InputError(f"{name}: protocol {self._protocol}: {error}") from error

    def report(self, rows: list[Row]) -> tuple[dict[str, list[Row]], dict[str, Figure]]:
        """Tables ``per_video``, ``per_class``, ``roc`` and ``pr``, and the picture ``curves``; none without events."""
        known = [video for video in (frames_of(row, self._protocol) for row in rows) if video is not None]
        if not known:
            return {}, {}
        classes, points = per_class(known, self.threshold), curves(known)
        tables = {"per_video": per_video(known, self.threshold), "per_class": classes, **points}
        total = classes[-1]
        chance = total["event_frames"] / total["frames"]
        return tables, {"curves": draw_curves(points, total["auc"], total["ap"], chance)}

    @classmethod
    def measured(cls, rows: pd.DataFrame, protocol: str) -> dict[str, float]:
        """``video_auc``; that over frames has intervals of its own."""
        scores, labels = (torch.tensor(rows[name].to_numpy(float)) for name in ("score", "label"))
        return {"video_auc": float(roc_auc(scores, labels)) if rows["label"].nunique() > 1 else float("nan")}

    @classmethod
    def costs(cls, rows: pd.DataFrame) -> pd.Series:
        """Distance of the highest score from the label."""
        return (rows["label"] - rows["score"]).abs()

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics; one class alone is told in one line."""
        self._finish_or_tell(super().on_validation_epoch_end, "val")

    def on_test_epoch_end(self) -> None:
        """Keeps the test metrics; one class alone is told in one line."""
        self._finish_or_tell(super().on_test_epoch_end, "test")

    def _finish_or_tell(self, finish: Any, split: str) -> None:
        try:
            finish()
        except OneClassError as error:
            raise InputError(f"the {split} split cannot be evaluated: {error}") from error

    @property
    def protocol(self) -> str:
        """Name of the evaluation protocol in force."""
        return self._protocol

    @property
    def preprocess(self) -> dict[str, Any]:
        """Rows of features enter as stored."""
        return {"features": self.network.features, "rows": "as stored, one score each", "segments": SEGMENTS}
