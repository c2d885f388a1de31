"""What every classifier of this domain shares: class names, how images are prepared, prediction, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.domains.calibration.inputs import Inputs
from zoo.domains.calibration.network import ClassifierOutput, ResNet, TimmClassifier
from zoo.domains.calibration.sheets import batch_sheet, overview, portrait
from zoo.errors import InputError
from zoo.layers import ImageSteps
from zoo.training import Batch, ParameterGroup, Row, ZooModule
from zoo.training.images import IMAGE_SUFFIXES, as_images, read_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 18  # images of a contact sheet of a batch
BEST = 5  # classes that are named for an image


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


class Classifier(ZooModule):
    """A network that gives logits, its classes and its stored temperature.

    Args:
        classes: C.
        inputs: What test images go through; None where the data says it.
        monitor: The metric that picks ``best.ckpt``.
        mode: Whether more or less of it is better.
        groups: Parameter groups.
    """

    domain = "calibration"
    smaller_is_better = ("*ece*", "mce*", "ace*", "oe*", "ue*", "nll*", "brier*", "aurc*")
    suffixes = IMAGE_SUFFIXES
    network: ResNet | TimmClassifier
    temperature: Tensor

    def __init__(
        self,
        classes: int,
        inputs: Inputs | None,
        monitor: str,
        mode: Literal["min", "max"],
        groups: list[ParameterGroup] | None,
    ) -> None:
        super().__init__(monitor, mode, groups)
        self.classes = classes
        self._inputs = inputs
        self.register_buffer("temperature", torch.ones(()))

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

    def _logits(self, images: Tensor) -> Tensor:
        """Raw logits in float32, whatever precision the network runs in."""
        logits: Tensor = self.network(images).logits
        return logits.float()

    def export_inputs(self) -> dict[str, Tensor]:
        """Two normalised images of the size that the network sees; the number of images stays open."""
        if self.inputs is None:
            raise InputError("this model does not know the size of its images; give model.size, mean and std")
        shape = 2, 3, self.inputs.size, self.inputs.size
        return {"images": torch.randn(shape, generator=torch.Generator().manual_seed(0))}

    def image_steps(self) -> ImageSteps | None:
        """Resize, crop and statistics of the data; logits become probabilities at the stored temperature."""
        if self.inputs is None:
            return None
        given = self.inputs
        resize = None if given.stretch and given.resize == given.size else given.resize or given.size
        if given.stretch and resize is not None:
            raise InputError("--images: stretching to another size than the crop's is not included; export without it")
        temperature = float(self.temperature)

        def finish(output: ClassifierOutput) -> dict[str, Tensor]:
            probabilities = (output.logits.float() / temperature).softmax(-1)
            return {"probabilities": probabilities, "label": probabilities.argmax(-1), "logits": output.logits}

        size = (given.size, given.size)
        return ImageSteps(
            size, resize, given.mean, given.std, longer="round", offset="floor", passes=True, finish=finish
        )

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
        """Classifies an image file.

        Args:
            file: An image.

        Returns:
            One row: ``label``, ``class``, ``confidence`` after temperature scaling, ``confidence_raw`` before it,
            ``temperature``, and the likeliest classes; and a picture.

        Raises:
            InputError: The image cannot be read; names it.
        """
        image = read_image(file)
        found = self.predict(image, temperature="stored")
        before = found.logits[0].softmax(-1)
        values, places = found.probabilities[0].topk(min(BEST, self.classes))
        names = [self._name(int(place)) for place in places]
        row: Row = {
            "label": int(found.label[0]),
            "class": names[0],
            "confidence": float(found.confidence[0]),
            "confidence_raw": float(before.amax()),
            "temperature": float(self.temperature),
        }
        for number, (name, value) in enumerate(zip(names, values.tolist(), strict=True), start=1):
            row |= {f"class{number}": name, f"probability{number}": value}
        picture = portrait(image, names, values.tolist(), before[places].tolist(), float(self.temperature), file.name)
        return [row], picture

    def overview(self, rows: list[Row]) -> Figure | None:
        """A contact sheet of the predicted images, the least confident first."""
        return overview(rows)

    def _name(self, label: int) -> str:
        return self.class_names[label] if self.class_names else str(label)

    @torch.no_grad()
    def picture(self, batch: Batch) -> Figure:
        """The first images of a batch with prediction, label and confidence."""
        training = self.network.training
        self.network.eval()
        try:
            confidence, predicted = self._logits(batch["image"]).softmax(-1).max(-1)
        finally:
            self.network.train(training)
        said = [
            f"{self._name(guess)}{self._verdict(guess, label)}"
            for guess, label in zip(predicted.tolist(), batch["label"].tolist(), strict=True)
        ]
        images = [self._seen_again(image) for image in batch["image"][:SHOWN]]
        return batch_sheet(images, said[:SHOWN], confidence[:SHOWN].tolist())

    def _verdict(self, predicted: int, label: int) -> str:
        if label < 0:
            return " (of another set)"
        return "" if predicted == label else f" (is {self._name(label)})"

    def _seen_again(self, image: Tensor) -> Tensor:
        """A normalised image in [0, 1]."""
        if self.inputs is None:
            low, high = image.aminmax()
            return ((image - low) / (high - low).clamp(min=1e-6)).cpu()
        mean, std = (image.new_tensor(values).view(3, 1, 1) for values in (self.inputs.mean, self.inputs.std))
        return (image * std + mean).clamp(0, 1).cpu()


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
