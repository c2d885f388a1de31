"""Sorting by packed whole numbers gives what torch's stable sort gives."""

import pytest
import torch

from zoo.ranking import sorting
from zoo.ranking.sorting import order_rows, sort_rows

HUGE = 2**62
ROWS = {
    "floats": torch.tensor([[3.0, -1.0, 0.0, -0.0, 2.5, -1.0, 1e-45, -1e-45]]),
    "infinite": torch.tensor(
        [[float("inf"), -float("inf"), 1.0, float("nan"), -1.0, float("inf"), -float("nan"), 0.0]]
    ),
    "float64": torch.tensor([[1e-300, -1e300, 0.0, -0.0]], dtype=torch.float64),
    "whole": torch.tensor([[4, -7, 4, 0, -7, 2**30]]),
    "wide": torch.tensor([[HUGE, -HUGE, 0, HUGE]]),
    "bool": torch.tensor([[True, False, True], [False, False, True]]),
    "int32": torch.tensor([[2**31 - 1, -(2**31), 0]], dtype=torch.int32),
    "empty": torch.zeros(3, 0),
}


@pytest.fixture(autouse=True)
def pack_always(monkeypatch):
    monkeypatch.setattr(sorting, "PACKED_FROM", 0)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", ROWS)
def test_values_and_places_are_those_of_the_stable_sort(name, descending):
    if name == "empty":
        assert sort_rows(ROWS[name], descending)[1].shape == (3, 0)
        return
    values, order = sort_rows(ROWS[name], descending)
    expected, places = ROWS[name].sort(dim=-1, descending=descending, stable=True)
    torch.testing.assert_close(values, expected, equal_nan=True)
    assert torch.equal(order, places)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8])
def test_many_ties_in_long_rows(dtype):
    x = torch.randint(0, 50, (4, 3000), generator=torch.Generator().manual_seed(0)).to(dtype)
    for descending in (False, True):
        assert torch.equal(order_rows(x, descending), x.argsort(dim=-1, descending=descending, stable=True))


def test_input_is_not_written_over():
    x = torch.randint(0, 9, (2, 50))
    before = x.clone()
    order_rows(x, descending=True)
    assert torch.equal(x, before)


def test_a_graph_is_left_out_and_the_compiler_takes_torch():
    x = torch.randn(3000, requires_grad=True)
    assert not sort_rows(x)[0].requires_grad
    compiled = torch.compile(order_rows, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x.detach()), order_rows(x))
