"""The similarity losses as modules, so that a recipe can name one: `class_path: zoo.ranking.TripletAlignment`.

Each constructor takes the options of its function under the same names and with the same defaults; a call takes the
tensors.
"""

from typing import Literal

from zoo.ranking.base_modules import SimilarityLoss
from zoo.ranking.similarity import info_nce, multi_similarity, sdm, smooth_ap
from zoo.ranking.thresholds import threshold_consistent_margin
from zoo.ranking.triplets import set_wise, triplet, triplet_alignment


class Triplet(SimilarityLoss):
    """Module form of `triplet`."""

    function = staticmethod(triplet)

    def __init__(
        self,
        margin: float = 0.2,
        mining: Literal["hardest", "semihard", "all"] = "hardest",
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "tiled"] = "auto",
    ) -> None:
        super().__init__({"margin": margin, "mining": mining, "reduction": reduction, "engine": engine})


class TripletAlignment(SimilarityLoss):
    """Module form of `triplet_alignment`."""

    function = staticmethod(triplet_alignment)

    def __init__(
        self,
        margin: float = 0.1,
        temperature: float = 0.015,
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "tiled"] = "auto",
    ) -> None:
        super().__init__({"margin": margin, "temperature": temperature, "reduction": reduction, "engine": engine})


class SetWise(SimilarityLoss):
    """Module form of `set_wise`."""

    function = staticmethod(set_wise)

    def __init__(
        self,
        margin: float = 2.0,
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "tiled"] = "auto",
    ) -> None:
        super().__init__({"margin": margin, "reduction": reduction, "engine": engine})


class InfoNCE(SimilarityLoss):
    """Module form of `info_nce`."""

    function = staticmethod(info_nce)

    def __init__(
        self,
        temperature: float = 0.02,
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "tiled"] = "auto",
    ) -> None:
        super().__init__({"temperature": temperature, "reduction": reduction, "engine": engine})


class SDM(SimilarityLoss):
    """Module form of `sdm`."""

    function = staticmethod(sdm)

    def __init__(
        self,
        temperature: float = 0.02,
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "tiled"] = "auto",
    ) -> None:
        super().__init__({"temperature": temperature, "reduction": reduction, "engine": engine})


class MultiSimilarity(SimilarityLoss):
    """Module form of `multi_similarity`."""

    function = staticmethod(multi_similarity)

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 1.0,
        margin: float = 0.1,
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "tiled"] = "auto",
    ) -> None:
        super().__init__(
            {"alpha": alpha, "beta": beta, "base": base, "margin": margin, "reduction": reduction, "engine": engine}
        )


class SmoothAP(SimilarityLoss):
    """Module form of `smooth_ap`."""

    function = staticmethod(smooth_ap)

    def __init__(
        self,
        temperature: float = 0.01,
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "tiled"] = "auto",
    ) -> None:
        super().__init__({"temperature": temperature, "reduction": reduction, "engine": engine})


class ThresholdConsistentMargin(SimilarityLoss):
    """Module form of `threshold_consistent_margin`."""

    function = staticmethod(threshold_consistent_margin)

    def __init__(
        self,
        positive_margin: float = 0.9,
        negative_margin: float = 0.5,
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "tiled"] = "auto",
    ) -> None:
        super().__init__(
            {
                "positive_margin": positive_margin,
                "negative_margin": negative_margin,
                "reduction": reduction,
                "engine": engine,
            }
        )
