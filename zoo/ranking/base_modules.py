"""The base classes of the loss modules: what a recipe slot asks for, and what a loss of one's own inherits from."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn


class _LossModule(nn.Module):
    """Keeps a function's options as attributes and hands them over at each call."""

    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, options: Mapping[str, object]) -> None:
        super().__init__()
        self.option_names = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)

    def options(self) -> dict[str, object]:
        """The options as they stand now (an attribute may be changed during training)."""
        return {name: getattr(self, name) for name in self.option_names}

    def extra_repr(self) -> str:
        """The options, for `repr`."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options().items())


class ScoreLoss(_LossModule):
    """Any score loss: what a recipe slot asks for, and the class to inherit from to bring your own.

    A subclass either sets `function = staticmethod(f)`, `f` with the signature of `zoo.ranking.hinge`, and gives the
    options of `f` to `super().__init__`, or gives none and defines `forward` itself. Wrong options raise at once.
    """

    def __init__(self, options: Mapping[str, object] | None = None) -> None:
        super().__init__(options or {})
        if options is not None:  # the function itself checks its options: a wrong one fails here, not in a step
            self(torch.empty(0, 0), torch.empty(0, 0))

    def forward(
        self,
        scores: Tensor,
        target: Tensor,
        *,
        group: Tensor | None = None,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Value of the loss; the tensors are those of the function."""
        return self.function(scores, target, group=group, mask=mask, weight=weight, **self.options())


class SimilarityLoss(_LossModule):
    """Any similarity loss: what a recipe slot asks for, and the class to inherit from to bring your own.

    A subclass either sets `function = staticmethod(f)`, `f` with the signature of `zoo.ranking.triplet`, and gives the
    options of `f` to `super().__init__`, or gives none and defines `forward` itself. Wrong options raise at once.
    """

    def __init__(self, options: Mapping[str, object] | None = None) -> None:
        super().__init__(options or {})
        if options is not None:  # the function itself checks its options: a wrong one fails here, not in a step
            self(torch.empty(0, 0), torch.empty(0, 0, dtype=torch.bool))

    def forward(
        self, similarity: Tensor, positive: Tensor, *, mask: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        """Value of the loss; the tensors are those of the function."""
        return self.function(similarity, positive, mask=mask, weight=weight, **self.options())
