"""Data sets whose points stand in one file: the shared points.json, csv tables of points, csv tables of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from zoo.domains.counting.annotations import BOX_COLUMNS, Row, as_points, read_json, read_table
from zoo.domains.counting.data import CountingData, Outside
from zoo.domains.counting.data_items import Picture
from zoo.domains.counting.synthesis import save_image, scenes, write_json, write_table
from zoo.training import DataError, Split, usable
from zoo.training.choices import nearest
from zoo.training.paths import below, is_there

SPLITS: tuple[Split, ...] = get_args(Split)
NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip


class PointsJSON(CountingData):
    """Images with one json of all points, e.g. the 141 images of KCL-London that the recipes for a CPU use.

    ``val`` takes some training images where the file names no validation images.
    """

    dataset = "points_json"
    source = "your own; the shared subset of KCL-London: the 161 test images of github.com/HAAClassic/TreeFormer"
    terms = "those of the images"
    layout = """
    points.json     [{"file": "images/IMG_1.jpg", "count": 2, "split": "train", "points_xy": [[x, y], [x, y]]}, ...]
                    split is train, val or test; count is optional; without points_xy an image is unlabelled
    images/*        wherever "file" says, below the root
    """
    sample = "images/test_*.png"

    def pictures(self, root: Path) -> list[Picture]:
        """The images that the file names."""
        file = root / "points.json"
        content = read_json(file)
        if not isinstance(content, list) or not content:
            raise DataError(f"{file}: expected a list of images with file, split and points_xy")
        found: dict[str, Picture] = {}
        for number, entry in enumerate(content):
            try:
                picture = _entry(file, root, number, entry)
                if picture.name in found:
                    first = found[picture.name].place
                    raise DataError(f"{picture.place}: {picture.name} stands twice, first in {first}")
                found[picture.name] = picture
            except DataError as error:
                self.spare(error)
        return list(found.values())

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        counts: tuple[tuple[Split, int], ...] = (("train", 32), ("val", 6), ("test", 10))
        made, entries = iter(scenes(self.seed, 48)), []
        for split, count in counts:
            for number in range(count):
                image, points = next(made)
                name = f"images/{split}_{number:02d}.png"
                save_image(root / name, image)
                entry = {"file": name, "count": len(points), "split": split, "points_xy": points.tolist()}
                entries.append(entry)
        write_json(root / "points.json", entries)


def _entry(file: Path, root: Path, number: int, entry: Any) -> Picture:
    place = f"{file}: image {number}"
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
        raise DataError(f"{place}: has no file, expected file, split and points_xy")
    place = f"{place} ({entry['file']})"
    points = None
    if entry.get("points_xy") is not None:
        points = as_points(entry["points_xy"], place)
        if "count" in entry and entry["count"] != len(points):
            raise DataError(f"{place}: count is {entry['count']}, points_xy holds {len(points)} points")
    split = _split(str(entry.get("split", "")), place)
    if points is None and split != "train":
        raise DataError(f"{place}: has no points_xy; only training images may be unlabelled")
    return Picture(entry["file"], below(root, entry["file"]), points, split, place=place)


def _split(text: str, place: str) -> Split:
    found: Any = NAMES.get(text.lower())
    if found is None:
        raise DataError(f"{place}: split is {text!r}, expected train, val or test{nearest(text.lower(), list(NAMES))}")
    split: Split = found
    return split


class TableData(CountingData):
    """Base of the data sets of csv tables.

    Args:
        columns: Of the numbers in a row.
        table: The table, or that of the training images.
        test: The table of the test images; null where ``table`` holds them.
        test_share: Share of the images that are tested where no table says it.
        root: See :class:`zoo.domains.counting.data.CountingData`, as all the others.
        batch_size: See there.
        workers: See there.
        synthesize: See there.
        limit: See there.
        on_error: See there.
        crop: See there.
        labelled_fraction: See there.
        label_seed: See there.
        unlabelled_batch: See there.
        steps_per_epoch: See there.
        val: See there.
        split_seed: See there.
        outside: See there.
        keep_images: See there.
    """

    def __init__(
        self,
        columns: Sequence[str],
        table: str,
        test: str | None,
        test_share: float,
        root: str | None,
        batch_size: int,
        workers: int,
        synthesize: bool,
        limit: int | None,
        on_error: Literal["stop", "skip"],
        crop: int,
        labelled_fraction: float,
        label_seed: int,
        unlabelled_batch: int | None,
        steps_per_epoch: int | None,
        val: float,
        split_seed: int,
        outside: Outside,
        keep_images: bool,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, crop, labelled_fraction, label_seed,
            unlabelled_batch, steps_per_epoch, val, split_seed, outside, keep_images,
        )  # fmt: skip
        if not 0 < test_share < 1:
            raise DataError(f"data.test_share must be between 0 and 1, got {test_share}")
        self.columns, self.table, self.test, self.test_share = tuple(columns), table, test, test_share

    def pictures(self, root: Path) -> list[Picture]:
        """The images that the tables name; images are looked up beside their table, then below the root.

        Raises:
            DataError: A table is malformed, or an image stands in two.
        """
        rows = self.kept(read_table(root / self.table, self.columns, spare=self.spare), lambda row: row.name)
        if self.test is not None:
            tested = read_table(root / self.test, self.columns, spare=self.spare)
            trained = {row.name: row.place for row in rows}
            twice = {row.name for row in tested} & trained.keys()  # tested, and so in no training
            for row in tested:
                if row.name in twice:
                    self.spare(DataError(f"{row.place}: {row.name} stands twice, first in {trained[row.name]}"))
            rows = [row for row in rows if row.name not in twice]
            return [
                *(_picture(root, self.table, row, "train") for row in rows),
                *(_picture(root, self.test, row, "test") for row in tested),
            ]
        named = [bool(row.split) for row in rows]
        if any(named):
            return usable(rows, lambda row: _picture(root, self.table, row, _split(row.split, row.place)), self.spare)
        names = sorted(row.name for row in rows)
        order = np.random.default_rng([self.split_seed, 2]).permutation(len(names))
        count = max(1, round(self.test_share * len(names)))
        held = {names[int(index)] for index in order[:count]}
        return [_picture(root, self.table, row, "test" if row.name in held else "train") for row in rows]


def _picture(root: Path, table: str, row: Row, split: Split) -> Picture:
    beside, under = below((root / table).parent, row.name), below(root, row.name)
    file = beside if is_there(beside) or not is_there(under) else under
    return Picture(row.name, file, row.points, split, place=row.place)


class PointTable(TableData):
    """Any images with a csv of points: columns image, x, y, and split if you like.

    Without a column ``split`` and without ``test``, ``test_share`` of the images are tested, drawn by ``split_seed``;
    ``val`` takes some of the others. An image without any tree has a row with x and y left empty.

    Args:
        root: Folder of the data.
        batch_size: Labelled crops per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be used, or ``skip`` such images, count and report them.
        crop: Side of the training crops in pixels, a multiple of 4.
        labelled_fraction: Share of the training images whose points are used, in (0, 1].
        label_seed: Which images that are.
        unlabelled_batch: Unlabelled crops per process and step; null for as many as ``batch_size``, 0 for none.
        steps_per_epoch: Steps of an epoch; null for every labelled image once.
        val: Validation images where the table names none: a share below 1, or a number.
        split_seed: Which images those are, and which are tested.
        outside: A point outside its image is an error (``stop``), or is left out (``drop``).
        keep_images: Decode every image once and keep it in memory.
        table: The csv below the root.
        test: A csv of the test images; null where ``table`` holds them.
        test_share: Share of the images that are tested where no table says it.
    """

    dataset = "point_table"
    source = "your own images and points"
    terms = "those of your images"
    layout = """
    points.csv      image,x,y[,split]: a row per point, in pixels; image (or image_path, file, filename, path) beside it
    **/*.jpg        (.png, .tif, ...) wherever the table says
    """
    sample = "images/*.png"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 16,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        crop: int = 256,
        labelled_fraction: float = 1.0,
        label_seed: int = 0,
        unlabelled_batch: int | None = None,
        steps_per_epoch: int | None = None,
        val: float = 0.1,
        split_seed: int = 0,
        outside: Outside = "stop",
        keep_images: bool = False,
        table: str = "points.csv",
        test: str | None = None,
        test_share: float = 0.2,
    ) -> None:
        super().__init__(
            ("x", "y"), table, test, test_share, root, batch_size, workers, synthesize, limit, on_error, crop,
            labelled_fraction, label_seed, unlabelled_batch, steps_per_epoch, val, split_seed, outside, keep_images,
        )  # fmt: skip

    def make(self, root: Path) -> None:
        """Writes images and their table."""
        rows: list[tuple[object, ...]] = []
        for number, (image, points) in enumerate(scenes(self.seed, 16)):
            name = f"images/{number:02d}.png"
            save_image(root / name, image)
            rows += [(name, x, y) for x, y in points.tolist()] or [(name, "", "")]
        write_table(root / "points.csv", ("image", "x", "y"), rows)


class BoxTable(TableData):
    """Images with a csv of boxes, as DeepForest writes it (NEON's trees are given so too); a tree is its box's centre.

    Args:
        root: Folder of the data.
        batch_size: Labelled crops per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be used, or ``skip`` such images, count and report them.
        crop: Side of the training crops in pixels, a multiple of 4.
        labelled_fraction: Share of the training images whose points are used, in (0, 1].
        label_seed: Which images that are.
        unlabelled_batch: Unlabelled crops per process and step; null for as many as ``batch_size``, 0 for none.
        steps_per_epoch: Steps of an epoch; null for every labelled image once.
        val: Validation images where the table names none: a share below 1, or a number.
        split_seed: Which images those are, and which are tested.
        outside: A box centre outside its image is an error (``stop``), or is left out (``drop``).
        keep_images: Decode every image once and keep it in memory.
        table: The csv below the root.
        test: A csv of the test images; null where ``table`` holds them.
        test_share: Share of the images that are tested where no table says it.
    """

    dataset = "box_table"
    source = (
        "https://zenodo.org/records/5914554 (NeonTreeEvaluation), https://github.com/weecology/DeepForest, or your own"
    )
    terms = "see the record; else those of the images"
    layout = """
    train.csv, test.csv     image_path,xmin,ymin,xmax,ymax[,label]: a row per box, in pixels; a row of zeros: no tree
    *.tif (.jpg, .png)      beside the tables; data.test null and a column split: all in one table
    """
    sample = "*.tif"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 16,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        crop: int = 256,
        labelled_fraction: float = 1.0,
        label_seed: int = 0,
        unlabelled_batch: int | None = None,
        steps_per_epoch: int | None = None,
        val: float = 0.1,
        split_seed: int = 0,
        outside: Outside = "stop",
        keep_images: bool = False,
        table: str = "train.csv",
        test: str | None = "test.csv",
        test_share: float = 0.2,
    ) -> None:
        super().__init__(
            BOX_COLUMNS, table, test, test_share, root, batch_size, workers, synthesize, limit, on_error, crop,
            labelled_fraction, label_seed, unlabelled_batch, steps_per_epoch, val, split_seed, outside, keep_images,
        )  # fmt: skip

    def make(self, root: Path) -> None:
        """Writes images and their tables."""
        header = ("image_path", *BOX_COLUMNS, "label")
        rows: dict[str, list[tuple[object, ...]]] = {"train.csv": [], "test.csv": []}
        for number, (image, points) in enumerate(scenes(self.seed, 14)):
            name = f"plot_{number:02d}.tif"
            save_image(root / name, image)
            boxes = [(name, x - 4, y - 4, x + 4, y + 4, "Tree") for x, y in points.tolist()]
            rows["test.csv" if number >= 10 else "train.csv"] += boxes or [(name, 0, 0, 0, 0, "Tree")]
        for table, lines in rows.items():
            write_table(root / table, header, lines)
