"""Seeded splits of outfits that come without: by outfit, or so that no product stands in two parts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from zoo.domains.outfit.catalogue import Outfit
from zoo.errors import InputError
from zoo.training import Split

Version = Literal["nondisjoint", "disjoint"]
VERSIONS = ("nondisjoint", "disjoint")
SHARES: dict[Split, float] = {"train": 0.7, "val": 0.1, "test": 0.2}
SHARED = 3  # products in common with a training outfit that make an outfit a near copy
HUB = 0.01  # of all outfits: a product in more of them belongs to training


def check_version(version: str) -> None:
    """Refuses another word than those of :data:`VERSIONS`.

    Raises:
        InputError: It is another.
    """
    if version not in VERSIONS:
        raise InputError(f"data.version must be one of {', '.join(VERSIONS)}, got {version!r}")


def split_outfits(
    outfits: Sequence[Outfit], version: Version, seed: int
) -> tuple[dict[Split, list[Outfit]], list[str]]:
    """Shares outfits out to training, validation and test.

    ``nondisjoint``: at random, 70 / 10 / 20 %. A validation or test outfit that shares three or more products with one
    training outfit is left out: stylists vary an outfit by a piece, and such a copy is known already.

    ``disjoint``: no product stands in two parts. Products in more than 1 % of the outfits are claimed by training
    first. Then outfits come in random order: one whose claimed products are all of one part joins it, one without a
    claimed product goes to validation or test, whichever is further behind 1 : 2, one with products of two parts is
    left out; an outfit claims its products for its part.

    Args:
        outfits: All of them.
        version: Which of the two.
        seed: Of the order.

    Returns:
        The outfits per part, and what was left out, a line each.
    """
    if version not in VERSIONS:
        raise InputError(f"data.version must be one of {', '.join(VERSIONS)}, got {version!r}")
    order = np.random.default_rng([seed, 0x0F17]).permutation(len(outfits))
    shuffled = [outfits[index] for index in order]
    return _by_outfit(shuffled) if version == "nondisjoint" else _by_product(shuffled)


def _by_outfit(shuffled: list[Outfit]) -> tuple[dict[Split, list[Outfit]], list[str]]:
    first = round(SHARES["train"] * len(shuffled))
    second = first + round(SHARES["val"] * len(shuffled))
    parts: dict[Split, list[Outfit]] = {
        "train": shuffled[:first],
        "val": shuffled[first:second],
        "test": shuffled[second:],
    }
    within: dict[int, list[int]] = defaultdict(list)
    for number, outfit in enumerate(parts["train"]):
        for item in outfit.items:
            within[item].append(number)
    notes = []
    for split in ("val", "test"):
        kept = [outfit for outfit in parts[split] if not _copies(outfit, within)]
        notes.append(
            f"{split}: {len(parts[split]) - len(kept)} of {len(parts[split])} outfits share {SHARED} or more products "
            "with a training outfit and are left out"
        )
        parts[split] = kept
    return parts, notes


def _copies(outfit: Outfit, within: dict[int, list[int]]) -> bool:
    shared = Counter(number for item in outfit.items for number in within.get(item, ()))
    return bool(shared) and max(shared.values()) >= SHARED


def _by_product(shuffled: list[Outfit]) -> tuple[dict[Split, list[Outfit]], list[str]]:
    parts: dict[Split, list[Outfit]] = {"train": [], "val": [], "test": []}
    counts = Counter(item for outfit in shuffled for item in outfit.items)
    owner: dict[int, Split] = {item: "train" for item, count in counts.items() if count > HUB * len(shuffled)}
    left_out = 0
    for outfit in shuffled:
        owners = {owner[item] for item in outfit.items if item in owner}
        if len(owners) > 1:
            left_out += 1
            continue
        behind: Split = "val" if len(parts["val"]) / SHARES["val"] < len(parts["test"]) / SHARES["test"] else "test"
        part = owners.pop() if owners else behind
        parts[part].append(outfit)
        owner.update(dict.fromkeys(outfit.items, part))
    return parts, [f"{left_out} of {len(shuffled)} outfits have products of two parts and are left out"]
