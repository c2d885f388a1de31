"""What every classifier of this domain shares: metrics with and without temperature, its fit, prediction, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from zoo.domains.calibration.inputs import Inputs
from zoo.domains.calibration.names import check_choice
from zoo.domains.calibration.network import ResNet, TimmClassifier
from zoo.domains.calibration.temperature import Method, fit_temperature
from zoo.errors import InputError
from zoo.metrics import CalibrationReport, OutOfDistribution
from zoo.ranking import gather
from zoo.training import Batch, ParameterGroup, Row, ZooModule
from zoo.training.images import IMAGE_SUFFIXES, as_images, contact_sheet, read_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 18  # images of a contact sheet of a batch
OVERVIEW = 60  # images of a contact sheet of a prediction


class Prediction(NamedTuple):
    """What a classifier says of images.

    Attributes:
        logits: ``(B, C)``, raw.
        probabilities: ``(B, C)``, softmax of the logits over the temperature.
        confidence: ``(B,)``, the largest probability.
        label: ``(B,)`` int64, the class it belongs to.
        class_names: Names of the C classes; empty where the checkpoint has none.
    """

    logits: Tensor
    probabilities: Tensor
    confidence: Tensor
    label: Tensor
    class_names: list[str]


class CalibratedClassifier(ZooModule):
    """Evaluates and predicts with a network that gives logits; fits a temperature while it validates.

    Half of the validation images select ``best.ckpt``, the other half fit the temperature; test images are used for
    neither. Every metric is reported raw, and with ``_ts`` behind its name after temperature scaling.

    Args:
        classes: C.
        temperature_by: What the temperature makes least on its half, see :func:`.temperature.fit_temperature`.
        inputs: What test images go through; None where the data says it.
        monitor: The metric that picks ``best.ckpt``.
        mode: Whether more or less of it is better.
        groups: Parameter groups.
    """

    domain = "calibration"
    suffixes = IMAGE_SUFFIXES
    network: ResNet | TimmClassifier
    temperature: Tensor

    def __init__(
        self,
        classes: int,
        temperature_by: Method,
        inputs: Inputs | None,
        monitor: str,
        mode: Literal["min", "max"],
        groups: list[ParameterGroup] | None,
    ) -> None:
        super().__init__(monitor, mode, groups)
        check_choice("model.temperature_by", temperature_by, get_args(Method))
        self.classes, self.temperature_by = classes, temperature_by
        self._inputs = inputs
        self.register_buffer("temperature", torch.ones(()))
        self._held: list[Tensor] = []
        self._held_labels: list[Tensor] = []
        self._seen = 0

    # -- classes and inputs

    def set_classes(self, names: list[str]) -> None:
        """Takes the class names; their number must be that of the network's outputs."""
        if names and len(names) != self.classes:
            shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            raise InputError(
                f"the network has {self.classes} outputs (model.classes), the data {len(names)} classes ({shown})"
            )
        super().set_classes(names)

    @property
    def inputs(self) -> Inputs | None:
        """What test images go through: as the recipe says, else as the data or the checkpoint says."""
        return self._inputs or Inputs.of(self.card.get("preprocess", {}))

    @property
    def preprocess(self) -> dict[str, Any]:
        """Size, resize, crop and statistics of test images."""
        return self.inputs.plain() if self.inputs is not None else {}

    def setup(self, stage: str) -> None:
        """Takes the size and the statistics of the data, or refuses data that are prepared in another way."""
        found = Inputs.of(getattr(self.trainer, "datamodule", None))
        if found is None or found == self.inputs:
            return
        if self.inputs is not None:
            wrong = [name for name in found._fields if getattr(found, name) != getattr(self.inputs, name)]
            told = ", ".join(f"{name} {getattr(self.inputs, name)} (data: {getattr(found, name)})" for name in wrong)
            raise InputError(f"the model takes images with {told}; they must be prepared alike")
        self._inputs = found

    # -- evaluation

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Half of the images update the metrics, the logits of the others are held for the temperature."""
        held = fits_temperature(self._places(len(batch["id"]))).to(self.device)
        logits, labels = self._logits(batch["image"]), batch["label"]
        self._held.append(logits[held])
        self._held_labels.append(labels[held])
        self._update(self._metrics["val"], logits[~held], labels[~held])

    def _places(self, count: int) -> Tensor:
        """Places of this process's next images in the validation split."""
        local = torch.arange(self._seen, self._seen + count)
        self._seen += count
        return local * self.trainer.world_size + self.trainer.global_rank

    def on_validation_epoch_start(self) -> None:
        """Fresh metrics."""
        super().on_validation_epoch_start()
        self._held, self._held_labels, self._seen = [], [], 0

    def on_validation_epoch_end(self) -> None:
        """Fits the temperature, then logs the metrics."""
        logits, labels = gather(torch.cat(self._held)), gather(torch.cat(self._held_labels))
        self._held, self._held_labels = [], []
        if len(labels):
            self.temperature.fill_(fit_temperature(logits, labels, self.temperature_by))
        report: Any = self._metrics["val"]["report"]
        report.temperature = float(self.temperature)
        super().on_validation_epoch_end()

    def build_metrics(self) -> dict[str, Metric]:
        """Accuracy, calibration errors and proper scores, raw and after scaling; AUROC per out-of-distribution set."""
        testing = self.trainer.testing
        temperature = float(self.temperature)
        report = CalibrationReport(temperature=temperature, groups=self._groups(), intervals=testing)
        sets = self._outside() if testing else []
        return {"report": report, **({"ood": OutOfDistribution(sets, temperature)} if sets else {})}

    def _groups(self) -> dict[str, list[int]]:
        """Groups of classes whose accuracy is reported apart, where the data has some."""
        return dict(getattr(self.trainer.datamodule, "groups", {}))  # type: ignore[attr-defined]

    def _outside(self) -> list[str]:
        """Names of the out-of-distribution sets behind the test split."""
        return [Path(name).name for name in getattr(self.trainer.datamodule, "ood", [])]  # type: ignore[attr-defined]

    def evaluate_batch(self, batch: Batch, metrics: MetricCollection) -> list[Row]:
        """One row per image: label, prediction, confidence before and after scaling."""
        logits, labels = self._logits(batch["image"]), batch["label"]
        self._update(metrics, logits, labels)
        confidence, predicted = logits.softmax(-1).max(-1)
        scaled = (logits / self.temperature).softmax(-1).amax(-1)
        return [
            {
                "id": name,
                "label": label if label >= 0 else None,
                "predicted": guess,
                "confidence": value,
                "confidence_ts": after,
                "logits": " ".join(f"{logit:.6g}" for logit in row),
            }
            for name, label, guess, value, after, row in zip(
                batch["id"],
                labels.tolist(),
                predicted.tolist(),
                confidence.tolist(),
                scaled.tolist(),
                logits.tolist(),
                strict=True,
            )
        ]

    @staticmethod
    def _update(metrics: MetricCollection, logits: Tensor, labels: Tensor) -> None:
        """Known images count for everything, those of other sets for telling them apart alone."""
        known = labels >= 0
        metrics["report"].update(logits[known], labels[known])
        if "ood" in metrics:
            metrics["ood"].update(logits, labels)

    def _logits(self, images: Tensor) -> Tensor:
        """Raw logits in float32, whatever precision the network runs in."""
        logits: Tensor = self.network(images).logits
        return logits.float()

    # -- prediction

    @torch.no_grad()
    def predict(
        self,
        images: Tensor | np.ndarray | list[Tensor] | list[np.ndarray],
        temperature: float | Literal["stored"] | None = None,
        preprocess: bool = True,
    ) -> Prediction:
        """Classifies images.

        Args:
            images: ``(B, 3, H, W)``, ``(3, H, W)`` as a batch of one, or a list of ``(3, H, W)`` of any sizes; RGB,
                uint8 0..255 or float in [0, 1].
            temperature: Divides the logits before the softmax: None for none (1), ``"stored"`` for the one fitted on
                half of the validation data, or a number above 0.
            preprocess: Resize, crop and normalise as the test images of the training data; False hands
                ``(B, 3, H, W)`` to the network unchanged.

        Returns:
            Logits (raw), probabilities, confidence, label and the class names.

        Raises:
            InputError: Images or the temperature cannot be used.
        """
        divisor = self._divisor(temperature)
        batch = self._prepared(images) if preprocess else as_batch(images)
        training = self.network.training
        self.network.eval()
        try:
            logits = self._logits(batch.to(self.device))
        finally:
            self.network.train(training)
        probabilities = (logits / divisor).softmax(-1)
        confidence, label = probabilities.max(-1)
        return Prediction(logits, probabilities, confidence, label, list(self.class_names))

    def _divisor(self, temperature: float | Literal["stored"] | None) -> float:
        if temperature is None:
            return 1.0
        if temperature == "stored":
            return float(self.temperature)
        if isinstance(temperature, str) or not 0 < temperature < float("inf"):
            raise InputError(f"temperature: expected None, 'stored' or a number above 0, got {temperature!r}")
        return float(temperature)

    def _prepared(self, images: Any) -> Tensor:
        if self.inputs is None:
            raise InputError(
                "this model does not know how its images were prepared; give model.size, model.mean and model.std, or "
                "hand prepared images to predict(..., preprocess=False)"
            )
        return self.inputs.prepare(as_images(images))

    def predict_file(self, file: Path) -> tuple[list[Row], Figure]:
        """Classifies an image file; ``confidence`` is after temperature scaling, ``confidence_raw`` before.

        Args:
            file: An image.

        Returns:
            One row and the image with what was found.

        Raises:
            InputError: The image cannot be read; names it.
        """
        image = read_image(file)
        found = self.predict(image, temperature="stored")
        raw = found.logits.softmax(-1).amax(-1)
        label = int(found.label[0])
        row: Row = {
            "label": label,
            "class": self.class_names[label] if self.class_names else str(label),
            "confidence": float(found.confidence[0]),
            "confidence_raw": float(raw[0]),
        }
        best = found.probabilities[0].topk(min(5, self.classes))
        row |= {
            f"top{place}": f"{self._name(int(index))} {float(value):.4f}"
            for place, (value, index) in enumerate(zip(*best, strict=True), start=1)
        }
        title = f"{row['class']}: {row['confidence']:.0%} (raw {row['confidence_raw']:.0%})"
        return [row], contact_sheet([image], [title], columns=1, heading=file.name)

    def overview(self, rows: list[Row]) -> Figure | None:
        """A contact sheet of the predicted images, the least confident first."""
        order = sorted(rows, key=lambda row: float(row["confidence"]))
        if len(order) > OVERVIEW:
            chosen = np.linspace(0, len(order) - 1, OVERVIEW).round().astype(int)
            heading = f"{OVERVIEW} of {len(order)} images, from the least to the most confident"
            order = [order[index] for index in chosen]
        else:
            heading = f"{len(order)} images, from the least to the most confident"
        titles = [f"{row['class']} {row['confidence']:.0%}" for row in order]
        return contact_sheet([Path(row["file"]) for row in order], titles, columns=10, heading=heading)

    def _name(self, label: int) -> str:
        return self.class_names[label] if self.class_names else str(label)

    @torch.no_grad()
    def picture(self, batch: Batch) -> Figure:
        """The first images of a batch with label, prediction and confidence, the least confident first."""
        training = self.network.training
        self.network.eval()
        try:
            confidence, predicted = self._logits(batch["image"]).softmax(-1).max(-1)
        finally:
            self.network.train(training)
        order = confidence[:SHOWN].argsort().tolist()
        titles = [
            f"{self._name(int(predicted[index]))} {float(confidence[index]):.0%}"
            + self._verdict(int(predicted[index]), int(batch["label"][index]))
            for index in order
        ]
        return contact_sheet([self._seen_again(batch["image"][index]) for index in order], titles)

    def _verdict(self, predicted: int, label: int) -> str:
        if label < 0:
            return ", of another set"
        return ", right" if predicted == label else f", is {self._name(label)}"

    def _seen_again(self, image: Tensor) -> Tensor:
        """A normalised image in [0, 1]."""
        if self.inputs is None:
            low, high = image.aminmax()
            return (image - low) / (high - low).clamp(min=1e-6)
        mean, std = (image.new_tensor(values).view(3, 1, 1) for values in (self.inputs.mean, self.inputs.std))
        return (image * std + mean).clamp(0, 1).cpu()


