"""Outfits in csv files: the MANGO tables, and any pair of tables of outfits and items."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

from zoo.domains.outfit.catalogue import Catalogue, Collection, Item, Outfit, Spare, check_outfit
from zoo.domains.outfit.files import read_table
from zoo.domains.outfit.splits import Version, split_outfits
from zoo.training import DataError, Split, refuse

PRODUCT = (
    "cod_modelo_color", "des_agrup_color_eng", "des_sex", "des_fabric", "des_product_category",
    "des_product_family", "des_product_type", "des_filename",
)  # fmt: skip
WORDS = ("des_agrup_color_eng", "des_fabric", "des_product_family", "des_product_type", "des_sex")
SPLITS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read_mango(root: Path, version: Version, seed: int, spare: Spare = refuse) -> Collection:
    """The MANGO / UPC datathon tables: ``product_data.csv``, ``outfit_data.csv`` and ``images/``.

    An item's text is its colour, fabric, family, type and sex; its category the type, its group the product category.
    Of a row that cannot be used ``spare`` is told; it is left out, and outfits that need it too.

    Raises:
        DataError: A file is missing or malformed; names file and line.
    """
    items = []
    for place, row in read_table(root / "product_data.csv", PRODUCT, spare):
        image = root / "images" / PurePosixPath(row["des_filename"]).name
        text = " ".join(row[name].lower() for name in WORDS)
        category, group = row["des_product_type"], row["des_product_category"]
        items.append(Item(row["cod_modelo_color"], text, category, group, image, place))
    catalogue = Catalogue(items, spare)
    outfits = _grouped(root / "outfit_data.csv", ("cod_outfit", "cod_modelo_color"), catalogue, spare)
    return _divided(catalogue, outfits, version, seed)


def read_csv(root: Path, version: Version, seed: int, spare: Spare = refuse) -> Collection:
    """Any outfits in two tables, ``items.csv`` and ``outfits.csv``.

    ``items.csv``: ``item``, and any of ``image`` (relative to the table), ``text``, ``category``, ``group``.
    ``outfits.csv``: ``outfit``, ``item``, and maybe ``split`` (train, val, test); a row per item of an outfit. Without
    the column ``split`` the outfits are split by ``version`` and ``seed``. Of a row that cannot be used ``spare`` is
    told; it is left out, and outfits that need it too.

    Raises:
        DataError: A file is missing or malformed; names file and line.
    """
    items = []
    for place, row in read_table(root / "items.csv", ("item",), spare):
        image = root / row["image"] if row.get("image", "").strip() else None
        category = row.get("category", "").strip() or "unknown"
        group = row.get("group", "").strip() or category
        items.append(Item(row["item"], row.get("text", "").strip(), category, group, image, place))
    catalogue = Catalogue(items, spare)
    given: dict[str, tuple[Split, str]] = {}

    def in_a_split(place: str, row: dict[str, str]) -> None:
        if "split" not in row:
            return
        word = row["split"].strip().lower()
        if word not in SPLITS:
            raise DataError(f"{place}: split {row['split']!r} is unknown, expected train, val or test")
        split = given.setdefault(row["outfit"], (SPLITS[word], place))
        if split[0] != SPLITS[word]:
            raise DataError(
                f"{place}: outfit {row['outfit']} is in {SPLITS[word]} here and in {split[0]} at {split[1]}"
            )

    outfits = _grouped(root / "outfits.csv", ("outfit", "item"), catalogue, spare, in_a_split)
    if not given:
        return _divided(catalogue, outfits, version, seed)
    parts: dict[Split, list[Outfit]] = {split: [] for split in ("train", "val", "test")}
    for outfit in outfits:
        parts[given[outfit.id][0]].append(outfit)
    return Collection(catalogue, parts)


def _divided(catalogue: Catalogue, outfits: list[Outfit], version: Version, seed: int) -> Collection:
    divide = partial(split_outfits, version=version, seed=seed)
    parts, notes = divide(outfits)
    return Collection(catalogue, parts, notes=notes, whole=outfits, divide=divide)


def _grouped(
    file: Path,
    columns: tuple[str, str],
    catalogue: Catalogue,
    spare: Spare,
    check: Callable[[str, dict[str, str]], None] = lambda place, row: None,
) -> list[Outfit]:
    """The outfits of a table with a row per item; one with a row that cannot be used is left out, as it is not whole.

    Args:
        file: The table.
        columns: Of the outfit's name and of the item's.
        catalogue: All items.
        spare: Told of every such row.
        check: Raises for a row that cannot be used for other reasons.
    """
    members: dict[str, list[int]] = {}
    places: dict[str, str] = {}
    broken: set[str] = set()
    left_out: list[dict[str, str]] = []
    for place, row in read_table(file, columns, spare, left_out):
        name, item = (row[column] for column in columns)
        places.setdefault(name, place)
        try:
            (number,) = catalogue.numbers([item], place)
            check(place, row)
        except DataError as error:
            spare(error)
            broken.add(name)
            continue
        if number in members.setdefault(name, []):
            spare(DataError(f"{place}: item {item} stands in outfit {name} twice"))  # without the row it is whole
        else:
            members[name].append(number)
    broken |= {row.get(columns[0], "") for row in left_out}
    return [
        Outfit(name, check_outfit(numbers, places[name])) for name, numbers in members.items() if name not in broken
    ]
