"""Learning-rate schedules, stepped once per optimizer step, with lengths written in epochs or steps.

Every schedule multiplies the base rate of each parameter group by one factor of the step.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from zoo.errors import InputError
from zoo.training.lengths import Length, Span


class Schedule(LRScheduler):
    """A learning-rate factor as a function of the optimizer step.

    Subclasses define :meth:`factor`. ``optimizer`` and ``span`` are given by the training, never by a recipe.

    Args:
        optimizer: The optimizer whose groups are scheduled.
        span: How long the training is.
        warmup: Length of the linear warm-up, ``"5 epochs"`` or ``"500 steps"``.
        warmup_factor: The factor of the first warm-up step, in [0, 1].
    """

    def __init__(
        self, optimizer: Optimizer, span: Span, warmup: Length = "0 steps", warmup_factor: float = 0.0
    ) -> None:
        self.span = span
        self.warmup = span.steps(warmup)
        self.warmup_factor = warmup_factor
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """The factor after the warm-up.

        Args:
            step: Optimizer steps already made, counted from the start of the training, >= warm-up.

        Returns:
            What the base learning rate is multiplied with.
        """
        raise TypeError(f"{type(self).__name__} defines no factor(step)")

    def get_lr(self) -> list[float | Tensor]:
        """Learning rates of all groups at the current step."""
        step = self.last_epoch
        if step < self.warmup:
            scale = self.warmup_factor + (1 - self.warmup_factor) * step / self.warmup
            scale *= self.factor(self.warmup)
        else:
            scale = self.factor(step)
        return [base * scale for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers only, so that a checkpoint loads with ``weights_only=True``."""
        keys = ("last_epoch", "base_lrs", "_step_count", "_last_lr")
        return {key: self.__dict__[key] for key in keys}

    def progress(self, step: int) -> float:
        """Share of the training after the warm-up that is done at ``step``, in [0, 1]."""
        return min(1.0, (step - self.warmup) / max(1, self.span.total_steps - self.warmup))


class WarmupCosine(Schedule):
    """Linear warm-up, then half a cosine down to ``final`` (Loshchilov and Hutter, SGDR, 2017, eq. 5, no restart).

    Args:
        optimizer: Given by the training.
        span: Given by the training.
        warmup: Length of the warm-up.
        warmup_factor: The factor of the first warm-up step.
        final: The factor at the end of the training, in [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        span: Span,
        warmup: Length = "0 steps",
        warmup_factor: float = 0.0,
        final: float = 0.0,
    ) -> None:
        self.final = final
        super().__init__(optimizer, span, warmup, warmup_factor)

    def factor(self, step: int) -> float:
        """Half a cosine from 1 to ``final``."""
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * self.progress(step)))


class MultiStep(Schedule):
    """Multiplies the rate by ``gamma`` at each milestone, after an optional linear warm-up.

    Args:
        optimizer: Given by the training.
        span: Given by the training.
        milestones: Lengths from the start of the training, e.g. ``["80 epochs", "120 epochs"]``.
        gamma: What each milestone multiplies the rate with.
        warmup: Length of the warm-up.
        warmup_factor: The factor of the first warm-up step.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        span: Span,
        milestones: list[Length],
        gamma: float = 0.1,
        warmup: Length = "0 steps",
        warmup_factor: float = 0.0,
    ) -> None:
        self.milestones = sorted(span.steps(milestone) for milestone in milestones)
        self.gamma = gamma
        super().__init__(optimizer, span, warmup, warmup_factor)

    def factor(self, step: int) -> float:
        """``gamma`` to the number of milestones passed."""
        return self.gamma ** bisect_right(self.milestones, step)


class WarmupSteps(Schedule):
    """Linear warm-up, then the rate is multiplied by ``gamma`` every ``every``.

    Args:
        optimizer: Given by the training.
        span: Given by the training.
        every: Length between two drops, counted from the start of the training.
        gamma: What each drop multiplies the rate with.
        warmup: Length of the warm-up.
        warmup_factor: The factor of the first warm-up step.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        span: Span,
        every: Length,
        gamma: float = 0.1,
        warmup: Length = "0 steps",
        warmup_factor: float = 0.0,
    ) -> None:
        self.every = max(1, span.steps(every))
        self.gamma = gamma
        super().__init__(optimizer, span, warmup, warmup_factor)

    def factor(self, step: int) -> float:
        """``gamma`` to the number of drops passed."""
        return self.gamma ** (step // self.every)


class Polynomial(Schedule):
    """``(1 - progress) ** power`` down to ``final``, after an optional linear warm-up.

    Args:
        optimizer: Given by the training.
        span: Given by the training.
        power: Exponent; 1 is a straight line.
        final: The factor at the end of the training, in [0, 1].
        warmup: Length of the warm-up.
        warmup_factor: The factor of the first warm-up step.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        span: Span,
        power: float = 0.9,
        final: float = 0.0,
        warmup: Length = "0 steps",
        warmup_factor: float = 0.0,
    ) -> None:
        self.power = power
        self.final = final
        super().__init__(optimizer, span, warmup, warmup_factor)

    def factor(self, step: int) -> float:
        """Polynomial decay from 1 to ``final``."""
        return self.final + (1 - self.final) * (1 - self.progress(step)) ** self.power


class OneCycle(Schedule):
    """Up from ``1 / div_factor`` to 1, then down to ``1 / (div_factor * final_div_factor)`` (Smith and Topin, 2018).

    The base learning rate of the optimizer is the peak. Equal to ``torch.optim.lr_scheduler.OneCycleLR`` in two
    phases; the momentum is left alone.

    Args:
        optimizer: Given by the training.
        span: Given by the training.
        pct_start: Share of the training spent going up, in (0, 1).
        div_factor: Peak over start.
        final_div_factor: Start over end.
        anneal: Shape of both phases.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        span: Span,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        anneal: Literal["cos", "linear"] = "cos",
    ) -> None:
        if not 0 < pct_start < 1:
            raise InputError(f"OneCycle: pct_start must be in (0, 1), got {pct_start}")
        if div_factor <= 0 or final_div_factor <= 0:
            raise InputError(f"OneCycle: both factors must be above 0, got {div_factor} and {final_div_factor}")
        self.pct_start = pct_start
        self.start = 1 / div_factor
        self.end = self.start / final_div_factor
        self.anneal = anneal
        super().__init__(optimizer, span)

    def factor(self, step: int) -> float:
        """The rate over its peak."""
        peak = self.pct_start * self.span.total_steps - 1
        last = self.span.total_steps - 1
        if step <= peak:
            low, high, share = self.start, 1.0, step / peak if peak > 0 else 1.0
        else:
            low, high, share = 1.0, self.end, min(1.0, (step - peak) / max(1e-12, last - peak))
        if self.anneal == "cos":
            share = 0.5 * (1 - math.cos(math.pi * share))
        return low + (high - low) * share
