"""Counting a user's own images: in memory, and file by file for ``zoo predict``, large rasters by windows."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np
import torch
from torch import Tensor

from zoo.domains.counting.evaluation import STAGES, Evaluation
from zoo.domains.counting.georeferenced import DensityFile, density_file, write_points
from zoo.domains.counting.picture import SIDE, draw_image
from zoo.domains.counting.points import PeakFinder, strongest
from zoo.domains.counting.raster import TIFF_SUFFIXES, Raster, Window, image_size, pixel_limit, read_whole
from zoo.domains.counting.windows import OFFICIAL, Tiling, plan, spans
from zoo.errors import InputError
from zoo.training import IMAGE_SUFFIXES, DataError, Row, as_images, contact_sheet, normalise
from zoo.training.choices import check_choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGE = 1 << 24
"""Pixels from which on a TIFF is read by windows where it can be."""
MOST = 36  # images of an overview; of more, evenly spread ranks are shown
COLUMNS = 6
THUMBNAIL = 256  # pixels of a raster's longer side in the overview
PATIENCE = 400  # windows of a raster from which on progress is told


@dataclass(frozen=True)
class Counted:
    """What :meth:`Prediction.predict` gives.

    Attributes:
        density: ``(B, 1, h, w)`` trees per element: y0 at stride 4, at full size under ``official``; a list of
            ``(1, h, w)`` where the images differ in size.
        count: ``(B,)`` what each sums to.
        points: For each image ``(N, 2)`` x and y in its pixels, by local maxima, the highest first.
        token_counts: ``(B, 3)`` counts of the tokens of stages 2, 3 and 4; may be negative.
    """

    density: Tensor | list[Tensor]
    count: Tensor
    points: list[Tensor]
    token_counts: Tensor


class Prediction(Evaluation):
    """What :class:`zoo.domains.counting.TreeFormer` does with a user's images."""

    suffixes: ClassVar[tuple[str, ...]] = IMAGE_SUFFIXES
    _small: Mapping[Path, Tensor] = MappingProxyType({})  # rasters that were counted, for the overview

    @torch.no_grad()
    def predict(self, images: Any, tiling: Tiling | None = "exact", preprocess: bool = True) -> Counted:
        """Counts.

        Args:
            images: ``(B, 3, H, W)``, ``(3, H, W)`` as a batch of one, or a list of images of any sizes; RGB, upright,
                uint8 or float in [0, 1].
            tiling: ``exact``: windows of the model's size and overlap, the density at stride 4, whose sum is the
                count; ``official``: windows of 256, each brought to full size and divided by 16, as the published
                figures were made (this does not keep the sum); None: each image at once.
            preprocess: False hands tensors to the network unchanged: ``(B, 3, H, W)`` or a list, normalised.

        Returns:
            Densities, counts, points and token counts.

        Raises:
            InputError: The images or the tiling do not fit.
        """
        if tiling is not None:
            check_choice("tiling", tiling, get_args(Tiling))
        given = [normalise(image) for image in as_images(images)] if preprocess else _unchanged(images)
        with self.evaluating():
            found = [self.count_image(image.to(self.device), tiling) for image in given]
        densities = [one.density[None] for one in found]
        alike = len({tuple(density.shape) for density in densities}) == 1
        return Counted(
            torch.stack(densities) if alike else densities,
            torch.tensor([one.count for one in found], dtype=torch.float32),
            [self.points_of(one)[:, :2] for one in found],
            torch.stack([one.tokens for one in found]),
        )

    def density(self, image: Any, tiling: Tiling | None = "exact") -> Tensor:
        """The density ``(1, h, w)`` of one image, see :meth:`predict`."""
        return self.predict([image], tiling).density[0]

    # -- files

    @torch.no_grad()
    def predict_file(self, file: Path) -> tuple[list[Row], Figure]:
        """Counts one image file by the recipe's tiling; a large or georeferenced TIFF by windows, in bounded memory.

        Beside the picture of a georeferenced raster go ``<name>_density.tif``, trees per cell in its coordinates, and
        ``<name>_points.geojson``.

        Args:
            file: An image.

        Returns:
            A row with the count, that of the tokens, the number of points; and the picture.

        Raises:
            InputError: The file cannot be used: names it; a plain image over the decoder's limit: says how to make a
                tiled TIFF.
        """
        with self.evaluating(), ExitStack() as stack:
            raster = open_raster(file)
            if raster is None:
                return self._predict_image(file)
            stack.enter_context(raster)
            if self.tiling == "official" and min(raster.height, raster.width) < OFFICIAL:
                return self._predict_image(file)  # has to be enlarged, which takes it whole
            return self._predict_raster(raster)

    def _predict_image(self, file: Path) -> tuple[list[Row], Figure]:
        image = read_whole(file)
        found = self.count_image(image, self.tiling)
        points = self.points_of(found)
        height, width = int(image.shape[1]), int(image.shape[2])
        row = _row(found.count, found.tokens, len(points), height, width)
        return [row], draw_image(image, found.density, points, found.count, file.name)

    def _predict_raster(self, raster: Raster) -> tuple[list[Row], Figure]:
        how = plan(self.tiling, self.window, self.overlap)
        finder = PeakFinder(how.stride, self.peak_threshold, self.peak_distance)
        shrunk, watched = Shrunk(raster.height, raster.width, how.stride), Watched(raster, SIDE)
        count, tokens = 0.0, torch.zeros(3, dtype=torch.float64)
        total, done = len(spans(raster.height, how)), 0
        told = total * len(spans(raster.width, how)) >= PATIENCE
        referenced = raster.crs is not None and self.beside is not None
        with ExitStack() as stack:
            sink: DensityFile | None = None
            if referenced and self.beside is not None:
                place = self.beside.with_name(f"{self.beside.name}_density.tif")
                sink = stack.enter_context(density_file(place, raster, how.stride))
            for band in self.bands_of(watched, self.tiling):
                count += float(band.density.sum(dtype=torch.float64))
                tokens += band.tokens
                finder.add(band.density)
                shrunk.add(band.top, band.density)
                if sink is not None:
                    sink.add(band)
                done += 1
                if told and done * 10 // total > (done - 1) * 10 // total:
                    print(f"{raster.file}: {100 * done // total} %, {count:,.0f} counted", file=sys.stderr, flush=True)
        points = strongest(finder.finish(), count)
        if referenced and self.beside is not None:
            write_points(self.beside.with_name(f"{self.beside.name}_points.geojson"), points, raster)
        size = (raster.height, raster.width)
        figure = draw_image(watched.small, shrunk.values, points, count, raster.file.name, size=size)
        every = -(-max(watched.small.shape) // THUMBNAIL)
        self._small = {**self._small, raster.file: watched.small[:, ::every, ::every].clone()}
        return [_row(count, tokens.float(), len(points), *size)], figure

    def arrange(self, rows: list[Row]) -> list[Row]:
        """Most trees first."""
        return sorted(rows, key=lambda row: -row["count"])

    def overview(self, rows: list[Row]) -> Figure:
        """All images from most to fewest trees."""
        ranks = np.unique(np.linspace(0, len(rows) - 1, min(MOST, len(rows))).round().astype(int)).tolist()
        heading = f"{len(rows)} images, {sum(row['count'] for row in rows):,.1f} counted in all"
        if len(ranks) < len(rows):
            heading += f"; {len(ranks)} of them shown"
        files = [Path(rows[rank]["file"]) for rank in ranks]
        titles = [f"{rows[rank]['count']:.1f}\n{_short(file.name)}" for rank, file in zip(ranks, files, strict=True)]
        pictures = [self._small[file] if file in self._small else read_whole(file) for file in files]
        return contact_sheet(pictures, titles, COLUMNS, heading)


class Watched:
    """A source that keeps a small picture of what is read of it, so that nothing is decoded twice.

    Args:
        source: The raster.
        side: Pixels of the longer side of the picture.

    Attributes:
        small: uint8 ``(3, h, w)``; black where nothing was read.
    """

    def __init__(self, source: Raster, side: int) -> None:
        self.source = source
        self.height, self.width = source.height, source.width
        scale = min(1.0, side / max(self.height, self.width))
        rows, columns = (max(1, round(length * scale)) for length in (self.height, self.width))
        self.small = torch.zeros(3, rows, columns, dtype=torch.uint8)
        self._rows = ((torch.arange(rows) + 0.5) * self.height / rows).long()
        self._columns = ((torch.arange(columns) + 0.5) * self.width / columns).long()

    def holds_data(self, window: Window) -> Tensor:
        """What the source says."""
        return self.source.holds_data(window)

    def read(self, window: Window) -> Tensor:
        """The pixels of a window; every so many are kept."""
        pixels = self.source.read(window)
        rows = ((self._rows >= window.top) & (self._rows < window.top + window.height)).nonzero()[:, 0]
        columns = ((self._columns >= window.left) & (self._columns < window.left + window.width)).nonzero()[:, 0]
        kept = pixels[:, self._rows[rows] - window.top][:, :, self._columns[columns] - window.left]
        self.small[:, rows[:, None], columns] = kept
        return pixels


class Shrunk:
    """A density made small enough to be drawn, while it comes in bands; its sum stays.

    Args:
        height: Of the image in pixels.
        width: Of the image in pixels.
        stride: Pixels per element.
    """

    def __init__(self, height: int, width: int, stride: int) -> None:
        rows, columns = -(-height // stride), -(-width // stride)
        self.factor = -(-max(rows, columns) // SIDE)
        self.values = torch.zeros(-(-rows // self.factor), -(-columns // self.factor))

    def add(self, top: int, density: Tensor) -> None:
        """Takes rows from ``top`` on."""
        rows = (torch.arange(len(density)) + top) // self.factor
        columns = torch.arange(density.shape[1]) // self.factor
        narrow = torch.zeros(len(density), self.values.shape[1]).index_add_(1, columns, density)
        self.values.index_add_(0, rows, narrow)


def open_raster(file: Path) -> Raster | None:
    """A TIFF that is to be read by windows: large, or georeferenced; None for any other image.

    Raises:
        InputError: It must be read by windows and cannot: rasterio is missing, or its blocks are too large.
    """
    if file.suffix.lower() not in TIFF_SUFFIXES or not file.is_file():
        return None
    try:
        height, width = image_size(file)
    except DataError:  # Pillow does not know every TIFF; rasterio may, and says what is wrong where it does not
        height, width = 1 << 30, 1 << 30
    if find_spec("rasterio") is None:
        if height * width > pixel_limit():
            raise DataError(
                f"{file}: has {width} x {height} pixels, more than the {pixel_limit():,} that are decoded at once; a "
                f"tiled TIFF is read by windows with rasterio: pip install 'rankzoo[raster]'"
            )
        return None
    large = height * width > LARGE
    try:
        raster = Raster(file)
    except DataError:
        if height * width > pixel_limit():
            raise
        return None  # e.g. 16 bits: small enough to be read as any image
    if large or raster.crs is not None:
        return raster
    raster.close()
    return None


def _row(count: float, tokens: Tensor, points: int, height: int, width: int) -> Row:
    stages = {f"token_stage{stage}": float(value) for stage, value in zip(STAGES, tokens, strict=True)}
    return {
        "count": count,
        "points": points,
        "token_count": float(tokens.mean()),
        **stages,
        "width": width,
        "height": height,
    }


def _unchanged(images: Any) -> list[Tensor]:
    """Normalised images as they are.

    Raises:
        InputError: They are no float ``(B, 3, H, W)``, ``(3, H, W)`` or list of these.
    """
    listed: Sequence[Any] = images if isinstance(images, list | tuple) else [images]
    found: list[Tensor] = []
    for value in listed:
        image = torch.as_tensor(value).detach()
        if not image.is_floating_point() or image.ndim not in (3, 4) or image.shape[-3] != 3 or 0 in image.shape:
            raise InputError(f"images: expected normalised floats (B, 3, H, W), got {image.dtype} {tuple(image.shape)}")
        if not torch.isfinite(image).all():
            raise InputError("images: holds values that are not finite")
        found += list(image.float()) if image.ndim == 4 else [image.float()]
    if not found:
        raise InputError("images: the list holds no image")
    return found


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"{name[: most - 11]}...{name[-8:]}"
