"""Files for other programs: the density of a georeferenced raster as a raster, its points as GeoJSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from zoo.domains.counting.raster import CACHE_MB, Raster, import_rasterio
from zoo.domains.counting.windows import Band

BLOCK = 256
LONGITUDE_LATITUDE = "EPSG:4326"
"""What RFC 7946 asks of GeoJSON."""
DIGITS = 8  # of a degree: a millimetre


class DensityFile:
    """A density that is being written from top to bottom.

    Args:
        opened: rasterio's file.
    """

    def __init__(self, opened: Any) -> None:
        self._opened = opened

    def add(self, band: Band) -> None:
        """Writes finished rows."""
        from rasterio.windows import Window

        height, width = band.density.shape
        self._opened.write(band.density.numpy().astype(np.float32), 1, window=Window(0, band.top, width, height))


@contextmanager
def density_file(file: Path, raster: Raster, stride: int) -> Iterator[DensityFile]:
    """A tiled GeoTIFF of trees per element in the raster's coordinates; its sum is the count. Whole or not at all.

    Args:
        file: The GeoTIFF.
        raster: What is counted.
        stride: Pixels of it per element.
    """
    rasterio = import_rasterio(str(file))
    working = file.with_name(f".{file.name}.part")
    height, width = (-(-length // stride) for length in (raster.height, raster.width))
    options = {"compress": "deflate", "predictor": 3, "bigtiff": "if_safer", "tiled": True}
    place = {"crs": raster.crs, "transform": _coarser(raster.transform, stride)}
    try:
        with (
            rasterio.Env(GDAL_CACHEMAX=CACHE_MB),
            rasterio.open(
                working, "w", driver="GTiff", dtype="float32", count=1, height=height, width=width,
                blockxsize=BLOCK, blockysize=BLOCK, **place, **options,
            ) as opened,
        ):  # fmt: skip
            opened.set_band_description(1, f"trees per {stride} x {stride} pixels")
            yield DensityFile(opened)
        os.replace(working, file)
    finally:
        working.unlink(missing_ok=True)


def write_points(file: Path, points: Tensor, raster: Raster) -> None:
    """Writes points as GeoJSON, in longitude and latitude as its standard asks.

    Args:
        file: The GeoJSON.
        points: ``(N, 3)`` x, y in pixels of the raster and the height of the peak, trees per element.
        raster: Says where its pixels lie; georeferenced.
    """
    from rasterio.warp import transform

    column, row = points[:, 0].double().numpy(), points[:, 1].double().numpy()
    a, b, c, d, e, f = tuple(raster.transform)[:6]
    x, y = a * column + b * row + c, d * column + e * row + f
    longitude, latitude = transform(raster.crs, LONGITUDE_LATITUDE, x, y) if len(points) else ([], [])
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [round(east, DIGITS), round(north, DIGITS)]},
            "properties": {"x": round(float(point[0]), 2), "y": round(float(point[1]), 2), "peak": float(point[2])},
        }
        for east, north, point in zip(longitude, latitude, points, strict=True)
    ]
    working = file.with_name(f".{file.name}.part")
    with working.open("w", encoding="utf-8") as stream:
        stream.write('{"type": "FeatureCollection", "features": [\n')
        stream.write(",\n".join(json.dumps(feature) for feature in features))
        stream.write("\n]}\n")
    os.replace(working, file)


def _coarser(transform: Any, stride: int) -> Any:
    """The transform of elements of ``stride`` x ``stride`` pixels; releases of affine differ in how they multiply."""
    a, b, c, d, e, f = tuple(transform)[:6]
    return type(transform)(a * stride, b * stride, c, d * stride, e * stride, f)
