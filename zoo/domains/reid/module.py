"""RDE: text-to-image person retrieval that survives noisy pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from zoo.domains.reid import division_record
from zoo.domains.reid.augment import augment_tokens
from zoo.domains.reid.clip import TextTransformer, VisionTransformer
from zoo.domains.reid.data import TextImageData
from zoo.domains.reid.division import MIXTURES, Mixture, divide
from zoo.domains.reid.loss import (
    Positives,
    Reduction,
    batch_losses,
    gather_pairs,
    objective,
    released_positives,
    released_reduction,
)
from zoo.domains.reid.network import Embeddings, RDENetwork, Weights, similarities, store_weights
from zoo.domains.reid.picture import Search, draw
from zoo.domains.reid.prediction import RDEPrediction
from zoo.domains.reid.towers import ImageTower, TextTower
from zoo.errors import InputError
from zoo.layers import ImageSteps, pretrained_allowed
from zoo.metrics import TextImageRetrieval
from zoo.ranking import SimilarityLoss, TripletAlignment
from zoo.training import Batch, ParameterGroup, Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

QUERIES, SHOWN = 4, 6  # of a picture of a batch
_STATE = "reid_division"


class RDE(RDEPrediction):
    """Robust dual embedding (Qin et al., CVPR 2024): triplet alignment on two embeddings, confident consensus division.

    Args:
        image: The image tower; null for CLIP ViT-B/16 at 384x128.
        text: The text tower; null for CLIP's.
        ratio: Share of the tokens that the token-selection embedding takes, in (0, 1].
        tse: Width of that embedding.
        pretrained: Training must start from weights given in ``init_from``; false starts CLIP's towers at random.
        ranking: Any similarity loss, by name also ``TRL``, ``SDM``, ``InfoNCE``, ``Triplet``; null for triplet
            alignment, margin 0.1 and temperature 0.015.
        reduction: How the losses of a batch are added up: ``sum`` or ``mean``; null as the released code does (the sum;
            the mean for SDM and InfoNCE).
        positives: ``identity``: every image of the caption's person is right; ``pair``: only its own. Null as the
            released code does (identity; pair for InfoNCE).
        division: Divide the training pairs before every epoch and leave out those taken for noisy.
        mixture: Settings of the division's mixtures: ``loose``, or ``tight`` above 40 % noise and on RSTPReid.
        bn_eval_during_training: BatchNorm keeps its starting statistics, as in the released code, whose paper's figures
            come from training in eval mode.
        weights: Precision in which convolutions, linear layers and projections are stored while training;
            ``float16`` is the released one. Checkpoints load in float32.
        init_from: Part files to start from: ``{clip: FILE}``.
        monitor: Metric that picks ``best.ckpt``.
        mode: Whether more or less of it is better.
        groups: Parameter groups of the optimizer.

    Raises:
        InputError: An argument does not fit, or pretrained weights are asked for and not given.
    """

    def __init__(
        self,
        image: ImageTower | None = None,
        text: TextTower | None = None,
        ratio: float = 0.3,
        tse: int = 1024,
        pretrained: bool = False,
        ranking: SimilarityLoss | None = None,
        reduction: Reduction | None = None,
        positives: Positives | None = None,
        division: bool = True,
        mixture: Mixture = "loose",
        bn_eval_during_training: bool = True,
        weights: Weights = "float32",
        init_from: dict[str, str] | None = None,
        monitor: str = "val/rank1",
        mode: Literal["min", "max"] = "max",
        groups: list[ParameterGroup] | None = None,
    ) -> None:
        super().__init__(monitor, mode, groups)
        for name, value, known in (
            ("reduction", reduction, (None, "sum", "mean")),
            ("positives", positives, (None, "identity", "pair")),
            ("mixture", mixture, tuple(MIXTURES)),
            ("weights", weights, ("float32", "bfloat16", "float16")),
        ):
            if value not in known:
                raise InputError(f"model.{name} is {value!r}, expected one of {', '.join(map(repr, known))}")
        if pretrained and pretrained_allowed() and not init_from:
            raise InputError(
                "model.pretrained: RDE starts from OpenAI's CLIP ViT-B/16: make a part file of it (zoo convert "
                "reid/rde_cuhkpedes clip.pt clip.safetensors --part clip) and give --model.init_from.clip "
                "clip.safetensors; or start at random: --model.pretrained false"
            )
        try:
            self.network = RDENetwork(image, text, ratio, tse)
        except ValueError as error:
            raise InputError(f"model: {error}") from error
        if weights != "float32" and not self.parts():
            raise InputError(f"model.weights: {weights} is for CLIP's towers, these are others; set it to float32")
        self.ranking = ranking if ranking is not None else TripletAlignment()
        self.reduction = reduction or released_reduction(self.ranking)
        self.positives = positives or released_positives(self.ranking)
        self.division, self.mixture = division, mixture
        self.bn_eval_during_training, self.weights = bn_eval_during_training, weights
        self.labels: Tensor | None = None
        self.history: list[division_record.Figures] = []
        self._divided = -1
        self._generator: torch.Generator | None = None
        self.start_from(init_from)

    def parts(self) -> dict[str, nn.Module]:
        """``clip``: both towers, where they are CLIP's."""
        towers = self.network.towers
        both = isinstance(towers["image"], VisionTransformer) and isinstance(towers["text"], TextTransformer)
        return {"clip": towers} if both else {}

    def train(self, mode: bool = True) -> RDE:
        """Training mode; BatchNorm of the selections stays in eval mode where that is asked for."""
        super().train(mode)
        if mode and self.bn_eval_during_training:
            self.network.image_selection.norm.eval()
            self.network.text_selection.norm.eval()
        return self

    def setup(self, stage: str) -> None:
        """Stores the weights in the precision of the training."""
        if stage == "fit":
            store_weights(self.network, self.weights)

    # -- training

    def embed(self, images: Tensor, captions: list[str], draws: Tensor | None = None) -> tuple[Embeddings, Embeddings]:
        """Embeds a batch as it comes from the data.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            captions: C texts.
            draws: ``(C, 3, 256)``, random numbers of the captions' augmentation; None for none.
        """
        expected = self.network.image_tower.image_size
        if tuple(images.shape[-2:]) != expected:
            raise InputError(
                f"the data gives images of {images.shape[-2]}x{images.shape[-1]}, the image tower takes "
                f"{expected[0]}x{expected[1]}: set data.image_size to [{expected[0]}, {expected[1]}]"
            )
        tokenizer = self.network.text_tower.tokenizer
        tokens = tokenizer(captions)
        if draws is not None:
            tokens = augment_tokens(tokens, draws.cpu(), tokenizer)
        return self.network.encode_image(self.normalised(images)), self.network.encode_text(tokens.to(self.device))

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """``bge`` and ``tse``, over the pairs of all processes that are taken for clean."""
        losses, index = self._losses(batch)
        kept = torch.ones(len(index), device=index.device) if self.labels is None else self._kept(index)
        return {name: objective(values, kept, self.reduction) for name, values in losses.items()}

    def _losses(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """What each pair of the batch of all processes costs on both embeddings, and the numbers of these pairs."""
        images, texts = self.embed(batch["image"], batch["caption"], batch.get("draws"))
        images, texts, (identity, index) = gather_pairs(images, texts, batch["identity"], batch["index"])
        bge, tse = batch_losses(images, texts, identity, self.ranking, self.positives)
        return {"bge": bge, "tse": tse}, index

    def _kept(self, index: Tensor) -> Tensor:
        labels: Any = self.labels
        kept: Tensor = labels.to(index.device)[index].float()
        return kept

    def on_train_start(self) -> None:
        """Lightning leaves the modes of a new module as they are: BatchNorm has to be told."""
        self.train()

    def on_train_epoch_start(self) -> None:
        """Divides the pairs anew, unless the checkpoint that training goes on from was written in this epoch."""
        if self.division and self._divided != self.current_epoch:
            self.divide()

    def divide(self) -> None:
        """Divides all training pairs by their losses under the present weights; writes what came out to the run."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, TextImageData):
            raise InputError("model.division needs a data set of zoo.domains.reid; or set model.division to false")
        losses = self._all_losses(data)
        seen = np.flatnonzero(~np.isnan(losses[0]))
        bge, tse = losses[0][seen], losses[1][seen]
        found = divide(bge, tse, self.mixture, self._own_generator(data.seed))
        self.labels = torch.ones(len(losses[0]), dtype=torch.uint8)
        self.labels[torch.from_numpy(seen)] = torch.from_numpy(found.labels.astype(np.uint8))
        self._divided = self.current_epoch
        noisy = data.pairs.noisy[seen] if data.noise else None
        self.history.append(division_record.figures(found, self.current_epoch + 1, noisy))
        if not self.trainer.is_global_zero:
            return
        self.print(division_record.line(self.history[-1], found))
        names = [f"{record.file.name}#{number}" for record, number in data.pairs.pairs]
        folder = Path(self.trainer.default_root_dir) / "division"
        division_record.write(folder, found, [names[i] for i in seen], (bge, tse), noisy, self.history)
        for logger in self.trainer.loggers:
            values = {f"division/{name}": value for name, value in self.history[-1].items() if name != "epoch"}
            logger.log_metrics(values, step=self.global_step)

    @torch.no_grad()
    def _all_losses(self, data: TextImageData) -> tuple[np.ndarray, np.ndarray]:
        """The loss of every training pair on both embeddings, in its batch; NaN for pairs that are not used."""
        found = np.full((2, len(data.pairs)), np.nan, dtype=np.float32)
        self.eval()
        try:
            for batch in data.division_dataloader(self.current_epoch):
                moved = self.trainer.strategy.batch_to_device(batch, self.device)
                with self.trainer.precision_plugin.forward_context():
                    losses, index = self._losses(moved)
                found[:, index.cpu().numpy()] = torch.stack(list(losses.values())).float().cpu().numpy()
        finally:
            self.train()
        return found[0], found[1]

    def _own_generator(self, seed: int) -> torch.Generator:
        if self._generator is None:
            self._generator = torch.Generator().manual_seed(seed)
        return self._generator

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the labels of the epoch, the state of the division's random numbers, and its figures so far."""
        super().on_save_checkpoint(checkpoint)
        if self.labels is not None and self._generator is not None:
            checkpoint[_STATE] = {
                "labels": self.labels.cpu(),
                "epoch": self._divided,
                "generator": self._generator.get_state(),
                "history": [dict(values) for values in self.history],
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with the division of the checkpoint."""
        state = checkpoint.get(_STATE)
        if state is not None:
            self.labels, self._divided = state["labels"], state["epoch"]
            self._generator = torch.Generator()
            self._generator.set_state(state["generator"].cpu())
            self.history = [dict(values) for values in state["history"]]

    # -- evaluation

    @property
    def protocol(self) -> str:
        """All images, all captions, cosine of both embeddings and their mean; nothing is left out or re-ranked."""
        return "all captions against all images"

    def build_metrics(self) -> dict[str, Metric]:
        """CMC, mAP, mINP, both ways; with intervals where a test is run."""
        return {"retrieval": TextImageRetrieval(intervals=self._trainer is not None and self.trainer.testing)}

    def evaluate_batch(self, batch: Batch, metrics: MetricCollection) -> list[Row]:
        """Embeds images and their captions; ranks are known only at the end, see :meth:`on_test_epoch_end`."""
        images, texts, owner = *self._embed_evaluation(batch), batch["owner"]
        marks = torch.stack([batch["index"], batch["identity"], batch["camera"]], dim=1)
        position = torch.arange(len(owner), device=owner.device)
        number = position - torch.searchsorted(owner, owner)  # captions of one image stand together
        text_marks = torch.cat([marks[owner], number.unsqueeze(1)], dim=1)
        metrics["retrieval"].update(*images, marks, *texts, text_marks)
        return []

    def _embed_evaluation(self, batch: Batch) -> tuple[Embeddings, Embeddings]:
        if batch["captions"]:
            return self.embed(batch["image"], batch["captions"])
        images = self.network.encode_image(self.normalised(batch["image"]))
        return images, Embeddings(*(feature[:0] for feature in images))

    def on_test_epoch_end(self) -> None:
        """Keeps the metrics, and a row per caption: its image, the rank of its identity, AP, and what stands first."""
        metric: Any = self._metrics["test"]["retrieval"]
        self.results = self._finish("test")
        if self.rows is None:
            return
        items: Any = self.trainer.datamodule.items("test").items  # type: ignore[attr-defined]
        queries, records = metric.queries, items.records
        self.rows = [
            {
                "id": f"{records[owner].file.name}#{number}",
                "identity": records[owner].identity,
                "caption": records[owner].captions[number],
                "rank": int(rank),
                "ap": float(ap),
                "first": records[best].file.name,
                "first_identity": records[best].identity,
            }
            for owner, number, rank, ap, best in zip(*queries.values(), strict=True)
        ]

    @classmethod
    def measured(cls, rows: pd.DataFrame, protocol: str) -> dict[str, float]:
        """``rank1`` and ``map`` of the fused similarity, in per cent, over captions that an image answers."""
        known = rows[rows["rank"] > 0]
        return {"rank1": 100 * float((known["rank"] == 1).mean()), "map": 100 * float(known["ap"].mean())}

    @classmethod
    def costs(cls, rows: pd.DataFrame) -> pd.Series:
        """Place of the first image of the right identity."""
        return rows["rank"].where(rows["rank"] > 0)

    @torch.no_grad()
    def picture(self, batch: Batch) -> Figure | None:
        """The first captions of a batch and the best of its images."""
        if not batch["captions"]:
            return None
        training = self.training
        self.eval()
        try:
            scores = similarities(*self._embed_evaluation(batch)).fused.float().cpu()
        finally:
            self.train(training)
        identity, owner = batch["identity"].cpu(), batch["owner"].cpu()
        spread = torch.linspace(0, len(owner) - 1, min(QUERIES, len(owner))).round().long().tolist()
        searches = []
        for row in spread:
            places = scores[row].argsort(descending=True, stable=True)[:SHOWN].tolist()
            right = [bool(identity[place] == identity[owner[row]]) for place in places]
            images = [batch["image"][place].cpu() for place in places]
            searches.append(Search(batch["captions"][row], images, scores[row][places].tolist(), right))
        return draw(searches, len(owner) - len(searches))

    # -- export

    def image_steps(self) -> ImageSteps:
        """Images resized to exactly the tower's size; captions stay token ids."""
        tower = self.network.image_tower
        height, width = tower.image_size
        mean, std = tuple(map(float, tower.mean)), tuple(map(float, tower.std))
        return ImageSteps((height, width), None, mean, std, passes=False)  # type: ignore[arg-type]

    def export_inputs(self) -> dict[str, Tensor]:
        """Two images and two captions."""
        text = self.network.text_tower
        tokens = text.tokenizer.example()
        return {"images": torch.zeros(2, 3, *self.network.image_tower.image_size), "tokens": tokens}
