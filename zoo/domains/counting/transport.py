"""Optimal transport between points and a density: Sinkhorn iterations with potentials in the log domain."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import torch
from torch import Tensor

from zoo.errors import InputError

TINY = 1e-16  # of the released code: added to every division, and to the scalings before their logarithm
ENOUGH = 1e-9  # sum of squared errors of the cells' masses
ABSORB = 25.0  # |log| of a scaling from which it is moved into its potential; float32 holds e^87


@dataclass(frozen=True)
class Transport:
    """How points are transported to a density.

    Attributes:
        eps: Weight of the entropy, in the unit of the cost, > 0; 1 in the released code, 10 in DM-Count.
        normalised: Measure distances in images of side 2 (DM-Count's ``norm_cood``) instead of pixels.
        floor: Add 1e-16 to every division, as the released code and DM-Count do: potentials of cells further than
            ``sqrt(37 eps)`` pixels from all points stop growing. Without it they are exact, and large.
        iterations: At most.

    Raises:
        InputError: A number is out of range.
    """

    eps: float = 10.0
    normalised: bool = False
    floor: bool = True
    iterations: int = 100

    def __post_init__(self) -> None:
        if not self.eps > 0:
            raise InputError(f"model.transport_eps must be positive, got {self.eps}")
        if self.iterations < 1:
            raise InputError(f"the transport needs at least one iteration, got {self.iterations}")


@dataclass(frozen=True)
class Plan:
    """A transport plan between ``N`` points and ``M`` cells.

    Attributes:
        log_u: ``(N,)`` log of the points' scalings.
        log_v: ``(M,)`` log of the cells' scalings; -inf where the density is 0.
        cost: ``(N, M)``.
        eps: Weight of the entropy.
    """

    log_u: Tensor
    log_v: Tensor
    cost: Tensor
    eps: float

    @property
    def distance(self) -> Tensor:
        """What the plan costs, without its entropy."""
        kernel = self.log_u[:, None] + self.log_v - self.cost / self.eps
        return (kernel.exp() * self.cost).sum()

    @property
    def potential(self) -> Tensor:
        """``(M,)``: ``eps log(v + 1e-16)``, the gradient of the transport by the density, up to a constant."""
        return self.eps * torch.logaddexp(self.log_v, torch.full_like(self.log_v, log(TINY)))


def squared_distances(points: Tensor, height: int, width: int, stride: int, normalised: bool) -> Tensor:
    """Cost of every pair of a point and a cell, the cells row by row.

    Args:
        points: ``(N, 2)`` x and y in pixels.
        height: Cells.
        width: Cells.
        stride: Pixels per cell.
        normalised: Divide pixels by half the longer side first.

    Returns:
        ``(N, height * width)``.
    """
    scale = 2 / (stride * max(height, width)) if normalised else 1.0
    x, y = (
        (points[:, axis, None] - stride * (torch.arange(count, device=points.device) + 0.5)) * scale
        for axis, count in enumerate((width, height))
    )
    return (y.square()[:, :, None] + x.square()[:, None, :]).flatten(1)


@torch.no_grad()
def sinkhorn(cost: Tensor, share: Tensor, eps: float, floor: bool = False, iterations: int = 100) -> Plan:
    """Transports equal masses of ``N`` points to ``M`` cells.

    The scalings are ``exp(log_u) * u`` and ``exp(log_v) * v``: small factors are iterated with products, and moved
    into the logarithms before they grow (Schmitzer, Stabilized sparse scaling algorithms, SIAM J. Sci. Comput. 2019).
    That is exact for any ``eps``, where ``exp(-cost / eps)`` itself would underflow.

    Args:
        cost: ``(N, M)``, N >= 1.
        share: ``(M,)`` >= 0, the cells' share of the mass.
        eps: Weight of the entropy.
        floor: See :class:`Transport`.
        iterations: At most; every tenth, the squares of the errors of the cells are added up, and 1e-9 is enough.
    """
    count, tiny = len(cost), TINY if floor else 0.0
    cost_eps, log_b = cost / eps, share.log()
    # w = v / share is iterated: it exists where the share is 0 or very small; the released start is u = 1 / N
    log_u = torch.full_like(cost[:, 0], -log(count))
    log_w = torch.zeros_like(share)
    kernel = u = w = None
    floors: tuple[Tensor | float, Tensor | float] = (0.0, 0.0)
    for step in range(1, iterations + 1):
        if kernel is None or u is None:
            log_w = -_floored(torch.logsumexp(log_u[:, None] - cost_eps, dim=0), tiny)
            before, log_u = log_u, -log(count) - _floored(torch.logsumexp(log_b + log_w - cost_eps, dim=1), tiny)
            if float((log_u - before).abs().max()) < ABSORB:
                kernel = (log_u[:, None] + log_w - cost_eps).exp()
                u, w = torch.ones_like(log_u), torch.ones_like(log_w)
                # in the unit of the factors; bounded, because the floor bounds the scalings
                floors = (TINY * log_u.exp(), TINY * log_w.exp()) if floor else (0.0, 0.0)
        else:
            w = 1 / (u @ kernel + floors[1])
            u = 1 / count / (kernel @ (share * w) + floors[0])
            lows, highs = torch.aminmax(torch.cat([u, w]))
            if float(highs) > exp(ABSORB) or float(lows) < exp(-ABSORB):
                log_u, log_w, kernel = log_u + u.log(), log_w + w.log(), None
        if step % 10 == 0 and _error(log_u, log_w, cost_eps, share, kernel, u, w) <= ENOUGH:
            break
    if kernel is not None and u is not None and w is not None:
        log_u, log_w = log_u + u.log(), log_w + w.log()
    return Plan(log_u, log_b + log_w, cost, eps)


def _error(
    log_u: Tensor,
    log_w: Tensor,
    cost_eps: Tensor,
    share: Tensor,
    kernel: Tensor | None,
    u: Tensor | None,
    w: Tensor | None,
) -> float:
    """Squares of the differences between what the cells get and their share."""
    if kernel is None or u is None or w is None:
        received = torch.logsumexp(log_u[:, None] + log_w - cost_eps, dim=0).exp()
    else:
        received = w * (u @ kernel)
    return float((share * received - share).square().sum())


def _floored(values: Tensor, tiny: float) -> Tensor:
    return torch.logaddexp(values, torch.full_like(values, log(tiny))) if tiny else values


def transport_terms(density: Tensor, points: list[Tensor], stride: int, options: Transport) -> Tensor:
    """A value per image whose gradient by the density is that of the transport between its points and its shape.

    The value itself is 0 but for rounding: ``<y, g>`` with ``g = (beta S - <y, beta>) / (S^2 + 1e-8)``, where S is the
    sum of y, beta the potential, and g is not differentiated (DM-Count, Wang et al., NeurIPS 2020, equation 11).

    Args:
        density: ``(B, 1, h, w)``, >= 0.
        points: Per image ``(N, 2)`` x and y in pixels; an image without points, or without density, has value 0.
        stride: Pixels per cell.
        options: How it is transported.

    Returns:
        ``(B,)``.
    """
    values = []
    for y, p in zip(density[:, 0], points, strict=True):
        total = y.detach().sum()
        if not len(p) or not total > 0:
            values.append(y.sum() * 0)
            continue
        beta = transport(y.detach(), p, stride, options).potential.reshape(y.shape)
        squared = total.square() + 1e-8
        gradient = (beta * total - (y.detach() * beta).sum()) / squared
        values.append((y * gradient).sum())
    return torch.stack(values)


def transport(density: Tensor, points: Tensor, stride: int, options: Transport) -> Plan:
    """The plan between points ``(N, 2)`` and a density ``(h, w)`` with a positive sum."""
    height, width = density.shape
    cost = squared_distances(points.to(density), height, width, stride, options.normalised)
    share = (density / (density.sum() + 1e-6)).flatten()
    return sinkhorn(cost, share, options.eps, options.floor, options.iterations)
