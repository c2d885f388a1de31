"""DNPIQA: blind image quality by learning to rank within scenes. The batch is described in ``data.py``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from zoo.domains.quality.faces import MARGIN, Faces
from zoo.domains.quality.inputs import missing_aux
from zoo.domains.quality.liqe import LazyLIQE
from zoo.domains.quality.loss import Regression, objective, paper_loss
from zoo.domains.quality.network import LIQE_LOGITS, Branches, DualBranch, QualityOutput
from zoo.domains.quality.picture import draw_batch
from zoo.domains.quality.prediction import Prediction
from zoo.domains.quality.report import mean_scene_srcc, per_scene
from zoo.domains.quality.views import CENTRE, CROPS, Crops
from zoo.errors import InputError
from zoo.layers import ImageSteps, pretrained_allowed
from zoo.metrics import QualityAgreement
from zoo.ranking import ScoreLoss
from zoo.training import IMAGENET_MEAN, IMAGENET_STD, Batch, ParameterGroup, Row
from zoo.training.parts import part_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN = 12  # images of a batch that its picture shows


class DNPIQA(Prediction):
    """Scores an image from the whole of it, its face and its LIQE logits; the loss compares images of one scene.

    Args:
        ranking: Any score loss of ``zoo.ranking`` over the images of a scene, or ``L1``, ``L2``, ``PLCC`` of
            ``zoo.domains.quality`` for regression; null is the paper's fidelity.
        backbone: Any image model of timm, by name; both branches have one, with weights of their own.
        pretrained: Weights that the backbones start from: false, true or a file.
        branches: ``both``, or one of ``full`` (the whole image) and ``face`` alone.
        liqe: Whether the 495 LIQE logits are joined, the auxiliary branch.
        hidden: Width of the head's hidden layer.
        dropout: In the head, in [0, 1).
        drop_path: Stochastic depth of the backbones; null is what timm builds by default (Swin: 0.1).
        resize: Pixels of the shorter side before a crop is cut; 0 keeps the size.
        crop: Side of the crops in pixels.
        crops: How an image is tested: the mean of ``five`` crops, or the one in the ``centre``.
        faces: Where ``predict`` finds faces: ``none`` (the whole image), ``csv``, ``cascade`` or ``yunet``.
        boxes: The csv of ``csv``: file, left, top, right, bottom in pixels.
        yunet: The onnx file of ``yunet``.
        margin: Pixels by which a face box is enlarged on each side.
        aux: Folder of LIQE logits of the files that ``zoo predict`` is given.
        init_from: Part files to start from: ``full``, ``face``, and ``liqe`` (the CLIP that then computes the logits
            of images whose logits are not given).
        monitor: The metric that picks ``best.ckpt``.
        mode: Whether more or less of it is better.
        groups: Parameter groups.

    Raises:
        InputError: An argument is out of range, or a file does not fit.
    """

    domain, unit = "quality", "scene"
    smaller_is_better = ("rmse*", "mae*", "left_out", "raw_fit*")
    network: DualBranch

    def __init__(
        self,
        ranking: ScoreLoss | None = None,
        backbone: str = "swin_base_patch4_window12_384",
        pretrained: bool | str = False,
        branches: Branches = "both",
        liqe: bool = True,
        hidden: int = 128,
        dropout: float = 0.1,
        drop_path: float | None = None,
        resize: int = 448,
        crop: int = 384,
        crops: Crops = "five",
        faces: Faces = "none",
        boxes: str | None = None,
        yunet: str | None = None,
        margin: int = MARGIN,
        aux: str | None = None,
        init_from: dict[str, str] | None = None,
        monitor: str = "val/srcc_mean",
        mode: Literal["min", "max"] = "max",
        groups: list[ParameterGroup] | None = None,
    ) -> None:
        super().__init__(monitor, mode, groups)
        _check(resize, crop, crops, margin, ranking)
        try:
            self.network = DualBranch(backbone, pretrained, branches, liqe, hidden, dropout, drop_path, crop)
        except ValueError as error:
            raise InputError(f"model.{error}") from error
        self.ranking = ranking if ranking is not None else paper_loss()
        self.resize, self.crop, self.crops, self.margin = resize, crop, crops, margin
        self.faces, self.boxes, self.yunet, self.aux = faces, boxes, yunet, aux
        files = dict(init_from or {})
        self.clip_source = LazyLIQE(_clip_file(files.pop("liqe", None), liqe))
        self.start_from(files)

    # -- training

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """One term: ``ranking`` within scenes, or ``regression``."""
        scores = self._output(batch["image"], batch["face"], batch).score
        value = objective(self.ranking, scores, batch["score"], batch["scene"], batch.get("pair"))
        return {"regression" if isinstance(self.ranking, Regression) else "ranking": value}

    def _output(self, image: Tensor, face: Tensor, batch: Batch, repeats: int = 1) -> QualityOutput:
        aux: Tensor | None = batch.get("aux")
        if self.network.liqe:
            if aux is None:
                raise missing_aux(str(batch["id"][0]))
            aux = aux.repeat_interleave(repeats, dim=0)
        output: QualityOutput = self.network(image, face, aux)
        return output

    # -- evaluation

    def build_metrics(self) -> dict[str, Metric]:
        """SRCC, KRCC, PLCC, RMSE and MAE per scene (mean and median over scenes) and over all images."""
        return {"agreement": QualityAgreement()}

    def evaluate_batch(self, batch: Batch, metrics: MetricCollection) -> list[Row]:
        """One row per image: scene, label, and the score averaged over crops."""
        scores = self._scores(batch)
        metrics["agreement"].update(scores, batch["score"], batch["scene"])
        rows = zip(batch["id"], batch["scene_name"], batch["score"].tolist(), scores.tolist(), strict=True)
        return [{"id": name, "scene": scene, "target": target, "score": score} for name, scene, target, score in rows]

    def _scores(self, batch: Batch) -> Tensor:
        """Mean scores ``(B,)`` of the crops ``(B, V, 3, S, S)``."""
        image, face = batch["image"], batch["face"]
        if self.crops == "centre" and image.shape[1] == CROPS:
            image, face = image[:, CENTRE : CENTRE + 1], face[:, CENTRE : CENTRE + 1]
        views = image.shape[1]
        scores = self._output(image.flatten(0, 1), face.flatten(0, 1), batch, views).score
        return scores.float().unflatten(0, (-1, views)).mean(1)

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics; scores without an order are told in one line."""
        self._finish_or_tell(super().on_validation_epoch_end, "val")

    def on_test_epoch_end(self) -> None:
        """Keeps the test metrics; scores without an order are told in one line."""
        self._finish_or_tell(super().on_test_epoch_end, "test")

    def _finish_or_tell(self, finish: Any, split: str) -> None:
        try:
            finish()
        except ValueError as error:
            raise InputError(f"the {split} split cannot be evaluated: {error}") from error

    def report(self, rows: list[Row]) -> tuple[dict[str, list[Row]], dict[str, Figure]]:
        """``scenes.csv``: the figures of each scene."""
        return {"scenes": per_scene(rows)}, {}

    @classmethod
    def measured(cls, rows: pd.DataFrame, protocol: str) -> dict[str, float]:
        """``srcc_mean``, over scenes with an order."""
        return {"srcc_mean": mean_scene_srcc(rows)}

    @property
    def protocol(self) -> str:
        """``five crops`` or ``centre crop``."""
        return "five crops" if self.crops == "five" else "centre crop"

    @property
    def preprocess(self) -> dict[str, Any]:
        """How an image becomes what the network takes."""
        return {
            "resize": self.resize,
            "crop": self.crop,
            "crops": self.crops,
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "colours": "RGB, upright (EXIF applied), resized at 8 bits, bilinear with antialiasing",
            "face": f"box enlarged by {self.margin} px, black outside; the whole image where there is none",
            "aux": f"{LIQE_LOGITS} raw LIQE logits" if self.network.liqe else "none",
        }

    @torch.no_grad()
    def picture(self, batch: Batch) -> Figure:
        """The first images of a batch, best first, with score and label."""
        training = self.network.training
        self.network.eval()
        try:
            part = {name: value[:SHOWN] for name, value in batch.items() if name != "pair"}
            return draw_batch(part, self._scores(part).cpu())
        finally:
            self.network.train(training)

    # -- parts and export

    def parts(self) -> dict[str, nn.Module]:
        """The two branches, and the CLIP behind the LIQE logits, which is no part of a checkpoint."""
        named = {"full": self.network.full, "face": self.network.face}
        parts = {name: part for name, part in named.items() if part is not None}
        return {**parts, "liqe": self.clip_source.empty()} if self.network.liqe else parts

    def image_steps(self) -> ImageSteps | None:
        """The model's crops of the image; the whole image stands for the face, as where none is found."""
        if not self.resize:
            return None  # crops of images at their own size
        corners = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)) if self.crops == "five" else ()
        return ImageSteps(
            (self.crop, self.crop),
            self.resize,
            IMAGENET_MEAN,
            IMAGENET_STD,
            crops=(*corners, (0.5, 0.5)),
            inputs=("image", "face"),
        )

    def export_inputs(self) -> dict[str, Tensor]:
        """Two images, two faces, two rows of logits."""
        generator = torch.Generator().manual_seed(0)
        shape = (2, 3, self.crop, self.crop)
        inputs = {"image": torch.randn(shape, generator=generator)}
        if self.network.liqe or self.network.face is not None:
            inputs["face"] = torch.randn(shape, generator=generator)
        if self.network.liqe:
            inputs["aux"] = 20 + 3 * torch.randn(2, LIQE_LOGITS, generator=generator)
        return inputs


