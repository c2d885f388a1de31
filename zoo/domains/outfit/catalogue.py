"""Items with their categories, outfits, labelled outfits and questions: what every reader gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.training import DataError, Split, refuse

Spare = Callable[[DataError], None]


@dataclass(frozen=True)
class Item:
    """A product.

    Attributes:
        id: Its name in the data set.
        text: What is said about it; may be empty.
        category: Fine category, e.g. ``"sneakers"``.
        group: Coarse category, e.g. ``"shoes"``.
        image: The picture, or None where the set has none.
        place: File and row it was read from, for errors.
    """

    id: str
    text: str
    category: str
    group: str
    image: Path | None
    place: str


class Catalogue:
    """All items by number, with their categories as numbers.

    Args:
        items: Each id once.
        spare: What is done about an item whose id another has; it is left out.

    Attributes:
        items: By number.
        number: The number of an id.
        categories: Names of the fine categories, sorted.
        groups: Names of the coarse categories, sorted.
        fine: ``(N,)`` fine category of each item.
        coarse: ``(N,)`` coarse category of each item.

    Raises:
        DataError: Two items have one id.
    """

    def __init__(self, items: Sequence[Item], spare: Spare = refuse) -> None:
        self.items: list[Item] = []
        self.number: dict[str, int] = {}
        for item in items:
            if item.id in self.number:
                first = self.items[self.number[item.id]].place
                spare(DataError(f"{item.place}: item {item.id} stands at {first} too"))
                continue
            self.number[item.id] = len(self.items)
            self.items.append(item)
        self.categories = sorted({item.category for item in self.items})
        self.groups = sorted({item.group for item in self.items})
        fine = {name: index for index, name in enumerate(self.categories)}
        coarse = {name: index for index, name in enumerate(self.groups)}
        self.fine = np.array([fine[item.category] for item in self.items], dtype=np.int64)
        self.coarse = np.array([coarse[item.group] for item in self.items], dtype=np.int64)

    def numbers(self, ids: Sequence[str], place: str) -> tuple[int, ...]:
        """The numbers of ids.

        Raises:
            DataError: An id belongs to no item; names ``place``.
        """
        for name in ids:
            if name not in self.number:
                raise DataError(f"{place}: there is no item {name}")
        return tuple(self.number[name] for name in ids)


@dataclass(frozen=True)
class Outfit:
    """Items that somebody put together: its name and the numbers of its items."""

    id: str
    items: tuple[int, ...]


@dataclass(frozen=True)
class Labelled:
    """A set of items with its label: 1 goes together, 0 does not."""

    id: str
    items: tuple[int, ...]
    label: int


@dataclass(frozen=True)
class Blank:
    """A fill-in-the-blank question.

    Attributes:
        id: Its name.
        items: The items that are left.
        answers: Candidates.
        correct: Place of the right one among them.
    """

    id: str
    items: tuple[int, ...]
    answers: tuple[int, ...]
    correct: int


def mentioned(entry: Outfit | Labelled | Blank) -> tuple[int, ...]:
    """Numbers of all items of an outfit or a question."""
    return (*entry.items, *entry.answers) if isinstance(entry, Blank) else entry.items


@dataclass
class Collection:
    """A data set: its items, and per split its outfits; questions where the set has its own.

    Attributes:
        catalogue: All items.
        outfits: Per split.
        labelled: Compatibility questions of a split, where the set has them.
        blanks: Fill-in-the-blank questions of a split, where the set has them.
        notes: What was left out or made up while reading, a line each.
        whole: All outfits, where the set does not say which split they are of.
        divide: Shares them out then; gives the outfits per split, and notes.
    """

    catalogue: Catalogue
    outfits: dict[Split, list[Outfit]]
    labelled: dict[Split, list[Labelled]] = field(default_factory=dict)
    blanks: dict[Split, list[Blank]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    whole: Sequence[Outfit] = ()
    divide: Callable[[Sequence[Outfit]], tuple[dict[Split, list[Outfit]], list[str]]] | None = None

    def known(self) -> set[frozenset[int]]:
        """Every outfit of every split as a set, so that no made-up outfit equals one."""
        return {frozenset(outfit.items) for outfits in self.outfits.values() for outfit in outfits}


def check_outfit(items: Sequence[int], place: str) -> tuple[int, ...]:
    """An outfit's items without repeats.

    Raises:
        DataError: There is none.
    """
    if not items:
        raise DataError(f"{place}: the outfit has no item")
    return tuple(dict.fromkeys(items))
