"""What every outfit data set shares: features, questions, curriculum, batches."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np

from zoo.domains.outfit.catalogue import Blank, Collection, Labelled, Outfit, mentioned
from zoo.domains.outfit.encoders import ItemEncoder
from zoo.domains.outfit.precomputed import read_features
from zoo.domains.outfit.questions import (
    Level,
    Replacements,
    Stage,
    check_curriculum,
    make_blanks,
    make_galleries,
    make_labelled,
)
from zoo.domains.outfit.samples import EvaluationItems, Sample, Table, Task, TrainingItems, join
from zoo.errors import InputError
from zoo.training import DataError, FeatureStore, Items, Split, ZooData, read_image
from zoo.training.paths import is_there
from zoo.training.whole import whole

Target = Literal["category", "text"]
_Entry = TypeVar("_Entry", Outfit, Labelled, Blank)
SPLITS: tuple[Split, ...] = ("train", "val", "test")
QUESTION_SEED = 0  # questions that a set lacks are made up the same in every training


class OutfitData(ZooData):
    """Base of the outfit data sets; a subclass reads a :class:`Collection`.

    Args:
        root: Folder of the data.
        batch_size: Samples per process and step.
        workers: Loader processes.
        synthesize: Use a tiny made-up set.
        limit: Use only so many samples of each split.
        on_error: ``stop`` at the first unusable picture, or ``skip`` the samples that need one, count and report them.
        task: ``compatibility``, ``retrieval`` or ``joint``: which samples are trained on and evaluated.
        encoder: How pictures and texts become features; the same as the model's.
        features: Features computed before, instead of the encoder: a file or folder, relative to the data.
        pixels: Give the network pictures, for a picture network that is trained along.
        negatives: Sampled negatives of a retrieval query, at least 0.
        curriculum: How alike negatives are to the right item, by epoch; always the fine category where null.
        questions: Compatibility is trained on the ``listed`` questions of the set, or on ``fresh`` negatives made up in
            each epoch; where a set lists none they are always fresh.
        target: What a query that can be told what is looked for is told: the ``category``, or the item's ``text``.
        gallery: Items of each category's gallery in retrieval; 0 asks no such question.
        replace: What an item of a made-up question shares with the one it replaces: its ``fine`` or ``coarse``
            category, or nothing (``any``).
    """

    domain = "outfit"

    def __init__(
        self,
        root: str | None,
        batch_size: int,
        workers: int,
        synthesize: bool,
        limit: int | None,
        on_error: Literal["stop", "skip"],
        task: Task,
        encoder: ItemEncoder | None,
        features: str | None,
        pixels: bool,
        negatives: int,
        curriculum: list[Stage] | None,
        questions: Literal["listed", "fresh"],
        target: Target,
        gallery: int,
        replace: Level = "fine",
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
        for name, value, kind in (("task", task, Task), ("target", target, Target), ("replace", replace, Level)):
            if value not in get_args(kind):
                raise InputError(f"data.{name} must be one of {', '.join(get_args(kind))}, got {value!r}")
        for name, number in (("negatives", negatives), ("gallery", gallery)):
            if number < 0:
                raise InputError(f"data.{name} must be at least 0, got {number}")
        self.curriculum: Sequence[Stage] = curriculum if curriculum is not None else [{"level": "fine"}]
        check_curriculum(self.curriculum)
        self.encoder = encoder if encoder is not None else ItemEncoder()
        if pixels and (features is not None or not self.encoder.carried):
            raise InputError("data.pixels needs an encoder.image of timm and no data.features")
        self.task, self.features, self.pixels, self.negatives = task, features, pixels, negatives
        self.questions, self.target, self.gallery, self.replace = questions, target, gallery, replace
        self._read: Collection | None = None
        self._spared: dict[str, int] = {}
        self._table: Table | None = None
        self._bad: dict[int, DataError] | None = None
        self._wrong: dict[int, DataError] = {}
        self._places: dict[Path, str] = {}  # of pictures, in the tables
        self._targets = np.zeros((0, 0), dtype=np.float32)

    # -- what a data set writes

    def collection(self, root: Path) -> Collection:
        """Reads the whole data set.

        Raises:
            DataError: A file is missing or malformed; names file and row.
        """
        raise InputError(f"{type(self).__name__} does not say how it is read")

    # -- what all share

    def whole(self, root: Path) -> Collection:
        """The data set, read once; what it left out is told on stderr."""
        if self._read is None:
            told = set(self.skipped)
            self._read = self.collection(root)
            self._spared = {reason: 1 for reason in self.skipped if reason not in told}
            self._tell(self._read.notes)
        self.skipped.update({reason: count for reason, count in self._spared.items() if reason not in self.skipped})
        return self._read

    def read(self, root: Path, split: Split) -> Items:
        """The samples of a split."""
        collection, table = self.whole(root), self.table(root)
        if self.on_error == "skip":
            collection = self._sound(collection, table, split)
        outfits, known = collection.outfits.get(split, []), collection.known()
        if not outfits:
            raise DataError(f"{root}: the {split} split of {self.dataset} has no outfit")
        own = [number for outfit in outfits for number in outfit.items]
        replacements = Replacements(collection.catalogue, own)
        listed = collection.labelled.get(split)
        if split == "train":
            chosen = listed if self.questions == "listed" else None
            return TrainingItems(
                self.task, outfits, chosen, replacements, known, table, self.negatives, self.curriculum, self.replace
            )
        labelled, blanks = [], []
        made = replacements, known, QUESTION_SEED, self.replace
        if self.task != "retrieval":
            labelled = listed or make_labelled(outfits, *made)
        if self.task != "compatibility":
            blanks = collection.blanks.get(split) or make_blanks(
                outfits, replacements, known, QUESTION_SEED, self.replace
            )
        asked = np.full(len(blanks), -1, dtype=np.int64)
        entries: list[tuple[int, int]] = []
        if self.gallery and blanks:
            training = [number for outfit in collection.outfits["train"] for number in outfit.items]
            asked, entries = make_galleries(blanks, collection.catalogue, own, training, self.gallery, QUESTION_SEED)
            if not entries:
                raise DataError(f"{root}: no category of the {split} split has {self.gallery} items (data.gallery)")
        return EvaluationItems(labelled, blanks, asked, entries, table)

    def _sound(self, collection: Collection, table: Table, split: Split) -> Collection:
        """Without the outfits and questions that need a picture that cannot be used; no negative is drawn of those."""
        if self._bad is None:
            self._bad = table.unreadable(self._used(collection))
            collection = self._read = self._divided_anew(collection, self._bad)
        bad = self._bad
        if split == "train":
            asked = self.task == "compatibility" and self.questions == "listed" and "train" in collection.labelled
        else:
            asked = split in collection.labelled or split in collection.blanks

        def keeps(entries: Mapping[Split, list[_Entry]], what: str) -> dict[Split, list[_Entry]]:
            kept = {part: _without(found, bad)[0] for part, found in entries.items()}
            if split in entries and asked == (what == "question"):  # what the split's items are made of
                for number, count in _without(entries[split], bad)[1].items():
                    self.skipped[f"{split}: {bad[number]}"] += count
            return kept

        return replace(
            collection,
            outfits=keeps(collection.outfits, "outfit"),
            labelled=keeps(collection.labelled, "question"),
            blanks=keeps(collection.blanks, "question"),
        )

    def _divided_anew(self, collection: Collection, bad: Mapping[int, DataError]) -> Collection:
        """Outfits that are of no split by themselves, shared out without those that cannot be used."""
        if collection.divide is None or not bad:
            return collection
        kept, counts = _without(collection.whole, bad)
        for number, count in counts.items():
            self._spared[str(bad[number])] = self.skipped[str(bad[number])] = count
        parts, notes = collection.divide(kept)
        self._tell(notes)
        return replace(collection, outfits=parts, notes=notes, whole=kept)

    def _tell(self, notes: Sequence[str]) -> None:
        for note in notes:
            print(f"{self.dataset}: {note}", file=sys.stderr)

    def _used(self, collection: Collection) -> list[int]:
        """Numbers of the items that an outfit has; where splits are drawn of what can be used, of all outfits."""
        outfits = [outfit for split in SPLITS for outfit in collection.outfits.get(split, [])]
        if self.on_error == "skip":
            outfits += collection.whole
        return sorted({number for outfit in outfits for number in outfit.items})

    def table(self, root: Path) -> Table:
        """Features of every item that an outfit has, made once and kept in the cache folder."""
        if self._table is None:
            collection = self.whole(root)
            catalogue = collection.catalogue
            used = self._used(collection)
            if not used:
                raise DataError(f"{root}: holds no outfit that can be used")
            texts = [catalogue.items[number].text for number in used]
            if self.features is not None:
                image, text = self._precomputed(root / self.features, collection, used)
            else:
                image = self._images(collection, used)
                text = _spread(self.encoder.text_features(texts, f"outfit-{self.dataset}"), used, len(catalogue.items))
            self._targets = text
            if self.target == "category" and self.features is None:
                kinds = self.encoder.text_features(catalogue.categories, f"outfit-{self.dataset}-categories")
                self._targets = kinds[catalogue.fine]
            self._table = Table(image, text, catalogue, self.pixels, self._wrong)
        return self._table

    def _precomputed(self, place: Path, collection: Collection, used: list[int]) -> tuple[np.ndarray, np.ndarray]:
        found = read_features(place)
        items = collection.catalogue.items
        missing = [number for number in used if items[number].id not in found]
        for number in missing:
            count = f"{len(missing)} of {len(used)} missing"
            self._give_up(number, DataError(f"{place}: has no features of item {items[number].id} ({count})"))
        for number in used:
            row = found.get(items[number].id)
            if row is not None and not np.isfinite(row).all():
                self._give_up(number, DataError(f"{place}: the features of item {items[number].id} are not finite"))
        rows = [found[items[number].id] for number in used if number not in self._wrong]
        width, whole = self.encoder.widths[0], sum(self.encoder.widths)
        if rows and rows[0].shape != (whole,):
            raise DataError(f"{place}: features of width {len(rows[0])}, the encoder's have {self.encoder.widths}")
        table = np.zeros((len(items), whole), dtype=np.float32)
        table[[number for number in used if number not in self._wrong]] = np.reshape(rows, (-1, whole))
        return table[:, :width], table[:, width:]

    def _give_up(self, number: int, error: DataError) -> None:
        """Notes why an item cannot be used, where such are to be skipped."""
        if self.on_error == "stop":
            raise error
        self._wrong[number] = error

    def _images(self, collection: Collection, used: list[int]) -> np.ndarray:
        """Picture features by item number; nan where a picture cannot be read and such are to be skipped."""
        items = collection.catalogue.items
        width = self.encoder.widths[0]
        if self.pixels or not width:
            return np.zeros((len(items), 0 if self.pixels else width), dtype=np.float32)
        files: dict[int, Path] = {}
        pictured = any(items[number].image is not None for number in used)
        for number in used:
            image = items[number].image
            place = items[number].place
            if image is None:
                what = f"item {items[number].id} has no picture (encoder.image: null does without)"
                error = DataError(f"{place}: {what}")
                if not pictured:
                    raise error
                self._give_up(number, error)
            elif not is_there(image):
                self._give_up(number, DataError(f"{place}: there is no image {image}"))
            elif not os.access(image, os.R_OK):
                self._give_up(number, DataError(f"{place}: the image {image} cannot be read: permission denied"))
            else:
                files[number] = image
                self._places[image] = place
        store = FeatureStore(f"outfit-{self.dataset}", self.encoder.made_by)
        found = store.get(list(files.values()), self._compute, label=f"{self.dataset} pictures")
        rows = np.full((len(items), width), np.nan, dtype=np.float32)
        rows[list(files)] = np.stack(found) if found else np.zeros((0, width))
        return rows

    def _compute(self, files: list[Path]) -> list[np.ndarray]:
        made = [np.full(self.encoder.widths[0], np.nan, dtype=np.float32) for _ in files]
        pictures = {}
        for place, file in enumerate(files):
            try:
                pictures[place] = read_image(file, self._places.get(file))
            except DataError:
                if self.on_error == "stop":
                    raise
        if pictures:
            for place, row in zip(pictures, self.encoder.image_features(list(pictures.values())), strict=True):
                made[place] = row
        return made

    def collate(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Joins samples; see :func:`zoo.domains.outfit.samples.join`."""
        samples: list[Sample] = [sample for item in batch for sample in item["samples"]]
        assert self._table is not None  # read before any loader exists
        joined = join(samples, self._table, self._targets, self.encoder.pictures)
        return joined

    def image_files(self, split: Split) -> list[Path]:
        """The pictures of the items of a split."""
        collection = self.whole(self.folder())
        numbers = dict.fromkeys(number for outfit in collection.outfits.get(split, []) for number in outfit.items)
        files = [collection.catalogue.items[number].image for number in numbers]
        return [file for file in files if file is not None and is_there(file)]

    def prepare(self, source: Path, out: Path) -> None:
        """Computes the features of every item of the data set at ``source`` and writes ``out/features.npz``.

        Pictures already computed are found in the cache folder, so that it goes on where it was stopped.
        """
        collection = self.whole(source)
        table = self.table(source)
        used = sorted({number for split in SPLITS for outfit in collection.outfits.get(split, [])
                       for number in outfit.items})  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        ids = np.array([collection.catalogue.items[number].id for number in used])
        with whole(out / "features.npz") as working, working.open("wb") as stream:
            np.savez(stream, ids=ids, embeddings=np.concatenate([table.image, table.text], 1)[used])


def _without(entries: Sequence[_Entry], bad: Mapping[int, DataError]) -> tuple[list[_Entry], Counter[int]]:
    """The entries that need no item that cannot be used, and how many need each of those (the first of several)."""
    kept: list[_Entry] = []
    counts: Counter[int] = Counter()
    for entry in entries:
        wrong = [number for number in mentioned(entry) if number in bad]
        if wrong:
            counts.update({wrong[0]: 1, **dict.fromkeys(wrong[1:], 0)})
        else:
            kept.append(entry)
    return kept, counts


def _spread(rows: np.ndarray, used: list[int], size: int) -> np.ndarray:
    """Rows of the used items, by item number; zeros for the others."""
    table = np.zeros((size, rows.shape[1]), dtype=np.float32)
    table[used] = rows
    return table


__all__ = ["OutfitData"]
