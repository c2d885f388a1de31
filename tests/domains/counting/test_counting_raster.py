"""Large rasters: read by windows, counted as in memory, written with their coordinates; what cannot be read is told."""

import json
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.domains.counting import TreeFormer
from zoo.domains.counting.prediction import Watched
from zoo.domains.counting.raster import Raster, Window, read_whole
from zoo.domains.counting.synthesis import save_image, scenes
from zoo.domains.counting.tile import main, make_tiled
from zoo.errors import InputError
from zoo.training import DataError

rasterio = pytest.importorskip("rasterio")
PLACE = {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(500_000, 5_000_000, 0.5, 0.5)}
SIZE = (300, 410)


@pytest.fixture(scope="module")
def image():
    return scenes(2, 1, SIZE)[0][0]


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    found = TreeFormer(backbone="test_resnet", crop=64, window=64, overlap=16, peak_threshold=0.001)
    for parameter in found.network.regression.parameters():
        torch.nn.init.normal_(parameter, 0.02, 0.05)  # a density that differs from place to place
    return found.eval()


def write(file, pixels, **options):
    """A TIFF by rasterio, tiled unless said otherwise; options without a place are not georeferenced."""
    values = pixels.numpy() if isinstance(pixels, torch.Tensor) else pixels
    layout = {"tiled": True, "blockxsize": 128, "blockysize": 128, **options}
    size = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype.name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(file, "w", driver="GTiff", **size, **layout) as opened:
            opened.write(values)
    return file


