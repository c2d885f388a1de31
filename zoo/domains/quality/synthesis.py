"""Made-up photographs, and tiny data sets of them in the layouts of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.domains.quality.distortions import KINDS, LEVELS, Kind, distort, quarter_windows
from zoo.domains.quality.faces import COLUMNS
from zoo.domains.quality.tables import write_table

PHOTOGRAPHS = 60
_SIZE = (72, 96)
_PIQ23_SCENES = {  # official scenes of both sides of the scene split, three of each condition's training part
    "Indoor": (0, 2, 3, 1, 5),
    "Lowlight": (14, 15, 18, 16),
    "Night": (22, 23, 24, 28),
    "Outdoor": (35, 36, 37, 33),
}
_PIQ23_KINDS: dict[str, Kind] = {"Details": "blur", "Exposure": "exposure", "Overall": "noise"}
_PIQ23_IMAGES = 6  # per scene
_KONIQ = {"training": 16, "validation": 6, "test": 8}
_PROMPTS = ("statue of a man", "a tray of sushi", "man lost in space", "a cosmic universe", "red and blue armor",
            "a quiet harbour", "two foxes", "an old library", "a glass of water", "rain over hills")  # fmt: skip
_MODELS = ("AttnGAN_normal", "glide_normal", "sd1.5_highcorr")


def photograph(rng: np.random.Generator, size: tuple[int, int] = _SIZE) -> Tensor:
    """A made-up photograph: sky and ground, shapes with edges, and texture of all scales (a 1/f spectrum).

    Args:
        rng: Decides everything.
        size: ``(height, width)``.

    Returns:
        uint8 ``(3, H, W)``.
    """
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width]
    top, bottom = rng.uniform(90, 230, (2, 3))
    share = (rows / height)[..., None]
    image = (1 - share) * top + share * bottom
    for _ in range(int(rng.integers(4, 9))):
        colour = rng.uniform(20, 235, 3)
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        high, wide = rng.uniform(0.08, 0.3, 2) * (height, width)
        if rng.integers(2):
            inside = ((rows - y) / high) ** 2 + ((columns - x) / wide) ** 2 < 1
        else:
            inside = (np.abs(rows - y) < high) & (np.abs(columns - x) < wide)
        stripes = 25 * np.sin(2 * np.pi * (rows * rng.uniform(-0.2, 0.2) + columns * rng.uniform(-0.2, 0.2)))
        image = np.where(inside[..., None], colour + stripes[..., None], image)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    spectrum = np.fft.rfft2(rng.normal(size=size)) / np.maximum(frequency, 1 / width)
    texture = np.fft.irfft2(spectrum, s=size)
    image = image + 14 * (texture / texture.std())[..., None]
    return torch.from_numpy(image.round().clip(0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous()


def synthesize_photographs(root: Path, seed: int = 0, count: int = PHOTOGRAPHS) -> None:
    """Writes clean photographs, the same for the same seed.

    Args:
        root: An existing folder; they go to ``photographs/``, and a window of a quarter of each to ``boxes.csv``.
        seed: Which photographs.
        count: How many.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        _save(root / "photographs" / f"{number:03d}.png", photograph(rng))
    names = [f"photographs/{number:03d}.png" for number in range(count)]
    boxes = quarter_windows([_SIZE] * count, seed)
    write_table(root / "boxes.csv", COLUMNS, ([name, *box] for name, box in zip(names, boxes, strict=True)))


