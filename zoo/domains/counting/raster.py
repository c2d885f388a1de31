"""Large rasters: read by windows through rasterio, in bounded memory; what a plain image may hold at most."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.errors import InputError
from zoo.training import DataError, read_image

TIFF_SUFFIXES = (".tif", ".tiff")
CACHE_MB = 64  # of GDAL; its default is 5 % of the machine's memory
_BLOCK = 128 << 20  # bytes that one block may take when it is decoded


class Window(NamedTuple):
    """A part of an image in pixels."""

    top: int
    left: int
    height: int
    width: int


class Raster:
    """A raster file whose windows are read one by one.

    Args:
        file: A TIFF; tiled, or in strips of few rows.

    Attributes:
        height: Pixels.
        width: Pixels.
        crs: Coordinate system, rasterio's; None where the file is not georeferenced.
        transform: From pixels to coordinates, rasterio's affine.

    Raises:
        InputError: rasterio is not installed.
        DataError: The file cannot be opened, or cannot be read by windows; names it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._rasterio = import_rasterio(str(file))
        if not file.is_file():
            raise DataError(f"{file}: there is no such raster")
        try:
            with self._quiet():
                self._opened = self._rasterio.open(file)
        except self._rasterio.errors.RasterioIOError as error:
            raise DataError(f"{file}: is no raster that can be read ({_line(error)})") from error
        source = self._opened
        self._colours = self._palette()
        self.height, self.width = int(source.height), int(source.width)
        self.crs, self.transform = source.crs, source.transform
        self._check()

    def _palette(self) -> np.ndarray | None:
        """``(256, 3)`` uint8, the colours of a raster of one band whose values are numbers of colours."""
        from rasterio.enums import ColorInterp

        if self._opened.count != 1 or self._opened.colorinterp[0] != ColorInterp.palette:
            return None
        table = np.zeros((256, 3), dtype=np.uint8)
        for number, colour in self._opened.colormap(1).items():
            table[number] = colour[:3]
        return table

    def _check(self) -> None:
        kinds = set(self._opened.dtypes[:3])
        if self._opened.count not in (1, 3, 4) or kinds != {"uint8"}:
            raise DataError(
                f"{self.file}: has {self._opened.count} bands of {', '.join(sorted(kinds))}, expected RGB of 8 bits; "
                f"convert it: gdal_translate -ot Byte -scale -b 1 -b 2 -b 3 {self.file.name} rgb.tif"
            )
        rows, columns = self._opened.block_shapes[0]
        if rows * columns * self._opened.count > _BLOCK:
            raise DataError(
                f"{self.file}: is stored in blocks of {columns} x {rows} pixels, too large to be read by windows; "
                f"{tiled_advice(self.file)}"
            )

    def read(self, window: Window) -> Tensor:
        """The pixels of a window inside the raster; grey and a palette become RGB, what holds no data black.

        Returns:
            uint8 ``(3, height, width)``.

        Raises:
            DataError: The file is damaged there; names file and window.
        """
        pixels = self._bands(window)
        if self._colours is not None:
            pixels = self._colours[pixels[0]].transpose(2, 0, 1)
        elif len(pixels) == 1:
            pixels = np.repeat(pixels, 3, axis=0)
        return torch.from_numpy(np.ascontiguousarray(pixels[:3]))

    def holds_data(self, window: Window) -> Tensor:
        """Which pixels of a window hold data: not the nodata value, not transparent; bool ``(height, width)``."""
        from rasterio.enums import MaskFlags

        if all(flags == [MaskFlags.all_valid] for flags in self._opened.mask_flag_enums):
            return torch.ones(window.height, window.width, dtype=torch.bool)
        with self._guard(window):
            mask = self._opened.dataset_mask(window=self._rows(window))
        return torch.from_numpy(np.asarray(mask) > 0)

    def _bands(self, window: Window) -> np.ndarray:
        bands = list(range(1, min(3, self._opened.count) + 1))
        with self._guard(window):
            pixels: np.ndarray = self._opened.read(bands, window=self._rows(window))
        return pixels

    def _rows(self, window: Window) -> Any:
        return self._rasterio.windows.Window(window.left, window.top, window.width, window.height)

    @contextmanager
    def _guard(self, window: Window) -> Iterator[None]:
        try:
            with self._quiet():
                yield
        except self._rasterio.errors.RasterioIOError as error:
            raise DataError(
                f"{self.file}: is damaged at rows {window.top} to {window.top + window.height} ({_line(error)})"
            ) from error

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """GDAL with a small cache; that a raster has no coordinates is no news here."""
        with warnings.catch_warnings(), self._rasterio.Env(GDAL_CACHEMAX=CACHE_MB):
            warnings.simplefilter("ignore", self._rasterio.errors.NotGeoreferencedWarning)
            yield

    def close(self) -> None:
        """Closes the file."""
        self._opened.close()

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def import_rasterio(what: str) -> Any:
    """The package rasterio.

    Args:
        what: What needs it, for the error.

    Raises:
        InputError: It is not installed; says how to.
    """
    try:
        import rasterio
        import rasterio.errors
        import rasterio.windows
    except ImportError as error:
        raise InputError(f"{what}: is read by windows with rasterio: pip install 'rankzoo[raster]'") from error
    return rasterio


def pixel_limit() -> int:
    """Pixels above which Pillow refuses to decode an image."""
    from PIL import Image

    return 2 * int(Image.MAX_IMAGE_PIXELS or 1 << 62)


def image_size(file: Path) -> tuple[int, int]:
    """Height and width that the head of an image names, without decoding it; EXIF may turn it yet.

    Raises:
        DataError: It is missing or no image; names it.
    """
    from PIL import Image

    if not file.is_file():
        raise DataError(f"{file}: there is no such image")
    limit = Image.MAX_IMAGE_PIXELS
    try:
        Image.MAX_IMAGE_PIXELS = None  # the size is wanted even where it is too large
        with Image.open(file) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError) as error:
        if file.stat().st_size == 0:
            raise DataError(f"{file}: the file is empty") from error
        raise DataError(f"{file}: is no image that can be read") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def read_whole(file: Path, where: str | None = None) -> Tensor:
    """Reads an image that fits the decoder's limit, as :func:`zoo.training.read_image` does.

    Returns:
        uint8 ``(3, H, W)``.

    Raises:
        DataError: It has more pixels than are decoded at once: says how to make a tiled TIFF; or it cannot be read.
    """
    if file.is_file() and file.stat().st_size:
        height, width = _size_or_none(file)
        if height * width > pixel_limit():
            name = f"{where}: {file}" if where else str(file)
            raise DataError(
                f"{name}: has {width} x {height} pixels, more than the {pixel_limit():,} that are decoded at once; "
                f"{tiled_advice(file)}"
            )
    return read_image(file, where)


def _size_or_none(file: Path) -> tuple[int, int]:
    try:
        return image_size(file)
    except DataError:
        return 0, 0  # reading says what is wrong


def tiled_advice(file: Path) -> str:
    """How to make a tiled TIFF of an image."""
    name = f"{file.stem}_tiled.tif" if file.suffix.lower() in TIFF_SUFFIXES else f"{file.stem}.tif"
    return (
        "make a tiled TIFF of it, which is read by windows: pip install 'rankzoo[raster]', then "
        f"python -m zoo.domains.counting.tile {file.name} {name} "
        f"(or gdal_translate -co TILED=YES -co COMPRESS=DEFLATE -co BIGTIFF=IF_SAFER {file.name} {name})"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
