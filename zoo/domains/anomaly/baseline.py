"""The baseline that ranking is compared with: a classifier of whole videos on the mean of their features."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.network import Detector
from zoo.domains.anomaly.prediction import VideoModule
from zoo.domains.anomaly.protocols import Protocol
from zoo.errors import InputError
from zoo.ranking import gather
from zoo.training import Batch, ParameterGroup


class MeanPooling(VideoModule):
    """The same detector as :class:`MILRanking`, trained by cross-entropy on the mean features of a video.

    In training a video is one row, the mean of its segments (and crops). In evaluation and prediction every segment
    is scored by itself, as a video of one segment would be.

    Args:
        features: Width D of a row of features.
        dropout: Between the layers, in [0, 1).
        regulariser: Weight of the sum of squares of the weights, >= 0.
        protocol: How scores become frame-level scores and truth, see :mod:`zoo.domains.anomaly.protocols`.
        threshold: Score from which a frame is an alarm, in [0, 1].
        bootstrap: Resamples of the test videos behind the confidence intervals; 0 for none.
        monitor: Metric that picks ``best.ckpt``.
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
        regulariser: float = 0.001,
        protocol: Protocol = "official",
        threshold: float = 0.5,
        bootstrap: int = 1000,
        monitor: str = "val/video_auc",
        mode: Literal["min", "max"] = "max",
        groups: list[ParameterGroup] | None = None,
        extractor: Extractor | None = None,
    ) -> None:
        super().__init__(protocol, threshold, bootstrap, monitor, mode, groups)
        self.extractor = extractor
        if regulariser < 0:
            raise InputError(f"model.regulariser must not be negative, got {regulariser}")
        try:
            self.network = Detector(features, dropout)
        except ValueError as error:
            raise InputError(f"model.{error}") from error
        self.regulariser = regulariser

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the bags and size of the weights."""
        features = batch["features"]
        pooled = features.mean(dim=tuple(range(1, features.ndim - 1)))
        scores = gather(self._scores(pooled[:, None], batch["id"])[:, 0].float())
        with torch.autocast(scores.device.type, enabled=False):
            entropy = functional.binary_cross_entropy(scores, gather(batch["label"]).to(scores.dtype))
        squares = torch.stack([layer.weight.square().sum() for layer in self.network.layers]).sum()
        return {"classification": entropy, "weights": self.regulariser * squares}
