"""The data sets of Polyvore: Polyvore Outfits, its metadata alone, Maryland Polyvore."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from zoo.domains.outfit.base import OutfitData, Target
from zoo.domains.outfit.catalogue import Collection
from zoo.domains.outfit.encoders import ItemEncoder
from zoo.domains.outfit.maryland import read_maryland, read_metadata
from zoo.domains.outfit.polyvore import read_polyvore
from zoo.domains.outfit.questions import Level, Stage
from zoo.domains.outfit.samples import Task
from zoo.domains.outfit.splits import Version, check_version
from zoo.domains.outfit.synthesis import OUTFITS, synthesize
from zoo.domains.outfit.synthesis_tables import synthesize_maryland, synthesize_metadata


class PolyvoreOutfits(OutfitData):
    """Polyvore Outfits of Vasileva et al., ECCV 2018: 68,306 outfits of 251,008 items in two versions.

    ``nondisjoint``: outfits are split, items may repeat (53,306 / 5,000 / 10,000). ``disjoint``: no item of a test or
    validation outfit stands in a training outfit (16,995 / 3,000 / 15,145). The official files and the repacked json of
    the third-party code are both read; questions that are not listed are made up.

    Args:
        root: Folder of the data.
        batch_size: Samples per process and step.
        workers: Loader processes.
        synthesize: Use a tiny made-up set in the official format.
        limit: Use only so many samples of each split.
        on_error: ``stop`` at the first unusable picture, or ``skip`` the samples that need one, count and report them.
        task: What is trained and evaluated.
        encoder: How pictures and texts become features; the same as the model's. Null is ``ItemEncoder()``.
        features: Features computed before, instead of the encoder: a file or folder, relative to the data.
        pixels: Give the network pictures, for a picture network that is trained along.
        negatives: Sampled negatives of a retrieval query.
        curriculum: How alike negatives are to the right item, by epoch; always the fine category where null.
        questions: Train compatibility on ``listed`` questions, or on ``fresh`` negatives in each epoch.
        target: What a query is told of what is looked for, where it can be told: ``category`` or ``text``.
        gallery: Items of each category's gallery in retrieval; 0 asks no such question.
        replace: What an item of a made-up question shares with the one it replaces: ``fine``, ``coarse`` or ``any``.
        version: ``nondisjoint`` or ``disjoint``.
    """

    domain = "outfit"
    dataset = "polyvore_outfits"
    source = (
        "https://github.com/mvasil/fashion-compatibility "
        "(Hugging Face mvasil/polyvore-outfits, gated; repacked: owj0421/polyvore-outfits)"
    )
    terms = "research and education only; pictures and texts belong to their owners"
    layout = """
    polyvore_item_metadata.json              item id: title, url_name, category_id, semantic_category
    categories.csv                           id, fine category, coarse category
    images/<item_id>.jpg
    {nondisjoint,disjoint}/{train,valid,test}.json       outfits: set_id, items with item_id and index
    {nondisjoint,disjoint}/compatibility_{train,valid,test}.txt     label, then <set_id>_<index> of each item
    {nondisjoint,disjoint}/fill_in_blank_{train,valid,test}.json    question, blank_position, answers
    or repacked: item_metadata.json, <version>/{train,valid,test}.json, <version>/compatibility/,
    <version>/fill_in_the_blank/; precomputed_clip_embeddings/polyvore_<rank>.pkl (ids, embeddings) goes with both
    """
    sample = "samples/*.csv"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 50,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        task: Task = "compatibility",
        encoder: ItemEncoder | None = None,
        features: str | None = None,
        pixels: bool = False,
        negatives: int = 10,
        curriculum: list[Stage] | None = None,
        questions: Literal["listed", "fresh"] = "listed",
        target: Target = "category",
        gallery: int = 0,
        replace: Level = "fine",
        version: Version = "nondisjoint",
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, task, encoder, features, pixels, negatives,
            curriculum, questions, target, gallery, replace,
        )  # fmt: skip
        check_version(version)
        self.version: Version = version

    def collection(self, root: Path) -> Collection:
        """All of it."""
        return read_polyvore(root, self.version, self.spare)

    def make(self, root: Path) -> None:
        """Writes a tiny set in the official format, with pictures."""
        synthesize(root, seed=self.seed)

    def synthetic_arguments(self) -> dict[str, Any]:
        """The size, so that a set left in the cache by an earlier version is not taken for this one."""
        return {"outfits": OUTFITS}


class MarylandPolyvore(OutfitData):
    """Maryland Polyvore of Han et al., ACM MM 2017: 17,316 / 1,497 / 3,076 outfits; one level of categories.

    Args:
        root: Folder of the data.
        batch_size: Samples per process and step.
        workers: Loader processes.
        synthesize: Use a tiny made-up set in these files.
        limit: Use only so many samples of each split.
        on_error: ``stop`` at the first unusable picture, or ``skip`` the samples that need one, count and report them.
        task: What is trained and evaluated.
        encoder: How pictures and texts become features; the same as the model's. Null is ``ItemEncoder()``.
        features: Features computed before, instead of the encoder: a file or folder, relative to the data.
        pixels: Give the network pictures, for a picture network that is trained along.
        negatives: Sampled negatives of a retrieval query.
        curriculum: How alike negatives are to the right item, by epoch; always the fine category where null.
        questions: Train compatibility on ``listed`` questions, or on ``fresh`` negatives in each epoch.
        target: What a query is told of what is looked for, where it can be told: ``category`` or ``text``.
        gallery: Items of each category's gallery in retrieval; 0 asks no such question.
        replace: What an item of a made-up question shares with the one it replaces: ``fine``, ``coarse`` or ``any``.
    """

    domain = "outfit"
    dataset = "maryland_polyvore"
    source = "https://github.com/xthan/polyvore-dataset (harder test questions: mvasil/fashion-compatibility)"
    terms = "none stated; research use, pictures and texts belong to their owners"
    layout = """
    {train,valid,test}_no_dup.json           outfits: set_id, items with index, name, categoryid
    category_id.txt                          id and name of each category
    images/<set_id>/<index>.jpg
    fashion_compatibility_prediction.txt     test questions: label, then <set_id>_<index> of each item
    fill_in_blank_test.json                  test questions: question, blank_position, answers
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 50,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        task: Task = "compatibility",
        encoder: ItemEncoder | None = None,
        features: str | None = None,
        pixels: bool = False,
        negatives: int = 10,
        curriculum: list[Stage] | None = None,
        questions: Literal["listed", "fresh"] = "listed",
        target: Target = "category",
        gallery: int = 0,
        replace: Level = "fine",
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, task, encoder, features, pixels, negatives,
            curriculum, questions, target, gallery, replace,
        )  # fmt: skip

    def make(self, root: Path) -> None:
        """Writes a tiny made-up set."""
        synthesize_maryland(root, seed=self.seed)

    def collection(self, root: Path) -> Collection:
        """All of it."""
        return read_maryland(root, self.spare)


