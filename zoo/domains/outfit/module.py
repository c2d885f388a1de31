"""OutfitTransformer: compatibility, fill-in-the-blank and complementary retrieval by a set transformer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from zoo.domains.outfit.encoders import ItemEncoder
from zoo.domains.outfit.evaluation import Compatibility, FillInTheBlank, Retrieval, Ties, blank_credit
from zoo.domains.outfit.loss import Focal, Pool, batch_term, compatibility_term, sampled_term
from zoo.domains.outfit.network import OutfitNetwork
from zoo.domains.outfit.official import OfficialOutfit
from zoo.domains.outfit.paper import PaperOutfit
from zoo.domains.outfit.picture import BAD, GOOD, Line, Shown, draw
from zoo.domains.outfit.samples import BLANK, GALLERY, LABELLED
from zoo.domains.outfit.use import OutfitUse
from zoo.errors import InputError
from zoo.metrics import roc_auc
from zoo.ranking import SetWise, SimilarityLoss
from zoo.training import Batch, ParameterGroup, Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Variant = Literal["paper", "official"]
Fill = Literal["distance", "score"]
Protocol = Literal["standard", "official"]
TIES: dict[Protocol, Ties] = {"standard": "share", "official": "first"}


class OutfitTransformer(OutfitUse):
    """OutfitTransformer of Sarkar et al. (WACV 2023), and its released third-party implementation.

    Which terms are trained follows from the samples of the data (``data.task``): compatibility by the focal loss,
    retrieval by a similarity loss of minus Euclidean distances, or both, weighted.

    Args:
        variant: ``paper``: projected features, outfit token, target-item token. ``official``: the released network.
        encoder: How pictures and texts become features; null is ``ItemEncoder()``. A timm picture network becomes
            part of the model and its checkpoint.
        train_images: Train the picture network along; the data must give pixels then (``data.pixels: true``).
        half: Half of the transformer's width; null is the variant's own (64 or 512).
        layers: Transformer layers.
        heads: Attention heads.
        ffn: Width of the feed-forward layers; null is the variant's own (512 or 2024).
        dropout: In the transformer; null is the variant's own (0.1 or 0.3).
        norm_first: Pre-norm layers in the paper's network; the official one always has them.
        normalise: Scale features to unit root mean square in the paper's network; the official one always normalises.
        max_items: Only the first so many items of an outfit are used; null for any number.
        alpha: Weight of compatible outfits in the focal loss.
        gamma: Its exponent.
        focal: ``corrected``, or ``legacy`` with the released code's mistake.
        ranking: Any similarity loss; null is the set-wise outfit ranking loss with margin 2.
        pool: What a query is compared with: its own ``sampled`` negatives, or the answers of the whole ``batch``.
        keep_duplicates: With ``pool: batch``, take another query's equal answer for a negative, as the released code
            does.
        compatibility_weight: Of its term.
        retrieval_weight: Of its term.
        fill: A blank takes the candidate nearest to the query (``distance``), or the one whose outfit scores best.
        protocol: Equal distances share a question (``standard``) or the first one is taken (``official``, argmin).
        init_from: Part files by name: ``image_encoder``.
        monitor: The metric that picks ``best.ckpt``: ``val/auc``, ``val/fitb``, ``val/recall10``.
        mode: Whether more or less of it is better.
        groups: Parameter groups.

    Raises:
        InputError: An argument is out of range.
    """

    domain: ClassVar[str] = "outfit"
    network: OutfitNetwork

    def __init__(
        self,
        variant: Variant = "paper",
        encoder: ItemEncoder | None = None,
        train_images: bool = False,
        half: int | None = None,
        layers: int = 6,
        heads: int = 16,
        ffn: int | None = None,
        dropout: float | None = None,
        norm_first: bool = False,
        normalise: bool = True,
        max_items: int | None = None,
        alpha: float = 0.5,
        gamma: float = 2.0,
        focal: Focal = "corrected",
        ranking: SimilarityLoss | None = None,
        pool: Pool = "sampled",
        keep_duplicates: bool = False,
        compatibility_weight: float = 1.0,
        retrieval_weight: float = 1.0,
        fill: Fill = "distance",
        protocol: Protocol = "standard",
        init_from: dict[str, str] | None = None,
        monitor: str = "val/auc",
        mode: Literal["min", "max"] = "max",
        groups: list[ParameterGroup] | None = None,
    ) -> None:
        super().__init__(monitor, mode, groups)
        for name, value, kind in (("variant", variant, Variant), ("focal", focal, Focal), ("pool", pool, Pool),
                                  ("fill", fill, Fill), ("protocol", protocol, Protocol)):  # fmt: skip
            if value not in get_args(kind):
                raise InputError(f"model.{name} must be one of {', '.join(get_args(kind))}, got {value!r}")
        if not 0 <= alpha <= 1 or gamma < 0 or min(compatibility_weight, retrieval_weight) < 0:
            raise InputError("model: alpha must lie in [0, 1], gamma and the weights must not be negative")
        if dropout is not None and not 0 <= dropout < 1:
            raise InputError(f"model.dropout must lie in [0, 1), got {dropout}")
        self.ranking = ranking if ranking is not None else SetWise(margin=2.0)
        if self.ranking(torch.zeros(1, 2), torch.tensor([[True, False]])).ndim:
            raise InputError("model.ranking: reduction 'none' gives a value per query; training needs 'mean' or 'sum'")
        self.encoder = encoder if encoder is not None else ItemEncoder()
        sizes: dict[str, Any] = {"layers": layers, "heads": heads, "max_items": max_items}
        sizes |= {
            name: value for name, value in (("half", half), ("ffn", ffn), ("dropout", dropout)) if value is not None
        }
        if variant == "paper":
            self.network = PaperOutfit(*self.encoder.widths, **sizes, normalise=normalise, norm_first=norm_first)
        else:
            self.network = OfficialOutfit(*self.encoder.widths, **sizes)
        self.train_images = train_images
        if self.encoder.carried:
            self.network.image_encoder = self.encoder.build().requires_grad_(train_images)
            self.encoder.picture_network = self.network.image_encoder
        elif train_images:
            raise InputError(f"model.train_images: encoder.image {self.encoder.image!r} is no timm model to train")
        self.alpha, self.gamma, self.focal = alpha, gamma, focal
        self.pool, self.keep_duplicates = pool, keep_duplicates
        self.compatibility_weight, self.retrieval_weight = compatibility_weight, retrieval_weight
        self.fill_by, self._protocol = fill, protocol
        self.start_from(init_from)

    def parts(self) -> dict[str, torch.nn.Module]:
        """The picture network, where the model carries one."""
        found = self.network.image_encoder
        return {} if found is None else {"image_encoder": found}

    def train(self, mode: bool = True) -> OutfitTransformer:
        """Training or evaluation; a frozen picture network always stays in evaluation."""
        super().train(mode)
        if self.network.image_encoder is not None and not self.train_images:
            self.network.image_encoder.eval()
        return self

    # -- training

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """``compatibility`` and ``retrieval``, as far as the batch has samples for them."""
        features = self.table(batch)
        terms = {}
        chosen = batch["kind"] == LABELLED
        if chosen.any():
            logits = self.network.logits(*self.outfits(batch, features, chosen))
            value = compatibility_term(logits, batch["label"][chosen], self.alpha, self.gamma, self.focal)
            terms["compatibility"] = self.compatibility_weight * value
        chosen = batch["kind"] == BLANK
        if chosen.any():
            terms["retrieval"] = self.retrieval_weight * self._retrieval(batch, features, chosen)
        return terms

    def _retrieval(self, batch: Batch, features: Tensor, chosen: Tensor) -> Tensor:
        query = self.queries(batch, features, chosen)
        candidates = batch["candidates"][chosen]
        answers = self.network.embed_item(features[candidates[:, 0]])
        if self.pool == "batch":
            return batch_term(query, answers, batch["key"][chosen], self.ranking, self.keep_duplicates)
        real = candidates[:, 1:] >= 0
        if not real.shape[1]:
            raise InputError("model.pool: 'sampled' needs sampled negatives (data.negatives >= 1)")
        negatives = self._embed(features, candidates[:, 1:])
        return sampled_term(query, answers, negatives, real, self.ranking)

    def table(self, batch: Batch) -> Tensor:
        """Features ``(M, F)`` of the items of a batch; pictures pass the picture network here.

        Raises:
            InputError: The data gives no pixels though the picture network is trained, or features of another width.
        """
        if "pixels" in batch:
            if self.network.image_encoder is None:
                raise InputError("data.pixels: the model carries no picture network (encoder.image)")
            image = self.network.image_encoder(batch["pixels"])
        else:
            if self.train_images and self.training:
                raise InputError("model.train_images needs pictures: data.pixels: true")
            image = batch["image"]
        features = torch.cat([image, batch["text"]], 1)
        if features.shape[1] != self.network.features:
            raise InputError(
                f"items have {image.shape[1]} + {batch['text'].shape[1]} features, the model takes "
                f"{self.network.image_features} + {self.network.text_features}: data.encoder and model.encoder differ"
            )
        return features

    def outfits(self, batch: Batch, features: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(B, L, F)`` and mask ``(B, L)`` of the chosen samples' items."""
        rows = batch["outfit"][chosen]
        longest = int((rows >= 0).sum(1).max())
        if self.network.max_items is not None and longest > self.network.max_items:
            self.network.truncated += int(((rows >= 0).sum(1) > self.network.max_items).sum())
            longest = self.network.max_items
        rows = rows[:, :longest]
        return features[rows.clamp(min=0)], rows >= 0

    def queries(self, batch: Batch, features: Tensor, chosen: Tensor) -> Tensor:
        """Query embeddings ``(B, E)`` of the chosen blanks, told what is looked for where the network can be."""
        target = batch["target"][chosen] if self.network.takes_target else None
        return self.network.queries(*self.outfits(batch, features, chosen), target)

    def _embed(self, features: Tensor, rows: Tensor) -> Tensor:
        """Embeddings ``(B, K, E)`` of rows ``(B, K)``; each item is embedded once."""
        distinct, place = rows.clamp(min=0).unique(return_inverse=True)
        embedded: Tensor = self.network.embed_item(features[distinct])[place]
        return embedded

    # -- evaluation

    def build_metrics(self) -> dict[str, Metric]:
        """Compatibility, blanks and galleries, whichever the data asks; with details in a test."""
        details = self._trainer is None or bool(self.trainer.testing)
        return {
            "compatibility": Compatibility(details),
            "blanks": FillInTheBlank(details, TIES[self._protocol]),
            "galleries": Retrieval(details),
        }

    def evaluate_batch(self, batch: Batch, metrics: MetricCollection) -> list[Row]:
        """A row per labelled outfit (``score``) and per blank (``chosen``, ``correct``, distances)."""
        features = self.table(batch)
        rows: dict[int, Row] = {}
        for answer in (self._evaluate_labelled, self._evaluate_blanks, self._evaluate_galleries):
            rows |= answer(batch, features, metrics)
        return [rows[place] for place in sorted(rows)]

    def _evaluate_labelled(self, batch: Batch, features: Tensor, metrics: MetricCollection) -> dict[int, Row]:
        chosen = batch["kind"] == LABELLED
        if not chosen.any():  # under several processes each must have given something, be it nothing
            nothing = batch["label"][chosen]
            metrics["compatibility"].update(nothing.float(), nothing, nothing)
            return {}
        scores, labels = self._scores(*self.outfits(batch, features, chosen)), batch["label"][chosen]
        lengths = (batch["outfit"][chosen] >= 0).sum(1)
        metrics["compatibility"].update(scores, labels, lengths)
        found = zip(_places(chosen), scores.tolist(), labels.tolist(), lengths.tolist(), strict=True)
        return {
            place: {"id": batch["id"][place], "task": "compatibility", "items": length, "label": label, "score": score}
            for place, score, label, length in found
        }

    def _evaluate_blanks(self, batch: Batch, features: Tensor, metrics: MetricCollection) -> dict[int, Row]:
        chosen = batch["kind"] == BLANK
        if not chosen.any():
            nothing = batch["label"][chosen]
            none = nothing.float().unsqueeze(1), nothing.bool().unsqueeze(1), nothing, nothing, nothing
            metrics["blanks"].update(*none, batch["groups"])
            return {}
        candidates, correct, group = (batch[name][chosen] for name in ("candidates", "correct", "group"))
        query = self.queries(batch, features, chosen)
        distances = self._candidate_distances(batch, features, chosen, query)
        lengths, metric = (batch["outfit"][chosen] >= 0).sum(1), metrics["blanks"]
        metric.update(distances, candidates >= 0, correct, group, lengths, batch["groups"])
        credit = blank_credit(distances, candidates >= 0, correct, TIES[self._protocol])
        asked = batch["gallery"][chosen] >= 0
        if asked.any():
            keys, gallery = batch["key"][chosen][asked], batch["gallery"][chosen][asked]
            said = torch.ones_like(asked[asked]), group[asked], lengths[asked], batch["groups"]
            metrics["galleries"].update(query[asked], keys, gallery, *said)
        rows = {}
        for row, place in enumerate(_places(chosen)):
            real = candidates[row] >= 0
            rows[place] = {
                "id": batch["id"][place],
                "task": "fill in the blank",
                "items": int(lengths[row]),
                "category": batch["groups"][int(group[row])],
                "chosen": int(distances[row][real].argmin()),
                "correct": int(correct[row]),
                "credit": float(credit[row]),
                "distances": " ".join(f"{value:.6g}" for value in distances[row][real].tolist()),
            }
        return rows

    @classmethod
    def measured(cls, rows: pd.DataFrame, protocol: str) -> dict[str, float]:
        """``auc`` of labelled outfits and ``fitb`` of blanks, whichever there are."""
        values = {}
        if "label" in rows and (known := rows.dropna(subset="label"))["label"].nunique() > 1:
            scores, labels = (torch.tensor(known[name].to_numpy(float)) for name in ("score", "label"))
            values["auc"] = float(roc_auc(scores, labels))
        if "credit" in rows and rows["credit"].notna().any():
            values["fitb"] = float(rows["credit"].mean())
        return values

    @classmethod
    def costs(cls, rows: pd.DataFrame) -> pd.Series:
        """Distance of the score from the label, or what a blank did not earn."""
        columns = rows.reindex(columns=["label", "score", "credit"])
        return (columns["label"] - columns["score"]).abs().fillna(1 - columns["credit"])

    def _evaluate_galleries(self, batch: Batch, features: Tensor, metrics: MetricCollection) -> dict[int, Row]:
        chosen = batch["kind"] == GALLERY
        embedded = features.new_zeros(0, self.network.embedding)
        if chosen.any():
            embedded = self.network.embed_item(features[batch["outfit"][chosen][:, 0]])
        said = torch.zeros_like(chosen[chosen]), batch["group"][chosen], batch["label"][chosen], batch["groups"]
        metrics["galleries"].update(embedded, batch["key"][chosen], batch["gallery"][chosen], *said)
        return {}

    def _candidate_distances(self, batch: Batch, features: Tensor, chosen: Tensor, query: Tensor) -> Tensor:
        """``(B, C)``, smaller is better: distances, or minus the score of the outfit that a candidate completes."""
        candidates = batch["candidates"][chosen]
        if self.fill_by == "distance":
            return torch.linalg.vector_norm(query.unsqueeze(1) - self._embed(features, candidates), dim=-1)
        given, mask = self.outfits(batch, features, chosen)
        columns = [self._completed(given, mask, features[column.clamp(min=0)]) for column in candidates.T]
        return -torch.stack(columns, 1)

    def _completed(self, given: Tensor, mask: Tensor, more: Tensor) -> Tensor:
        """Scores ``(B,)`` of outfits with one more item each; it stands first, so that no limit cuts it off."""
        features, real = torch.cat([more.unsqueeze(1), given], 1), torch.cat([mask.new_ones(len(mask), 1), mask], 1)
        most = self.network.max_items
        return self._scores(features[:, :most], real[:, :most])

    def _scores(self, features: Tensor, mask: Tensor) -> Tensor:
        return self.network.logits(features, mask).sigmoid()

    @property
    def protocol(self) -> str:
        """``standard`` or ``official``."""
        return self._protocol

    @property
    def preprocess(self) -> dict[str, Any]:
        """How an item becomes features."""
        image, text = self.encoder.widths
        return {"image": str(self.encoder.image), "size": self.encoder.size, "image_features": image,
                "text": str(self.encoder.text), "text_features": text}  # fmt: skip

    # -- pictures and export

    @torch.no_grad()
    def picture(self, batch: Batch) -> Figure:
        """The first outfits of a batch with their scores, or the first blanks with the distances of their answers."""
        features = self.table(batch)
        lines = []
        for place in range(len(batch["id"])):
            one = torch.zeros_like(batch["kind"], dtype=torch.bool)
            one[place] = True
            items = [_shown(batch, row) for row in batch["outfit"][place].tolist() if row >= 0]
            if int(batch["kind"][place]) == LABELLED:
                score, good = float(self._scores(*self.outfits(batch, features, one))), bool(batch["label"][place])
                lines.append(Line(f"score {score:.2f}, {'goes together' if good else 'made up'}", items))
            elif int(batch["kind"][place]) == BLANK:
                distances = self._candidate_distances(batch, features, one, self.queries(batch, features, one))[0]
                lines.append(self._blank_line(batch, place, items, distances))
        return draw(lines)

    def _blank_line(self, batch: Batch, place: int, items: list[Shown], distances: Tensor) -> Line:
        rows = [row for row in batch["candidates"][place].tolist() if row >= 0]
        nearest, correct = int(distances[: len(rows)].argmin()), int(batch["correct"][place])
        marks = {nearest: BAD, correct: GOOD}
        more = [
            _shown(batch, row)._replace(note=f"{float(distances[number]):.3g}", mark=marks.get(number, ""))
            for number, row in enumerate(rows)
        ]
        return Line(
            f"what completes it? {'right' if nearest == correct else 'wrong'} (green: the right one)", items, more
        )

    export_dynamic: ClassVar[dict[str, tuple[int, ...]]] = {"features": (1,), "mask": (1,)}

    def export_inputs(self) -> dict[str, Tensor]:
        """Two outfits of three items, the second padded; a target where the network takes one."""
        generator = torch.Generator().manual_seed(0)
        inputs = {
            "features": torch.randn(2, 3, self.network.features, generator=generator),
            "mask": torch.tensor([[True, True, True], [True, True, False]]),
        }
        if self.network.takes_target:
            inputs["target"] = torch.randn(2, self.network.text_features, generator=generator)
        return inputs


def _places(chosen: Tensor) -> list[int]:
    return [int(place) for place in chosen.nonzero()[:, 0]]


def _shown(batch: Batch, row: int) -> Shown:
    file = batch["files"][row]
    return Shown(Path(file) if file else None, batch["texts"][row])
