"""Packed models of images as ONNX in onnxruntime, processing inside: they give what ``predict`` gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

import zoo
from zoo.errors import InputError
from zoo.export import export, seen_inputs
from zoo.hub import entries
from zoo.layers import FromImages, ImageSteps
from zoo.recipe import build_data, read

PACKED = [name for name, entry in entries().items() if entry.source == "ours"]


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_model_takes_images_in_onnxruntime_or_says_why_not(name, tmp_path):
    module = zoo.load(name)
    path = tmp_path / "net.onnx"
    if module.export_refusal:
        with pytest.raises(InputError, match="cannot be exported"):
            export(module, path, "onnx")
        card = (entries()[name].origin.parent.parent / "domains" / module.domain / "README.md").read_text()
        assert module.export_refusal in card
        return
    if module.image_steps() is None:  # tests/recipes runs the demo of every domain in onnxruntime
        with pytest.raises(InputError, match=r"takes .*, not images; export it without --images"):
            export(module, path, "onnx", images=True)
        return
    done = export(module, path, "onnx", images=True)
    assert done.opset is not None
    assert done.opset >= 18
    assert done.inputs["images"] == (None, 3, None, None)
    height, width = module.image_steps().size
    generator = torch.Generator().manual_seed(5)
    pixels = v2.functional.resize(torch.rand(1, 3, 6, 5, generator=generator), [height + 9, 2 * width + 4])
    pixels = (pixels * 255).to(torch.uint8)
    others = {key: tensor[:1].numpy() for key, tensor in module.export_inputs().items() if key in done.inputs}
    others.pop("images", None)
    found = dict(zip(done.outputs, session(path).run(None, {"images": pixels.numpy(), **others}), strict=True))
    for key, expected in predicted(module, pixels).items():
        np.testing.assert_allclose(found[key], expected.numpy(), rtol=0.02, atol=0.02, err_msg=key)


def predicted(module, pixels):
    """What the method gives a user for the same image."""
    if module.domain == "calibration":
        return {"probabilities": module.predict(pixels, temperature="stored").probabilities}
    if module.domain == "quality":
        return {"score": module.predict(pixels, faces=[pixels[0]]).score}
    if module.domain == "reid":
        bge, tse = module.encode_image(pixels)
        return {"image_bge": bge, "image_tse": tse}
    return {}


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
