"""Outfits in csv files: the MANGO tables, and any pair of tables of outfits and items."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from zoo.domains.outfit.catalogue import Catalogue, Collection, Item, Outfit, check_outfit
from zoo.domains.outfit.files import read_table
from zoo.domains.outfit.splits import Version, split_outfits
from zoo.training import DataError, Split

PRODUCT = (
    "cod_modelo_color", "des_agrup_color_eng", "des_sex", "des_fabric", "des_product_category",
    "des_product_family", "des_product_type", "des_filename",
)  # fmt: skip
WORDS = ("des_agrup_color_eng", "des_fabric", "des_product_family", "des_product_type", "des_sex")
SPLITS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read_mango(root: Path, version: Version, seed: int) -> Collection:
    """The MANGO / UPC datathon tables: ``product_data.csv``, ``outfit_data.csv`` and ``images/``.

    An item's text is its colour, fabric, family, type and sex; its category the type, its group the product category.

    Raises:
        DataError: A file is missing or malformed; names file and line.
    """
    items = []
    for place, row in read_table(root / "product_data.csv", PRODUCT):
        image = root / "images" / PurePosixPath(row["des_filename"]).name
        text = " ".join(row[name].lower() for name in WORDS)
        category, group = row["des_product_type"], row["des_product_category"]
        items.append(Item(row["cod_modelo_color"], text, category, group, image, place))
    catalogue = Catalogue(items)
    rows = read_table(root / "outfit_data.csv", ("cod_outfit", "cod_modelo_color"))
    outfits = _grouped([(place, row["cod_outfit"], row["cod_modelo_color"]) for place, row in rows], catalogue)
    parts, notes = split_outfits(outfits, version, seed)
    return Collection(catalogue, parts, notes=notes)


def read_csv(root: Path, version: Version, seed: int) -> Collection:
    """Any outfits in two tables, ``items.csv`` and ``outfits.csv``.

    ``items.csv``: ``item``, and any of ``image`` (relative to the table), ``text``, ``category``, ``group``.
    ``outfits.csv``: ``outfit``, ``item``, and maybe ``split`` (train, val, test); a row per item of an outfit. Without
    the column ``split`` the outfits are split by ``version`` and ``seed``.

    Raises:
        DataError: A file is missing or malformed; names file and line.
    """
    items = []
    for place, row in read_table(root / "items.csv", ("item",)):
        image = root / row["image"] if row.get("image", "").strip() else None
        category = row.get("category", "").strip() or "unknown"
        group = row.get("group", "").strip() or category
        items.append(Item(row["item"], row.get("text", "").strip(), category, group, image, place))
    catalogue = Catalogue(items)
    rows = read_table(root / "outfits.csv", ("outfit", "item"))
    outfits = _grouped([(place, row["outfit"], row["item"]) for place, row in rows], catalogue)
    if "split" not in rows[0][1]:
        parts, notes = split_outfits(outfits, version, seed)
        return Collection(catalogue, parts, notes=notes)
    given: dict[str, tuple[Split, str]] = {}
    for place, row in rows:
        word = row["split"].strip().lower()
        if word not in SPLITS:
            raise DataError(f"{place}: split {row['split']!r} is unknown, expected train, val or test")
        split = given.setdefault(row["outfit"], (SPLITS[word], place))
        if split[0] != SPLITS[word]:
            raise DataError(
                f"{place}: outfit {row['outfit']} is in {SPLITS[word]} here and in {split[0]} at {split[1]}"
            )
    parts = {split: [] for split in ("train", "val", "test")}
    for outfit in outfits:
        parts[given[outfit.id][0]].append(outfit)
    return Collection(catalogue, parts)


def _grouped(rows: list[tuple[str, str, str]], catalogue: Catalogue) -> list[Outfit]:
    members: dict[str, list[int]] = {}
    places: dict[str, str] = {}
    for place, outfit, item in rows:
        members.setdefault(outfit, []).extend(catalogue.numbers([item], place))
        places.setdefault(outfit, place)
    return [Outfit(name, check_outfit(numbers, places[name])) for name, numbers in members.items()]
