"""MLPRanker: a multilayer perceptron over LETOR features, trained by any score loss or by regression."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.retrieval import RetrievalMAP

from zoo.domains.ltr.letor import read_letor
from zoo.domains.ltr.loss import objective
from zoo.domains.ltr.network import MLP, RankerOutput
from zoo.domains.ltr.picture import Ranked, draw
from zoo.errors import InputError
from zoo.metrics import NDCG
from zoo.ranking import ScoreLoss
from zoo.training import Batch, ParameterGroup, Row, ZooModule

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Protocol = Literal["standard", "letor4"]
DEPTH = 10


class MLPRanker(ZooModule):
    """Scores each document of a query by a multilayer perceptron; the loss compares the scores within a query.

    Args:
        ranking: Any score loss of ``zoo.ranking``; null trains the same network by regression of the grades.
        features: Features of a document.
        hidden: Widths of the hidden layers.
        dropout: Probability of dropping a hidden unit.
        protocol: NDCG@10 as usual (``standard``: gain 2^grade - 1 over log2(1 + rank), equal scores averaged over their
            orders), or as LETOR 4.0's script computes it (``letor4``: log2(max(rank, 2)), equal scores in the order of
            the file, queries of fewer than 10 documents count 0). Queries without a relevant document count 0 in both.
        monitor: The metric that picks ``best.ckpt``: ``val/ndcg10`` or ``val/map``.
        mode: Whether more or less of it is better.
        groups: Parameter groups.

    Raises:
        InputError: An argument is out of range, or the loss gives no single number.
    """

    domain: ClassVar[str] = "ltr"
    export_dynamic: ClassVar[dict[str, tuple[int, ...]]] = {"features": (1,)}  # documents
    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".letor")
    network: MLP

    def __init__(
        self,
        ranking: ScoreLoss | None = None,
        features: int = 46,
        hidden: tuple[int, ...] = (64, 32),
        dropout: float = 0.1,
        protocol: Protocol = "standard",
        monitor: str = "val/ndcg10",
        mode: Literal["min", "max"] = "max",
        groups: list[ParameterGroup] | None = None,
    ) -> None:
        super().__init__(monitor, mode, groups)
        if features < 1 or any(width < 1 for width in hidden):
            raise InputError(f"model: features and hidden widths must be at least 1, got {features} and {hidden}")
        if not 0 <= dropout < 1:
            raise InputError(f"model.dropout must lie in [0, 1), got {dropout}")
        if ranking is not None and ranking(torch.zeros(1, 2), torch.tensor([[0, 1]])).ndim:
            raise InputError("model.ranking: reduction 'none' gives a value per query; training needs 'mean' or 'sum'")
        self.ranking = ranking
        self.features = features
        self.network = MLP(features, hidden, dropout)
        self._protocol = protocol

    @property
    def protocol(self) -> str:
        """``standard`` or ``letor4``."""
        return self._protocol

    @property
    def preprocess(self) -> dict[str, Any]:
        """Features enter as given."""
        return {"features": self.features, "documents": "as given, scaled to [0, 1] within their query by the data set"}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """One term, ``ranking`` or ``regression``. The network sees real documents only, so padding costs nothing."""
        mask = batch["mask"]
        real = self.network(batch["features"][mask].unsqueeze(0)).scores.squeeze(0)
        scores = torch.zeros_like(mask, dtype=real.dtype).masked_scatter(mask, real)
        name = "regression" if self.ranking is None else "ranking"
        return {name: objective(scores, batch["target"], mask, self.ranking)}

    def build_metrics(self) -> dict[str, Metric]:
        """NDCG@10 of the protocol, and mean average precision (grades above 0 are relevant)."""
        letor = self._protocol == "letor4"
        ndcg = NDCG(DEPTH, discount="letor", ties="order", full=True) if letor else NDCG(DEPTH)
        return {"ndcg10": ndcg, "map": RetrievalMAP(empty_target_action="neg")}

    def evaluate_batch(self, batch: Batch, metrics: MetricCollection) -> list[Row]:
        """One row per query: its size, its NDCG@10 and the scores of its documents in their given order."""
        scores, target, mask = score_documents(self.network, batch["features"]), batch["target"], batch["mask"]
        ndcg: Any = metrics["ndcg10"]
        ndcg.update(scores, target, mask)
        index = batch["index"].unsqueeze(1).expand_as(mask)
        # torchmetrics counts what has a score of at most 0 as not retrieved, so it gets places instead
        metrics["map"].update(1 / places(scores, mask)[mask], target[mask] > 0, indexes=index[mask])
        values = ndcg.per_list(scores, target, mask).tolist()
        return [
            {
                "id": qid,
                "documents": len(documents),
                "ndcg10": value,
                "scores": " ".join(f"{score:.6g}" for score in scores[row, : len(documents)].tolist()),
            }
            for row, (qid, documents, value) in enumerate(zip(batch["id"], batch["documents"], values, strict=True))
        ]

    @classmethod
    def measured(cls, rows: pd.DataFrame, protocol: str) -> dict[str, float]:
        """``ndcg10``, over queries with a relevant document."""
        return {"ndcg10": float(rows["ndcg10"].mean())}

    @classmethod
    def costs(cls, rows: pd.DataFrame) -> pd.Series:
        """1 - NDCG@10."""
        return 1 - rows["ndcg10"]

    def export_inputs(self) -> dict[str, Tensor]:
        """Two lists of eight documents."""
        return {"features": torch.linspace(0, 1, 2 * 8 * self.features).view(2, 8, -1)}

    @torch.no_grad()
    def predict(self, features: Tensor | np.ndarray, preprocess: bool = True) -> RankerOutput:
        """Scores the documents of queries.

        Args:
            features: ``(B, N, F)``, or ``(N, F)`` as a batch of one; scaled to [0, 1] within each query
                as LETOR's are.
            preprocess: Without effect: features need none. False hands them to the network just the same.

        Returns:
            ``.scores`` ``(B, N)``, a higher score stands higher.

        Raises:
            InputError: Another shape, no document, or a value that is not finite.
        """
        given = torch.as_tensor(features, dtype=torch.float32, device=self.device)
        if given.ndim not in (2, 3) or given.shape[-1] != self.features:
            raise InputError(
                f"features: shape {tuple(given.shape)} given, expected (N, {self.features}) or (B, N, {self.features})"
            )
        if not given.numel():
            raise InputError(f"features: shape {tuple(given.shape)} given, there is no document to score")
        if not torch.isfinite(given).all():
            place = tuple(int(i) for i in (~torch.isfinite(given)).nonzero()[0])
            raise InputError(f"features: the value at {place} is not finite")
        self.eval()
        return RankerOutput(score_documents(self.network, given if given.ndim == 3 else given.unsqueeze(0)))

    def predict_file(self, file: Path) -> tuple[list[Row], Figure]:
        """Ranks the documents of every query of a LETOR file; its labels serve the picture only.

        Returns:
            A row per document in the order of the file (``qid``, ``row``: the line number, ``document``, ``score``,
            ``rank`` within the query from 1) and a picture of the first queries.

        Raises:
            InputError: A line is malformed; names file and line.
        """
        rows: list[Row] = []
        ranked: list[Ranked] = []
        for query in read_letor(file, self.features):
            scores = self.predict(query.features).scores[0].cpu()
            found = zip(query.lines, query.documents, scores.tolist(), places(scores).tolist(), strict=True)
            rows += [
                {"qid": query.qid, "row": line, "document": name, "score": score, "rank": place}
                for line, name, score, place in found
            ]
            ranked.append(Ranked(query.qid, scores, torch.from_numpy(query.target)))
        return rows, draw(ranked)

    def picture(self, batch: Batch) -> Figure:
        """The documents of the first queries in the order that the network gives them."""
        scores = score_documents(self.network, batch["features"]).cpu()
        mask, target = batch["mask"].cpu(), batch["target"].cpu()
        return draw([Ranked(q, scores[i][mask[i]], target[i][mask[i]]) for i, q in enumerate(batch["id"])])


def score_documents(network: MLP, features: Tensor) -> Tensor:
    """Scores documents so that equal ones get equal scores: a matrix product may round equal rows differently.

    Args:
        network: The scorer.
        features: ``(B, N, F)``.

    Returns:
        ``(B, N)``.
    """
    distinct, place = features.flatten(0, 1).unique(dim=0, return_inverse=True)
    output: RankerOutput = network(distinct.unsqueeze(0))
    return output.scores[0][place].view(features.shape[:-1])


def places(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Place of each document in its query, from 1; equal scores stand in their given order.

    Args:
        scores: ``(..., N)``.
        mask: ``(..., N)`` bool, True = real; what is not real comes last.
    """
    if mask is not None:
        scores = torch.where(mask, scores, -torch.inf)
    return scores.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1) + 1
