"""A raster of 20,000 x 20,000 pixels is counted in less than 2 GiB, one of any height in the memory of a low one."""

import subprocess
import sys
from pathlib import Path

import pytest

rasterio = pytest.importorskip("rasterio")

PROGRAM = """
import re, sys, torch
from pathlib import Path
from zoo.domains.counting import TreeFormer
torch.set_num_threads(1)
module = TreeFormer(backbone=sys.argv[2], window=256, overlap=0).eval()
module.beside = Path(sys.argv[1]).with_suffix("")
(row,), figure = module.predict_file(Path(sys.argv[1]))
# not ru_maxrss: a new process starts with that of its parent
peak = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) // 1024
print(row["width"], row["height"], peak)
"""


def write(file: Path, height: int, width: int) -> Path:
    """A georeferenced, tiled TIFF of made-up canopies, repeated."""
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    from zoo.domains.counting.synthesis import scenes

    ((image, _),) = scenes(0, 1, (512, 1024))
    band = image.repeat(1, 1, -(-width // 1024))[:, :, :width].numpy()
    layout = {"tiled": True, "compress": "jpeg", "photometric": "ycbcr", "blockxsize": 256, "blockysize": 256}
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 0.2, 0.2)}
    size = {"height": height, "width": width, "count": 3, "dtype": "uint8"}
    with rasterio.open(file, "w", driver="GTiff", **size, **layout, **place) as opened:
        for top in range(0, height, 512):
            rows = min(512, height - top)
            opened.write(band[:, :rows], window=Window(0, top, width, rows))
    return file


def peak(file: Path, backbone: str) -> int:
    """MiB of a process that counts a raster, density raster and GeoJSON included."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file), backbone], stdout=subprocess.PIPE, text=True, check=True
    )
    print(file.name, backbone, done.stdout.strip())
    return int(done.stdout.split()[-1])


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="measures memory as Linux tells it")
def test_20000_x_20000_in_less_than_2_gib(tmp_path):
    large = peak(write(tmp_path / "large.tif", 20_000, 20_000), "mobilenetv3_small_050")
    low = peak(write(tmp_path / "low.tif", 1_000, 20_000), "mobilenetv3_small_050")
    assert large < 2048
    assert large < low + 200  # what grows with the height: the points, and the pages of the density raster
    with rasterio.open(tmp_path / "large_density.tif") as density:
        assert density.shape == (5_000, 5_000)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="measures memory as Linux tells it")
def test_the_released_network_counts_a_wide_raster_in_less_than_2_gib(tmp_path):
    assert peak(write(tmp_path / "wide.tif", 256, 20_000), "pvt_treeformer") < 2048
