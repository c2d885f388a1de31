"""Maryland Polyvore (Han et al., ACM MM 2017), and Polyvore Outfits without images and item metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo.domains.outfit.catalogue import Catalogue, Collection, Item, Labelled, Outfit, Spare, check_outfit
from zoo.domains.outfit.files import expect, read_json
from zoo.domains.outfit.polyvore import category_names, read_blanks, read_compatibility, read_outfits
from zoo.domains.outfit.splits import SHARES
from zoo.training import DataError, Split, refuse, usable

MARYLAND: dict[Split, str] = {"train": "train_no_dup.json", "val": "valid_no_dup.json", "test": "test_no_dup.json"}


def read_maryland(root: Path, spare: Spare = refuse) -> Collection:
    """``{train,valid,test}_no_dup.json``, ``category_id.txt``, ``images/<set_id>/<index>.jpg`` and the test questions.

    The questions are ``fashion_compatibility_prediction.txt`` and ``fill_in_blank_test.json``, of Han et al. or, with
    the same names, the harder ones of Vasileva et al.; both refer to ``<set_id>_<index>``. The set has one level of
    categories only, so coarse and fine are the same.

    Raises:
        DataError: A file is missing or malformed; names file and entry.
    """
    names = _categories(root / "category_id.txt") if (root / "category_id.txt").is_file() else {}
    items: list[Item] = []
    members: dict[Split, list[tuple[str, str, list[str]]]] = {}
    for split, file in MARYLAND.items():
        members[split] = []
        for number, entry in enumerate(expect(read_json(root / file), list, "the file", str(root / file))):
            place = f"{root / file}: entry {number}"
            try:
                name, own = _items(root, entry, place, names)
            except DataError as error:
                spare(error)
                continue
            items += own
            members[split].append((name, place, [item.id for item in own]))
    catalogue = Catalogue(items, spare)

    def outfit(given: tuple[str, str, list[str]]) -> Outfit:
        name, place, found = given
        return Outfit(name, check_outfit(catalogue.numbers(found, place), place))

    outfits: dict[Split, list[Outfit]] = {split: usable(sets, outfit, spare) for split, sets in members.items()}
    collection = Collection(catalogue, outfits)
    labels, blanks = root / "fashion_compatibility_prediction.txt", root / "fill_in_blank_test.json"
    if labels.is_file():
        collection.labelled["test"] = read_compatibility(labels, catalogue.number, spare)
    if blanks.is_file():
        collection.blanks["test"] = read_blanks(blanks, catalogue.number, spare)
    return collection


def _items(root: Path, entry: Any, place: str, names: dict[str, str]) -> tuple[str, list[Item]]:
    """Name and items of an outfit."""
    name = str(expect(entry, dict, "the entry", place).get("set_id", ""))
    items = []
    for part in expect(entry.get("items"), list, "items", place):
        if not isinstance(part, dict) or "index" not in part:
            raise DataError(f"{place}: an item has no index")
        category = names.get(str(part.get("categoryid", "")), str(part.get("categoryid", "unknown")))
        image = root / "images" / name / f"{part['index']}.jpg"
        text = str(part.get("name") or "")
        items.append(Item(f"{name}_{part['index']}", text, category, category, image, place))
    check_outfit(range(len(items)), place)
    return name, items


def _categories(file: Path) -> dict[str, str]:
    """Lines ``id name of the category``."""
    names = {}
    for line in file.read_text(encoding="utf-8-sig").splitlines():
        number, _, name = line.strip().partition(" ")
        if number:
            names[number] = name.strip() or number
    return names


def read_metadata(root: Path, seed: int) -> Collection:
    """Polyvore Outfits without images: ``valid.json``, ``compatibility_valid.txt``, ``train_category.json``.

    Only the category of an item is known, of 20,062 of the 25,132 items; the others have the category ``unknown``. The
    5,000 outfits are the official validation outfits. They are split 70 / 10 / 20 % at random, each with its label-1
    question and the label-0 question that stands 5,000 lines below it, which replaces its items category by category.

    Raises:
        DataError: A file is missing or malformed; names file and line.
    """
    names = category_names(root / "categories.csv")
    file = root / "train_category.json"
    known = expect(read_json(file), dict, "the file", str(file))
    sets = read_json(root / "valid.json")
    parts = (part for entry in sets if isinstance(entry, dict) for part in entry.get("items", ()))
    identities = dict.fromkeys(str(part["item_id"]) for part in parts if "item_id" in part)
    items = []
    for identity in identities:
        number = str(known.get(identity, ""))
        fine, coarse = names.get(number, (number or "unknown", "unknown"))
        text = "" if not number else f"{fine} {coarse} category{number}"
        items.append(Item(identity, text, number or "unknown", coarse, None, f"{root / 'valid.json'}: item {identity}"))
    catalogue = Catalogue(items)
    outfits, tokens = read_outfits(root / "valid.json", catalogue)
    questions = read_compatibility(root / "compatibility_valid.txt", tokens)
    where = {outfit.items: number for number, outfit in enumerate(outfits)}
    half = len(questions) // 2
    pairs = [(where.get(one.items), one, zero) for one, zero in zip(questions[:half], questions[half:], strict=True)]
    for place, one, zero in pairs:
        if place is None or one.label != 1 or zero.label != 0:
            raise DataError(f"{root}: {one.id} and {zero.id} are no outfit and its negative")
    order = np.random.default_rng([seed, 0x0F17]).permutation(len(outfits))
    first, second = round(SHARES["train"] * len(order)), round((SHARES["train"] + SHARES["val"]) * len(order))
    collection = Collection(catalogue, {})
    slices: dict[Split, np.ndarray] = {"train": order[:first], "val": order[first:second], "test": order[second:]}
    by_outfit: dict[int, list[Labelled]] = {}
    for place, one, zero in pairs:
        by_outfit.setdefault(int(place or 0), []).extend([one, zero])
    for split, chosen in slices.items():
        collection.outfits[split] = [outfits[index] for index in chosen]
        collection.labelled[split] = [question for index in chosen for question in by_outfit.get(int(index), ())]
    missing = sum(item.category == "unknown" for item in items)
    collection.notes.append(f"{missing} of {len(items)} items have no known category")
    return collection