def _check(resize: int, crop: int, crops: str, margin: int, ranking: ScoreLoss | None) -> None:
    if crop < 1 or (resize and resize < crop):
        raise InputError(f"model.crop must be 1 to model.resize, got {crop} and {resize}")
    if crops not in get_args(Crops):
        raise InputError(f"model.crops: {crops!r} given, expected one of {', '.join(get_args(Crops))}")
    if margin < 0:
        raise InputError(f"model.margin must not be negative, got {margin}")
    if ranking is not None and ranking(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])).ndim:
        raise InputError("model.ranking: reduction 'none' gives a value per list; training needs 'mean' or 'sum'")


def _clip_file(file: str | None, liqe: bool) -> str | None:
    """The part file of the CLIP, looked at but not read: it is needed where logits are not given, if at all."""
    if file is None:
        return None
    if not liqe:
        raise InputError("model.init_from: 'liqe' is no part of this network, whose LIQE branch is off (model.liqe)")
    if pretrained_allowed():
        path = Path(file).expanduser()
        said = part_of(path) if path.is_file() else None
        if said is None or (said["domain"], said["part"]) != ("quality", "liqe"):
            raise InputError(
                f"model.init_from.liqe: {path} is no part file of LIQE's CLIP; make it: "
                "zoo convert quality/dnpiqa_piq23_scene_exposure LIQE.pt OUT --part liqe"
            )
    return file
