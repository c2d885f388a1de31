"""ResNet-50 as detectors use it: torchvision's, with frozen batch norms and three maps."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models import resnet50
from torchvision.ops import FrozenBatchNorm2d

Norm = Literal["frozen", "batch"]


class FrozenNorm(FrozenBatchNorm2d):
    """torchvision's, in one pass over the map."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to the same."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class ResNet50(nn.Module):
    """Stride in the 3 x 3 convolutions; the first convolution is never trained.

    Args:
        norm: ``frozen``: batch norms keep the statistics and weights they start with; ``batch``: they are trained.
        activation_checkpointing: Compute each stage again in the backward pass instead of keeping what is inside.
    """

    channels = (512, 1024, 2048)

    def __init__(self, norm: Norm = "frozen", activation_checkpointing: bool = False) -> None:
        super().__init__()
        self.activation_checkpointing = activation_checkpointing
        whole = resnet50(weights=None, norm_layer=FrozenNorm if norm == "frozen" else nn.BatchNorm2d)
        self.conv1, self.bn1, self.maxpool = whole.conv1, whole.bn1, whole.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4
        self.conv1.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps ``(B, C, h, w)`` of strides 8, 16 and 32."""
        x, maps = self.maxpool(self.bn1(self.conv1(images)).relu_()), []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            if self.activation_checkpointing and self.training:
                x = checkpoint(stage, x, use_reentrant=False)
            else:
                x = stage(x)
            maps.append(x)
        return maps[1:]
