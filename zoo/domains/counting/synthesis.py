"""Made-up canopies seen from above, and tiny data sets of them in the layouts of the real ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

SIDE = 128
Scene = tuple[Tensor, np.ndarray]


def canopy(rng: np.random.Generator, size: tuple[int, int] = (SIDE, SIDE), most: int = 45) -> Scene:
    """A made-up aerial image: ground with roofs, and trees as lit, textured crowns with shadows, alone and in clumps.

    Args:
        rng: Decides everything.
        size: Height and width.
        most: Trees on an image of ``SIDE`` x ``SIDE``, at most; more on a larger one.

    Returns:
        uint8 ``(3, H, W)``, and ``(N, 2)`` x and y of the trees.
    """
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    rough = gaussian_filter(rng.normal(size=size), 6)
    fine = gaussian_filter(rng.normal(size=size), 0.8)
    ground = np.array([[126, 132, 92], [150, 140, 112], [108, 124, 84]][int(rng.integers(3))], dtype=np.float64)
    image = ground + 14 * (rough / rough.std())[..., None] + 5 * (fine / fine.std())[..., None]
    area = height * width / SIDE**2
    for _ in range(int(rng.poisson(2 * area))):
        _roof(image, rows, columns, rng)
    points = _stand(rng, size, int(rng.integers(2, most + 1) * area))
    radii, colours = rng.uniform(3.0, 6.5, len(points)), rng.uniform(-14, 14, (len(points), 3))
    for (x, y), radius in zip(points, radii, strict=True):  # all shadows lie below all crowns
        part, across, down = _around(rows, columns, x + 0.6 * radius, y + 0.6 * radius, radius)
        image[part] *= np.where(np.hypot(across, down) < 1, 0.6, 1.0)[..., None]
    leaves = 0.12 * fine / fine.std()
    for (x, y), radius, change in zip(points, radii, colours, strict=True):
        part, across, down = _around(rows, columns, x, y, radius)
        lit = np.clip(0.75 - 0.21 * (across + down), 0.3, 1.2) + leaves[part]  # from the upper left
        crown = (np.array([52, 96, 44]) + change) * lit[..., None]
        image[part] = np.where((np.hypot(across, down) < 1)[..., None], crown, image[part])
    pixels = gaussian_filter(image, (0.5, 0.5, 0)) + rng.normal(scale=2.5, size=(*size, 3))
    return torch.from_numpy(pixels.round().clip(0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous(), points


def _around(
    rows: np.ndarray, columns: np.ndarray, x: float, y: float, radius: float
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """The pixels around a place, and how far right and below of it they lie, in radii."""
    top, left = max(0, int(y - radius)), max(0, int(x - radius))
    part = (slice(top, int(y + radius) + 2), slice(left, int(x + radius) + 2))
    return part, (columns[part] - x) / radius, (rows[part] - y) / radius


def _roof(image: np.ndarray, rows: np.ndarray, columns: np.ndarray, rng: np.random.Generator) -> None:
    height, width = rows.shape
    y, x, turn = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0, np.pi)
    along = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
    across = (rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)
    inside = (np.abs(along) < rng.uniform(8, 20)) & (np.abs(across) < rng.uniform(4, 10))
    image[inside] = rng.uniform(90, 210) * np.array([1.0, 0.92, 0.86]) * np.where(across[inside] > 0, 1, 0.85)[:, None]


def _stand(rng: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    """Places of trees, at least 4 pixels apart, half of them in clumps; rounded to a tenth, as annotations are."""
    height, width = size
    centres = rng.uniform((0, 0), (width, height), (max(1, count // 8), 2))
    found: list[np.ndarray] = []
    for _ in range(40 * count):
        if len(found) == count:
            break
        place = rng.uniform((0, 0), (width, height))
        if rng.random() < 0.5:
            place = centres[int(rng.integers(len(centres)))] + rng.normal(scale=12, size=2)
        place = np.round(place, 1)
        if not ((place >= 1) & (place <= (width - 2, height - 2))).all():
            continue
        if all(np.hypot(*(place - other)) >= 4 for other in found):
            found.append(place)
    return np.array(found).reshape(-1, 2)


def scenes(seed: int, count: int, size: tuple[int, int] = (SIDE, SIDE)) -> list[Scene]:
    """Some canopies, the same for the same seed."""
    rng = np.random.default_rng([seed, 8])
    return [canopy(rng, size) for _ in range(count)]


def save_image(file: Path, image: Tensor) -> None:
    """Writes ``(3, H, W)`` uint8 as the suffix says; JPEG at high quality."""
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(file, quality=97)


def save_matlab(file: Path, content: dict[str, Any]) -> None:
    """Writes a .mat file whose bytes are a function of its content: its head names no date."""
    from scipy.io import savemat

    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, content)
    with file.open("r+b") as stream:
        stream.write(b"MATLAB 5.0 MAT-file, made up".ljust(116))


def image_info(points: np.ndarray) -> dict[str, Any]:
    """What a file of ShanghaiTech holds: a cell with a structure of location and number."""
    inner = np.zeros((1, 1), dtype=[("location", object), ("number", object)])
    inner["location"][0, 0] = points.astype(np.float64)
    inner["number"][0, 0] = np.array([[len(points)]], dtype=np.uint8)
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = inner
    return {"image_info": cell}


def write_table(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a csv."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_json(file: Path, content: object) -> None:
    """Writes a json file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
