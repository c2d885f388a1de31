"""The score losses as modules, so that a recipe can name one: `class_path: zoo.ranking.Hinge`.

Each constructor takes the options of its function under the same names and with the same defaults; a call takes the
tensors.
"""

from typing import Literal

from zoo.ranking.base_modules import ScoreLoss
from zoo.ranking.listwise import approx_ndcg, confidence_ndcg, lambda_ndcg, listmle, listnet
from zoo.ranking.pairwise import fidelity, hinge, logistic, mann_whitney, squared_hinge


class Hinge(ScoreLoss):
    """Module form of `hinge`."""

    function = staticmethod(hinge)

    def __init__(
        self,
        margin: float = 1.0,
        pairs: Literal["mean", "sum"] = "mean",
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "sorted", "tiled"] = "auto",
    ) -> None:
        super().__init__({"margin": margin, "pairs": pairs, "reduction": reduction, "engine": engine})


class SquaredHinge(ScoreLoss):
    """Module form of `squared_hinge`."""

    function = staticmethod(squared_hinge)

    def __init__(
        self,
        margin: float = 1.0,
        pairs: Literal["mean", "sum"] = "mean",
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "sorted", "tiled"] = "auto",
    ) -> None:
        super().__init__({"margin": margin, "pairs": pairs, "reduction": reduction, "engine": engine})


class Logistic(ScoreLoss):
    """Module form of `logistic`."""

    function = staticmethod(logistic)

    def __init__(
        self,
        temperature: float = 1.0,
        pairs: Literal["mean", "sum"] = "mean",
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "sorted", "tiled"] = "auto",
    ) -> None:
        super().__init__({"temperature": temperature, "pairs": pairs, "reduction": reduction, "engine": engine})


class MannWhitney(ScoreLoss):
    """Module form of `mann_whitney`."""

    function = staticmethod(mann_whitney)

    def __init__(
        self,
        surrogate: Literal["logistic", "hinge", "squared_hinge", "sigmoid"] = "logistic",
        temperature: float = 1.0,
        pairs: Literal["mean", "sum"] = "mean",
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "sorted", "tiled"] = "auto",
    ) -> None:
        super().__init__(
            {
                "surrogate": surrogate,
                "temperature": temperature,
                "pairs": pairs,
                "reduction": reduction,
                "engine": engine,
            }
        )


class Fidelity(ScoreLoss):
    """Module form of `fidelity`."""

    function = staticmethod(fidelity)

    def __init__(
        self,
        target_probability: Literal["thurstone", "binary"] = "thurstone",
        scale: float = 1.0,
        tied_lists: Literal["skip", "keep"] = "skip",
        pairs: Literal["mean", "sum"] = "mean",
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "tiled"] = "auto",
    ) -> None:
        super().__init__(
            {
                "target_probability": target_probability,
                "scale": scale,
                "tied_lists": tied_lists,
                "pairs": pairs,
                "reduction": reduction,
                "engine": engine,
            }
        )


class ListNet(ScoreLoss):
    """Module form of `listnet`."""

    function = staticmethod(listnet)

    def __init__(
        self, pairs: Literal["mean", "sum"] = "mean", reduction: Literal["mean", "sum", "none"] = "mean"
    ) -> None:
        super().__init__({"pairs": pairs, "reduction": reduction})


class ListMLE(ScoreLoss):
    """Module form of `listmle`."""

    function = staticmethod(listmle)

    def __init__(
        self,
        ties: Literal["efron", "order"] = "efron",
        pairs: Literal["mean", "sum"] = "mean",
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "sorted"] = "auto",
    ) -> None:
        super().__init__({"ties": ties, "pairs": pairs, "reduction": reduction, "engine": engine})


class LambdaNDCG(ScoreLoss):
    """Module form of `lambda_ndcg`."""

    function = staticmethod(lambda_ndcg)

    def __init__(
        self,
        k: int | None = None,
        gain: Literal["exp2", "linear"] = "exp2",
        temperature: float = 1.0,
        pairs: Literal["mean", "sum"] = "mean",
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "tiled"] = "auto",
    ) -> None:
        super().__init__(
            {"k": k, "gain": gain, "temperature": temperature, "pairs": pairs, "reduction": reduction, "engine": engine}
        )


class ApproxNDCG(ScoreLoss):
    """Module form of `approx_ndcg`."""

    function = staticmethod(approx_ndcg)

    def __init__(
        self,
        gain: Literal["exp2", "linear"] = "exp2",
        temperature: float = 0.1,
        pairs: Literal["mean", "sum"] = "mean",
        reduction: Literal["mean", "sum", "none"] = "mean",
        engine: Literal["auto", "dense", "sorted", "tiled"] = "auto",
    ) -> None:
        super().__init__(
            {"gain": gain, "temperature": temperature, "pairs": pairs, "reduction": reduction, "engine": engine}
        )


class ConfidenceNDCG(ScoreLoss):
    """Module form of `confidence_ndcg`."""

    function = staticmethod(confidence_ndcg)

    def __init__(
        self,
        tied_lists: Literal["skip", "keep"] = "skip",
        pairs: Literal["mean", "sum"] = "mean",
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> None:
        super().__init__({"tied_lists": tied_lists, "pairs": pairs, "reduction": reduction})
