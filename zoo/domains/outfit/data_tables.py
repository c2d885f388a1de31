"""Outfits in tables: MANGO, and any csv."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from zoo.domains.outfit.base import OutfitData, Target
from zoo.domains.outfit.catalogue import Collection
from zoo.domains.outfit.encoders import ItemEncoder
from zoo.domains.outfit.questions import Level, Stage
from zoo.domains.outfit.samples import Task
from zoo.domains.outfit.splits import Version, check_version
from zoo.domains.outfit.synthesis_tables import synthesize_csv, synthesize_mango
from zoo.domains.outfit.tables import read_csv, read_mango


class MANGO(OutfitData):
    """MANGO / UPC datathon 2023: stylist-made outfits of 9,222 products with pictures and attributes.

    There is no official split and there are no questions; see :func:`zoo.domains.outfit.splits.split_outfits` and
    :mod:`zoo.domains.outfit.questions` for the seeded rules.

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
        version: ``nondisjoint`` or ``disjoint``.
        split_seed: Which outfits are held out.
    """

    domain = "outfit"
    dataset = "mango_outfits"
    source = "https://github.com/data-science-mango/datathon-2023-fashion-compatibility (datathon.zip)"
    terms = "no licence stated; product images are of MANGO, released for the datathon; research and demonstration only"
    layout = """
    product_data.csv     a product per row: cod_modelo_color, colour, fabric, category, family, type, des_filename
    outfit_data.csv      cod_outfit, cod_modelo_color: a row per product of an outfit
    images/              a picture per product
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
        version: Version = "nondisjoint",
        split_seed: int = 0,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, task, encoder, features, pixels, negatives,
            curriculum, questions, target, gallery, replace,
        )  # fmt: skip
        check_version(version)
        self.version: Version = version
        self.split_seed = split_seed

    def make(self, root: Path) -> None:
        """Writes a tiny made-up set."""
        synthesize_mango(root, seed=self.seed)

    def collection(self, root: Path) -> Collection:
        """All of it."""
        return read_mango(root, self.version, self.split_seed, self.spare)


class OutfitCSV(OutfitData):
    """Outfits of your own in two tables; see :func:`zoo.domains.outfit.tables.read_csv`.

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
        version: How outfits without a column ``split`` are split.
        split_seed: Of that split.
    """

    domain = "outfit"
    dataset = "outfit_csv"
    source = "your own files"
    terms = "yours"
    layout = """
    items.csv      item, and any of image (relative to the table), text, category (fine), group (coarse)
    outfits.csv    outfit, item, and maybe split (train, val, test): a row per item of an outfit
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
        version: Version = "nondisjoint",
        split_seed: int = 0,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, task, encoder, features, pixels, negatives,
            curriculum, questions, target, gallery, replace,
        )  # fmt: skip
        check_version(version)
        self.version: Version = version
        self.split_seed = split_seed

    def make(self, root: Path) -> None:
        """Writes a tiny made-up set."""
        synthesize_csv(root, seed=self.seed)

    def collection(self, root: Path) -> Collection:
        """All of it."""
        return read_csv(root, self.version, self.split_seed, self.spare)
