"""Made-up images in the official formats that hold a file per image."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from zoo.domains.calibration.data_synthesis import jpeg, labels_of, make_images

WORDS = ("amber", "birch", "cedar", "dune", "ember", "fern")


def synthesize_tiny(root: Path, seed: int, classes: int = 6, train: int = 20, test: int = 5) -> None:
    """Writes a tiny Tiny-ImageNet.

    Args:
        root: Existing folder.
        seed: Which images.
        classes: Number of classes.
        train: Training images per class.
        test: Official validation images per class.
    """
    wnids = [f"n{1_000_000 + 7 * label:08d}" for label in range(classes)]
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in reversed(wnids)))
    labels = np.repeat(np.arange(classes), train)
    for number, (label, pixels) in enumerate(zip(labels, make_images(labels, 64, 2 * seed), strict=True)):
        folder = root / "train" / wnids[label] / "images"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{wnids[label]}_{number % train}.JPEG").write_bytes(jpeg(pixels))
    labels = labels_of(classes, test, seed)
    folder = root / "val" / "images"
    folder.mkdir(parents=True)
    lines = []
    for number, (label, pixels) in enumerate(zip(labels, make_images(labels, 64, 2 * seed + 1), strict=True)):
        (folder / f"val_{number}.JPEG").write_bytes(jpeg(pixels))
        lines.append(f"val_{number}.JPEG\t{wnids[label]}\t0\t0\t62\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))


def synthesize_cub(root: Path, seed: int, classes: int = 4, each: int = 10) -> None:
    """Writes a tiny CUB-200-2011: images of 40 to 60 pixels.

    Args:
        root: Existing folder.
        seed: Which images.
        classes: Number of classes.
        each: Images per class, a half of them for training.
    """
    rng = np.random.default_rng(seed)
    names = [f"{label + 1:03d}.{WORDS[label].title()}_Bird" for label in range(classes)]
    labels = np.repeat(np.arange(classes), each)
    images, tables = make_images(labels, 60, seed), [list[str](), list[str](), list[str]()]
    for number, (label, pixels) in enumerate(zip(labels, images, strict=True), start=1):
        path = f"{names[label]}/{WORDS[label].title()}_{number:04d}.jpg"
        (root / "images" / names[label]).mkdir(parents=True, exist_ok=True)
        height = int(rng.integers(40, 61))
        (root / "images" / path).write_bytes(jpeg(pixels[:, :height]))
        for table, value in zip(tables, (path, label + 1, number % 2), strict=True):
            table.append(f"{number} {value}\n")
    for name, table in zip(("images", "image_class_labels", "train_test_split"), tables, strict=True):
        (root / f"{name}.txt").write_text("".join(table))
    (root / "classes.txt").write_text("".join(f"{label} {name}\n" for label, name in enumerate(names, start=1)))


def synthesize_folder(root: Path, seed: int, classes: int = 4, sizes: tuple[int, int, int] = (20, 5, 10)) -> None:
    """Writes a folder per split and class; images of 32 to 48 pixels.

    Args:
        root: Existing folder.
        seed: Which images.
        classes: At most 6.
        sizes: Images per class for train, val and test.
    """
    for number, (split, each) in enumerate(zip(("train", "val", "test"), sizes, strict=True)):
        labels = np.repeat(np.arange(classes), each)
        for index, (label, pixels) in enumerate(zip(labels, make_images(labels, 48, 3 * seed + number), strict=True)):
            folder = root / split / WORDS[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{index:03d}.jpg").write_bytes(jpeg(pixels[:, :, : 32 + index % 17]))


def synthesize_table(root: Path, seed: int, classes: int = 4, each: int = 30) -> None:
    """Writes a csv without splits, and its images.

    Args:
        root: Existing folder.
        seed: Which images.
        classes: At most 6.
        each: Images per class.
    """
    (root / "images").mkdir()
    labels = labels_of(classes, each, seed)
    with (root / "images.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("path", "label"))
        for index, (label, pixels) in enumerate(zip(labels, make_images(labels, 32, seed), strict=True)):
            (root / "images" / f"{index:03d}.jpg").write_bytes(jpeg(pixels))
            writer.writerow((f"images/{index:03d}.jpg", WORDS[label]))
