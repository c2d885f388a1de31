"""Made-up persons: coloured figures with templated captions, written in the layouts of the data sets."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {
    "red": (204, 40, 44), "blue": (44, 84, 196), "green": (48, 148, 72), "yellow": (232, 204, 60),
    "black": (28, 28, 32), "white": (240, 240, 240), "purple": (132, 60, 164), "orange": (236, 132, 36),
}  # fmt: skip
UPPER, LOWER = ("shirt", "jacket", "coat"), ("trousers", "skirt", "shorts")
SIZE = (96, 48)  # height and width
SKIN = ((236, 196, 164), (196, 148, 112), (124, 84, 60))


@dataclass(frozen=True)
class Person:
    """What a figure wears: colour and kind of the upper and lower garment, and colours of hat and bag ("" for none)."""

    upper: tuple[str, str]
    lower: tuple[str, str]
    hat: str
    bag: str
    skin: int


def synthesize(
    root: Path,
    layout: str = "cuhk_pedes",
    seed: int = 0,
    persons: tuple[int, int, int] = (160, 24, 40),
    images: int = 3,
) -> None:
    """Writes figures and captions, the same for the same seed, and two files for ``zoo predict``.

    No two persons wear the same. An image has two captions, which tell most but not all of what is seen.

    Args:
        root: An existing folder.
        layout: ``cuhk_pedes``, ``icfg_pedes``, ``rstpreid``, ``cuhk01_pedes``, ``flickr8k``, ``flickr30k`` or
            ``imagetext``.
        seed: Which persons there are.
        persons: Identities of training, validation and test.
        images: Images of a person, up to 4.
    """
    rng = np.random.default_rng(seed)
    write = _LAYOUTS[layout]
    folder = root / write.folder
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    splits = [split for split, count in zip(("train", "val", "test"), persons, strict=True) for _ in range(count)]
    for number, (person, split) in enumerate(zip(_persons(rng, len(splits)), splits, strict=True)):
        for take in range(images):
            name = write.name(number, take)
            picture = draw(person, rng)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            picture.save(folder / name, quality=92)
            captions = [describe(person, rng) for _ in range(2)]
            rows.append({"name": name, "number": number, "split": split, "captions": captions})
    write.save(root, rows)
    _samples(root, write.folder, [row for row in rows if row["split"] == "test"])


def _persons(rng: np.random.Generator, count: int) -> list[Person]:
    found: dict[tuple[Any, ...], Person] = {}
    colours = list(COLOURS)
    while len(found) < count:
        draw_colour = lambda: colours[int(rng.integers(len(colours)))]  # noqa: E731
        person = Person(
            (draw_colour(), UPPER[int(rng.integers(3))]),
            (draw_colour(), LOWER[int(rng.integers(3))]),
            draw_colour() if rng.random() < 0.4 else "",
            draw_colour() if rng.random() < 0.4 else "",
            int(rng.integers(3)),
        )
        if person.upper[0] != person.lower[0]:
            found.setdefault((person.upper[0], person.lower[0], person.hat, person.bag), person)
    return list(found.values())


def draw(person: Person, rng: np.random.Generator) -> Image.Image:
    """One image of a person: place, size, light and background differ from image to image.

    Args:
        person: What it wears.
        rng: Everything else.
    """
    height, width = SIZE
    light = rng.uniform(0.75, 1.15)
    ground = rng.integers(90, 180, size=3)
    image = Image.new("RGB", (width, height), tuple(int(c) for c in ground))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, int(height * rng.uniform(0.6, 0.8)), width, height), fill=tuple(int(c) for c in ground - 30))
    middle, top, scale = width / 2 + rng.uniform(-4, 4), rng.uniform(4, 10), rng.uniform(0.85, 1.0)

    def box(left: float, upper: float, right: float, lower: float) -> tuple[float, float, float, float]:
        return middle + left * scale, top + upper * scale, middle + right * scale, top + lower * scale

    shade = lambda colour: tuple(int(min(255, c * light)) for c in colour)  # noqa: E731
    skin, upper, lower = shade(SKIN[person.skin]), shade(COLOURS[person.upper[0]]), shade(COLOURS[person.lower[0]])
    step = rng.uniform(0, 3)
    pen.rectangle(box(-7 - step, 44, -1, 84), fill=lower if person.lower[1] == "trousers" else skin)
    pen.rectangle(box(1, 44, 7 + step, 84), fill=lower if person.lower[1] == "trousers" else skin)
    if person.lower[1] != "trousers":
        pen.rectangle(box(-9, 44, 9, 62), fill=lower)
    pen.rectangle(box(-13, 20, -9, 46), fill=upper)
    pen.rectangle(box(9, 20, 13, 46), fill=upper)
    pen.rectangle(box(-9, 18, 9, {"shirt": 44, "jacket": 50, "coat": 62}[person.upper[1]]), fill=upper)
    pen.ellipse(box(-6, 4, 6, 18), fill=skin)
    if person.hat:
        pen.rectangle(box(-8, 2, 8, 7), fill=shade(COLOURS[person.hat]))
    if person.bag:
        side = 1 if rng.random() < 0.5 else -1
        left, right = sorted((side * 10, side * 18))
        pen.rectangle(box(left, 38, right, 52), fill=shade(COLOURS[person.bag]))
    noise = rng.normal(0, 5, size=(height, width, 3))
    pixels: np.ndarray = np.asarray(image, dtype=float) + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def describe(person: Person, rng: np.random.Generator) -> str:
    """A caption: the garments in one of several wordings; hat and bag are forgotten now and then.

    Args:
        person: What it wears.
        rng: The wording.
    """
    upper, lower = f"{_a(person.upper[0])} {person.upper[1]}", f"{person.lower[0]} {person.lower[1]}"
    who = ("A person", "The person", "Someone")[int(rng.integers(3))]
    text = (
        f"{who} in {upper} and {lower}",
        f"{who} wears {lower} and {upper}",
        f"{who} is wearing {upper} with {lower}",
    )[int(rng.integers(3))]
    if person.hat and rng.random() < 0.85:
        text += (f", with {_a(person.hat)} hat", f" and has {_a(person.hat)} hat on")[int(rng.integers(2))]
    if person.bag and rng.random() < 0.85:
        text += (f", carrying {_a(person.bag)} bag", f"; {_a(person.bag)} bag in one hand")[int(rng.integers(2))]
    return text + "."


def _a(colour: str) -> str:
    return f"an {colour}" if colour[0] in "aeiou" else f"a {colour}"


@dataclass(frozen=True)
class _Layout:
    """Folder of the images, name of an image (person, take), and how the records are written."""

    folder: str
    name: Callable[[int, int], str]
    save: Callable[[Path, Sequence[dict[str, Any]]], None]


def _save_json(file: str, fields: Callable[[dict[str, Any]], dict[str, Any]], wrap: str = "") -> Callable[..., None]:
    def save(root: Path, rows: Sequence[dict[str, Any]]) -> None:
        records: Any = [fields(row) for row in rows]
        (root / file).write_text(json.dumps({wrap: records} if wrap else records, indent=1), encoding="utf-8")

    return save


def _official(path: str, first: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A record of the three person data sets; ids of training start at ``first`` and go on over the splits."""
    return lambda row: {
        "split": row["split"],
        "captions": row["captions"],
        path: row["name"],
        "processed_tokens": [caption.lower().strip(".").split() for caption in row["captions"]],
        "id": row["number"] + first,
    }


