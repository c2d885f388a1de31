"""Contextual fusion of the pyramid, three density regressors and the counter of the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from zoo.domains.counting.encoder import initialise_linear
from zoo.domains.counting.perturbations import FeatureDrop, FeatureNoise, Perturbations

SQUEEZE, NARROWEST = 16, 8  # the released factor; 8 is what it gives for the narrowest released stage


class ChannelAttention(nn.Module):
    """Squeeze and excitation of ``(B, C, H, W)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(NARROWEST, channels // SQUEEZE)
        self.fc = nn.Sequential(
            nn.Linear(channels, inner, bias=False), nn.ReLU(), nn.Linear(inner, channels, bias=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Each channel times its weight."""
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


def _convolution(channels: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]


def _upsample(factor: int) -> nn.Upsample:
    return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=True)


def _fuse(channels: int) -> nn.Sequential:
    return nn.Sequential(ChannelAttention(channels), *_convolution(channels, channels))


def _lift(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(_upsample(2), *_convolution(channels, out))


def _regressor(*channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += _convolution(before, after)
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 3, padding=1), nn.ReLU())


class Regression(nn.Module):
    """Fuses four maps from coarse to fine; three regressors and the token counts. Names are the released ones.

    Args:
        channels: Of the four maps, fine to coarse.
        perturbations: What disturbs them in training.
    """

    def __init__(self, channels: Sequence[int], perturbations: Perturbations) -> None:
        super().__init__()
        c0, c1, c2, c3 = channels
        self.v3, self.v2, self.v1 = _lift(c3, c2), _lift(c2, c1), _lift(c1, c0)
        self.ca2, self.ca1, self.ca0 = _fuse(c2), _fuse(c1), _fuse(c0)
        self.res2 = _regressor(c2, c2 // 2, c2 // 4)
        self.res1 = _regressor(c1, c1 // 2, c1 // 4)
        self.res0 = _regressor(c0, c0 // 2)
        self.up2, self.up1 = _upsample(4), _upsample(2)
        self.noise2 = nn.Dropout2d(perturbations.dropout)
        self.noise1 = FeatureDrop(perturbations.feature_drop)
        self.noise0 = FeatureNoise(perturbations.noise)
        self.conv1, self.conv2 = nn.Conv2d(c3, c2, 1, bias=False), nn.Conv2d(c2, c1, 1, bias=False)
        self.conv3, self.conv4 = nn.Conv2d(c1, c0, 1, bias=False), nn.Conv2d(c0, 1, 1, bias=False)
        self.perturb_tokens = perturbations.tokens
        self.apply(initialise_linear)
        self.apply(_initialise)

    def forward(self, features: Sequence[Tensor], tokens: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Densities and counts.

        Args:
            features: Four maps, strides 4, 8, 16 and 32.
            tokens: ``(B, C_s)`` of stages 2, 3, 4.

        Returns:
            ``(y0, y1, y2)``, fine to coarse, each ``(B, 1, H/4, W/4)`` and not negative; and the counts ``(B, 3)`` of
            stages 2, 3 and 4, which may be negative.
        """
        x0, x1, x2, x3 = features
        u2 = self.ca2(x2) + self.v3(x3)
        u1 = self.ca1(x1) + self.v2(u2)
        u0 = self.ca0(x0) + self.v1(u1)
        y2 = self.res2(self.up2(self.noise2(u2)))
        y1 = self.res1(self.up1(self.noise1(u1)))
        y0 = self.res0(self.noise0(u0))
        return (y0, y1, y2), self.counts(tokens)

    def counts(self, tokens: Sequence[Tensor]) -> Tensor:
        """The counts ``(B, 3)`` of the tokens of stages 2, 3 and 4: each enters one chain at its own width."""
        stage2, stage3, stage4 = (token[:, :, None, None] for token in tokens)
        from4, from3, from2 = self.conv1(stage4), self.conv2(stage3), self.conv3(stage2)
        if self.perturb_tokens:
            from4, from3, from2 = self.noise2(from4), self.noise1(from3), self.noise0(from2)
        from4, from3, from2 = (
            self.conv4(self.conv3(self.conv2(from4))),
            self.conv4(self.conv3(from3)),
            self.conv4(from2),
        )
        return torch.cat([from2, from3, from4], dim=1).flatten(1)


def _initialise(module: nn.Module) -> None:
    """Normal of 0.01 for every convolution, and biases of zero."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
