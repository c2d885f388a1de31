"""Training and evaluation samples: which items, what is asked; and how samples become a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from zoo.domains.outfit.catalogue import Blank, Catalogue, Labelled, Outfit
from zoo.domains.outfit.questions import LEVELS, Level, Replacements, Stage, level_at
from zoo.training import DataError, read_image

Task = Literal["compatibility", "retrieval", "joint"]
LABELLED, BLANK, GALLERY = 0, 1, 2  # kinds of samples


@dataclass
class Sample:
    """One thing asked of the network.

    Attributes:
        id: Its name.
        kind: ``LABELLED`` (does it go together), ``BLANK`` (which candidate completes it) or ``GALLERY`` (an item).
        items: Numbers of the items given.
        label: 1 or 0 of a labelled outfit, else -1.
        candidates: Numbers of the candidates of a blank.
        correct: Place of the right candidate, else -1.
        gallery: Fine category of the gallery that a blank is asked in or that an item stands in, else -1.
        pictures: Pictures of the items by number, where the network sees pixels.
    """

    id: str
    kind: int
    items: tuple[int, ...]
    label: int = -1
    candidates: tuple[int, ...] = ()
    correct: int = -1
    gallery: int = -1
    pictures: dict[int, Tensor] = field(default_factory=dict)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Every item that it mentions."""
        return (*self.items, *self.candidates)


class Table:
    """Features of the items that a data set uses.

    Args:
        image: ``(N, Fi)`` by item number; rows of nan could not be made.
        text: ``(N, Ft)``; likewise.
        catalogue: The items.
        pixels: Read pictures instead of using ``image``.
        wrong: Why an item cannot be used, by its number, where its picture does not tell.
    """

    def __init__(
        self,
        image: np.ndarray,
        text: np.ndarray,
        catalogue: Catalogue,
        pixels: bool,
        wrong: Mapping[int, DataError] | None = None,
    ) -> None:
        self.image, self.text, self.catalogue, self.pixels = image, text, catalogue, pixels
        self.wrong = wrong if wrong is not None else {}
        self.unusable = np.isnan(image).any(1)

    def unreadable(self, numbers: Iterable[int]) -> dict[int, DataError]:
        """The items among these whose picture cannot be used, and why."""
        found: dict[int, DataError] = {}
        for number in numbers:
            try:
                self.check(Sample("", GALLERY, (number,)))
            except DataError as error:
                found[number] = error
        return found

    def check(self, sample: Sample) -> Sample:
        """The sample, with its pictures where pixels are used.

        Raises:
            DataError: The picture of one of its items cannot be used; names it.
        """
        for number in sample.numbers:
            item = self.catalogue.items[number]
            if number in self.wrong:
                raise self.wrong[number]
            if self.pixels:
                if item.image is None:
                    raise DataError(f"{item.place}: item {item.id} has no picture")
                if number not in sample.pictures:
                    sample.pictures[number] = read_image(item.image, f"{item.place} (image {item.image})")
            elif self.unusable[number]:
                assert item.image is not None  # only a picture that could not be read leaves nan
                read_image(item.image, item.place)  # tells what is wrong with it
                raise DataError(f"{item.image}: its features are not finite")
        return sample


