"""COCO's twelve figures and AP by IoU threshold, exact under DDP; detections of images, and the objects they found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from zoo.domains.detection.boxes import corners
from zoo.errors import InputError

MOST = 300  # detections of an image
THRESHOLDS = [round(0.5 + 0.05 * step, 2) for step in range(10)]
RECALLS = np.linspace(0, 1, 101).tolist()
FIGURES = {
    "ap": "map", "ap50": "map_50", "ap75": "map_75", "ap_small": "map_small", "ap_medium": "map_medium",
    "ap_large": "map_large", "ar1": "mar_1", "ar10": "mar_10", "ar100": "mar_100", "ar_small": "mar_small",
    "ar_medium": "mar_medium", "ar_large": "mar_large",
}  # fmt: skip
CURVE = tuple(f"ap{round(100 * threshold)}" for threshold in THRESHOLDS)
FOUND = 0.5  # least IoU of a detection with the object it finds


class Detected(NamedTuple):
    """What was found in one image, best first.

    Attributes:
        boxes: ``(N, 4)`` left, top, right, bottom in pixels of the original image, inside of it.
        scores: ``(N,)`` in [0, 1].
        labels: ``(N,)`` int64.
        class_names: The name of each label.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    class_names: list[str]


def detect(
    logits: Tensor, boxes: Tensor, size: Sequence[int], threshold: float = 0.0, names: Sequence[str] = ()
) -> Detected:
    """The best pairs of a query and a class of one image; no suppression of neighbours.

    Args:
        logits: ``(Q, C)``.
        boxes: ``(Q, 4)`` cx, cy, w, h in [0, 1].
        size: ``(height, width)`` of the original image.
        threshold: Scores below it are left out.
        names: Of the classes; numbers where there are none.

    Returns:
        At most 300, without those whose box has no extent inside the image.
    """
    scores, order = logits.float().sigmoid().flatten().sort(descending=True, stable=True)
    scores, order = scores[:MOST], order[:MOST]
    query, label = order // logits.shape[-1], order % logits.shape[-1]
    height, width = int(size[0]), int(size[1])
    limit = boxes.new_tensor([width, height, width, height], dtype=torch.float32)
    found = (corners(boxes[query].float()) * limit).clamp(min=0).minimum(limit)
    kept = ((found[:, 2:] > found[:, :2]).all(1)) & (scores >= threshold)
    labels = label[kept]
    words = [names[number] if names else str(number) for number in labels.tolist()]
    return Detected(found[kept], scores[kept], labels, words)


class COCOFigures(MeanAveragePrecision):
    """The twelve figures of COCO and AP at each IoU threshold from .50 to .95 (``ap50``, ``ap55``, ..., ``ap95``).

    A figure of which there is no object, e.g. no large one, is -1 as COCO has it. After ``compute``, :attr:`per_class`
    is the AP of each class that occurs.

    Raises:
        InputError: faster-coco-eval is not installed.
    """

    full_state_update: bool = False

    def __init__(self) -> None:
        try:
            super().__init__(
                iou_type="bbox", iou_thresholds=THRESHOLDS, rec_thresholds=RECALLS, extended_summary=True,
                backend="faster_coco_eval",
            )  # fmt: skip
        except ModuleNotFoundError as error:
            raise InputError("COCO figures need faster-coco-eval: pip install rankzoo[detection]") from error
        self.warn_on_many_detections = False
        self.per_class: dict[int, float] = {}

    def update(self, preds: list[dict[str, Tensor]], target: list[dict[str, Tensor]]) -> None:
        """Adds images.

        Args:
            preds: ``boxes`` left, top, right, bottom, ``scores`` and ``labels`` of each; may be empty.
            target: ``boxes``, ``labels``, ``iscrowd`` and ``area`` of each; may be empty.
        """
        super().update(_on_cpu(preds), _on_cpu(target))

    def compute(self) -> dict[str, Tensor]:
        """The figures by name, ``ap`` first."""
        values = super().compute()
        figures = {name: values[key].float() for name, key in FIGURES.items()}
        if "precision" not in values:  # no object or no detection at all: COCO's own code gives nothing
            objects = any(len(labels) for labels in self.groundtruth_labels)
            nothing = torch.tensor(0.0 if objects else -1.0)
            self.per_class = {}
            return dict.fromkeys((*FIGURES, *CURVE), nothing)
        precision = values["precision"][..., 0, -1]  # (T, R, K) over all sizes, 100 detections
        figures |= {name: _mean(precision[place]) for place, name in enumerate(CURVE)}
        classes = values["classes"].reshape(-1).tolist()
        means = {label: float(_mean(precision[..., place])) for place, label in enumerate(classes)}
        self.per_class = {label: value for label, value in means.items() if value >= 0}
        return figures

    def _sync_dist(self, dist_sync_fn: Any = None, process_group: Any = None) -> None:
        """Gathers image by image: torchmetrics' own needs the same number of images on every process."""
        names = [name for name, value in self._defaults.items() if isinstance(value, list)]
        own = [getattr(self, name) for name in names]
        shares: list[Any] = [None] * torch.distributed.get_world_size(process_group)
        torch.distributed.all_gather_object(shares, own, group=process_group)
        for place, name in enumerate(names):
            parts = [share[place] for share in shares]
            longest = max(map(len, parts))
            # process r has the images r, r + world size, ...: in the order of the data again, ties fall as in one
            setattr(self, name, [part[turn] for turn in range(longest) for part in parts if turn < len(part)])


def _mean(precision: Tensor) -> Tensor:
    """Over all recalls and classes that occur; -1 where none does."""
    counted = precision[precision > -1]
    return counted.mean().float() if len(counted) else torch.tensor(-1.0)


def found_objects(detected: Detected, truth: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The detections that find an object, as COCO assigns them at an IoU of .5: best first, each object once.

    Args:
        detected: Of an image.
        truth: ``boxes``, ``labels`` and ``iscrowd`` of it.

    Returns:
        Scores, IoUs and labels, ``(M,)`` each.
    """
    from torchvision.ops import box_iou

    real = truth["iscrowd"].cpu() == 0
    boxes, labels = truth["boxes"].cpu()[real], truth["labels"].cpu()[real]
    overlaps = box_iou(detected.boxes.detach().cpu().float(), boxes)
    overlaps[detected.labels.cpu()[:, None] != labels[None]] = -1
    matrix = overlaps.numpy()
    free = np.ones(len(labels), dtype=bool)
    places, values = [], []
    for place in np.flatnonzero(matrix.max(1, initial=-1) >= FOUND).tolist():
        row = np.where(free, matrix[place], -1)
        best = int(row.argmax())
        if row[best] >= FOUND:
            free[best] = False
            places.append(place)
            values.append(float(row[best]))
    index = torch.tensor(places, dtype=torch.long)
    return detected.scores.cpu()[index], torch.tensor(values), detected.labels.cpu()[index]


def _on_cpu(images: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    return [{key: value.cpu() for key, value in image.items()} for image in images]