def synthesize_piq23(root: Path, seed: int = 0) -> None:
    """Writes tiny data in the layout of PIQ23: three attributes, both official splits, scores with mean 0 per scene.

    Args:
        root: An existing folder.
        seed: Which images.
    """
    rng = np.random.default_rng(seed)
    tables: dict[str, list[list[object]]] = {"Details": [], "Exposure": [], "Overall": []}
    device: list[list[object]] = []
    number = 0
    for condition, scenes in _PIQ23_SCENES.items():
        for scene in (f"{condition}_Scene_{index}" for index in scenes):
            clean = photograph(rng)
            names = [f"{number + offset}_{scene}.jpg" for offset in range(_PIQ23_IMAGES)]
            number += len(names)
            device += [[name, "Test" if place % 3 == 2 else "Train"] for place, name in enumerate(names)]
            for attribute, rows in tables.items():
                levels = _levels(rng, len(names))
                scores = -(levels - levels.mean()) / 1.2 + 0.1 * rng.normal(size=len(names))
                scores -= scores.mean()
                for name, level, score in zip(names, levels, scores, strict=True):
                    _save(root / attribute / name, distort(clean, _PIQ23_KINDS[attribute], int(level), number))
                    rows.append(_piq23_row(attribute, name, scene, condition, float(score), number))
    header = ("IMAGE PATH", "JOD", "JOD STD", "CI LOW", "CI HIGH", "CI RANGE", "QUALITY LEVEL", "CLUSTER",
              "TOTAL COMPARISONS", "IMAGE", "SCENE", "ATTRIBUTE", "SCENE IDX", "CONDITION")  # fmt: skip
    for attribute, rows in tables.items():
        write_table(root / f"Scores_{attribute}.csv", header, rows)
    write_table(root / "Test split" / "Device Split.csv", ("IMAGE", "SPLIT"), device)


def _piq23_row(attribute: str, name: str, scene: str, condition: str, score: float, number: int) -> list[object]:
    index = int(scene.rsplit("_", 1)[1])
    path = f"{attribute}\\{name}"
    return [path, score, 0.4, score - 0.7, score + 0.7, 1.4, 2, 0, 40, name, scene, attribute, index, condition]


def synthesize_koniq(root: Path, seed: int = 0) -> None:
    """Writes tiny data in the layout of KonIQ-10k with its official sets.

    Args:
        root: An existing folder.
        seed: Which images.
    """
    rng = np.random.default_rng(seed)
    rows: list[list[object]] = []
    for name, count in _KONIQ.items():
        for _ in range(count):
            image, score = _scored(rng)
            file = f"{10_000_000 + 137 * len(rows)}.jpg"
            _save(root / "1024x768" / file, image)
            rows.append([file, 0.0, 0.2, 0.6, 0.2, 0.0, 100, 20 + 12 * score, 0.6, name])
    header = ("image_name", "c1", "c2", "c3", "c4", "c5", "c_total", "MOS", "SD", "set")
    write_table(root / "koniq10k_distributions_sets.csv", header, rows)


def synthesize_agiqa(root: Path, seed: int = 0) -> None:
    """Writes tiny data in the layout of AGIQA-3K.

    Args:
        root: An existing folder.
        seed: Which images.
    """
    rng = np.random.default_rng(seed)
    rows: list[list[object]] = []
    for model in _MODELS:
        for number, prompt in enumerate(_PROMPTS):
            image, score = _scored(rng)
            name = f"{model}_{number:03d}.jpg"
            _save(root / name, image)
            rows.append([name, prompt, "", "", "", score, 0.6, 5 * rng.random(), 0.7])
    header = ("name", "prompt", "adj1", "adj2", "style", "mos_quality", "std_quality", "mos_align", "std_align")
    write_table(root / "data.csv", header, rows)


def synthesize_scored(root: Path, seed: int = 0) -> None:
    """Writes images of ten scenes with ``scores.csv``.

    Args:
        root: An existing folder.
        seed: Which images.
    """
    rng = np.random.default_rng(seed)
    rows: list[list[object]] = []
    for scene in range(10):
        clean = photograph(rng)
        for place, level in enumerate(_levels(rng, 5)):
            name = f"images/{scene:02d}_{place}.jpg"
            _save(root / name, distort(clean, KINDS[scene % len(KINDS)], int(level), scene))
            rows.append([name, 10 * scene - float(level), f"scene {scene:02d}"])
    write_table(root / "scores.csv", ("path", "score", "scene"), rows)


def _levels(rng: np.random.Generator, count: int) -> np.ndarray:
    """Levels 0 to 5 in random order, all different as far as there are enough."""
    return rng.permutation(np.resize(np.arange(LEVELS + 1), count))


def _scored(rng: np.random.Generator) -> tuple[Tensor, float]:
    """A distorted photograph and a score of 0 to 5."""
    kind, level = KINDS[int(rng.integers(len(KINDS)))], int(rng.integers(LEVELS + 1))
    return distort(photograph(rng), kind, level, int(rng.integers(2**31))), LEVELS - level + 0.0


def _save(file: Path, image: Tensor) -> None:
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(file, quality=97)
