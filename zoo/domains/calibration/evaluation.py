"""What every classifier of this domain shares: metrics with and without temperature, and the fit of the latter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat

from zoo.domains.calibration.inputs import Inputs
from zoo.domains.calibration.picture import draw_reliability
from zoo.domains.calibration.prediction import Classifier
from zoo.errors import InputError
from zoo.metrics import CalibrationReport, OutOfDistribution, fit_temperature
from zoo.metrics.calibration import expected_calibration_error
from zoo.metrics.calibration_temperature import Method
from zoo.ranking import gather
from zoo.training import Batch, ParameterGroup, Row
from zoo.training.choices import check_choice

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class CalibratedClassifier(Classifier):
    """Evaluates and predicts with a network that gives logits; fits a temperature while it validates.

    Half of the validation images select ``best.ckpt``, the other half fit the temperature; test images are used for
    neither. Every metric is reported raw, and with ``_ts`` behind its name after temperature scaling.

    Args:
        classes: C.
        temperature_by: What the temperature makes least on its half, see :func:`zoo.metrics.fit_temperature`.
        inputs: What test images go through; None where the data says it.
        bins: Of the calibration errors.
        refit: Fit the temperature anew before a test, on half of the validation images of the data at hand.
        monitor: The metric that picks ``best.ckpt``.
        mode: Whether more or less of it is better.
        groups: Parameter groups.
    """

    def __init__(
        self,
        classes: int,
        temperature_by: Method,
        inputs: Inputs | None,
        bins: int,
        refit: bool,
        monitor: str,
        mode: Literal["min", "max"],
        groups: list[ParameterGroup] | None,
    ) -> None:
        super().__init__(classes, inputs, monitor, mode, groups)
        check_choice("model.temperature_by", temperature_by, get_args(Method))
        if bins < 1:
            raise InputError(f"model.bins must be at least 1, got {bins}")
        self.temperature_by, self.bins, self.refit = temperature_by, bins, refit
        self._tested: tuple[Tensor, Tensor] | None = None
        self._held: list[Tensor] = []
        self._held_labels: list[Tensor] = []
        self._seen = 0

    # -- evaluation

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Half of the images update the metrics, the logits of the others are held for the temperature."""
        held = fits_temperature(self._places(len(batch["id"]))).to(self.device)
        logits, labels = self._checked(batch), batch["label"]
        self._held.append(logits[held])
        self._held_labels.append(labels[held])
        self._update(self._metrics["val"], logits[~held], labels[~held])

    def _checked(self, batch: Batch) -> Tensor:
        """Logits of a batch, finite; labels are those of the network's classes, or below 0 for images of other sets."""
        logits, labels = self._logits(batch["image"]), batch["label"]
        unfit = (~torch.isfinite(logits)).any(-1) | (labels >= self.classes)
        if unfit.any():
            index = int(unfit.nonzero()[0])
            what = f"label {int(labels[index])}, expected at most {self.classes - 1} (model.classes)"
            if labels[index] < self.classes:
                what = "the network's logits are not finite"
            raise InputError(f"{batch['id'][index]}: {what}")
        return logits

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
        self._fit(torch.cat(self._held), torch.cat(self._held_labels))
        self._held, self._held_labels = [], []
        report: Any = self._metrics["val"]["report"]
        report.temperature = float(self.temperature)
        super().on_validation_epoch_end()

    def _fit(self, logits: Tensor, labels: Tensor) -> None:
        """Fits the temperature to the held images of all processes; without any it stays as it is."""
        logits, labels = gather(logits), gather(labels)
        if len(labels):
            self.temperature.fill_(fit_temperature(logits, labels, self.temperature_by, self.bins))

    def on_test_epoch_start(self) -> None:
        """Fits the temperature anew where that is asked for, then takes fresh metrics."""
        if self.refit:
            self._refit()
        super().on_test_epoch_start()

    def on_test_epoch_end(self) -> None:
        """Keeps the metrics, and the logits of all processes for the reliability diagram."""
        report: Any = self._metrics["test"]["report"]
        self._tested = gather(dim_zero_cat(report.logits)), gather(dim_zero_cat(report.labels))
        super().on_test_epoch_end()

    def picture(self, batch: Batch) -> Figure:
        """After a test its reliability diagram before and after scaling; in training the images of a batch."""
        if self._tested is None:
            return super().picture(batch)
        return draw_reliability(*self._tested, float(self.temperature), self.bins)

    def _refit(self) -> None:
        loader = self.trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
        self._seen = 0
        held: list[tuple[Tensor, Tensor]] = []
        for batch in loader:
            chosen = fits_temperature(self._places(len(batch["id"])))
            held.append((self._logits(batch["image"][chosen].to(self.device)), batch["label"][chosen].to(self.device)))
        self._fit(torch.cat([logits for logits, _ in held]), torch.cat([labels for _, labels in held]))

    def build_metrics(self) -> dict[str, Metric]:
        """Accuracy, calibration errors and proper scores, raw and after scaling; AUROC per out-of-distribution set."""
        testing = self.trainer.testing
        temperature = float(self.temperature)
        report = CalibrationReport(self.bins, temperature, groups=self._groups(), intervals=testing)
        sets = self._outside() if testing else []
        return {"report": report, **({"ood": OutOfDistribution(sets, temperature)} if sets else {})}

    def _groups(self) -> dict[str, list[int]]:
        """Groups of classes whose accuracy is reported apart, where the data has some."""
        return dict(getattr(self.trainer.datamodule, "class_groups", {}))  # type: ignore[attr-defined]

    def _outside(self) -> list[str]:
        """Names of the out-of-distribution sets behind the test split."""
        return [Path(name).name for name in getattr(self.trainer.datamodule, "ood", [])]  # type: ignore[attr-defined]

    def evaluate_batch(self, batch: Batch, metrics: MetricCollection) -> list[Row]:
        """One row per image: label, prediction, confidence before and after scaling."""
        logits, labels = self._checked(batch), batch["label"]
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

    @classmethod
    def measured(cls, rows: pd.DataFrame, protocol: str) -> dict[str, float]:
        """``acc``, and ``ece`` before and after temperature scaling, of images with a label."""
        known = rows.dropna(subset="label")
        correct, bins = (known["label"] == known["predicted"]).to_numpy(float), int(protocol.split()[0])
        errors = {
            f"ece{mark}": expected_calibration_error(known[f"confidence{mark}"].to_numpy(float), correct, bins)
            for mark in ("", "_ts")
        }
        return {"acc": float(correct.mean()), **errors}

    @classmethod
    def costs(cls, rows: pd.DataFrame) -> pd.Series:
        """Confidence of wrong answers; none for right ones."""
        return rows["confidence"].where(rows["label"].notna() & (rows["label"] != rows["predicted"]))

    @staticmethod
    def _update(metrics: MetricCollection, logits: Tensor, labels: Tensor) -> None:
        """Known images count for everything, those of other sets for telling them apart alone."""
        known = labels >= 0
        metrics["report"].update(logits[known], labels[known])
        if "ood" in metrics:
            metrics["ood"].update(logits, labels)

    @property
    def protocol(self) -> str:
        """The released one: bins of equal width and mass."""
        return f"{self.bins} bins"


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
