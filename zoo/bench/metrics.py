"""What ``zoo bench metrics`` times."""

from __future__ import annotations

import warnings
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from zoo.metrics import StreamingCalibrationError, rank_values
from zoo.training.speed import Case, Work


def _calibration(kind: str, items: int, classes: int) -> Work:
    """Three batches, then the error over 15 bins."""
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(items, classes, generator=generator), torch.arange(items) % classes
    parts = list(zip(logits.chunk(3), labels.chunk(3), strict=True))

    def work() -> float:
        metric: Any = StreamingCalibrationError(bins=15)
        if kind == "torchmetrics":
            found: Any = import_module("torchmetrics.classification")
            metric = found.MulticlassCalibrationError(num_classes=classes, n_bins=15)
        for part in parts:
            metric.update(*part)
        return float(metric.compute())

    return work


def _gallery(queries: int, items: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    similarity = torch.randn(queries, items, generator=generator)
    return similarity, torch.randint(0, 750, (queries, 1), generator=generator) == torch.arange(items) % 750


def _ranks(queries: int, items: int) -> Work:
    similarity, relevant = _gallery(queries, items)
    step = max(1, 10**7 // items)

    def work() -> tuple[float, float]:
        parts = [rank_values(similarity[i : i + step], relevant[i : i + step]) for i in range(0, queries, step)]
        first, precision = (torch.cat([part[field] for part in parts]).double() for field in (0, 1))
        return float((first <= 1).double().mean()), float(precision.mean())

    return work


def _ranks_by_query(queries: int, items: int) -> Work:
    """One query after the other, as it is commonly written."""
    similarity, relevant = _gallery(queries, items)

    def work() -> tuple[float, float]:
        firsts, precisions = [], []
        for row, wanted in zip(similarity, relevant, strict=True):
            found = wanted[row.argsort(descending=True)].numpy()
            places = found.nonzero()[0] + 1
            firsts.append(float(places[0] == 1))
            precisions.append(float(((1 + torch.arange(len(places))).numpy() / places).mean()))
        return sum(firsts) / queries, sum(precisions) / queries

    return work


def _box_precision(backend: str, images: int, boxes: int) -> Work:
    """COCO's mean average precision of noisy boxes."""
    generator = torch.Generator().manual_seed(0)
    predictions, targets = [], []
    for _ in range(images):
        corner = 400 * torch.rand(boxes, 2, generator=generator)
        truth = torch.cat([corner, corner + 20 + 80 * torch.rand(boxes, 2, generator=generator)], 1)
        labels = torch.randint(0, 10, (boxes,), generator=generator)
        moved = truth + 5 * torch.randn(boxes, 4, generator=generator)
        predictions.append({"boxes": moved, "scores": torch.rand(boxes, generator=generator), "labels": labels})
        targets.append({"boxes": truth[: boxes // 5], "labels": labels[: boxes // 5]})

    def work() -> float:
        detection: Any = import_module("torchmetrics.detection")
        metric = detection.MeanAveragePrecision(backend=backend)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of more than 100 boxes per image
            metric.update(predictions, targets)
            return float(metric.compute()["map"])

    return work


def _agree(ours: Any, peer: Any) -> None:
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(peer), rtol=1e-4, atol=1e-5)


def cases() -> list[Case]:
    """Calibration, ranks of a gallery, boxes."""
    found = []
    for items, classes in ((10_000, 100), (50_000, 1000)):
        peer = {"torchmetrics": partial(_calibration, "torchmetrics", items, classes)}
        ours = partial(_calibration, "zoo", items, classes)
        found.append(Case(f"calibration error, {items:,} items, {classes} classes", ours, peer, _agree, items > 10_000))
    for queries, items in ((100, 1000), (1000, 10_000)):
        peer = {"torch": partial(_ranks_by_query, queries, items)}
        ours = partial(_ranks, queries, items)
        found.append(Case(f"CMC and mAP, {queries:,} x {items:,}", ours, peer, _agree, items > 1000))
    found.append(Case("CMC and mAP, 20,000 x 20,000", partial(_ranks, 20_000, 20_000), slow=True))
    for images in (20, 1000):
        peer = {"pycocotools": partial(_box_precision, "pycocotools", images, 100)}
        ours = partial(_box_precision, "faster_coco_eval", images, 100)
        found.append(Case(f"COCO mAP, {images:,} images of 100 boxes", ours, peer, _agree, images > 20))
    return found
