"""Made-up images of shapes with exact boxes, and tiny data sets of them in the layouts of the real ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("disc", "square", "star", "triangle")
TINY: dict[str, int] = {"train": 10, "val": 4, "test": 4}
TINY_SIZES = ((72, 96), (96, 72), (80, 80))
_FINE = 4  # shapes are drawn so many times larger, for smooth edges
_CROWDED = 0.3  # most IoU of two boxes

Scene = tuple[np.ndarray, np.ndarray, np.ndarray]


def scene(rng: np.random.Generator, size: tuple[int, int], most: int = 5, least: int = 1) -> Scene:
    """Draws shapes over a textured ground.

    Args:
        rng: Decides everything.
        size: ``(height, width)``.
        most: Shapes at most.
        least: Shapes at least, fewer only where they find no place.

    Returns:
        uint8 ``(H, W, 3)``, boxes ``(N, 4)`` left, top, right, bottom, and labels ``(N,)``, numbers of :data:`KINDS`.
    """
    from PIL import Image, ImageDraw

    height, width = size
    image = Image.fromarray(_ground(rng, height, width)).resize(
        (width * _FINE, height * _FINE), Image.Resampling.BICUBIC
    )
    ground = np.asarray(image).reshape(-1, 3).mean(0)
    pen = ImageDraw.Draw(image)
    boxes: list[np.ndarray] = []
    labels = []
    for _ in range(int(rng.integers(least, most + 1))):
        for _ in range(20):
            kind = int(rng.integers(len(KINDS)))
            outline = _outline(rng, kind, height, width)
            box = np.concatenate([outline.min(0), outline.max(0)])
            inside = box.min() >= 0 and box[2] <= width and box[3] <= height
            if inside and all(_iou(box, other) < _CROWDED for other in boxes):
                pen.polygon([(x * _FINE, y * _FINE) for x, y in outline.tolist()], fill=_colour(rng, ground))
                boxes.append(box)
                labels.append(kind)
                break
    small = np.asarray(image.resize((width, height), Image.Resampling.BOX), dtype=np.float64)
    noisy = (small + rng.normal(0, 6, small.shape)).round().clip(0, 255).astype(np.uint8)
    return noisy, np.array(boxes, dtype=np.float64).reshape(-1, 4), np.array(labels, dtype=np.int64)


def _ground(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    corners = rng.uniform(50, 205, (2, 3))
    share = ((rows / height + columns / width) / 2)[..., None]
    waves = sum(
        rng.uniform(4, 14) * np.sin(2 * np.pi * (rows * rng.uniform(-0.1, 0.1) + columns * rng.uniform(-0.1, 0.1)))
        for _ in range(3)
    )
    image = (1 - share) * corners[0] + share * corners[1] + np.asarray(waves)[..., None]
    return np.asarray(image.clip(0, 255).astype(np.uint8))


def _outline(rng: np.random.Generator, kind: int, height: int, width: int) -> np.ndarray:
    """Points ``(P, 2)`` x, y of a turned, stretched shape."""
    corners = {"disc": 48, "square": 4, "star": 10, "triangle": 3}[KINDS[kind]]
    angle = 2 * np.pi * np.arange(corners) / corners + rng.uniform(0, 2 * np.pi)
    radius = np.where(np.arange(corners) % 2, 0.45, 1.0) if KINDS[kind] == "star" else np.ones(corners)
    size = min(height, width) * rng.uniform(0.1, 0.27)
    stretch = np.exp(rng.uniform(-0.35, 0.35))
    points = np.stack((np.cos(angle) * radius * size * stretch, np.sin(angle) * radius * size / stretch), axis=1)
    return np.asarray(points + np.array([rng.uniform(0, width), rng.uniform(0, height)]))


def _colour(rng: np.random.Generator, ground: np.ndarray) -> tuple[int, int, int]:
    """A colour that is seen on the ground."""
    colour = ground
    while np.abs(colour - ground).max() < 60:
        colour = rng.uniform(0, 255, 3)
    red, green, blue = (int(part) for part in colour)
    return red, green, blue


def _iou(one: np.ndarray, two: np.ndarray) -> float:
    inner = (np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2])).clip(0).prod()
    return float(inner / ((one[2:] - one[:2]).prod() + (two[2:] - two[:2]).prod() - inner))


def tiny_scenes(rng: np.random.Generator, count: int) -> list[Scene]:
    """Landscapes, portraits and squares; the last holds nothing."""
    return [
        scene(rng, TINY_SIZES[number % 3], most=0 if number == count - 1 else 4, least=0 if number == count - 1 else 1)
        for number in range(count)
    ]


def synthesize_coco(
    root: Path,
    annotations: str,
    images: str,
    splits: Sequence[str],
    seed: int = 0,
    categories: Mapping[int, str] | None = None,
) -> None:
    """Writes tiny data in the COCO format, a crowd region and an image without objects among them.

    Args:
        root: An existing folder.
        annotations: The json of a split, with ``{split}``.
        images: The folder of a split's images, likewise.
        splits: Which to write.
        seed: Which images.
        categories: Names by id; the shapes' own by default. Shapes get the first ids, in their order.
    """
    rng = np.random.default_rng(seed)
    for split in splits:
        scenes = tiny_scenes(rng, TINY[split])
        tree = coco_tree(scenes, categories, first=1 + 1000 * list(splits).index(split))
        tree["annotations"][0]["iscrowd"] = 1
        write_coco(root, annotations.replace("{split}", split), images.replace("{split}", split), scenes, tree)


def coco_tree(scenes: Sequence[Scene], categories: Mapping[int, str] | None = None, first: int = 1) -> dict[str, Any]:
    """Annotations of scenes in the COCO format.

    Args:
        scenes: Images with boxes and labels.
        categories: Names by id.
        first: Id of the first image.
    """
    known = dict(categories or {number + 1: name for number, name in enumerate(KINDS)})
    ids = sorted(known)
    tree: dict[str, Any] = {"images": [], "annotations": [], "categories": [
        {"id": number, "name": known[number]} for number in ids
    ]}  # fmt: skip
    for number, (image, boxes, labels) in enumerate(scenes):
        key = first + number
        height, width = image.shape[:2]
        tree["images"].append({"id": key, "file_name": f"{key:012d}.jpg", "height": height, "width": width})
        for (left, top, right, bottom), label in zip(boxes.tolist(), labels.tolist(), strict=True):
            box = [round(left, 3), round(top, 3), round(right - left, 3), round(bottom - top, 3)]
            tree["annotations"].append(
                {"id": len(tree["annotations"]) + 1, "image_id": key, "category_id": ids[label], "bbox": box,
                 "area": round(box[2] * box[3], 3), "iscrowd": 0}
            )  # fmt: skip
    return tree


def write_coco(root: Path, annotations: str, images: str, scenes: Sequence[Scene], tree: dict[str, Any]) -> None:
    """Writes the json and the images of one split."""
    file = root / annotations
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(tree, indent=1))
    for entry, (image, _, _) in zip(tree["images"], scenes, strict=True):
        save(root / images / entry["file_name"], image)


def synthesize_voc(root: Path, splits: Mapping[str, int], names: Sequence[str], seed: int = 0) -> None:
    """Writes tiny data in the layout of Pascal VOC.

    Args:
        root: An existing folder; ``Annotations``, ``ImageSets/Main`` and ``JPEGImages`` go there.
        splits: How many images each has.
        names: Of the classes; shapes are called by the first of them.
        seed: Which images.
    """
    rng = np.random.default_rng(seed)
    number = 0
    for split, count in splits.items():
        stems = []
        for image, boxes, labels in tiny_scenes(rng, count):
            stem = f"{number:06d}"
            save(root / "JPEGImages" / f"{stem}.jpg", image)
            file = root / "Annotations" / f"{stem}.xml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_voc_xml(stem, image, boxes, [names[label % len(names)] for label in labels]))
            stems.append(stem)
            number += 1
        _lines(root / "ImageSets" / "Main" / f"{split}.txt", stems)


def _voc_xml(stem: str, image: np.ndarray, boxes: np.ndarray, names: Sequence[str]) -> str:
    height, width = image.shape[:2]
    lines = [
        f"<annotation>\n  <filename>{stem}.jpg</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
    ]
    for place, (box, name) in enumerate(zip(boxes.tolist(), names, strict=True)):
        left, top, right, bottom = (round(value) for value in box)
        lines.append(
            f"  <object>\n    <name>{name}</name>\n    <difficult>{int(place == 3)}</difficult>\n    <bndbox>"
            f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>\n"
            "  </object>"
        )
    return "\n".join([*lines, "</annotation>\n"])


def synthesize_yolo(root: Path, seed: int = 0) -> None:
    """Writes tiny data in the layout of YOLO: ``data.yaml``, images and a text file of boxes for each."""
    rng = np.random.default_rng(seed)
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(KINDS))
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\ntest: images/test\nnames:\n{names}")
    for split, count in TINY.items():
        for number, (image, boxes, labels) in enumerate(tiny_scenes(rng, count)):
            height, width = image.shape[:2]
            save(root / "images" / split / f"{number:04d}.jpg", image)
            rows = []
            for (left, top, right, bottom), label in zip(boxes.tolist(), labels.tolist(), strict=True):
                place = (
                    (left + right) / 2 / width,
                    (top + bottom) / 2 / height,
                    (right - left) / width,
                    (bottom - top) / height,
                )
                rows.append(" ".join([str(label), *(f"{value:.6f}" for value in place)]))
            if rows:  # an image without objects has no file
                _lines(root / "labels" / split / f"{number:04d}.txt", rows)


def synthesize_csv(root: Path, table: str, seed: int = 0) -> None:
    """Writes tiny images and one csv of all boxes."""
    rng = np.random.default_rng(seed)
    rows: list[list[object]] = []
    for split, count in TINY.items():
        for number, (image, boxes, labels) in enumerate(tiny_scenes(rng, count)):
            name = f"images/{split}_{number:04d}.jpg"
            save(root / name, image)
            for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
                rows.append([name, *(round(value, 2) for value in box), KINDS[label], split])
            if not len(boxes):
                rows.append([name, "", "", "", "", "", split])
    with (root / table).open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["file", "left", "top", "right", "bottom", "label", "split"])
        writer.writerows(rows)


def _lines(file: Path, lines: Sequence[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


def save(file: Path, image: np.ndarray) -> None:
    """Writes an image, the same bytes for the same pixels."""
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file, quality=95)
