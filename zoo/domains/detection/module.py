"""RankDETR: detection whose queries are ranked by how well their boxes fit. The batch is described in ``data.py``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from zoo.domains.detection.evaluation import (
    CURVE,
    THRESHOLDS,
    COCOFigures,
    Detected,
    detect,
    found_objects,
)
from zoo.domains.detection.loss import Classification, Objective
from zoo.domains.detection.network import Detections, Padding, RankDETRNetwork
from zoo.domains.detection.picture import SHOWN, draw_batch, draw_curve
from zoo.domains.detection.prediction import Prediction, best_pairs
from zoo.errors import InputError
from zoo.layers import ImageSteps
from zoo.layers.deformable_attention import Engine
from zoo.metrics import RankQuality
from zoo.training import Batch, Length, ParameterGroup, Row, Span

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class RankDETR(Prediction):
    """Rank-DETR; with its four parts off it is H-Deformable-DETR with its tricks.

    The four: ``rank_adaptive_head``, ``query_rank_layer``, ``classification: giou`` (off: ``focal``) and
    ``high_order_cost``.

    Args:
        backbone: ``resnet50``, ``swin_tiny`` or ``swin_large`` as published, any image network of timm by name, or a
            module that gives three maps and has their ``channels``.
        num_classes: As many as the data has.
        encoder_layers: Of the transformer.
        decoder_layers: Of the transformer, at least 1.
        ffn_dim: Inner width of its feed-forward blocks.
        queries_one2one: Queries that are matched one to one, and answer in the end.
        queries_one2many: Further queries while training; 0 for none.
        k_one2many: How many of those each object has.
        width: Of tokens and queries.
        heads: Of all attentions.
        rank_adaptive_head: Add a learnt bias per rank and class to the scores of each layer.
        query_rank_layer: Join the sorted queries with embeddings of their ranks.
        classification: Loss of the scores: ``giou``, ``varifocal`` or ``focal``.
        high_order_cost: Match by ``score * IoU**4`` late in the training.
        high_order_from: From when on: a share of the training in [0, 1], or a length such as ``"9 epochs"``.
        lambda_one2many: Weight of the one-to-many branch.
        look_forward_twice: Let the loss of a layer's boxes reach the box head of the layer before.
        mixed_selection: Start the contents of the queries from embeddings, not from the proposals.
        padding_mask_at_eval: ``masked``, as in training, or ``official``, where padding counts as image.
        pretrained: Weights that the backbone starts from: false, true or a file.
        backbone_norm: ``frozen`` or ``batch``.
        freeze_backbone: Train nothing of the backbone.
        drop_path: Stochastic depth of the backbone; null for its default.
        activation_checkpointing: Compute again in the backward pass instead of keeping what is inside.
        engine: Of the deformable attention.
        test_size: Pixels of the shorter side that :meth:`predict` resizes to.
        test_longest: Most that the longer side may have then.
        threshold: Score from which on ``zoo predict`` and pictures show an object, in [0, 1].
        video_fps: Frames per second that ``zoo predict`` looks at in a video; null for all.
        init_from: Part files to start from: ``backbone``.
        monitor: The metric that picks ``best.ckpt``.
        mode: Whether more or less of it is better.
        groups: Parameter groups.

    Raises:
        InputError: An argument is out of range, or a file does not fit.
    """

    domain = "detection"
    export_dynamic: ClassVar[dict[str, tuple[int, ...]]] = {}
    network: RankDETRNetwork

    def __init__(
        self,
        backbone: str | nn.Module = "resnet50",
        num_classes: int = 80,
        encoder_layers: int = 6,
        decoder_layers: int = 6,
        ffn_dim: int = 2048,
        queries_one2one: int = 300,
        queries_one2many: int = 1500,
        k_one2many: int = 6,
        width: int = 256,
        heads: int = 8,
        rank_adaptive_head: bool = True,
        query_rank_layer: bool = True,
        classification: Classification = "giou",
        high_order_cost: bool = True,
        high_order_from: float | Length = 0.75,
        lambda_one2many: float = 1.0,
        look_forward_twice: bool = True,
        mixed_selection: bool = True,
        padding_mask_at_eval: Padding = "masked",
        pretrained: bool | str = False,
        backbone_norm: Literal["frozen", "batch"] = "frozen",
        freeze_backbone: bool = False,
        drop_path: float | None = None,
        activation_checkpointing: bool = False,
        engine: Engine = "auto",
        test_size: int = 800,
        test_longest: int = 1333,
        threshold: float = 0.3,
        video_fps: float | None = 2.0,
        init_from: dict[str, str] | None = None,
        monitor: str = "val/ap",
        mode: Literal["min", "max"] = "max",
        groups: list[ParameterGroup] | None = None,
    ) -> None:
        super().__init__(monitor, mode, groups)
        _check(high_order_from, test_size, test_longest, threshold, lambda_one2many)
        try:
            self.network = RankDETRNetwork(
                backbone, num_classes, encoder_layers, decoder_layers, ffn_dim, queries_one2one, queries_one2many,
                k_one2many, width, heads, rank_adaptive_head, query_rank_layer, look_forward_twice, mixed_selection,
                padding_mask_at_eval, pretrained, backbone_norm, freeze_backbone, drop_path, activation_checkpointing,
                engine,
            )  # fmt: skip
        except ValueError as error:
            raise InputError(f"model.{error}") from error
        self.objective = Objective(classification, k_one2many, lambda_one2many)
        self.high_order_cost, self.high_order_from = high_order_cost, high_order_from
        self.test_size, self.test_longest = test_size, test_longest
        self.threshold, self.video_fps = threshold, video_fps
        self._steps, self._switch = 0, 0 if high_order_from == 0 else None
        self._figures: COCOFigures | None = None
        self.start_from(init_from)

    # -- training

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of all layers and branches, see :class:`~zoo.domains.detection.loss.Objective`."""
        outputs = self.network.layers(batch["images"].float(), batch["sizes"])
        return self.objective(outputs, batch["targets"], self.high_order_now)

    @property
    def optimizer_steps(self) -> int:
        """Steps that the weights have behind them; without a trainer, what the checkpoint says."""
        return max(self._steps, self.global_step)

    @property
    def high_order_now(self) -> bool:
        """Whether the next step is matched by the high-order cost."""
        return self.high_order_cost and self._switch is not None and self.optimizer_steps >= self._switch

    def on_train_start(self) -> None:
        """Finds the step of the switch; steps are the optimizer's, whatever is accumulated."""
        if not self.high_order_cost:
            return
        total, batches = self.trainer.estimated_stepping_batches, int(self.trainer.num_training_batches)
        known = total != float("inf")
        span = Span(max(1, -(-batches // self.trainer.accumulate_grad_batches)), max(1, int(total)) if known else 1)
        if isinstance(self.high_order_from, str):
            self._switch = span.steps(self.high_order_from)
        elif known:
            self._switch = round(float(self.high_order_from) * span.total_steps)
        else:
            raise InputError(
                "model.high_order_from is a share of a training without an end: give trainer.max_epochs or max_steps, "
                'or a length such as "9 epochs"'
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds where the matching is."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["zoo_matching"] = {"steps": self.optimizer_steps, "switch": self._switch}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes back where the matching is."""
        found = checkpoint.get("zoo_matching", {})
        self._steps, self._switch = found.get("steps", self._steps), found.get("switch", self._switch)

    # -- evaluation

    def set_classes(self, names: list[str]) -> None:
        """Takes the class names.

        Raises:
            InputError: The network has another number of classes.
        """
        if names and len(names) != self.network.num_classes:
            some = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            raise InputError(
                f"the data has {len(names)} classes ({some}), the network {self.network.num_classes}: "
                f"model.num_classes must be {len(names)}"
            )
        super().set_classes(names)

    def on_test_start(self) -> None:
        """Names that are known only when the data is read are compared here.

        Raises:
            InputError: The classes of the data are not those of the training.
        """
        given = list(getattr(getattr(self.trainer, "datamodule", None), "class_names", []))
        if given and self.class_names and given != self.class_names:
            raise InputError(
                f"the model knows the classes {', '.join(self.class_names[:8])}, the data has {', '.join(given[:8])}"
            )

    def build_metrics(self) -> dict[str, Metric]:
        """COCO's figures with AP at each IoU threshold, and how well the scores rank."""
        self._figures = COCOFigures()
        return {"coco": self._figures, "rank": RankQuality()}

    def evaluate_batch(self, batch: Batch, metrics: MetricCollection) -> list[Row]:
        """One row per image: how many objects it has, how many are found at IoU .5, and all detections as json."""
        rows = []
        for row, (found, truth) in enumerate(zip(self._detected(batch), batch["truth"], strict=True)):
            prediction = {"boxes": found.boxes, "scores": found.scores, "labels": found.labels}
            metrics["coco"].update([prediction], [truth])
            hits = found_objects(found, truth)
            metrics["rank"].update(*(part.to(self.device) for part in hits))
            real = int((truth["iscrowd"] == 0).sum())
            rows.append({"id": batch["id"][row], "objects": real, "found": len(hits[0]), "detections": _as_json(found)})
        return rows

    def _detected(self, batch: Batch, threshold: float = 0.0, inside: bool = False) -> list[Detected]:
        """Detections in pixels of the files, or (``inside``) of the images of the batch."""
        output: Detections = self.network(batch["images"].float(), batch["sizes"])
        extents = (batch["sizes"] if inside else batch["original"]).tolist()
        return [
            detect(logits, boxes, size, threshold, self.class_names)
            for logits, boxes, size in zip(output.logits, output.boxes, extents, strict=True)
        ]

    @classmethod
    def costs(cls, rows: pd.DataFrame) -> pd.Series:
        """Objects that were not found."""
        return rows["objects"] - rows["found"]

    def report(self, rows: list[Row]) -> tuple[dict[str, list[Row]], dict[str, Figure]]:
        """``ap_by_iou`` as a table and a curve, and ``ap_by_class``."""
        curve = [(threshold, self.results[name]) for threshold, name in zip(THRESHOLDS, CURVE, strict=True)]
        tables: dict[str, list[Row]] = {"ap_by_iou": [{"iou": place, "ap": value} for place, value in curve]}
        by_class = self._figures.per_class if self._figures is not None else {}
        if by_class:
            tables["ap_by_class"] = [
                {"class": self.class_names[label] if self.class_names else str(label), "ap": value}
                for label, value in sorted(by_class.items())
            ]
        return tables, {"ap_by_iou": draw_curve(curve)}

    @property
    def protocol(self) -> str:
        """``COCO bbox``."""
        return "COCO bbox, 100 detections"

    @property
    def preprocess(self) -> dict[str, Any]:
        """How an image becomes what the network takes."""
        return {
            "shortest": self.test_size,
            "longest": self.test_longest,
            "colours": "RGB 0..255, upright (EXIF applied), resized at 8 bits, bilinear with antialiasing",
            "normalised": "inside the network",
        }

    @torch.no_grad()
    def picture(self, batch: Batch) -> Figure:
        """The first images of a batch with what is annotated and what is found."""
        training = self.network.training
        self.network.eval()
        try:
            part = {name: value[:SHOWN] for name, value in batch.items()}
            found = self._detected(part, self.threshold, inside=True)
        finally:
            self.network.train(training)
        return draw_batch({**part, "images": part["images"].cpu()}, [_on_cpu(one) for one in found], self.threshold)

    # -- parts and export

    def parts(self) -> dict[str, nn.Module]:
        """The backbone."""
        return {"backbone": self.network.backbone}

    def export_inputs(self) -> dict[str, Tensor]:
        """Two images of the test's shorter side."""
        generator = torch.Generator().manual_seed(0)
        return {"images": 255 * torch.rand(2, 3, self.test_size, self.test_size, generator=generator)}

    def image_steps(self) -> ImageSteps:
        """The resize of the test, into a square that holds it upright or lying; the best pairs come out."""
        kept = (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)  # the network normalises 0..255 itself
        square = (self.test_longest, self.test_longest)
        return ImageSteps(square, self.test_size, *kept, longest=self.test_longest, finish_at=best_pairs)


def _check(start: float | str, size: int, longest: int, threshold: float, many: float) -> None:
    if not isinstance(start, str) and not 0 <= start <= 1:
        raise InputError(f'model.high_order_from is a share in [0, 1] or a length such as "9 epochs", got {start}')
    if not 1 <= size <= longest:
        raise InputError(f"model.test_size must be 1 to model.test_longest, got {size} and {longest}")
    if not 0 <= threshold <= 1:
        raise InputError(f"model.threshold must be in [0, 1], got {threshold}")
    if many < 0:
        raise InputError(f"model.lambda_one2many must not be negative, got {many}")


def _as_json(found: Detected) -> str:
    boxes: Sequence[Any] = [[round(value, 2) for value in box] for box in found.boxes.tolist()]
    rows = zip(found.class_names, found.scores.tolist(), boxes, strict=True)
    return json.dumps([{"label": name, "score": round(score, 5), "box": box} for name, score, box in rows])


def _on_cpu(found: Detected) -> Detected:
    return Detected(found.boxes.cpu(), found.scores.cpu(), found.labels.cpu(), found.class_names)
