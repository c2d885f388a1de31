"""Packed models of images as ONNX in onnxruntime, processing inside: they give what ``predict`` gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou
from torchvision.transforms import v2

import zoo
from zoo.domains.detection.augment import resize as resize_whole
from zoo.domains.detection.boxes import resized
from zoo.domains.detection.prediction import best_pairs
from zoo.errors import InputError
from zoo.export import export, named_tensors, seen_inputs
from zoo.hub import entries
from zoo.hub.targets import sample
from zoo.layers import FromImages, ImageSteps
from zoo.recipe import build_data, read
from zoo.training import read_image

PACKED = [name for name, entry in entries().items() if entry.source == "ours"]


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_model_takes_images_in_onnxruntime_or_says_why_not(name, tmp_path):
    module = zoo.load(name)
    path = tmp_path / "net.onnx"
    card = (entries()[name].origin.parent.parent / "domains" / module.domain / "README.md").read_text()
    assert "zoo export " in card
    if module.export_refusal:
        with pytest.raises(InputError, match="cannot be exported"):
            export(module, path, "onnx")
        assert module.export_refusal in card
        return
    if module.image_steps() is None:
        with pytest.raises(InputError, match=r"takes .*, not images; export it without --images"):
            export(module, path, "onnx", images=True)
        assert "`zoo export --images` is refused" in " ".join(card.split())
        _takes_any_batch(module, export(module, path, "onnx"))
        return
    done = export(module, path, "onnx", images=True)
    assert done.opset is not None
    assert done.opset >= 18
    assert done.inputs["images"] == (None, 3, None, None)
    height, width = module.image_steps().size or (96, 70)
    generator = torch.Generator().manual_seed(5)
    small = torch.rand(1, 3, 6, 5, generator=generator)
    if module.domain in ("counting", "detection"):  # something to find
        small = read_image(sample(name))[None] / 255
    pixels = v2.functional.resize(small, [height + 9, 2 * width + 4])
    pixels = (pixels * 255).to(torch.uint8)
    others = {key: tensor[:1].numpy() for key, tensor in module.export_inputs().items() if key in done.inputs}
    others.pop("images", None)
    found = dict(zip(done.outputs, session(path).run(None, {"images": pixels.numpy(), **others}), strict=True))
    expected = predicted(module, pixels)
    assert expected
    for key, values in expected.items():
        np.testing.assert_allclose(
            found[key][:, : values.shape[1]] if values.ndim > 1 else found[key],
            values.numpy(),
            rtol=0.02,
            atol=0.3 if key == "boxes" else 0.02,
            err_msg=key,
        )
    if module.domain == "detection":
        _finds_the_same(module, pixels, found)


def _takes_any_batch(module, done):
    """Five items at once, as the eager network gives them."""
    inputs = {key: tensor[[0, 1, 1, 0, 1]] for key, tensor in module.export_inputs().items()}
    inputs = {key: torch.rand_like(tensor) if tensor.is_floating_point() else tensor for key, tensor in inputs.items()}
    found = session(done.path).run(None, {key: tensor.numpy() for key, tensor in inputs.items()})
    with torch.no_grad():
        expected = named_tensors(module.network(*inputs.values()))
    assert [name for name, _ in expected] == [name.removeprefix("out_") for name in done.outputs]
    for (name, values), given in zip(expected, found, strict=True):
        np.testing.assert_allclose(given, values.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)


def _finds_the_same(module, pixels, found):
    """Boxes are in pixels of the image as it came; what is sure is what an image by itself gives."""
    alone = module.predict(pixels, threshold=0.2)[0]
    assert len(alone.boxes)
    overlaps = box_iou(alone.boxes, torch.from_numpy(found["boxes"][0]))
    overlaps[alone.labels[:, None] != torch.from_numpy(found["labels"][0])[None]] = 0
    best, places = overlaps.max(1)
    assert best[0] > 0.8
    assert abs(float(found["scores"][0][places[0]]) - float(alone.scores[0])) < 0.1
    assert (np.diff(found["scores"][0][found["scores"][0] > 0]) <= 0).all()


def predicted(module, pixels):
    """What the method gives a user for the same image."""
    if module.domain == "calibration":
        return {"probabilities": module.predict(pixels, temperature="stored").probabilities}
    if module.domain == "quality":
        return {"score": module.predict(pixels, faces=[pixels[0]]).score}
    if module.domain == "reid":
        bge, tse = module.encode_image(pixels)
        return {"image_bge": bge, "image_tse": tse}
    if module.domain == "counting":
        given = module.predict(pixels, tiling=None)
        return {"count": given.count, "density": given.density, "token_counts": given.token_counts}
    # an image beside which others lie in the batch: what an evaluation in batches sees
    side = module.test_longest
    view = resize_whole(pixels[0], module.test_size, module.test_longest)
    canvas = torch.zeros(1, 3, side, side)
    canvas[0, :, : view.shape[1], : view.shape[2]] = view
    with torch.no_grad():
        output = module.network(canvas, torch.tensor([view.shape[1:]]))
    found = best_pairs(output, torch.tensor(pixels.shape[2:]))
    return {key: values[:, :5] for key, values in found.items()}  # of those that are sure the order is, too


def test_an_export_is_checked_with_what_the_network_really_gets():
    module = zoo.load("ltr-small")
    found = seen_inputs(module, build_data(read("ltr/small")))
    assert [set(batch) for batch in found] == [{"features"}]
    assert found[0]["features"].shape[-1] == 46
    assert found[0]["features"].std() > 0.05


class Twice(torch.nn.Module):
    def forward(self, images, faces, aux):
        return (images - faces).abs().sum() + aux.sum(), images


@pytest.mark.parametrize(("height", "width"), [(96, 72), (57, 57), (64, 90), (61, 400)])
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.0, 1.0)])
def test_images_are_resized_and_cut_as_pillow_does(height, width, place):
    steps = ImageSteps((56, 56), 64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), crops=(place,), inputs=("images", "faces"))
    pixels = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    whole = FromImages(Twice(), ["images", "faces", "aux"], steps)
    nothing, found = whole(pixels[None], torch.ones(1))
    assert float(nothing) == 1.0  # the same image at both inputs, and the third as given
    resized = v2.functional.pil_to_tensor(v2.functional.resize(v2.functional.to_pil_image(pixels), [64]))
    crops = v2.functional.five_crop(resized, [56, 56])
    expected = crops[4 if place == (0.5, 0.5) else 1].float()
    assert (found[0] * 255 - expected).abs().max() < 1.5  # a level of 255: Pillow computes in integers
    assert (found[0] * 255 - expected).abs().mean() < 0.05


def test_an_image_is_stretched_where_no_shorter_side_is_given():
    steps = ImageSteps((20, 30), None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), passes=False)
    pixels = torch.randint(0, 256, (2, 3, 47, 33), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = FromImages(torch.nn.Identity(), ["images"], steps)(pixels)
    expected = v2.functional.resize(pixels.float(), [20, 30], antialias=True)
    assert (found * 255 - expected).abs().max() < 0.51


class Corner(torch.nn.Module):
    def forward(self, images, sizes):
        return images, sizes


@pytest.mark.parametrize(("height", "width"), [(96, 72), (57, 57), (64, 190), (61, 400), (33, 20)])
def test_a_whole_image_lies_in_the_corner_of_a_square(height, width):
    kept = (0.0, 0.0, 0.0), (1 / 255,) * 3
    steps = ImageSteps((150, 150), 64, *kept, longest=150, finish_at=lambda found, size: (*found, size))
    pixels = torch.randint(1, 256, (2, 3, height, width), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found, sizes, size = FromImages(Corner(), ["images"], steps)(pixels)
    assert size.tolist() == [height, width]
    wanted = resized((height, width), 64, 150)
    assert sizes.tolist() == [list(wanted)] * 2
    expected = v2.functional.resize(pixels, list(wanted), antialias=True)
    assert (found[..., : wanted[0], : wanted[1]] - expected).abs().max() < 1.5  # one level of 255
    assert not found[..., wanted[0] :, :].any()
    assert not found[..., wanted[1] :].any()


def test_an_image_stays_as_it_is_where_nothing_is_asked():
    pixels = torch.randint(0, 256, (2, 3, 7, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    steps = ImageSteps(None, None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    torch.testing.assert_close(FromImages(torch.nn.Identity(), ["images"], steps)(pixels), pixels / 255)
