"""Every loss of every domain over number types, extreme inputs, orders, autocast, determinism and the compiler."""

import importlib
import inspect
from pathlib import Path

import pytest
import torch
from domain_losses import CASES, ORDERED, PARTS, ROWS, SQUARED

import zoo.domains

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
NAMES = [(domain, name) for domain, cases in CASES.items() for name in cases]
WHOLE = torch.arange(ROWS)
losses = pytest.mark.parametrize(("domain", "name"), NAMES)


def drawn(case):
    x = torch.randn(*case.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return {"any": x, "share": x.sigmoid(), "density": x.abs()}[case.kind]


def measured(case, x, rows=WHOLE):
    x = x.detach().clone().requires_grad_()
    value = case.loss(x, rows)
    return value.detach(), torch.autograd.grad(value, x)[0]


@losses
def test_a_loss_is_computed_and_given_in_float32_at_least(domain, name):
    case = CASES[domain][name]
    for dtype in DTYPES:
        x = drawn(case).to(dtype)
        value, gradient = measured(case, x)
        wanted, slope = measured(case, x.double())
        assert value.dtype == (torch.float64 if dtype is torch.float64 else torch.float32)
        torch.testing.assert_close(value.double(), wanted.double(), rtol=2e-3, atol=1e-5)
        torch.testing.assert_close(gradient.double(), slope.double(), rtol=2e-2, atol=2e-2 * float(slope.abs().max()))


@losses
def test_a_loss_at_the_edges_is_no_nan_and_has_a_finite_gradient(domain, name):
    case = CASES[domain][name]
    x = drawn(case)
    for dtype in (torch.float32, torch.bfloat16):
        tiny = float(torch.finfo(dtype).smallest_normal) / 8
        given = {"zeros": 0 * x, "ones": torch.ones_like(x), "denormal": tiny * x}
        far = {"huge": x.sign() * 1e30, "mixed": torch.where(x > 0.3, 1e30, torch.where(x < 0, -1e30, tiny))}
        if case.kind != "share" and name not in SQUARED:
            given |= {kind: one.abs() if case.kind == "density" else one for kind, one in far.items()}
        for kind, one in given.items():
            value, gradient = measured(case, one.to(dtype))
            assert not value.isnan(), kind
            assert not gradient.isnan().any(), kind
            assert kind in far or (value.isfinite() and gradient.isfinite().all()), kind


@losses
def test_a_loss_sees_neither_order_nor_autocast_nor_chance(domain, name):
    case = CASES[domain][name]
    x = drawn(case)
    value, gradient = measured(case, x)
    order = torch.tensor([2, 0, 3, 1])
    if name not in ORDERED:
        turned, slope = measured(case, x[order], order)
        torch.testing.assert_close(turned, value)
        torch.testing.assert_close(slope, gradient[order])
    x = x.float()
    torch.use_deterministic_algorithms(True)
    try:
        value, gradient = measured(case, x)
        again, slope = measured(case, x)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(value, again)
    assert torch.equal(gradient, slope)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = x.clone().requires_grad_()
        found = case.loss(mixed, WHOLE)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.detach(), value)
    torch.testing.assert_close(torch.autograd.grad(found, mixed)[0], gradient, rtol=1e-3, atol=1e-6)


FIRST = {(domain, next(iter(cases))) for domain, cases in CASES.items()}


@pytest.mark.parametrize(
    ("domain", "name"), [pytest.param(*each, marks=[] if each in FIRST else pytest.mark.long) for each in NAMES]
)
def test_a_compiled_loss_of_a_domain_gives_the_same(domain, name):
    case = CASES[domain][name]
    torch.compiler.reset()
    compiled = case._replace(loss=torch.compile(case.loss, backend="eager"))
    for found, wanted in zip(measured(compiled, drawn(case)), measured(case, drawn(case)), strict=True):
        torch.testing.assert_close(found, wanted)


def test_every_loss_of_every_domain_is_here():
    """A domain that is added, or a loss in a domain's file, is missed here until it stands in ``domain_losses.py``."""
    for folder in sorted(Path(zoo.domains.__path__[0]).glob("*/__init__.py")):
        domain, public = folder.parent.name, set()
        for file in folder.parent.glob("*loss*.py"):
            module = importlib.import_module(f"zoo.domains.{domain}.{file.stem}")
            own = {name: one for name, one in vars(module).items() if inspect.isroutine(one) or inspect.isclass(one)}
            public |= {name for name, one in own.items() if one.__module__ == module.__name__}
        public = {name for name in public if not name.startswith(("_", "check_"))}
        named = {name.split()[0] for name in CASES.get(domain, {})} | PARTS.get(domain, set())
        assert public, domain
        assert not public - named, domain
