"""Prediction in memory and on files: shapes, sizes, thresholds, mixed batches, the table, the json and the pictures."""

import json
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.domains.detection import Detected
from zoo.domains.detection.augment import resize
from zoo.domains.detection.evaluation import detect
from zoo.domains.detection.prediction import coco_json
from zoo.errors import InputError


@pytest.fixture(scope="module")
def model():
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    spec = spec_from_file_location("detection_tiny", Path(__file__).with_name("conftest.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.make_tiny().eval()
    made.set_classes(["disc", "square", "star", "triangle"])
    return made


def picture(height=60, width=80, seed=0):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def same(one, two):
    torch.testing.assert_close(one.scores, two.scores)
    torch.testing.assert_close(one.boxes, two.boxes, atol=1e-3, rtol=1e-4)
    assert torch.equal(one.labels, two.labels)
    assert one.class_names == two.class_names


def test_boxes_lie_in_the_original_image(model):
    (found,) = model.predict(picture())
    assert isinstance(found, Detected)
    assert len(found.scores) == len(found.labels) == len(found.class_names) == len(found.boxes) <= 24
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, [0, 2]] <= 80).all()
    assert (found.boxes[:, [1, 3]] <= 60).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert (found.scores.diff() <= 0).all()
    assert found.class_names == [model.class_names[label] for label in found.labels]


def test_images_are_brought_to_the_size_of_the_test(model):
    image = picture(120, 160)
    view = resize(image, 48, 96)
    assert view.shape == (3, 48, 64)
    with torch.no_grad():
        output = model.network(view[None].float())
        kept = model.network(image[None].float())
    same(model.predict(image)[0], detect(output.logits[0], output.boxes[0], (120, 160), names=model.class_names))
    same(
        model.predict(image, resize=False)[0],
        detect(kept.logits[0], kept.boxes[0], (120, 160), names=model.class_names),
    )


def test_mixed_sizes_equal_one_by_one(model):
    images = [picture(60, 80, 1), picture(100, 50, 2), picture(48, 48, 3)]
    for found, image in zip(model.predict(images), images, strict=True):
        same(found, model.predict(image)[0])


def test_what_a_user_may_give(model):
    image = picture()
    (wanted,) = model.predict(image)
    for given in (image[None], [image], image.numpy(), [image.numpy()], image.float() / 255, np.stack([image.numpy()])):
        same(model.predict(given)[0], wanted)
    assert len(model.predict(torch.stack([image, image]))) == 2
    model.train()
    same(model.predict(image)[0], wanted)
    assert model.network.training
    model.eval()


def test_threshold(model):
    (everything,) = model.predict(picture())
    middle = float(everything.scores.median())
    (found,) = model.predict(picture(), middle)
    assert found.scores.tolist() == [score for score in everything.scores.tolist() if score >= middle]
    with pytest.raises(InputError, match=r"threshold must be in \[0, 1\], got 1.5"):
        model.predict(picture(), 1.5)


def test_raw_tensors_go_to_the_network(model):
    images = 255 * torch.rand(2, 3, 64, 64)
    output = model.predict(images, preprocess=False)
    assert output.logits.shape == (2, 6, 4)
    assert output.boxes.shape == (2, 6, 4)
    with pytest.raises(InputError, match="preprocess=False expected a tensor"):
        model.predict([images[0]], preprocess=False)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "the list holds no image"),
        (torch.rand(3, 8, 8) * 300, r"float images lie in \[0, 1\]"),
        (torch.rand(1, 8, 8), r"expected shape \(3, H, W\)"),
        (torch.full((3, 8, 8), torch.nan), "not finite"),
        ("photo.jpg", "expected a tensor or array"),
    ],
)
def test_images_that_do_not_fit(model, images, message):
    with pytest.raises(InputError, match=message):
        model.predict(images)


def test_more_queries_than_tokens_is_told(tiny):
    with pytest.raises(InputError, match=r"images of 32x32 give 22 tokens, too few for 30 queries"):
        tiny(queries=30).predict(picture(32, 32), resize=False)


def test_rows_of_a_file(model, tmp_path):
    file = tmp_path / "a.png"
    Image.fromarray(picture().permute(1, 2, 0).numpy()).save(file)
    model.threshold = 0.0
    rows, figure = model.predict_file(file)
    (found,) = model.predict(picture())
    assert [row["score"] for row in rows] == pytest.approx(found.scores.tolist(), abs=1e-6)
    assert set(rows[0]) == {"label", "class", "score", "left", "top", "right", "bottom", "width", "height"}
    assert len(figure.axes[0].patches) == len(rows)
    model.threshold = 1.0
    rows, figure = model.predict_file(file)
    assert [(row["label"], row["score"], row["width"]) for row in rows] == [("", None, 80)]
    model.threshold = 0.3


def test_the_json_is_read_by_coco_s_own_tools(model, tmp_path):
    from faster_coco_eval import COCO

    model.threshold = 0.0
    rows = []
    for name in ("a", "b"):
        Image.fromarray(picture(seed=ord(name)).permute(1, 2, 0).numpy()).save(tmp_path / f"{name}.png")
        found, _ = model.predict_file(tmp_path / f"{name}.png")
        rows += [{"file": name, **row} for row in found]
    rows.append({"file": "empty", "label": "", "class": None, "score": None, "left": None, "top": None, "right": None,
                 "bottom": None, "width": 5, "height": 6})  # fmt: skip
    (text,) = model.documents(rows).values()
    (tmp_path / "found.json").write_text(text)
    tree = json.loads(text)
    assert [(entry["file_name"], entry["width"], entry["height"]) for entry in tree["images"]] == [
        ("a", 80, 60), ("b", 80, 60), ("empty", 5, 6),
    ]  # fmt: skip
    assert [entry["name"] for entry in tree["categories"]] == model.class_names
    assert len(tree["annotations"]) == len(rows) - 1
    read = COCO(str(tmp_path / "found.json"))
    first = read.loadAnns(read.getAnnIds(imgIds=[1]))[0]
    assert first["category_id"] == rows[0]["class"] + 1
    left, top, width, height = first["bbox"]
    assert (left, top) == (rows[0]["left"], rows[0]["top"])
    assert (left + width, top + height) == pytest.approx((rows[0]["right"], rows[0]["bottom"]), abs=0.011)
    model.threshold = 0.3


def test_a_video_gives_rows_with_time_and_a_sheet_of_frames(model, tmp_path):
    av = import_module("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(40):
            pixels = picture(48, 64, number).permute(1, 2, 0).contiguous().numpy()
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    model.threshold = 0.0
    rows, figure = model.predict_file(tmp_path / "a.mp4")
    assert sorted({row["second"] for row in rows}) == [number / 2 for number in range(8)]
    assert {row["frame"] for row in rows} == set(range(8))
    assert len([axis for axis in figure.axes if axis.images]) == 8
    tree = coco_json([{"file": "a.mp4", **row} for row in rows], model.class_names)
    assert [entry["second"] for entry in tree["images"]] == [number / 2 for number in range(8)]
    model.video_fps = None
    rows, figure = model.predict_file(tmp_path / "a.mp4")
    assert len({row["frame"] for row in rows}) == 40
    assert len([axis for axis in figure.axes if axis.images]) == 10  # every fourth
    model.video_fps, model.threshold = 2.0, 0.3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("a.jpg", b"", "the file is empty"), ("a.jpg", b"no image", "is no image"), ("a.mp4", b"", "the file is empty")],
)
def test_files_that_cannot_be_read(model, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        model.predict_file(tmp_path / name)
