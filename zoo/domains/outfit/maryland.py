"""Maryland Polyvore (Han et al., ACM MM 2017), and Polyvore Outfits without images and item metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.domains.outfit.catalogue import Catalogue, Collection, Item, Labelled, Outfit, Spare, check_outfit
from zoo.domains.outfit.files import expect, read_json, read_lines
from zoo.domains.outfit.polyvore import (
    category_names,
    question,
    read_blanks,
    read_compatibility,
    read_outfits,
    read_sets,
    set_name,
)
from zoo.domains.outfit.splits import SHARES
from zoo.training import DataError, Split, refuse, usable
from zoo.training.lines import as_text, text_lines

MARYLAND: dict[Split, str] = {"train": "train_no_dup.json", "val": "valid_no_dup.json", "test": "test_no_dup.json"}


def read_maryland(root: Path, spare: Spare = refuse) -> Collection:
    """``{train,valid,test}_no_dup.json``, ``category_id.txt``, ``images/<set_id>/<index>.jpg`` and the test questions.

    The questions are ``fashion_compatibility_prediction.txt`` and ``fill_in_blank_test.json``, of Han et al. or, with
    the same names, the harder ones of Vasileva et al.; both refer to ``<set_id>_<index>``. The set has one level of
    categories only, so coarse and fine are the same.

    Raises:
        DataError: A file is missing or malformed; names file and entry.
    """
    names = _categories(root / "category_id.txt", spare) if (root / "category_id.txt").is_file() else {}
    items: list[Item] = []
    seen: dict[str, str] = {}
    members: dict[Split, list[tuple[str, str, list[str]]]] = {}
    for split, file in MARYLAND.items():
        members[split] = []
        for number, entry in enumerate(expect(read_json(root / file), list, "the file", str(root / file))):
            place = f"{root / file}: entry {number}"
            try:
                name = set_name(entry, place, seen)
                own = _items(root, name, entry, place, names)
            except DataError as error:
                spare(error)
                continue
            items += own
            seen[name] = place
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


def _items(root: Path, name: str, entry: Any, place: str, names: dict[str, str]) -> list[Item]:
    """The items of an outfit."""
    items: dict[str, Item] = {}
    for part in expect(entry.get("items"), list, "items", place):
        if not isinstance(part, dict) or "index" not in part:
            raise DataError(f"{place}: an item has no index")
        category = names.get(str(part.get("categoryid", "")), str(part.get("categoryid", "unknown")))
        image = root / "images" / name / f"{part['index']}.jpg"
        text = str(part.get("name") or "")
        token = f"{name}_{part['index']}"
        if token in items:
            raise DataError(f"{place}: index {part['index']} stands twice")
        items[token] = Item(token, text, category, category, image, place)
    check_outfit(range(len(items)), place)
    return list(items.values())


def _categories(file: Path, spare: Spare) -> dict[str, str]:
    """Lines ``id name of the category``."""
    lines = read_lines(file, spare)
    return {words[0]: " ".join(words[1:]) or words[0] for _, words in lines}


def read_metadata(root: Path, seed: int, spare: Spare = refuse) -> Collection:
    """Polyvore Outfits without images: ``valid.json``, ``compatibility_valid.txt``, ``train_category.json``.

    Only the category of an item is known, of 20,062 of the 25,132 items; the others have the category ``unknown``. The
    5,000 outfits are the official validation outfits. They are split 70 / 10 / 20 % at random, each with its label-1
    question and the label-0 question that stands 5,000 lines below it, which replaces its items category by category.
    Of an outfit or a pair of questions that cannot be used ``spare`` is told; it is left out.

    Raises:
        DataError: A file is missing or malformed; names file and line.
    """
    names = category_names(root / "categories.csv", spare)
    file = root / "train_category.json"
    known = expect(read_json(file), dict, "the file", str(file))
    sets = read_sets(root / "valid.json", spare)
    identities = dict.fromkeys(identity for _, _, members in sets for identity in members.values())
    items = []
    for identity in identities:
        number = str(known.get(identity, ""))
        fine, coarse = names.get(number, (number or "unknown", "unknown"))
        text = "" if not number else f"{fine} {coarse} category{number}"
        items.append(Item(identity, text, number or "unknown", coarse, None, f"{root / 'valid.json'}: item {identity}"))
    catalogue = Catalogue(items)
    outfits, tokens = read_outfits(root / "valid.json", catalogue, spare)
    pairs = _pairs(root / "compatibility_valid.txt", outfits, tokens, spare)
    order = np.random.default_rng([seed, 0x0F17]).permutation(len(outfits))
    first, second = round(SHARES["train"] * len(order)), round((SHARES["train"] + SHARES["val"]) * len(order))
    collection = Collection(catalogue, {})
    slices: dict[Split, np.ndarray] = {"train": order[:first], "val": order[first:second], "test": order[second:]}
    by_outfit: dict[int, list[Labelled]] = {}
    for at, one, zero in pairs:
        by_outfit.setdefault(at, []).extend([one, zero])
    for split, chosen in slices.items():
        collection.outfits[split] = [outfits[index] for index in chosen]
        collection.labelled[split] = [question for index in chosen for question in by_outfit.get(int(index), ())]
    missing = sum(item.category == "unknown" for item in items)
    collection.notes.append(f"{missing} of {len(items)} items have no known category")
    return collection


def _pairs(
    file: Path, outfits: Sequence[Outfit], tokens: dict[str, int], spare: Spare
) -> list[tuple[int, Labelled, Labelled]]:
    """Number of the outfit, its question and its negative, which stands half of the file below."""
    lines = [(place, line) for place, line in text_lines(file) if line.strip()]
    where = {outfit.items: number for number, outfit in enumerate(outfits)}
    half, odd = divmod(len(lines), 2)
    if odd or not half:
        raise DataError(
            f"{file}: has {len(lines)} questions, expected one for each outfit and then a negative for each"
        )

    def pair(at: int) -> tuple[int, Labelled, Labelled]:
        one, zero = (question(place, as_text(place, line).split(), tokens) for place, line in lines[at::half])
        if one.items not in where or one.label != 1 or zero.label != 0:
            raise DataError(f"{lines[at][0]}: {one.id} and {zero.id} are no outfit and its negative")
        return where[one.items], one, zero

    return usable(range(half), pair, spare)
