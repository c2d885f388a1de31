"""Yosemite: one aerial mosaic of 19,200 x 38,400 pixels, read by windows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.domains.counting.annotations import read_points, read_table
from zoo.domains.counting.data import CountingData, Outside
from zoo.domains.counting.data_items import BEYOND, Picture
from zoo.domains.counting.raster import TIFF_SUFFIXES, Raster, Window
from zoo.domains.counting.synthesis import save_image, scenes, write_table
from zoo.domains.counting.tile import make_tiled
from zoo.errors import InputError
from zoo.training import IMAGE_SUFFIXES, DataError, Split, refuse

REGIONS: dict[str, Split] = {"A": "test", "B": "train", "C": "test", "D": "train"}
POINT_SUFFIXES = (".csv", ".mat", ".json")


class Yosemite(CountingData):
    """Yosemite: 98,949 trees on 10 km2 of forest, 0.12 m a pixel. Regions B and D train, A and C test.

    The mosaic is cut into blocks, the images of this data set; each is a window of the raster, which is never read
    whole. The four regions of equal size are taken to lie one below the other, A on top: the page says no more than
    that there are four. ``val`` takes some blocks of B and D.

    Args:
        root: Folder of the data.
        batch_size: Labelled crops per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many blocks of each split.
        on_error: ``stop`` at the first block that cannot be used, or ``skip`` such blocks, count and report them.
        crop: Side of the training crops in pixels, a multiple of 4.
        labelled_fraction: Share of the training blocks whose points are used, in (0, 1].
        label_seed: Which blocks that are.
        unlabelled_batch: Unlabelled crops per process and step; null for as many as ``batch_size``, 0 for none.
        steps_per_epoch: Steps of an epoch; null for every labelled block once.
        val: Validation blocks: a share of the training blocks below 1, or a number.
        split_seed: Which blocks those are.
        outside: A point outside the mosaic is an error (``stop``), or is left out (``drop``).
        keep_images: Decode every block once and keep it in memory.
        raster: The mosaic below the root, a tiled TIFF.
        points: The csv of its points, x and y in pixels of the mosaic.
        block: Side of the blocks in pixels; those at the right and the bottom may be smaller.
    """

    dataset = "yosemite"
    source = "https://github.com/nightonion/yosemite-tree-dataset (Google Drive)"
    terms = "imagery (c) 2021 Google, Maxar Technologies, USDA Farm Service Agency; see the page"
    layout = """
    yosemite.tif    the mosaic as a tiled TIFF: zoo data make Yosemite --from DOWNLOADED --out DIR makes it, block by
                    block, of the one image there, and the table of the one .csv, .mat or .json beside it
    trees.csv       x,y of each tree in pixels of the mosaic
    """
    sample = "yosemite.tif"

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
        raster: str = "yosemite.tif",
        points: str = "trees.csv",
        block: int = 960,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, crop, labelled_fraction, label_seed,
            unlabelled_batch, steps_per_epoch, val, split_seed, outside, keep_images,
        )  # fmt: skip
        if block < 32:
            raise InputError(f"data.block must be at least 32, got {block}")
        self.raster, self.points, self.block = raster, points, block

    def pictures(self, root: Path) -> list[Picture]:
        """The blocks of all four regions.

        Raises:
            DataError: The raster or the table cannot be used, or a point lies outside.
        """
        file, table = root / self.raster, root / self.points
        with Raster(file) as opened:
            height, width = opened.height, opened.width
        points = read_xy(table, self.spare)
        far = (points < -BEYOND).any(1) | (points > np.array([width, height]) + BEYOND).any(1)
        for x, y in points[far] if self.outside == "stop" else ():
            where = f"outside {file.name} of {width} x {height} pixels"
            self.spare(DataError(f"{table}: the point ({x:g}, {y:g}) lies {where}"))
        # a point on an edge belongs to one block only, or it would be counted twice
        points = points[~far].clip(0, np.nextafter([width, height], 0))
        found = []
        for region, (first, end) in regions(height).items():
            for top in range(first, end, self.block):
                for left in range(0, width, self.block):
                    window = Window(top, left, min(self.block, end - top), min(self.block, width - left))
                    found.append(self._block(file, region, window, points))
        return found

    def _block(self, file: Path, region: str, window: Window, points: np.ndarray) -> Picture:
        low = np.array([window.left, window.top])
        inside = (points >= low).all(1) & (points < low + np.array([window.width, window.height])).all(1)
        name = f"{region}_{window.top:05d}_{window.left:05d}"
        return Picture(name, file, points[inside] - low, REGIONS[region], window)

    def prepare(self, source: Path, out: Path) -> None:
        """Makes the tiled TIFF and the csv of the downloaded image and points.

        Args:
            source: A folder with one image and one file of points.
            out: Folder of the data.
        """
        image = _only(source, (*IMAGE_SUFFIXES, *TIFF_SUFFIXES), "image of the mosaic")
        marks = _only(source, POINT_SUFFIXES, "file of points")
        if not (out / self.raster).is_file():
            make_tiled(image, out / self.raster)
        points = read_xy(marks) if marks.suffix.lower() == ".csv" else read_points(marks)
        write_table(out / self.points, ("x", "y"), points.tolist())

    def make(self, root: Path) -> None:
        """Writes a tiny mosaic in four regions, and its points."""
        ((image, points),) = scenes(self.seed, 1, (512, 256))
        save_image(root / "mosaic.png", image)
        make_tiled(root / "mosaic.png", root / self.raster)
        (root / "mosaic.png").unlink()
        write_table(root / self.points, ("x", "y"), points.tolist())


def regions(height: int) -> dict[str, tuple[int, int]]:
    """First row and end of each region: four of equal height, the last with what is left over."""
    edges = [round(height * part / len(REGIONS)) for part in range(len(REGIONS) + 1)]
    return {name: (edges[part], edges[part + 1]) for part, name in enumerate(REGIONS)}


def read_xy(file: Path, spare: Callable[[DataError], None] = refuse) -> np.ndarray:
    """The points ``(N, 2)`` of a csv with the columns x and y.

    Args:
        file: The csv.
        spare: What is done about a row that cannot be used; it is left out.

    Raises:
        DataError: The table is missing, malformed or empty; names file and line.
    """
    (row,) = read_table(file, ("x", "y"), file.name, spare)
    return row.points


def _only(folder: Path, suffixes: tuple[str, ...], what: str) -> Path:
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in suffixes)
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise InputError(f"--from {folder}: expected one {what} ({', '.join(dict.fromkeys(suffixes))}), found {names}")
    return found[0]