def _save_csv(root: Path, rows: Sequence[dict[str, Any]]) -> None:
    with (root / "captions.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "caption", "id", "split"])
        for row in rows:
            table.writerows([f"images/{row['name']}", text, row["number"], row["split"]] for text in row["captions"])


def _samples(root: Path, folder: str, rows: Sequence[dict[str, Any]]) -> None:
    """Two files that ``zoo predict`` takes: images of the test, their captions and ids."""
    (root / "samples").mkdir()
    for number, some in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :]), start=1):
        records = [
            {"image": f"../{folder}/{row['name']}", "captions": row["captions"], "id": row["number"]} for row in some
        ]
        (root / "samples" / f"captions_{number}.json").write_text(json.dumps(records, indent=1), encoding="utf-8")


def _sentences(row: dict[str, Any]) -> dict[str, Any]:
    return {"filename": row["name"], "split": row["split"], "sentences": [{"raw": text} for text in row["captions"]]}


_LAYOUTS = {
    "cuhk_pedes": _Layout(
        "CUHK-PEDES/imgs", lambda n, k: f"cam_{'ab'[k // 2]}/{n:04d}_{k:03d}.png",
        _save_json("CUHK-PEDES/reid_raw.json", _official("file_path", 1)),
    ),
    "icfg_pedes": _Layout(
        "ICFG-PEDES/imgs", lambda n, k: f"{n:04d}/{n:04d}_{k:03d}.jpg",
        lambda root, rows: _save_json("ICFG-PEDES/ICFG-PEDES.json", _official("file_path", 0))(
            root, [row for row in rows if row["split"] != "val"]
        ),
    ),
    "rstpreid": _Layout(
        "RSTPReid/imgs", lambda n, k: f"{n:04d}_c{k + 1}_{k:04d}.jpg",
        _save_json("RSTPReid/data_captions.json", _official("img_path", 0)),
    ),
    "cuhk01_pedes": _Layout(
        "images", lambda n, k: f"{n + 1:04d}{k + 1:03d}.jpg",
        _save_json("captions.json", lambda row: {
            "file": f"images/{row['name']}", "id": row["number"] + 1,
            "split": row["split"], "captions": row["captions"],
        }),
    ),
    "flickr8k": _Layout(
        "images", lambda n, k: f"{1000 + n}_{k}.jpg",
        _save_json("captions.json", lambda row: {
            "file": f"images/{row['name']}", "split": row["split"], "captions": row["captions"],
        }),
    ),
    "flickr30k": _Layout(
        "flickr30k-images", lambda n, k: f"{1000 + n}_{k}.jpg",
        _save_json("dataset_flickr30k.json", _sentences, wrap="images"),
    ),
    "imagetext": _Layout("images", lambda n, k: f"person{n:03d}_{k}.png", _save_csv),
}  # fmt: skip
