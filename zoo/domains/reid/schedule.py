"""RDE's schedule: the rate is constant within an epoch."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from zoo.training import Span, WarmupCosine
from zoo.training.lengths import Length


class EpochCosine(WarmupCosine):
    """Linear warm-up and half a cosine that change once per epoch, as the released code steps them.

    With the defaults over 60 epochs the factors are .10, .28, .46, .64, .82, 1, .99918, ... 8.15e-4.

    Args:
        optimizer: Given by the training.
        span: Given by the training.
        warmup: Length of the warm-up.
        warmup_factor: The factor of the first epoch.
        final: The factor that the cosine tends to.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        span: Span,
        warmup: Length = "5 epochs",
        warmup_factor: float = 0.1,
        final: float = 0.0,
    ) -> None:
        super().__init__(optimizer, span, warmup, warmup_factor, final)

    def get_lr(self) -> list[float | Tensor]:
        """Learning rates of all groups at the start of the present epoch."""
        step = self.last_epoch
        self.last_epoch = step - step % self.span.steps_per_epoch
        try:
            return super().get_lr()
        finally:
            self.last_epoch = step
