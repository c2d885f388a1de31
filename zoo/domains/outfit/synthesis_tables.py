"""The made-up outfits in the other sets' files: tables of one's own, MANGO's tables, Maryland Polyvore."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from zoo.domains.outfit.maryland import MARYLAND
from zoo.domains.outfit.synthesis import synthesize
from zoo.domains.outfit.tables import PRODUCT

_FILES = {"train": "train.json", "val": "valid.json", "test": "test.json"}


class _Made(NamedTuple):
    """What :func:`synthesize` wrote into a folder.

    Attributes:
        folder: With ``images/`` and the questions.
        items: Entry of the metadata by item.
        categories: Fine category by its number.
        sets: Split, name and items of each outfit.
    """

    folder: Path
    items: dict[str, dict[str, Any]]
    categories: dict[str, str]
    sets: list[tuple[str, str, list[str]]]


def synthesize_csv(root: Path, seed: int = 0) -> None:
    """Writes ``items.csv``, ``outfits.csv`` and ``images/``; see :func:`zoo.domains.outfit.tables.read_csv`."""
    for made in _made(seed):
        items = [
            (name, f"images/{name}.jpg", item["url_name"], made.categories[item["category_id"]],
             item["semantic_category"]) for name, item in made.items.items()
        ]  # fmt: skip
        _write(root / "items.csv", ("item", "image", "text", "category", "group"), items)
        rows = [(name, item, split) for split, name, members in made.sets for item in members]
        _write(root / "outfits.csv", ("outfit", "item", "split"), rows)
        shutil.copytree(made.folder / "images", root / "images")


def synthesize_mango(root: Path, seed: int = 0) -> None:
    """Writes ``product_data.csv``, ``outfit_data.csv`` and ``images/``."""
    for made in _made(seed):
        products = [
            (name, "COLOUR", "Female", "P-PLANA", item["semantic_category"], item["semantic_category"],
             made.categories[item["category_id"]], f"datathon/images/{name}.jpg") for name, item in made.items.items()
        ]  # fmt: skip
        _write(root / "product_data.csv", PRODUCT, products)
        rows = [(name, item) for _, name, members in made.sets for item in members]
        _write(root / "outfit_data.csv", ("cod_outfit", "cod_modelo_color"), rows)
        shutil.copytree(made.folder / "images", root / "images")


def synthesize_maryland(root: Path, seed: int = 0) -> None:
    """Writes the outfits, ``category_id.txt``, ``images/<set_id>/<index>.jpg`` and the questions of the test."""
    for made in _made(seed):
        for split, file in MARYLAND.items():
            sets = [(name, members) for part, name, members in made.sets if part == split]
            entries = [{"set_id": name, "items": _entries(made, members)} for name, members in sets]
            (root / file).write_text(json.dumps(entries))
        for _, name, members in made.sets:
            (root / "images" / name).mkdir(parents=True)
            for index, item in enumerate(members, start=1):
                shutil.copy(made.folder / "images" / f"{item}.jpg", root / "images" / name / f"{index}.jpg")
        lines = [f"{number} {name}\n" for number, name in made.categories.items()]
        (root / "category_id.txt").write_text("".join(lines))
        questions = made.folder / "disjoint"
        shutil.copy(questions / "compatibility_test.txt", root / "fashion_compatibility_prediction.txt")
        shutil.copy(questions / "fill_in_blank_test.json", root / "fill_in_blank_test.json")


def synthesize_metadata(root: Path, seed: int = 0) -> None:
    """Writes ``valid.json``, its questions (all right ones first), ``train_category.json``, ``categories.csv``."""
    for made in _made(seed):
        outfits = made.folder / "disjoint"
        shutil.copy(outfits / "train.json", root / "valid.json")
        lines = (outfits / "compatibility_train.txt").read_text().splitlines(keepends=True)
        (root / "compatibility_valid.txt").write_text("".join(sorted(lines, key=lambda line: line[0], reverse=True)))
        known = {name: item["category_id"] for name, item in made.items.items()}
        (root / "train_category.json").write_text(json.dumps(known))
        shutil.copy(made.folder / "categories.csv", root / "categories.csv")


def _made(seed: int) -> Iterator[_Made]:
    """The made-up Polyvore Outfits, as long as it is looked at."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        synthesize(folder, seed)
        lines = (folder / "categories.csv").read_text().splitlines()
        categories = {number: kind for number, kind, _ in (line.split(",") for line in lines)}
        sets = []
        for split, file in _FILES.items():
            for entry in json.loads((folder / "disjoint" / file).read_text()):
                sets.append((split, entry["set_id"], [item["item_id"] for item in entry["items"]]))
        yield _Made(folder, json.loads((folder / "polyvore_item_metadata.json").read_text()), categories, sets)


def _entries(made: _Made, members: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"index": index, "name": made.items[item]["url_name"], "categoryid": made.items[item]["category_id"]}
        for index, item in enumerate(members, start=1)
    ]


def _write(file: Path, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(head)
        writer.writerows(rows)
