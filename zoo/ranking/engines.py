"""Three ways to compute the same value: dense, sorted and tiled; which one is taken, and how it hangs on the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import Tensor

from zoo.ranking.checks import check_choice

Engine = Literal["auto", "dense", "sorted", "tiled"]
ENGINES = ("auto", "dense", "sorted", "tiled")

_CHOSEN: ContextVar[Engine] = ContextVar("engine", default="auto")


@contextmanager
def use_engine(engine: Engine) -> Iterator[None]:
    """Inside, losses that are called without an `engine` of their own take this one, where they have it.

    Args:
        engine: "auto", "dense", "sorted" or "tiled".

    Raises:
        ValueError: if there is no such engine.
    """
    check_choice("engine", engine, ENGINES)
    token = _CHOSEN.set(engine)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def check_engine(engine: Engine, available: Sequence[str]) -> None:
    """Refuse an engine that a loss does not have.

    Raises:
        ValueError: naming what was given and what there is.
    """
    check_choice("engine", engine, ("auto", *available))


def choose_engine(engine: Engine, available: Sequence[str], best: Callable[[], str]) -> str:
    """The engine to compute with.

    Args:
        engine: The loss's argument; "auto" asks the context, then `best`.
        available: What the loss has; a context's engine that it does not have is passed over.
        best: The fastest one for the input.
    """
    wanted = engine if engine != "auto" else _CHOSEN.get()
    if wanted != "auto" and wanted in available:
        return wanted
    return "dense" if traced() else best()


def traced() -> bool:
    """Whether a compiler or torch.func looks on: they see through dense code alone."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def can_look(x: Tensor) -> bool:
    """Whether asking for a value costs next to nothing: no device to wait for, nobody who looks on."""
    return x.device.type == "cpu" and not traced()


class Slopes(torch.autograd.Function):
    """Gives values whose gradient was computed along with them.

    Reading the inputs once more in the backward pass would cost as much as the forward pass did.
    """

    @staticmethod
    def forward(ctx: Any, source: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
        """Passes `values (M,)` on; `slopes` has the shape of `source (M, ...)`: one value's slope in each row."""
        ctx.save_for_backward(source, slopes)
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        """The slopes, times what came from above."""
        source, slopes = ctx.saved_tensors
        pulled = outer[0].detach().reshape(-1, *[1] * (slopes.ndim - 1)) * slopes
        return refuse_second(pulled, source, outer[0]), None, None


class PairedSlopes(torch.autograd.Function):
    """Gives one number whose gradients by two tensors were computed along with it."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, value: Tensor, *slopes: Tensor) -> Tensor:
        """Passes `value ()` on; the slopes have the shapes of `first` and `second`."""
        ctx.save_for_backward(first, second, *slopes)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        """The slopes, times what came from above."""
        first, second, *slopes = ctx.saved_tensors
        pulled = (outer[0].detach() * slope for slope in slopes)
        return (
            *(refuse_second(x, of, outer[0]) for x, of in zip(pulled, (first, second), strict=True)),
            None,
            None,
            None,
        )


class _Refuse(torch.autograd.Function):
    """Hands a slope on, and refuses to be differentiated."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, *origins: Tensor) -> Tensor:
        return slope.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Tensor:
        raise RuntimeError(
            "the fast engines of zoo.ranking have no second derivative; compute with engine='dense', or inside "
            "zoo.ranking.use_engine('dense')"
        )


def refuse_second(slope: Tensor, *origins: Tensor) -> Tensor:
    """The slope that a backward pass gives, such that differentiating it says what to do instead.

    Args:
        slope: Computed without a graph.
        origins: What it depends on.
    """
    if not torch.is_grad_enabled():  # nobody will ask
        return slope
    refusing: Tensor = _Refuse.apply(slope, *origins)
    return refusing
