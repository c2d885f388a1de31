"""Deformable attention: against grid_sample and against a plain loop, in value and gradient."""

import math

import pytest
import torch

from zoo.layers import deformable_attention as module
from zoo.layers.deformable_attention import deformable_attention, grid_sample_attention

SHAPES = [(5, 7), (3, 4), (1, 1)]


def inputs(dtype=torch.float64, batch=2, queries=6, heads=3, width=4, points=2, shapes=SHAPES, beyond=0.3):
    """Values, places within and around the maps, weights."""
    generator = torch.Generator().manual_seed(0)
    tokens = sum(height * across for height, across in shapes)
    make = {
        "value": torch.randn(batch, tokens, heads, width, generator=generator),
        "places": torch.rand(batch, queries, heads, len(shapes), points, 2, generator=generator),
        "weights": torch.randn(batch, queries, heads, len(shapes), points, generator=generator),
    }
    make["places"] = make["places"] * (1 + 2 * beyond) - beyond
    return [tensor.to(dtype).requires_grad_() for tensor in make.values()]


def by_loop(value, shapes, places, weights):
    """Every sample from its four cells, one after the other."""
    batch, _, heads, width = value.shape
    found = torch.zeros(batch, places.shape[1], heads, width, dtype=value.dtype)
    for b, q, h, level, point in torch.cartesian_prod(*(torch.arange(size) for size in places.shape[:5])).tolist():
        height, across = shapes[level]
        start = sum(rows * columns for rows, columns in shapes[:level])
        x, y = (places[b, q, h, level, point] * torch.tensor([across, height]) - 0.5).tolist()
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < height and 0 <= column < across:
                    share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[b, q, h, level, point]
                    found[b, q, h] += share * value[b, start + row * across + column, h]
    return found.flatten(2)


@pytest.mark.parametrize("engine", ["embedding_bag", "grid_sample"])
def test_samples_are_weighted_sums_of_four_cells(engine):
    value, places, weights = (tensor.detach() for tensor in inputs(queries=4))
    expected = by_loop(value, SHAPES, places, weights)
    torch.testing.assert_close(deformable_attention(value, SHAPES, places, weights, engine), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rows", [2**20, 64])
def test_values_and_gradients_are_those_of_grid_sample(dtype, rows, monkeypatch):
    monkeypatch.setattr(module, "FORWARD_ROWS", rows)
    monkeypatch.setattr(module, "BACKWARD_ROWS", 2 * rows)
    given = inputs(dtype, queries=11, heads=2, width=8, points=4, shapes=[(9, 6), (4, 5), (2, 1)])
    slope = torch.randn(2, 11, 16, generator=torch.Generator().manual_seed(1), dtype=dtype)
    results = []
    for engine in ("embedding_bag", "grid_sample"):
        value, places, weights = given
        found = deformable_attention(value, [(9, 6), (4, 5), (2, 1)], places, weights, engine)
        results.append((found, *torch.autograd.grad(found, given, slope)))
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4 if dtype == torch.float32 else 1e-9, atol=1e-5)


def test_gradients_are_those_of_finite_differences():
    value, places, weights = inputs(batch=1, queries=2, heads=2, width=2, points=1, beyond=0.1)
    assert torch.autograd.gradcheck(
        lambda *given: deformable_attention(given[0], SHAPES, given[1], given[2], "embedding_bag"),
        (value, places, weights),
    )


def test_far_places_count_as_outside_and_an_unknown_one_is_not_hidden():
    value, places, weights = (tensor.detach().float() for tensor in inputs())
    places[:] = torch.tensor([1e30, -1e30])
    assert deformable_attention(value, SHAPES, places, weights).abs().max() == 0
    places[0, 0] = torch.inf
    assert deformable_attention(value, SHAPES, places, weights).abs().max() == 0
    places[0, 0] = torch.nan
    found = deformable_attention(value, SHAPES, places, weights)
    assert found[0, 0].isnan().all()
    assert found[0, 1:].abs().max() == 0


@pytest.mark.parametrize("engine", ["embedding_bag", "grid_sample"])
def test_half_precision_is_computed_in_float32(engine):
    value, places, weights = (tensor.detach().float() for tensor in inputs())
    expected = deformable_attention(value.bfloat16().float(), SHAPES, places, weights, engine)
    with torch.autocast("cpu", torch.bfloat16):
        found = deformable_attention(value.bfloat16(), SHAPES, places, weights, engine)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.bfloat16())


def test_compiles_whole_with_its_gradient():
    given = inputs(torch.float32)
    value, places, weights = given

    def work(value, places, weights):
        return deformable_attention(value * 2, SHAPES, places + 0.01, weights.softmax(-1)) * 3

    compiled = torch.compile(work, fullgraph=True, backend="aot_eager")
    found, expected = compiled(*given), work(*given)
    torch.testing.assert_close(found, expected)
    for ours, reference in zip(
        torch.autograd.grad(found.sum(), given), torch.autograd.grad(expected.sum(), given), strict=True
    ):
        torch.testing.assert_close(ours, reference)
    sides = [side for shape in SHAPES for side in shape]
    torch.library.opcheck(torch.ops.zoo.deformable_attention.default, (value, places, weights, sides))


def test_an_exported_network_needs_nothing_of_ours():
    class Work(torch.nn.Module):
        def forward(self, value, places, weights):
            return deformable_attention(value, SHAPES, places, weights)

    given = tuple(tensor.detach().float() for tensor in inputs())
    program = torch.export.export(Work(), given, strict=False)
    names = [str(node.target) for node in program.graph.nodes]
    assert any("grid_sampler" in name for name in names)
    assert not any("zoo" in name for name in names)
    torch.testing.assert_close(program.module()(*given), grid_sample_attention(given[0], SHAPES, *given[1:]))


def test_what_does_not_fit_is_told():
    value, places, weights = inputs()
    with pytest.raises(ValueError, match=r"maps \[\(5, 7\), \(3, 4\)\] are not the 3 levels of 48 tokens"):
        deformable_attention(value, SHAPES[:2], places, weights)
    with pytest.raises(ValueError, match=r"weights \(2, 5, 3, 3, 2\) do not fit: expected \(B, S, heads, D\)"):
        deformable_attention(value, SHAPES, places, weights[:, 1:])
    with pytest.raises(ValueError, match="engine: 'cuda' given, expected one of auto, embedding_bag, grid_sample"):
        deformable_attention(value, SHAPES, places, weights, "cuda")