class TrainingItems:
    """Samples to train on, a function of epoch, index and generator.

    Args:
        task: What is trained: ``joint`` gives each outfit, a made-up negative and a blank at once.
        outfits: Training outfits.
        labelled: Listed compatibility questions, used by ``compatibility``; None makes negatives up in each epoch.
        replacements: Where negatives come from.
        known: Existing outfits, which no negative may equal.
        table: The items.
        negatives: K, negatives of a blank.
        curriculum: How alike they are, epoch by epoch.
        replace: What the items of a made-up negative share with those they replace.
    """

    def __init__(
        self,
        task: Task,
        outfits: Sequence[Outfit],
        labelled: Sequence[Labelled] | None,
        replacements: Replacements,
        known: set[frozenset[int]],
        table: Table,
        negatives: int,
        curriculum: Sequence[Stage],
        replace: Level = "fine",
    ) -> None:
        self.replace = replace
        self.task, self.labelled, self.replacements, self.known = task, labelled, replacements, known
        self.table, self.negatives, self.curriculum = table, negatives, curriculum
        # nothing is left of an outfit of one item once it has a blank
        self.outfits = [outfit for outfit in outfits if task == "compatibility" or len(outfit.items) > 1]

    def __len__(self) -> int:
        if self.task == "compatibility":
            return len(self.labelled) if self.labelled is not None else 2 * len(self.outfits)
        return len(self.outfits)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A sample of the first epoch."""
        return self.item_at(0, index, rng)

    def item_at(self, epoch: int, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """The samples of an index: one, or three with the task ``joint``.

        Args:
            epoch: From 0.
            index: In [0, len).
            rng: The only source of randomness.

        Returns:
            ``id`` and ``samples``.
        """
        if self.task == "compatibility" and self.labelled is not None:
            listed = self.labelled[index]
            samples = [Sample(listed.id, LABELLED, listed.items, listed.label)]
        elif self.task == "compatibility":
            samples = [self._labelled(self.outfits[index // 2], index % 2 == 0, rng)]
        else:
            outfit = self.outfits[index]
            samples = [self._blank(outfit, epoch, rng)]
            if self.task == "joint":
                samples = [self._labelled(outfit, True, rng), self._labelled(outfit, False, rng), *samples]
        return {"id": samples[0].id, "samples": [self.table.check(sample) for sample in samples]}

    def _labelled(self, outfit: Outfit, real: bool, rng: np.random.Generator) -> Sample:
        if real:
            return Sample(outfit.id, LABELLED, outfit.items, 1)
        # where a fine category has nothing else, a coarse one gives a negative
        for level in LEVELS[LEVELS.index(self.replace) :: -1]:
            made = self.replacements.outfit(outfit.items, self.known, rng, level)
            if made is not None:
                return Sample(f"{outfit.id} replaced", LABELLED, made, 0)
        raise DataError(f"outfit {outfit.id}: no negative can be made of it, the set has too few items")

    def _blank(self, outfit: Outfit, epoch: int, rng: np.random.Generator) -> Sample:
        place = int(rng.integers(len(outfit.items)))
        item, rest = outfit.items[place], outfit.items[:place] + outfit.items[place + 1 :]
        level = level_at(self.curriculum, epoch)
        drawn = self.replacements.draw(item, self.negatives, outfit.items, level, rng) if self.negatives else ()
        return Sample(outfit.id, BLANK, rest, candidates=(item, *drawn), correct=0)


class EvaluationItems:
    """Questions of a split in a fixed order: labelled outfits, blanks, then the items of the galleries.

    Args:
        labelled: Compatibility questions.
        blanks: Fill-in-the-blank questions.
        asked: ``(len(blanks),)`` gallery in which each is asked too, -1 for none.
        entries: ``(category, item)`` of every gallery.
        table: The items.
    """

    def __init__(
        self,
        labelled: Sequence[Labelled],
        blanks: Sequence[Blank],
        asked: np.ndarray,
        entries: Sequence[tuple[int, int]],
        table: Table,
    ) -> None:
        self.table = table
        self.samples = [Sample(one.id, LABELLED, one.items, one.label) for one in labelled]
        self.samples += [
            Sample(one.id, BLANK, one.items, -1, one.answers, one.correct, int(gallery))
            for one, gallery in zip(blanks, asked, strict=True)
        ]
        self.samples += [
            Sample(f"gallery {category}: {table.catalogue.items[item].id}", GALLERY, (item,), gallery=category)
            for category, item in entries
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A question; nothing is random."""
        sample = self.samples[index]
        copy = Sample(**{**vars(sample), "pictures": {}})  # pictures are not kept from one pass to the next
        return {"id": sample.id, "samples": [self.table.check(copy)]}


def join(samples: Sequence[Sample], table: Table, targets: np.ndarray, pictures: Any) -> dict[str, Any]:
    """A batch: every item once, and samples that refer to it.

    Args:
        samples: B samples.
        table: Features of the items.
        targets: ``(N, Ft)`` what a query is told of an item it looks for.
        pictures: Turns a list of pictures into what the network sees; used with pixels only.

    Returns:
        ``numbers (M,)`` items of the batch, ``text (M, Ft)``, ``image (M, Fi)`` or ``pixels (M, 3, S, S)``;
        ``outfit (B, L)`` and ``candidates (B, C)``, rows of these, -1 where nothing is; ``kind``, ``label``,
        ``correct``, ``gallery``, ``group`` (coarse category of the right candidate, -1), ``key`` (number of the right
        candidate or of the gallery item, -1): ``(B,)``; ``target (B, Ft)``; and the lists ``id``, ``files``, ``texts``
        (of the items) and ``groups`` (names of the coarse categories).
    """
    numbers = np.unique([number for sample in samples for number in sample.numbers])
    keys = np.array([_key(sample) for sample in samples])
    coarse = table.catalogue.coarse
    items = [table.catalogue.items[number] for number in numbers]
    batch: dict[str, Any] = {
        "id": [sample.id for sample in samples],
        "files": [str(item.image or "") for item in items],
        "texts": [item.text or item.category for item in items],
        "groups": table.catalogue.groups,
        "numbers": torch.from_numpy(numbers),
        "text": torch.from_numpy(table.text[numbers]),
        "outfit": _rows([sample.items for sample in samples], numbers),
        "candidates": _rows([sample.candidates for sample in samples], numbers),
        "key": torch.from_numpy(keys),
        "group": torch.from_numpy(np.where(keys < 0, -1, coarse[keys])),
        "target": torch.from_numpy(np.where(keys[:, None] < 0, 0, targets[keys]).astype(np.float32)),
    }
    for name in ("kind", "label", "correct", "gallery"):
        batch[name] = torch.tensor([getattr(sample, name) for sample in samples])
    if table.pixels:
        known = {number: picture for sample in samples for number, picture in sample.pictures.items()}
        batch["pixels"] = pictures([known[int(number)] for number in numbers])
    else:
        batch["image"] = torch.from_numpy(table.image[numbers])
    return batch


def _key(sample: Sample) -> int:
    if sample.kind == BLANK:
        return sample.candidates[sample.correct]
    return sample.items[0] if sample.kind == GALLERY else -1


def _rows(lists: Sequence[tuple[int, ...]], numbers: np.ndarray) -> Tensor:
    """Lists of item numbers as places in ``numbers``, padded with -1."""
    width = max(1, *(len(one) for one in lists))
    rows = np.full((len(lists), width), -1, dtype=np.int64)
    for row, one in zip(rows, lists, strict=True):
        row[: len(one)] = np.searchsorted(numbers, one)
    return torch.from_numpy(rows)
