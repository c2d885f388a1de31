"""MILRanking: weakly supervised anomaly detection in video by multiple-instance ranking."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from zoo.domains.anomaly.evaluation import VideoEvaluation
from zoo.domains.anomaly.features import SUFFIXES, read_arrays
from zoo.domains.anomaly.loss import VARIANTS, Variant, mil_terms, weight_penalty
from zoo.domains.anomaly.names import check_choice
from zoo.domains.anomaly.network import Detection, Detector
from zoo.domains.anomaly.picture import MOST, Curve, draw
from zoo.domains.anomaly.protocols import CLIP, Protocol
from zoo.domains.anomaly.segments import SEGMENTS
from zoo.errors import InputError
from zoo.ranking import ScoreLoss
from zoo.training import Batch, ParameterGroup, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = 4  # of a picture of a batch


class VideoModule(VideoEvaluation):
    """A method that is evaluated and predicts: what :class:`MILRanking` and its relatives share."""

    suffixes = SUFFIXES

    # -- prediction

    @torch.no_grad()
    def predict(self, features: Tensor | np.ndarray, preprocess: bool = True) -> Detection:
        """Scores rows of features, one score for each.

        Args:
            features: ``(B, T, D)``, ``(T, D)`` as a batch of one, or ``(B, T, crops, D)`` averaged over crops; numbers
                as stored, nothing is normalised or pooled.
            preprocess: Without effect: features need none. False hands them to the network just the same.

        Returns:
            ``scores (B, T)`` in [0, 1].

        Raises:
            InputError: The shape does not fit, there is no row, or a value is not finite.
        """
        rows = self._rows(features)
        width = self.network.features
        if rows.ndim not in (3, 4) or rows.shape[-1] != width or 0 in rows.shape:
            raise InputError(
                f"features: expected shape (B, T, {width}) or (T, {width}) with at least one row, "
                f"got {tuple(np.shape(features))}"
            )
        if not torch.isfinite(rows).all():
            place = (~torch.isfinite(rows)).nonzero()[0].tolist()
            raise InputError(f"features: batch {place[0]}, row {place[1]} (from 0) holds a value that is not finite")
        training = self.network.training
        self.network.eval()
        try:
            return Detection(self._scores(rows, ["features"]))
        finally:
            self.network.train(training)

    def _rows(self, features: Tensor | np.ndarray) -> Tensor:
        """A user's numbers as a float32 batch on the model's device."""
        given = features
        if isinstance(features, np.ndarray) and features.dtype.kind in "fiub":
            given = torch.from_numpy(np.array(features, dtype=np.float32))
        if not isinstance(given, Tensor) or given.is_complex():
            kind = f"an array of {features.dtype}" if isinstance(features, np.ndarray) else type(features).__name__
            raise InputError(f"features: expected a tensor or a numpy array of numbers, got {kind}")
        rows = given.detach().to(self.device, torch.float32)
        return rows[None] if rows.ndim == 2 else rows

    def predict_file(self, file: Path) -> tuple[list[Row], Figure]:
        """Scores every row of a feature file and draws them over time.

        Args:
            file: ``.npy``, ``.npz`` (several videos are fine) or ``.txt``; 32 rows are taken as the segments of a
                video, any other number as snippets of 16 frames.

        Returns:
            A row per row of the file, and a panel per video.

        Raises:
            InputError: The file cannot be read, or its rows are not as wide as the model's; names it.
        """
        rows: list[Row] = []
        curves: list[Curve] = []
        videos = read_arrays(file)
        for name, array in videos.items():
            if array.shape[-1] != self.network.features:
                raise InputError(
                    f"{file}: has {array.shape[-1]} features per row, the model takes {self.network.features}"
                )
            scores = self.predict(array[None]).scores[0].cpu().numpy()
            rows.extend(
                {"video": name, "row": index, "score": float(score), "alarm": bool(score >= self.threshold)}
                for index, score in enumerate(scores)
            )
            if len(curves) < MOST:
                segments = len(scores) == SEGMENTS
                step, unit = (1, f"segment of {SEGMENTS}") if segments else (CLIP, f"frame ({CLIP} per row)")
                curves.append(Curve(f"{name}: highest score {scores.max():.2f}", scores, step, unit))
        return rows, draw(curves, self.threshold, len(videos) - len(curves))

    @torch.no_grad()
    def picture(self, batch: Batch) -> Figure:
        """Draws the first videos of a batch with their annotated events."""
        training = self.network.training
        self.network.eval()
        try:
            curves = [self._curve(batch, index) for index in range(min(PANELS, len(batch["id"])))]
        finally:
            self.network.train(training)
        return draw(curves, self.threshold, len(batch["id"]) - len(curves))

    def _curve(self, batch: Batch, index: int) -> Curve:
        name, events = batch["id"][index], batch["events"][index]
        scores, spread = self._evaluate(batch, index)
        label = "anomalous" if batch["label"][index] > 0.5 else "normal"
        title = f"{Path(name).name} ({label}): highest score {float(scores.max()):.2f}"
        if not len(spread):
            return Curve(title, scores.cpu().numpy(), 1, f"segment of {len(scores)}")
        return Curve(title, spread, 1, "frame", events or ())


class MILRanking(VideoModule):
    """Deep MIL ranking of Sultani, Chen and Shah (CVPR 2018): the worst segment of an anomalous video above that of
    every normal one.

    Args:
        features: Width D of a row of features.
        dropout: Between the layers, in [0, 1).
        variant: How a batch is summed up, see :mod:`zoo.domains.anomaly.loss`.
        margin: Margin of the hinge between the maxima of bags, in score units.
        sparsity: Weight of the scores of anomalous bags, >= 0.
        smoothness: Weight of the squared differences of neighbouring scores in anomalous bags, >= 0.
        regulariser: Weight of the size of the network's weights, >= 0.
        ranking: Any score loss over the maxima of the bags, instead of the hinge (then ``margin`` is not used).
        protocol: How scores become frame-level scores and truth, see :mod:`zoo.domains.anomaly.protocols`.
        threshold: Score from which a frame is an alarm, in [0, 1].
        monitor: Metric that picks ``best.ckpt``. ``val/video_auc`` is there always, ``val/auc`` where the validation
            videos have annotated events.
        mode: Whether more or less of it is better.
        groups: Parameter groups of the optimizer.
    """

    network: Detector

    def __init__(
        self,
        features: int = 4096,
        dropout: float = 0.6,
        variant: Variant = "official",
        margin: float = 1.0,
        sparsity: float = 8e-5,
        smoothness: float = 8e-5,
        regulariser: float = 0.001,
        ranking: ScoreLoss | None = None,
        protocol: Protocol = "official",
        threshold: float = 0.5,
        monitor: str = "val/video_auc",
        mode: Literal["min", "max"] = "max",
        groups: list[ParameterGroup] | None = None,
    ) -> None:
        super().__init__(protocol, threshold, monitor, mode, groups)
        check_choice("model.variant", variant, VARIANTS)
        for name, weight in (("sparsity", sparsity), ("smoothness", smoothness), ("regulariser", regulariser)):
            if weight < 0:
                raise InputError(f"model.{name} must not be negative, got {weight}")
        self.network = Detector(features, dropout)
        self.variant, self.ranking = variant, ranking
        self.margin, self.sparsity, self.smoothness, self.regulariser = margin, sparsity, smoothness, regulariser

    # -- training

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Ranking, sparsity, smoothness and size of the weights."""
        scores = self._scores(batch["features"], batch["id"])
        ranked = mil_terms(
            scores, batch["label"], self.variant, self.ranking, self.margin, self.sparsity, self.smoothness
        )
        return {**ranked, "weights": self.regulariser * weight_penalty(self.network, self.variant)}

    def _scores(self, features: Tensor, names: list[str]) -> Tensor:
        """Scores ``(B, T)`` of ``(B, T, D)`` or ``(B, T, crops, D)``, averaged over crops."""
        if features.shape[-1] != self.network.features:
            raise InputError(
                f"{names[0]}: has {features.shape[-1]} features per row, the model takes {self.network.features} "
                "(model.features)"
            )
        if features.ndim == 3:
            scores: Tensor = self.network(features).scores
            return scores
        scores = self.network(features.transpose(1, 2).flatten(0, 1)).scores
        return scores.unflatten(0, (len(features), -1)).mean(1)
