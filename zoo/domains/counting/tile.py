"""Makes a tiled TIFF of a large image, strip by strip: ``python -m zoo.domains.counting.tile big.png big.tif``."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from zoo.domains.counting.raster import CACHE_MB, import_rasterio
from zoo.errors import InputError, ZooError

BLOCK = 256


def make_tiled(source: Path, target: Path) -> None:
    """Copies an image into a tiled, compressed TIFF; coordinates go along. The file appears whole or not at all.

    Args:
        source: Whatever GDAL reads, e.g. PNG, JPEG or an untiled TIFF; it is read once, from top to bottom.
        target: The TIFF.

    Raises:
        InputError: rasterio is not installed, the source cannot be read, or the target exists.
    """
    rasterio = import_rasterio(str(source))
    if not source.is_file():
        raise InputError(f"{source}: there is no such image")
    if target.exists():
        raise InputError(f"{target}: is there already; name another file")
    working = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=2 * CACHE_MB):
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            _copy(source, working)
        os.replace(working, target)
    except rasterio.errors.RasterioError as error:
        raise InputError(f"{source}: cannot be copied ({' '.join(str(error).split())[:120]})") from error
    finally:
        working.unlink(missing_ok=True)


def _copy(source: Path, working: Path) -> None:
    from rasterio import open as opened
    from rasterio.windows import Window

    with opened(source) as image:
        size, options = (image.width, image.height), {"compress": "deflate", "bigtiff": "if_safer", "tiled": True}
        kind = {"count": image.count, "dtype": image.dtypes[0], "crs": image.crs, "transform": image.transform}
        layout = {"driver": "GTiff", "blockxsize": BLOCK, "blockysize": BLOCK, **options}
        with opened(working, "w", width=size[0], height=size[1], nodata=image.nodata, **kind, **layout) as tiled:
            for top in range(0, size[1], BLOCK):
                part = Window(0, top, size[0], min(BLOCK, size[1] - top))
                tiled.write(image.read(window=part), window=part)
            tiled.colorinterp = image.colorinterp


def main(arguments: list[str]) -> int:
    """The command line.

    Returns:
        The exit code.
    """
    if len(arguments) != 2:
        print("usage: python -m zoo.domains.counting.tile SOURCE TARGET.tif", file=sys.stderr)
        return 2
    try:
        make_tiled(Path(arguments[0]), Path(arguments[1]))
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(arguments[1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