def fits_temperature(places: Tensor) -> Tensor:
    """Which validation images fit the temperature: one of the images 2k and 2k + 1, by the parity of their bits.

    A function of the place alone, spread over neighbours, so that sorted data and several processes do not tilt it.

    Args:
        places: ``(B,)`` int64, from 0.

    Returns:
        ``(B,)`` bool; the others select ``best.ckpt``.
    """
    odd = [place.bit_count() % 2 == 1 for place in places.tolist()]
    return torch.tensor(odd, dtype=torch.bool)


def as_batch(images: Any) -> Tensor:
    """Prepared images as the network takes them.

    Args:
        images: ``(B, 3, H, W)`` or ``(3, H, W)`` float.

    Raises:
        InputError: Another shape or type.
    """
    batch = torch.from_numpy(images) if isinstance(images, np.ndarray) and images.dtype.kind == "f" else images
    if not isinstance(batch, Tensor) or not batch.is_floating_point() or batch.ndim not in (3, 4):
        raise InputError("images: with preprocess=False a float tensor (B, 3, H, W) is expected")
    batch = batch.detach().to(torch.float32)
    batch = batch.unsqueeze(0) if batch.ndim == 3 else batch
    if batch.shape[1] != 3 or 0 in batch.shape:
        raise InputError(f"images: expected shape (B, 3, H, W), got {tuple(batch.shape)}")
    return batch
