"""Any images with a score each: a csv of path, score and, where there are several, scene and split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from zoo.domains.quality.data import Faces, QualityData, split_by_seed
from zoo.domains.quality.pairs import PARTNERS, Plan
from zoo.domains.quality.photos import Photo
from zoo.domains.quality.synthesis import synthesize_scored
from zoo.domains.quality.tables import Line, distinct, read_table
from zoo.errors import InputError
from zoo.training import DataError, Split, usable

SPLITS: tuple[Split, ...] = get_args(Split)


class ScoredImages(QualityData):
    """Your own scored images: a csv with the columns ``path`` and ``score``, and, if you like, ``scene`` and ``split``.

    Scores compare within a scene only; without the column all images are of one. Without ``split`` (train, val or test
    on every line) three or more scenes are shared out by seed; with fewer, images are.

    Args:
        root: Folder that holds the table.
        batch_size: Pairs per process and step with the plans ``csv`` and ``epoch``, images with ``batch``.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` such images, count and report them.
        table: Name of the csv below the root; paths in it are relative to its own folder.
        val: Share of the validation split, where the table has none.
        test: Share of the test split, where the table has none.
        split_seed: Shares them out.
        pairs: ``csv``, ``batch`` or ``epoch``, see :class:`zoo.domains.quality.data.QualityData`.
        pairs_file: Csv of pairs below the root, with the columns ``first`` and ``second``.
        partners: How often an image is the first of a pair in an epoch, where pairs are drawn.
        scenes_per_batch: Scenes in a batch of the plan ``batch``.
        steps_per_epoch: Batches of an epoch; null for all.
        resize: Pixels of the shorter side before cutting.
        crop: Side of the squares that are cut.
        faces: ``none``, ``csv``, ``cascade`` or ``yunet``.
        boxes: Csv of face boxes, below the root.
        yunet: YuNet's onnx file.
        margin: Pixels by which a face box is enlarged on each side.
        aux: Folder of LIQE logits below the root; null leaves that input out.
    """

    dataset = "scored"
    source = "your own images"
    terms = "those of the images"
    layout = """
    scores.csv   path, score and optionally scene, split (train, val, test); paths relative to the table's folder
    """
    sample = "images/*.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 16,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        table: str = "scores.csv",
        val: float = 0.1,
        test: float = 0.2,
        split_seed: int = 0,
        pairs: Plan = "epoch",
        pairs_file: str | None = None,
        partners: int = PARTNERS,
        scenes_per_batch: int = 1,
        steps_per_epoch: int | None = None,
        resize: int = 448,
        crop: int = 384,
        faces: Faces = "none",
        boxes: str | None = None,
        yunet: str | None = None,
        margin: int = 20,
        aux: str | None = None,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error, pairs, pairs_file, partners,
                         scenes_per_batch, steps_per_epoch, resize, crop, faces, boxes, yunet, margin, aux)  # fmt: skip
        if min(val, test) <= 0 or val + test >= 1:
            raise InputError(f"data.val and data.test must be above 0 and below 1 together, got {val} and {test}")
        self.table, self.val, self.test, self.split_seed = table, val, test, split_seed

    def labels(self) -> str:
        """Name of the table."""
        return self.table

    def photos(self, root: Path) -> list[Photo]:
        """All images of the table.

        Raises:
            DataError: The table is missing or malformed; names file and line.
        """
        file = root / self.table
        lines = read_table(file, ("path", "score"), spare=self.spare)
        has_scene, has_split = (column in lines[0].values for column in ("scene", "split"))

        def photo(line: Line) -> Photo:
            name = line.values["path"].replace("\\", "/")
            word = line.text("split") if has_split else SPLITS[0]
            if word not in SPLITS:
                raise DataError(f"{line.place}: split is {word!r}, expected {', '.join(SPLITS)}")
            scene, split = line.text("scene") if has_scene else "all", SPLITS[SPLITS.index(word)]
            return Photo(name, file.parent / name, line.number_of("score"), scene, f"{line.place} ({name})", split)

        photos = usable(distinct(lines, "path", self.spare), photo, self.spare)
        photos = self.kept(photos, lambda photo: photo.name)
        if has_split:
            return photos
        by_scene = len({photo.scene for photo in photos}) >= len(SPLITS)
        units = [photo.scene if by_scene else photo.name for photo in photos]
        drawn = split_by_seed(units, self.split_seed, self.val, self.test)
        return [replace(photo, split=drawn[unit]) for photo, unit in zip(photos, units, strict=True)]

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        synthesize_scored(root, self.seed)
