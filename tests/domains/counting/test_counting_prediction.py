"""Prediction in memory and on files, evaluation by windows, and what `zoo predict` writes."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchmetrics import MetricCollection

from zoo.domains.counting import PointsJSON, TreeFormer
from zoo.domains.counting.picture import coarse, draw_agreement
from zoo.domains.counting.prediction import Shrunk
from zoo.domains.counting.synthesis import save_image, scenes
from zoo.errors import InputError, ZooError
from zoo.training import normalise


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    found = TreeFormer(backbone="test_resnet", crop=64, window=64, overlap=16, peak_threshold=0.001)
    for parameter in found.network.regression.parameters():
        torch.nn.init.normal_(parameter, 0.02, 0.05)
    return found.eval()


@pytest.fixture(scope="module")
def images():
    return torch.stack([image for image, _ in scenes(4, 2, (300, 420))])


def told(call) -> str:
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


# -- in memory


@pytest.mark.parametrize(("tiling", "shape"), [("exact", (75, 105)), (None, (75, 105)), ("official", (300, 420))])
def test_shapes_and_that_the_count_is_the_sum(module, images, tiling, shape):
    found = module.predict(images, tiling=tiling)
    assert found.density.shape == (2, 1, *shape)
    assert found.count.shape == (2,)
    torch.testing.assert_close(found.density.sum((1, 2, 3)), found.count, rtol=1e-5, atol=1e-4)
    assert found.token_counts.shape == (2, 3)
    for points, count in zip(found.points, found.count, strict=True):
        assert points.shape[1:] == (2,)
        assert 0 < len(points) <= round(float(count))
        assert (points >= 0).all()
        assert (points <= torch.tensor([420.0, 300.0])).all()


def test_exact_is_the_default_and_one_image_is_a_batch_of_one(module, images):
    one = module.predict(images[0])
    assert one.density.shape == (1, 1, 75, 105)
    torch.testing.assert_close(one.density[0], module.predict(images, tiling="exact").density[0])
    torch.testing.assert_close(module.density(images[0]), one.density[0])
    np.testing.assert_allclose(module.predict(images[0].numpy().astype(np.float32) / 255).count, one.count, rtol=1e-5)


def test_images_of_several_sizes(module, images):
    found = module.predict([images[0], images[1][:, :50, :41]])
    assert [tuple(density.shape) for density in found.density] == [(1, 75, 105), (1, 13, 11)]
    torch.testing.assert_close(found.count[1:], module.predict(images[1][:, :50, :41]).count)


def test_the_whole_image_at_once_is_the_network_itself(module, images):
    ready = normalise(images.float() / 255)
    with torch.no_grad():
        output = module.network(ready)
    for found in (module.predict(images, None), module.predict(ready, tiling=None, preprocess=False)):
        torch.testing.assert_close(found.density, output.maps[0])
        torch.testing.assert_close(found.token_counts, output.token_counts)


def test_official_is_a_loop_over_windows_of_the_network(module, images):
    ready = normalise(images[:1].float() / 255)
    total, seen = torch.zeros(300, 420), torch.zeros(300, 420)
    with torch.no_grad():
        for top in (0, 44):
            for left in (0, 164):
                y0 = module.network(ready[:, :, top : top + 256, left : left + 256]).maps[0]
                larger = torch.nn.functional.interpolate(y0, scale_factor=4, mode="bilinear", align_corners=True)
                total[top : top + 256, left : left + 256] += larger[0, 0] / 16
                seen[top : top + 256, left : left + 256] += 1
    found = module.predict(images[:1], tiling="official")
    torch.testing.assert_close(found.density[0, 0], total / seen, atol=1e-6, rtol=1e-4)


def test_small_images_are_enlarged_under_official_alone(module, images):
    small = images[:, :, :100, :130]
    official = module.predict(small, tiling="official")
    assert official.density.shape == (2, 1, 256, 333)
    assert all((points <= torch.tensor([130.0, 100.0])).all() for points in official.points)
    assert module.predict(small).density.shape == (2, 1, 25, 33)
    assert module.predict(small[:, :, :1, :1]).density.shape == (2, 1, 1, 1)


def test_no_gradient_and_the_mode_stays(module, images):
    module.network.train()
    try:
        found = module.predict(images)
        assert not found.density.requires_grad
        assert module.network.training
        torch.testing.assert_close(found.count, module.predict(images).count)  # no noise, no dropout
    finally:
        module.network.eval()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: m.predict(x, tiling="exakt"), "tiling must be one of exact, official, got 'exakt'; did you mean"),
        (lambda m, x: m.predict(x.float()), "images: float images lie in [0, 1], these in "),
        (lambda m, x: m.predict([]), "images: the list holds no image"),
        (lambda m, x: m.predict(x[:, :2]), "images: expected shape (B, 3, H, W)"),
        (lambda m, x: m.predict(x.permute(0, 2, 3, 1)), "images: expected shape (B, 3, H, W)"),
        (lambda m, x: m.predict(torch.full((3, 8, 8), torch.nan)), "images: holds values that are not finite"),
        (
            lambda m, x: m.predict(x, preprocess=False),
            "images: expected normalised floats (B, 3, H, W), got torch.uint8",
        ),
        (lambda m, x: m.predict([], preprocess=False), "images: the list holds no image"),
        (
            lambda m, x: m.predict(torch.full((3, 8, 8), torch.inf), preprocess=False),
            "images: holds values that are not finite",
        ),
    ],
)
def test_inputs_that_do_not_fit(module, images, call, message):
    assert told(lambda: call(module, images)).startswith(message)


# -- files


def test_an_image_file_is_counted_as_in_memory(module, images, tmp_path):
    save_image(tmp_path / "wald.png", images[0])
    ((row,), figure) = module.predict_file(tmp_path / "wald.png")
    found = module.predict(images[0])
    assert row["count"] == pytest.approx(float(found.count), rel=1e-5)
    assert list(row) == [
        "count",
        "points",
        "token_count",
        "token_stage2",
        "token_stage3",
        "token_stage4",
        "width",
        "height",
    ]
    assert row["token_count"] == pytest.approx(float(found.token_counts.mean()), rel=1e-4, abs=1e-6)
    assert row["points"] == len(found.points[0])
    assert f"{row['count']:.1f} counted" in figure.get_suptitle()


def test_images_of_every_mode(module, images, tmp_path):
    picture = Image.fromarray(images[0].permute(1, 2, 0).numpy())
    for mode in ("L", "RGBA", "P", "CMYK"):
        file = tmp_path / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}"
        picture.convert(mode).save(file)
        assert module.predict_file(file)[0][0]["width"] == 420
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=turned)
    assert module.predict_file(tmp_path / "turned.jpg")[0][0]["width"] == 300


def test_files_that_cannot_be_used(module, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "text.tif").write_text("hello")
    assert told(lambda: module.predict_file(tmp_path / "empty.png")) == f"{tmp_path / 'empty.png'}: the file is empty"
    for name in ("text.jpg", "text.tif"):
        assert told(lambda: module.predict_file(tmp_path / name)).startswith(f"{tmp_path / name}: is no ")  # noqa: B023


def test_rows_are_ordered_and_drawn(module, images, tmp_path):
    rows = []
    for number, image in enumerate(images):
        save_image(tmp_path / f"{number}.png", image)
        rows.append({"file": str(tmp_path / f"{number}.png"), **module.predict_file(tmp_path / f"{number}.png")[0][0]})
    rows[0]["count"], rows[1]["count"] = 5.0, 9.0
    assert [row["count"] for row in module.arrange(rows)] == [9.0, 5.0]
    assert module.overview(module.arrange(rows)).get_suptitle() == "2 images, 14.0 counted in all"


def test_zoo_predict_writes_table_pictures_density_and_points(module, images, tmp_path, monkeypatch):
    rasterio = pytest.importorskip("rasterio")
    from zoo.cli import predict as verb

    class Target:
        def module(self, device):
            return module

    monkeypatch.setattr("zoo.hub.open_target", lambda *arguments, **options: Target())
    folder = tmp_path / "in"
    save_image(folder / "one" / "a.png", images[0])
    save_image(folder / "two" / "a.jpg", images[1])
    size = {"count": 3, "height": 300, "width": 420, "dtype": "uint8"}
    place = {"crs": "EPSG:3857", "transform": rasterio.transform.from_origin(0, 0, 1, 1)}
    with rasterio.open(folder / "b.tif", "w", driver="GTiff", **size, **place) as opened:
        opened.write(images[0].numpy())
    out = tmp_path / "out"
    table = verb.predict("any", [folder], out)
    assert len(table) == len(pd.read_csv(out / "table.csv")) == 3
    names = {path.name for path in out.iterdir()}
    assert {"b.png", "b_density.tif", "b_points.geojson", "overview.png", "table.csv"} < names
    assert len([name for name in names if name.endswith("a.png") or name.endswith("a.jpg.png") or "_a." in name]) == 2
    assert len(names) == 3 + 2 + 2
    assert verb.predict("any", folder / "b.tif")["count"][0] == pytest.approx(table["count"][0], rel=0.2)
    assert module.beside is None


# -- evaluation


@pytest.mark.parametrize("tiling", ["exact", "official"])
def test_evaluation_counts_as_prediction_does(module, tiling, monkeypatch):
    monkeypatch.setattr(module, "tiling", tiling)
    data = PointsJSON(synthesize=True, crop=64)
    metrics = MetricCollection(module.build_metrics(), compute_groups=False)
    rows = []
    with torch.no_grad():
        for batch in data.test_dataloader():
            assert len(batch) == 1
            rows += module.evaluate_batch(batch, metrics)
    assert [row["trees"] for row in rows] == [len(data.items("test")[0, index]["points"]) for index in range(10)]
    items = [data.items("test")[0, index] for index in range(10)]
    found = module.predict([item["image"] for item in items], tiling=tiling, preprocess=False)
    np.testing.assert_allclose([row["count"] for row in rows], found.count, rtol=1e-5)
    values = {name: float(value) for name, value in metrics.compute().items()}
    errors = np.array([row["error"] for row in rows])
    assert values["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    assert values["rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-5)
    tokens = np.array([row["token_count"] - row["trees"] for row in rows])
    assert values["token_mae"] == pytest.approx(np.abs(tokens).mean(), rel=1e-5)
    for level in (1, 2, 3):
        assert values[f"game{level}"] == pytest.approx(np.mean([row[f"game{level}"] for row in rows]), rel=1e-5)
    assert values["mae"] <= values["game1"] <= values["game2"] <= values["game3"]
    assert values["mae_low"] <= values["mae"] <= values["mae_high"]
    assert module.protocol.startswith(tiling)
    assert module.preprocess["tiling"] == tiling
    assert set(module.report(rows)[1]) == {"agreement"}


def test_a_network_that_diverged_is_told(module, monkeypatch):
    data = PointsJSON(synthesize=True, crop=64)
    batch = next(iter(data.test_dataloader()))
    metrics = MetricCollection(module.build_metrics(), compute_groups=False)
    nan = (torch.full((1, 1, 16, 16), torch.nan), torch.zeros(1, 3))
    monkeypatch.setattr(
        module, "run", lambda: lambda windows: tuple(one.expand(len(windows), *one.shape[1:]) for one in nan)
    )
    with pytest.raises(
        ZooError, match=r"^images/test_00.png: the network counts nan; its weights are not finite, or it diverged$"
    ):
        module.evaluate_batch(batch, metrics)


def test_a_picture_of_an_evaluation(module):
    data = PointsJSON(synthesize=True, crop=64)
    batch = next(iter(data.val_dataloader()))
    figure = module.picture(batch)
    assert batch[0]["name"] in figure.get_suptitle()
    assert f"{len(batch[0]['points'])} true" in figure.get_suptitle()


def test_drawing_keeps_the_sum():
    density = torch.rand(37, 50)
    assert coarse(density, 8).shape == (5, 7)
    torch.testing.assert_close(coarse(density, 8).sum(), density.sum())
    torch.testing.assert_close(coarse(density, 8)[0, 0], density[:8, :8].sum())
    shrunk = Shrunk(4 * 3000, 4 * 50, 4)
    tall = torch.rand(3000, 50)
    for top in range(0, 3000, 700):
        shrunk.add(top, tall[top : top + 700])
    assert shrunk.values.shape == (1000, 17)
    torch.testing.assert_close(shrunk.values, coarse(tall, 3))
    draw_agreement([{"trees": 3, "count": 2.5, "token_count": -1.0}])
