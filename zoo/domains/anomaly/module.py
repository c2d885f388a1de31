"""MILRanking: weakly supervised anomaly detection in video by multiple-instance ranking."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.loss import VARIANTS, Variant, mil_terms, weight_penalty
from zoo.domains.anomaly.network import Detector
from zoo.domains.anomaly.prediction import VideoModule
from zoo.domains.anomaly.protocols import Protocol
from zoo.errors import InputError
from zoo.ranking import ScoreLoss
from zoo.training import Batch, ParameterGroup
from zoo.training.choices import check_choice


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
        bootstrap: Resamples of the test videos behind the confidence intervals; 0 for none.
        monitor: Metric that picks ``best.ckpt``. ``val/video_auc`` is there always, ``val/auc`` where the validation
            videos have annotated events.
        mode: Whether more or less of it is better.
        groups: Parameter groups of the optimizer.
        extractor: What makes the features of videos that are predicted on; the one its training features came from.
    """

    network: Detector
    row_by_row = True

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
        bootstrap: int = 1000,
        monitor: str = "val/video_auc",
        mode: Literal["min", "max"] = "max",
        groups: list[ParameterGroup] | None = None,
        extractor: Extractor | None = None,
    ) -> None:
        super().__init__(protocol, threshold, bootstrap, monitor, mode, groups)
        check_choice("model.variant", variant, VARIANTS)
        for name, weight in (("sparsity", sparsity), ("smoothness", smoothness), ("regulariser", regulariser)):
            if weight < 0:
                raise InputError(f"model.{name} must not be negative, got {weight}")
        try:
            self.network = Detector(features, dropout)
        except ValueError as error:
            raise InputError(f"model.{error}") from error
        self.variant, self.ranking, self.extractor = variant, ranking, extractor
        self.margin, self.sparsity, self.smoothness, self.regulariser = margin, sparsity, smoothness, regulariser

    # -- training

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Ranking, sparsity, smoothness and size of the weights."""
        scores = self._scores(batch["features"], batch["id"])
        ranked = mil_terms(
            scores, batch["label"], self.variant, self.ranking, self.margin, self.sparsity, self.smoothness
        )
        return {**ranked, "weights": self.regulariser * weight_penalty(self.network, self.variant)}
