"""Made-up negatives, fill-in-the-blank questions and galleries: documented, seeded rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NotRequired, TypedDict

import numpy as np

from zoo.domains.outfit.catalogue import Blank, Catalogue, Labelled, Outfit
from zoo.errors import InputError

Level = Literal["any", "coarse", "fine"]
LEVELS: tuple[Level, ...] = ("any", "coarse", "fine")
ANSWERS = 4
_TRIES = 50


class Stage(TypedDict):
    """One stage of a curriculum of negatives.

    Attributes:
        level: What a negative shares with the item that it stands for: nothing, its coarse, or its fine category.
        from_epoch: First epoch of the stage, from 0.
    """

    level: Level
    from_epoch: NotRequired[int]


def check_curriculum(stages: Sequence[Stage]) -> None:
    """Refuses a curriculum that does not say from the first epoch on what to do.

    Raises:
        InputError: Names the stage.
    """
    starts = [stage.get("from_epoch", 0) for stage in stages]
    for stage in stages:
        if stage["level"] not in LEVELS:
            raise InputError(f"data.curriculum: level {stage['level']!r} given, expected one of {', '.join(LEVELS)}")
    if not starts or starts[0] != 0 or sorted(set(starts)) != starts:
        raise InputError(f"data.curriculum: stages must start at epoch 0 and rise, these start at {starts}")


def level_at(stages: Sequence[Stage], epoch: int) -> Level:
    """The level in force in an epoch."""
    return [stage["level"] for stage in stages if stage.get("from_epoch", 0) <= epoch][-1]


class Replacements:
    """Draws items of the same category as a given one.

    Args:
        catalogue: All items.
        allowed: Numbers of the items that may be drawn.
    """

    def __init__(self, catalogue: Catalogue, allowed: Sequence[int]) -> None:
        self.catalogue = catalogue
        self.all = np.unique(np.asarray(allowed, dtype=np.int64))
        self._pools: dict[Level, dict[int, np.ndarray]] = {
            "fine": _pools(catalogue.fine, self.all),
            "coarse": _pools(catalogue.coarse, self.all),
        }

    def pool(self, item: int, level: Level) -> np.ndarray:
        """Items that share the category of ``item`` at a level; all for ``any``."""
        if level == "any":
            return self.all
        kind = self.catalogue.fine if level == "fine" else self.catalogue.coarse
        return self._pools[level].get(int(kind[item]), self.all[:0])

    def draw(
        self, item: int, count: int, taken: Sequence[int], level: Level, rng: np.random.Generator
    ) -> tuple[int, ...]:
        """Draws different items in place of one; from a wider category where the level has too few.

        Args:
            item: The item whose place they take.
            count: How many; fewer come only where all allowed items are too few.
            taken: Items that must not come.
            level: How alike they must be.
            rng: Decides.
        """
        chosen: list[int] = []
        for wider in LEVELS[LEVELS.index(level) :: -1]:
            pool, barred = self.pool(item, wider), {item, *taken, *chosen}
            need = count - len(chosen)
            # drawing a few too many and dropping the barred ones is far cheaper than a filtered copy of the pool
            found = rng.choice(pool, size=min(len(pool), need + len(barred)), replace=False) if len(pool) else pool
            chosen += [int(number) for number in found if int(number) not in barred][:need]
            if len(chosen) == count:
                break
        return tuple(chosen)

    def outfit(
        self, items: tuple[int, ...], known: set[frozenset[int]], rng: np.random.Generator, level: Level = "fine"
    ) -> tuple[int, ...] | None:
        """Every item of an outfit replaced by another of its category, so that no known outfit comes out.

        Returns:
            The made-up outfit; None where none was found (a category of one item, again and again).
        """
        for _ in range(_TRIES):
            made: list[int] = []
            for item in items:
                made += self.draw(item, 1, [*items, *made], level, rng)
            if len(made) == len(items) and frozenset(made) not in known:
                return tuple(made)
        return None


def _pools(kinds: np.ndarray, allowed: np.ndarray) -> dict[int, np.ndarray]:
    order = allowed[np.argsort(kinds[allowed], kind="stable")]
    values, starts = np.unique(kinds[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, starts[1:]), strict=True))


def make_labelled(
    outfits: Sequence[Outfit], replacements: Replacements, known: set[frozenset[int]], seed: int, level: Level = "fine"
) -> list[Labelled]:
    """Each outfit with label 1, and with label 0 its items replaced one by one within their category of a level."""
    found = []
    for number, outfit in enumerate(outfits):
        found.append(Labelled(outfit.id, outfit.items, 1))
        made = replacements.outfit(outfit.items, known, np.random.default_rng([seed, 1, number]), level)
        if made is not None:
            found.append(Labelled(f"{outfit.id} replaced", made, 0))
    return found


def completions(known: set[frozenset[int]]) -> dict[frozenset[int], set[int]]:
    """Which items complete a set of items to a known outfit."""
    found: dict[frozenset[int], set[int]] = {}
    for outfit in known:
        for item in outfit:
            found.setdefault(outfit - {item}, set()).add(item)
    return found


def make_blanks(
    outfits: Sequence[Outfit], replacements: Replacements, known: set[frozenset[int]], seed: int, level: Level = "fine"
) -> list[Blank]:
    """One question per outfit of two items or more: a random item taken out, three wrong answers of its category.

    The category is that of the level, in general the fine one. A wrong answer never completes a known outfit, and is
    never part of the outfit. Where the category has too few items, the coarse one helps out, then any.
    """
    found = []
    completing = completions(known)
    for number, outfit in enumerate(outfits):
        rng = np.random.default_rng([seed, 2, number])
        if len(outfit.items) < 2:
            continue
        blank = int(rng.integers(len(outfit.items)))
        item, rest = outfit.items[blank], outfit.items[:blank] + outfit.items[blank + 1 :]
        wrong = replacements.draw(item, ANSWERS - 1, [*outfit.items, *completing.get(frozenset(rest), ())], level, rng)
        correct = int(rng.integers(len(wrong) + 1))
        found.append(Blank(outfit.id, rest, (*wrong[:correct], item, *wrong[correct:]), correct))
    return found


def make_galleries(
    blanks: Sequence[Blank], catalogue: Catalogue, preferred: Sequence[int], others: Sequence[int], size: int, seed: int
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """A gallery of ``size`` items per fine category, and which question asks in which one.

    The published protocol (CSA-Net) ranks the right item among 3,000 of its fine category; its lists were never
    released. Here a category is used that has at least ``size`` items in the split and in training together. Its
    gallery holds the right answers of the split's questions (a random choice of ``size`` where there are more), then
    random other items of the split, then random training items. A question is asked where its category is used and
    its answer is in the gallery.

    Args:
        blanks: The split's questions.
        catalogue: All items.
        preferred: Items of the split.
        others: Items of training.
        size: Items of each gallery.
        seed: Of the choices.

    Returns:
        For each question its category, or -1 where it is not asked; and ``(category, item)`` of every gallery.
    """
    asked = np.full(len(blanks), -1, dtype=np.int64)
    answers = np.array([blank.answers[blank.correct] for blank in blanks], dtype=np.int64)
    entries: list[tuple[int, int]] = []
    first, second = np.unique(np.asarray(preferred)), np.unique(np.asarray(others))
    second = second[~np.isin(second, first)]
    for category in np.unique(catalogue.fine[answers]) if len(answers) else ():
        rng = np.random.default_rng([seed, 3, int(category)])
        right = np.unique(answers[catalogue.fine[answers] == category])
        near = first[(catalogue.fine[first] == category) & ~np.isin(first, right)]
        far = second[(catalogue.fine[second] == category) & ~np.isin(second, right)]
        if len(right) + len(near) + len(far) < size:
            continue
        ordered = np.concatenate([rng.permutation(part) for part in (right, near, far)])[:size]
        entries += [(int(category), int(item)) for item in ordered]
        asked[(catalogue.fine[answers] == category) & np.isin(answers, ordered)] = category
    return asked, entries
