"""What disturbs the features of each regressor in training: noise, dropped places, dropped channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.errors import InputError


@dataclass(frozen=True)
class Perturbations:
    """Strengths of the perturbations; each regressor has one of its own, and they act in training only.

    Attributes:
        noise: Half width of the noise on the fine features, >= 0; 0 is none.
        feature_drop: Range of the share of the largest activation above which places of the middle features are
            dropped, 0 < low <= high <= 1; None is none.
        dropout: Share of the channels of the coarse features that are dropped, in [0, 1).
        tokens: Whether the token counts are perturbed as well (released code). Dropping places of a map of one place
            leaves nothing where its mean is positive: the count of stage 3 then learns next to nothing.

    Raises:
        InputError: A strength is out of range.
    """

    noise: float = 0.3
    feature_drop: tuple[float, float] | None = (0.7, 0.9)
    dropout: float = 0.3
    tokens: bool = False

    def __post_init__(self) -> None:
        if self.noise < 0:
            raise InputError(f"model.noise must not be negative, got {self.noise}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout must be in [0, 1), got {self.dropout}")
        if self.feature_drop is not None:
            low, high = self.feature_drop
            if not 0 < low <= high <= 1:
                raise InputError(f"model.feature_drop must be 0 < low <= high <= 1, got {list(self.feature_drop)}")


class FeatureNoise(nn.Module):
    """Multiplies ``(B, C, H, W)`` by ``1 + n``, ``n`` uniform within ``strength``, the same for the whole batch."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, x: Tensor) -> Tensor:
        """The disturbed features, in training."""
        if not self.training or not self.strength:
            return x
        return x + x * torch.empty_like(x[0]).uniform_(-self.strength, self.strength)


class FeatureDrop(nn.Module):
    """Sets the most active places of ``(B, C, H, W)`` to zero.

    A place is kept where the mean over its channels is below a share of the image's largest; the share is drawn once
    per call.
    """

    def __init__(self, share: tuple[float, float] | None) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """The features without their most active places, in training."""
        if not self.training or self.share is None:
            return x
        activity = x.mean(1, keepdim=True)
        low, high = self.share
        share = low + (high - low) * torch.rand((), device=x.device)
        return x * (activity < activity.amax((2, 3), keepdim=True) * share)
