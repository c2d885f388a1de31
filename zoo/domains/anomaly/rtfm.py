"""RTFM: anomaly detection in video by the size of temporal features."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.prediction import VideoModule
from zoo.domains.anomaly.protocols import Protocol
from zoo.domains.anomaly.rtfm_loss import RTFM_VARIANTS, RTFMVariant, rtfm_terms
from zoo.domains.anomaly.rtfm_network import RTFMNetwork, select_top
from zoo.errors import InputError
from zoo.training import Batch, ParameterGroup
from zoo.training.choices import check_choice


class RTFM(VideoModule):
    """Robust temporal feature magnitude learning of Tian et al. (ICCV 2021): the best features of an anomalous video
    are large, those of a normal one small.

    Args:
        features: Width D of a row of features, divisible by 4.
        dropout: In the network, and of snippets from the choice of the best, in [0, 1).
        variant: How smoothness and sparsity are summed up, see :mod:`zoo.domains.anomaly.rtfm_loss`.
        top: How many snippets stand for a video, >= 1; a tenth of the 32 segments.
        margin: Size that the best features of an anomalous video should have, > 0.
        magnitude: Weight of the magnitude term, >= 0.
        smoothness: Weight of the squared differences of neighbouring scores in anomalous videos, >= 0.
        sparsity: Weight of the size of the scores of anomalous videos, >= 0.
        protocol: How scores become frame-level scores and truth, see :mod:`zoo.domains.anomaly.protocols`.
        threshold: Score from which a frame is an alarm, in [0, 1].
        bootstrap: Resamples of the test videos behind the confidence intervals; 0 for none.
        monitor: Metric that picks ``best.ckpt``.
        mode: Whether more or less of it is better.
        groups: Parameter groups of the optimizer.
        extractor: What makes the features of videos that are predicted on; the one its training features came from.
    """

    network: RTFMNetwork

    def __init__(
        self,
        features: int = 2048,
        dropout: float = 0.7,
        variant: RTFMVariant = "official",
        top: int = 3,
        margin: float = 100.0,
        magnitude: float = 1e-4,
        smoothness: float = 8e-4,
        sparsity: float = 8e-3,
        protocol: Protocol = "snippet16",
        threshold: float = 0.5,
        bootstrap: int = 1000,
        monitor: str = "val/video_auc",
        mode: Literal["min", "max"] = "max",
        groups: list[ParameterGroup] | None = None,
        extractor: Extractor | None = None,
    ) -> None:
        super().__init__(protocol, threshold, bootstrap, monitor, mode, groups)
        self.extractor = extractor
        check_choice("model.variant", variant, RTFM_VARIANTS)
        for name, weight in (("magnitude", magnitude), ("smoothness", smoothness), ("sparsity", sparsity)):
            if weight < 0:
                raise InputError(f"model.{name} must not be negative, got {weight}")
        if top < 1:
            raise InputError(f"model.top must be at least 1, got {top}")
        if margin <= 0:
            raise InputError(f"model.margin must be above 0, got {margin}")
        try:
            self.network = RTFMNetwork(features, dropout)
        except ValueError as error:
            raise InputError(f"model.{error}") from error
        self.variant, self.top, self.margin = variant, top, margin
        self.magnitude, self.smoothness, self.sparsity = magnitude, smoothness, sparsity

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Classification, magnitude, smoothness and sparsity."""
        self._check_width(batch["features"], batch["id"])
        length = batch["features"].shape[1]
        if self.top > length:
            raise InputError(f"model.top asks for {self.top} snippets, the videos have {length}")
        out = self.network(batch["features"])
        dropped = self.network.dropout.p if self.training else 0.0
        chosen = select_top(out.magnitudes, self.top, dropped)
        return rtfm_terms(
            out.scores, out.features, chosen, batch["label"], self.variant, self.margin, self.magnitude,
            self.smoothness, self.sparsity,
        )  # fmt: skip

    def _scores(self, features: Tensor, names: list[str]) -> Tensor:
        """Scores ``(B, T)`` of whole videos ``(B, T, D)`` or ``(B, T, crops, D)``, averaged over crops."""
        self._check_width(features, names)
        scores: Tensor = self.network(features).scores
        return scores