def told(call) -> str:
    with pytest.raises(InputError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text
    return text


# -- reading


def test_windows_of_every_kind_of_tiff(image, tmp_path):
    window = Window(100, 200, 50, 70)
    part = image[:, 100:150, 200:270]
    alpha = torch.cat([image, torch.full((1, *SIZE), 255, dtype=torch.uint8)])
    for name, pixels, options in (
        ("tiled", image, {}),
        ("striped", image, {"tiled": False, "blockysize": 16}),
        ("deflate", image, {"compress": "deflate"}),
        ("alpha", alpha, {"photometric": "RGB", "alpha": "yes"}),
        ("big", image, {"bigtiff": "yes"}),
    ):
        with Raster(write(tmp_path / f"{name}.tif", pixels, **options)) as raster:
            assert (raster.height, raster.width) == SIZE
            assert torch.equal(raster.read(window), part), name
            assert raster.holds_data(window).all()
    with Raster(write(tmp_path / "grey.tif", image[:1])) as raster:
        assert torch.equal(raster.read(window), part[:1].expand(3, -1, -1))


def test_what_holds_no_data(image, tmp_path):
    alpha = torch.full((1, *SIZE), 255, dtype=torch.uint8)
    alpha[:, :, :200] = 0
    file = write(tmp_path / "alpha.tif", torch.cat([image, alpha]), photometric="RGB", alpha="yes")
    with Raster(file) as raster:
        assert raster.holds_data(Window(0, 190, 5, 20)).sum() == 5 * 10
    black = image.clamp(min=1)
    black[:, :50] = 0
    with Raster(write(tmp_path / "nodata.tif", black, nodata=0)) as raster:
        assert raster.holds_data(Window(40, 0, 20, 8)).sum() == 10 * 8


def test_rasters_that_cannot_be_read(image, tmp_path):
    assert told(lambda: Raster(tmp_path / "no.tif")) == f"{tmp_path / 'no.tif'}: there is no such raster"
    (tmp_path / "text.tif").write_text("hello")
    assert told(lambda: Raster(tmp_path / "text.tif")).startswith(f"{tmp_path / 'text.tif'}: is no raster that can be")
    deep = write(tmp_path / "deep.tif", image.numpy().astype(np.uint16))
    assert told(lambda: Raster(deep)) == (
        f"{deep}: has 3 bands of uint16, expected RGB of 8 bits; convert it: gdal_translate -ot Byte -scale "
        "-b 1 -b 2 -b 3 deep.tif rgb.tif"
    )
    many = write(tmp_path / "many.tif", torch.cat([image, image]))
    assert told(lambda: Raster(many)).startswith(f"{many}: has 6 bands of uint8, expected RGB of 8 bits")


def test_a_tiff_in_one_piece(image, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.domains.counting.raster._BLOCK", 200_000)
    file = write(tmp_path / "one.tif", image, tiled=False, blockysize=SIZE[0], compress="deflate")
    assert told(lambda: Raster(file)).startswith(
        f"{file}: is stored in blocks of 410 x 300 pixels, too large to be read by windows; make a tiled TIFF of it"
    )


def test_damage_is_named_with_its_rows(image, tmp_path):
    file = write(tmp_path / "cut.tif", image, compress="deflate")
    content = bytearray(file.read_bytes())
    with rasterio.open(file) as opened:
        start = int(opened.tags(ns="TIFF", bidx=1).get("BLOCK_OFFSET_1_1") or len(content) // 2)
    content[start : start + 4000] = b"\xff" * 4000
    file.write_bytes(content)
    with Raster(file) as raster:
        text = told(lambda: [raster.read(Window(top, 0, 100, 410)) for top in (0, 100, 200)])
    assert text.startswith(f"{file}: is damaged at rows ")


# -- the decoder's limit


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_plain_images_over_the_limit(image, suffix, module, tmp_path, monkeypatch):
    file = tmp_path / f"large.{suffix}"
    save_image(file, image)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    target = "large_tiled.tif" if suffix == "tif" else "large.tif"
    advice = (
        f"{file}: has 410 x 300 pixels, more than the 100,000 that are decoded at once; make a tiled TIFF of it, "
        "which is read by windows: pip install 'rankzoo[raster]', then python -m zoo.domains.counting.tile "
        f"large.{suffix} {target} (or gdal_translate -co TILED=YES -co COMPRESS=DEFLATE -co BIGTIFF=IF_SAFER "
        f"large.{suffix} {target})"
    )
    assert told(lambda: read_whole(file)) == advice
    if suffix != "tif":
        assert told(lambda: module.predict_file(file)) == advice


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_without_rasterio(image, suffix, module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    file = tmp_path / f"large.{suffix}"
    save_image(file, image)
    ((row,), _) = module.predict_file(file)  # small enough for the decoder
    assert (row["width"], row["height"]) == (410, 300)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    text = told(lambda: module.predict_file(file))
    assert text.startswith(f"{file}: has 410 x 300 pixels, more than the 100,000 that are decoded at once; ")
    assert "tiled TIFF" in text
    assert "pip install 'rankzoo[raster]'" in text
    assert told(lambda: Raster(file)) == f"{file}: is read by windows with rasterio: pip install 'rankzoo[raster]'"


def test_a_real_png_of_400_million_pixels(module, tmp_path):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    file = tmp_path / "mosaic.png"
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    text = told(lambda: module.predict_file(file))
    assert text.startswith(
        f"{file}: has 20000 x 20000 pixels, more than the 178,956,970 that are decoded at once; make a"
    )


# -- making a tiled TIFF


def test_a_tiled_tiff_is_the_same_image(image, tmp_path, capsys):
    save_image(tmp_path / "a.png", image)
    assert main([str(tmp_path / "a.png"), str(tmp_path / "a.tif")]) == 0
    with rasterio.open(tmp_path / "a.tif") as opened:
        assert opened.profile["tiled"]
        assert opened.block_shapes[0] == (256, 256)
    with Raster(tmp_path / "a.tif") as raster:
        assert torch.equal(raster.read(Window(0, 0, *SIZE)), image)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "a.tif"]
    assert main([str(tmp_path / "a.png"), str(tmp_path / "a.tif")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'a.tif'}: is there already; name another file\n"
    assert main(["one"]) == 2


def test_a_tiled_tiff_keeps_its_coordinates(image, tmp_path):
    file = write(tmp_path / "a.tif", image, tiled=False, blockysize=SIZE[0], **PLACE)
    make_tiled(file, tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as opened:
        assert opened.crs == rasterio.crs.CRS.from_epsg(32633)
        assert opened.transform == PLACE["transform"]
    (tmp_path / "c.png").write_bytes(b"nothing")
    assert told(lambda: make_tiled(tmp_path / "c.png", tmp_path / "d.tif")).startswith(
        f"{tmp_path / 'c.png'}: cannot be"
    )
    assert told(lambda: make_tiled(tmp_path / "e.png", tmp_path / "d.tif")).endswith("there is no such image")


# -- counting


@pytest.mark.parametrize("tiling", ["exact", "official"])
def test_a_raster_is_counted_as_in_memory(image, tiling, module, tmp_path, monkeypatch):
    file = write(tmp_path / "forest.tif", image, **PLACE)
    monkeypatch.setattr(module, "tiling", tiling)
    monkeypatch.setattr(module, "beside", tmp_path / "out")
    ((row,), _) = module.predict_file(file)
    found = module.predict(image, tiling=tiling)
    assert row["count"] == pytest.approx(float(found.count), rel=1e-4)
    assert row["points"] == len(found.points[0]) > 3
    assert row["token_stage2"] == pytest.approx(float(found.token_counts[0, 0]), rel=1e-3)
    stride = 1 if tiling == "official" else 4
    with rasterio.open(tmp_path / "out_density.tif") as density:
        assert density.crs == rasterio.crs.CRS.from_epsg(32633)
        assert density.transform.a == 0.5 * stride
        assert (density.transform.c, density.transform.f) == (500_000, 5_000_000)
        values = density.read(1)
        np.testing.assert_allclose(values, found.density[0, 0].numpy(), atol=1e-5)
        assert values.sum() == pytest.approx(row["count"], rel=1e-4)


def test_points_lie_where_the_raster_lies(image, module, tmp_path, monkeypatch):
    from rasterio.warp import transform

    file = write(tmp_path / "forest.tif", image, **PLACE)
    monkeypatch.setattr(module, "beside", tmp_path / "out")
    ((row,), _) = module.predict_file(file)
    content = json.loads((tmp_path / "out_points.geojson").read_text())
    assert content["type"] == "FeatureCollection"
    assert len(content["features"]) == row["points"]
    longitude, latitude = np.array([feature["geometry"]["coordinates"] for feature in content["features"]]).T
    east, north = transform("EPSG:4326", "EPSG:32633", longitude, latitude)
    x, y = ([feature["properties"][name] for feature in content["features"]] for name in "xy")
    np.testing.assert_allclose((np.array(east) - 500_000) / 0.5, x, atol=0.02)
    np.testing.assert_allclose((5_000_000 - np.array(north)) / 0.5, y, atol=0.02)
    torch.testing.assert_close(torch.tensor([x, y]).T, module.predict(image).points[0], atol=0.02, rtol=0)


def test_without_coordinates_there_is_a_count_and_no_file_beside(image, module, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.domains.counting.prediction.LARGE", 1000)
    monkeypatch.setattr(module, "beside", tmp_path / "out")
    file = write(tmp_path / "plain.tif", image)
    ((row,), _) = module.predict_file(file)
    assert row["count"] == pytest.approx(float(module.predict(image).count), rel=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["plain.tif"]


def test_the_small_picture_is_made_of_what_was_read(image, module, tmp_path):
    file = write(tmp_path / "forest.tif", image, **PLACE)
    with Raster(file) as raster:
        watched = Watched(raster, 100)
        list(module.bands_of(watched, "exact"))
    assert watched.small.shape == (3, 73, 100)
    rows, columns = ((torch.arange(n) + 0.5) * length / n for n, length in ((73, 300), (100, 410)))
    assert torch.equal(watched.small, image[:, rows.long()][:, :, columns.long()])
    found, _ = module.predict_file(file)
    listed = [{"file": str(path), **found[0]} for path in (file, tmp_path / "forest.tif")]
    assert "2 images" in module.overview(listed).get_suptitle()


def test_16_bit_tiffs_that_fit_are_read_as_images(image, module, tmp_path):
    grey = image.float().mean(0).numpy().astype(np.uint16) * 257
    Image.fromarray(grey).save(tmp_path / "grey.tif")
    ((row,), _) = module.predict_file(tmp_path / "grey.tif")
    assert (row["width"], row["height"]) == (410, 300)


def test_what_holds_no_data_holds_no_trees(image, module, tmp_path, monkeypatch):
    black = image.clamp(min=1)
    black[:, :152] = 0
    monkeypatch.setattr(module, "beside", tmp_path / "out")
    module.predict_file(write(tmp_path / "half.tif", black, nodata=0, **PLACE))
    with rasterio.open(tmp_path / "out_density.tif") as density:
        values = density.read(1)
    assert values[:38].sum() == 0
    assert values[38:].sum() > 0


def test_damage_in_the_middle_leaves_no_file(image, module, tmp_path, monkeypatch):
    file = write(tmp_path / "forest.tif", image, **PLACE)
    read = Raster.read

    def failing(self, window):
        if window.top > 100:
            raise DataError(f"{self.file}: is damaged")
        return read(self, window)

    monkeypatch.setattr(Raster, "read", failing)
    monkeypatch.setattr(module, "beside", tmp_path / "out")
    assert told(lambda: module.predict_file(file)) == f"{file}: is damaged"
    assert [path.name for path in tmp_path.iterdir()] == ["forest.tif"]


def test_a_raster_that_official_windows_do_not_fit_is_enlarged(image, module, tmp_path, monkeypatch):
    file = write(tmp_path / "low.tif", image[:, :200], **PLACE)
    monkeypatch.setattr(module, "tiling", "official")
    ((row,), _) = module.predict_file(file)
    assert row["count"] == pytest.approx(float(module.predict(image[:, :200], tiling="official").count), rel=1e-3)