class PolyvoreMetadata(OutfitData):
    """The official validation part of Polyvore Outfits without pictures: 5,000 outfits, categories of most items.

    See :func:`zoo.domains.outfit.maryland.read_metadata`. There is nothing to see but which categories stand together.
    The official negatives keep the categories, so on the ``listed`` questions every model stays at chance, and one that
    does better has found a leak. With ``official: false`` questions are made up, by ``replace: any`` of random items:
    then there is something to learn.

    Args:
        root: Folder of the data.
        batch_size: Samples per process and step.
        workers: Loader processes.
        synthesize: Use a tiny made-up set in these files.
        limit: Use only so many samples of each split.
        on_error: ``stop`` at the first unusable picture, or ``skip`` the samples that need one, count and report them.
        task: What is trained and evaluated.
        encoder: How pictures and texts become features; the same as the model's. Null is words alone.
        features: Features computed before, instead of the encoder: a file or folder, relative to the data.
        pixels: Give the network pictures, for a picture network that is trained along.
        negatives: Sampled negatives of a retrieval query.
        curriculum: How alike negatives are to the right item, by epoch; always the fine category where null.
        questions: Train compatibility on ``listed`` questions, or on ``fresh`` negatives in each epoch.
        target: What a query is told of what is looked for, where it can be told: ``category`` or ``text``.
        gallery: Items of each category's gallery in retrieval; 0 asks no such question.
        replace: What an item of a made-up question shares with the one it replaces: ``fine``, ``coarse`` or ``any``.
        split_seed: Which outfits are held out.
        official: Use the official questions; false makes all up.
    """

    domain = "outfit"
    dataset = "polyvore_outfits_meta"
    source = "https://github.com/mvasil/fashion-compatibility (the files of the layout; mirrored by rv-harsha)"
    terms = "research and education only"
    layout = """
    valid.json                   outfits: set_id, items with item_id and index
    compatibility_valid.txt      10,000 questions: label, then <set_id>_<index> of each item
    train_category.json          item id: category id
    categories.csv               id, fine category, coarse category
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 50,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        task: Task = "compatibility",
        encoder: ItemEncoder | None = None,
        features: str | None = None,
        pixels: bool = False,
        negatives: int = 10,
        curriculum: list[Stage] | None = None,
        questions: Literal["listed", "fresh"] = "listed",
        target: Target = "category",
        gallery: int = 0,
        replace: Level = "fine",
        split_seed: int = 0,
        official: bool = True,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, task,
            encoder if encoder is not None else ItemEncoder(image=None), features, pixels, negatives,
            curriculum, questions, target, gallery, replace,
        )  # fmt: skip
        self.split_seed, self.official = split_seed, official

    def make(self, root: Path) -> None:
        """Writes a tiny made-up set."""
        synthesize_metadata(root, seed=self.seed)

    def collection(self, root: Path) -> Collection:
        """All of it."""
        found = read_metadata(root, self.split_seed, self.spare)
        if not self.official:
            found.labelled.clear()
        return found
