"""Deformable attention on a GPU against float64 on the processor; ZOO_TEST_DEVICE=cpu runs the same on a processor."""

import os

import pytest
import torch

from zoo.layers.deformable_attention import deformable_attention, grid_sample_attention

DEVICE = os.environ.get("ZOO_TEST_DEVICE", "cuda")
SHAPES = [(9, 6), (4, 5), (1, 1)]
pytestmark = pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="no GPU")


def inputs(batch=2, queries=11, heads=3, width=8, points=4):
    """Values, places within and around the maps, weights, and a slope of the result."""
    generator = torch.Generator().manual_seed(0)
    tokens = sum(height * across for height, across in SHAPES)
    shape = batch, queries, heads, len(SHAPES), points
    return [
        torch.randn(batch, tokens, heads, width, generator=generator, dtype=torch.float64),
        torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.3,
        torch.randn(*shape, generator=generator, dtype=torch.float64).flatten(3).softmax(-1).view(shape),
        torch.randn(batch, queries, heads * width, generator=generator, dtype=torch.float64),
    ]


def results(device, dtype, given):
    """Output and gradients on the device, and in float64 on the processor for the same numbers."""
    found = []
    for attend, leaves in (
        (deformable_attention, [x.to(device=device, dtype=dtype) for x in given[:3]]),
        (grid_sample_attention, [x.to(dtype).double() for x in given[:3]]),
    ):
        leaves = [x.requires_grad_() for x in leaves]
        output = attend(leaves[0], SHAPES, *leaves[1:])
        slope = given[3].to(dtype).to(device=output.device, dtype=output.dtype)
        found.append((output.detach(), *torch.autograd.grad(output, leaves, slope)))
    return zip(*found, strict=True)


@pytest.mark.parametrize(
    ("dtype", "relative"),
    [(torch.float64, 1e-10), (torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)],
)
def test_values_and_gradients(dtype, relative):
    for found, expected in results(DEVICE, dtype, inputs()):
        assert found.device.type == DEVICE
        assert found.dtype == dtype
        assert (found.cpu().double() - expected).abs().max() <= relative * expected.abs().max()


def test_autocast_does_not_touch_the_places():
    value, places, weights, _ = (x.float().to(DEVICE) for x in inputs())
    expected = deformable_attention(value, SHAPES, places, weights)
    with torch.autocast(DEVICE, torch.bfloat16):
        found = deformable_attention(value, SHAPES, places, weights)
    assert torch.equal(found, expected)


def test_no_queries_no_images_and_far_places():
    value, places, weights, _ = (x.float().to(DEVICE) for x in inputs())
    assert deformable_attention(value, SHAPES, places[:, :0], weights[:, :0]).shape == (2, 0, 24)
    assert deformable_attention(value, SHAPES, torch.full_like(places, 1e30), weights).abs().max() == 0
