"""Optimal transport: the sheet's numbers, a plain loop in double precision, any eps, its gradient."""

import math

import pytest
import torch

from zoo.domains.counting.transport import TINY, Transport, sinkhorn, squared_distances, transport, transport_terms
from zoo.errors import InputError

POINTS = [torch.tensor([[3, 5], [12, 9], [7.5, 14]]), torch.zeros(0, 2)]


def ar(shape, a, b):
    """The sheet's field: 0.5 + 0.5 sin(a n + b), n the flat index."""
    return (0.5 + 0.5 * torch.sin(a * torch.arange(math.prod(shape), dtype=torch.float32) + b)).reshape(shape)


DENSITY = ar((2, 1, 4, 4), 0.9, 0.3)


@pytest.mark.parametrize(
    ("options", "distance", "objective"),
    [
        (Transport(1.0, floor=True), 19.98192406, 3.45919204),
        (Transport(10.0, floor=True), 25.08931351, 7.31816196),
        (Transport(10.0, floor=False), 25.08931351, 7.31816196),
    ],
)
def test_the_sheets_numbers(options, distance, objective):
    plan = transport(DENSITY[0, 0], POINTS[0], 4, options)
    share = DENSITY[0, 0] / (DENSITY[0, 0].sum() + 1e-6)
    assert float(plan.distance) == pytest.approx(distance, rel=1e-6)
    assert float((share.flatten() * plan.potential).sum()) == pytest.approx(objective, rel=2e-6)


def plain(cost, share, eps, floor, iterations):
    """Sinkhorn as it reads, in double precision, every step in the log domain."""
    cost, share = cost.double(), share.double()

    def guarded(value):
        return torch.logaddexp(value, torch.full_like(value, math.log(TINY))) if floor else value

    f = torch.full_like(cost[:, 0], -math.log(len(cost)))
    for step in range(1, iterations + 1):
        g = share.log() - guarded(torch.logsumexp(f[:, None] - cost / eps, 0))
        f = -math.log(len(cost)) - guarded(torch.logsumexp(g - cost / eps, 1))
        if step % 10 == 0:
            received = (f[:, None] + g - cost / eps).exp().sum(0)
            if float((received - share).square().sum()) <= 1e-9:
                break
    return f, g


@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize(("eps", "normalised"), [(0.05, False), (1.0, False), (10.0, False), (1e4, False),
                                                 (0.001, True), (0.1, True), (10.0, True)])  # fmt: skip
def test_equals_a_plain_loop_in_double_precision(eps, normalised, floor):
    generator = torch.Generator().manual_seed(0)
    density = torch.rand(24, 40, generator=generator).pow(4) * 0.01
    density[:, 10:20] = 0.0  # a ReLU leaves whole areas empty
    points = torch.rand(7, 2, generator=generator) * torch.tensor([160.0, 96.0])
    share = (density / density.sum()).flatten()
    cost = squared_distances(points, 24, 40, 4, normalised)
    plan = sinkhorn(cost, share, eps, floor, 60)
    log_u, log_v = plain(cost, share, eps, floor, 60)
    assert torch.equal(torch.isinf(plan.log_v), share == 0)
    held = share > 0
    shift = 0.0 if floor else float((log_u - plan.log_u).mean())  # a constant moves between the two for free
    scale = max(1.0, float(cost.max()) / eps)
    torch.testing.assert_close(plan.log_u.double() + shift, log_u, atol=1e-6 * scale, rtol=1e-5)
    torch.testing.assert_close(plan.log_v[held].double() - shift, log_v[held], atol=1e-6 * scale, rtol=1e-5)


def test_far_cells_get_exact_potentials_without_the_floor():
    cost = squared_distances(torch.tensor([[2.0, 2.0]]), 1, 64, 4, False)
    share = torch.full((64,), 1 / 64)
    exact = sinkhorn(cost, share, 1.0, iterations=20)
    # one point: the plan is known, so is the potential: cost up to a constant
    torch.testing.assert_close(exact.potential - exact.potential[0], cost[0] - cost[0, 0], atol=1e-2, rtol=1e-5)
    floored = sinkhorn(cost, share, 1.0, floor=True, iterations=20)
    assert float(floored.potential.max()) < 37  # released: beyond 6 pixels of eps 1 all cells look alike
    assert float(exact.distance) == pytest.approx(float(cost.mean()), rel=2e-3)


def test_distances_are_between_pixels_and_cell_centres():
    cost = squared_distances(torch.tensor([[3.0, 5.0]]), 2, 3, 4, False)
    assert cost.tolist() == [[1 + 9, 9 + 9, 49 + 9, 1 + 1, 9 + 1, 49 + 1]]
    half = squared_distances(torch.tensor([[3.0, 5.0]]), 2, 3, 4, True)
    torch.testing.assert_close(half, cost / 36)


def test_gradient_is_that_of_the_transport():
    options = Transport(10.0)
    density = DENSITY.clone().requires_grad_()
    values = transport_terms(density, POINTS, 4, options)
    assert values.detach().abs().max() < 1e-5
    values.sum().backward()
    total = float(DENSITY[0].sum())
    beta = transport(DENSITY[0, 0], POINTS[0], 4, options).potential.reshape(4, 4)
    wanted = beta / total - (DENSITY[0, 0] * beta).sum() / total**2
    torch.testing.assert_close(density.grad[0, 0], wanted, atol=1e-6, rtol=1e-4)
    assert not density.grad[1].any()


def test_descent_brings_the_mass_to_the_points():
    density = torch.full((1, 1, 8, 8), 0.05)
    points = [torch.tensor([[6.0, 6.0], [26.0, 10.0]])]
    options = Transport(10.0)
    before = float(transport(density[0, 0], points[0], 4, options).distance)
    for _ in range(100):
        density.requires_grad_()
        (gradient,) = torch.autograd.grad(transport_terms(density, points, 4, options).sum(), density)
        density = (density.detach() - 5e-5 * gradient).clamp(min=0)
    assert float(transport(density[0, 0], points[0], 4, options).distance) < 0.3 * before
    kept = density[0, 0].flatten().topk(2).indices.tolist()
    assert sorted(kept) == [1 * 8 + 1, 2 * 8 + 6]


@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize(("eps", "normalised"), [(1e-4, False), (1e6, False), (1e-6, True)])
def test_any_eps_is_finite(eps, normalised, floor):
    density = ar((1, 1, 64, 64), 0.37, 0.1).pow(20).requires_grad_()
    points = [torch.tensor([[1.0, 1.0], [255.0, 255.0], [256.0, 0.0]])]
    value = transport_terms(density, points, 4, Transport(eps, normalised, floor)).sum()
    (gradient,) = torch.autograd.grad(value, density)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


def test_an_empty_density_has_no_transport():
    density = torch.zeros(1, 1, 4, 4, requires_grad=True)
    value = transport_terms(density, POINTS[:1], 4, Transport())
    value.sum().backward()
    assert value.tolist() == [0.0]
    assert not density.grad.any()


def test_options_out_of_range():
    with pytest.raises(InputError, match=r"model.transport_eps must be positive, got 0"):
        Transport(0.0)
    with pytest.raises(InputError, match="the transport needs at least one iteration, got 0"):
        Transport(iterations=0)
