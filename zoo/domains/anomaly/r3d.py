"""R3D-101 and R3D-152: 3D ResNets in the layout of Hara et al., and the extractor that is made of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from zoo.domains.anomaly.extractors import Extractor, Transform
from zoo.domains.anomaly.protocols import CLIP
from zoo.domains.anomaly.weights import load_strictly, read_weights
from zoo.errors import InputError
from zoo.training.choices import nearest

BLOCKS: dict[int, tuple[int, int, int, int]] = {101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
EXPANSION, WIDTH = 4, 2048
PLANES = (64, 128, 256, 512)


class Bottleneck(nn.Module):
    """1 x 1 x 1, 3 x 3 x 3 (with the stride), 1 x 1 x 1 convolutions with a shortcut (type B).

    Args:
        inner: Channels in.
        planes: Channels of the middle; four times as many come out.
        stride: Of the middle convolution and of the shortcut.
    """

    def __init__(self, inner: int, planes: int, stride: int) -> None:
        super().__init__()
        outer = planes * EXPANSION
        self.conv1 = nn.Conv3d(inner, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = nn.Conv3d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(planes)
        self.conv3 = nn.Conv3d(planes, outer, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(outer)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            self.downsample = nn.Sequential(nn.Conv3d(inner, outer, 1, stride, bias=False), nn.BatchNorm3d(outer))

    def forward(self, maps: Tensor) -> Tensor:
        """``(N, inner, T, H, W)`` to ``(N, 4 planes, T', H', W')``."""
        hidden = torch.relu(self.bn1(self.conv1(maps)))
        hidden = torch.relu(self.bn2(self.conv2(hidden)))
        return torch.relu(self.bn3(self.conv3(hidden)) + self.downsample(maps))


class R3D(nn.Module):
    """A 3D ResNet without its classifier.

    Source: Hara, Kataoka and Satoh, Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?, CVPR 2018.
    85,245,120 (101 layers) and 117,403,840 (152) parameters.

    Args:
        depth: 101 or 152.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, 7, stride=(1, 2, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
        inner = 64
        for number, (planes, blocks) in enumerate(zip(PLANES, BLOCKS[depth], strict=True), 1):
            layer = []
            for block in range(blocks):
                layer.append(Bottleneck(inner, planes, 2 if number > 1 and block == 0 else 1))
                inner = planes * EXPANSION
            setattr(self, f"layer{number}", nn.Sequential(*layer))

    def forward(self, clips: Tensor) -> Tensor:
        """Means over time and place of the last maps.

        Args:
            clips: ``(N, 3, T, H, W)``, normalised.

        Returns:
            ``(N, 2048)``.
        """
        maps = self.maxpool(torch.relu(self.bn1(self.conv1(clips))))
        for number in range(1, len(PLANES) + 1):
            maps = getattr(self, f"layer{number}")(maps)
        return maps.mean(dim=(2, 3, 4))


def r3d_weights(released: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The released tensors without the classifier.

    Args:
        released: ``state_dict`` of the released file.

    Returns:
        Those of :class:`R3D`, and what was dropped and why, one line each.
    """
    dropped = [name for name in ("fc.weight", "fc.bias") if name in released]
    notes = [f"dropped {', '.join(dropped)}: classifier"] if dropped else []
    return {name: tensor for name, tensor in released.items() if name not in dropped}, notes


class R3DFeatures(Extractor):
    """R3D-101 or R3D-152 over 16-frame clips: 2048 numbers, as the PyTorch port's best results have it.

    Args:
        depth: 101 or 152.
        weights: The released file (``r3d101_KM_200ep.pth``, ``r3d152_KM_200ep.pth``) or another of its tensors.
        size: Height and width to which frames are resized; None keeps their own, as the port does (large videos then
            take much memory and time).
        fps: Rate to which videos are sampled.
        batch: Clips that go through the network at once.
    """

    def __init__(
        self,
        depth: Literal[101, 152] = 101,
        weights: str | None = None,
        size: list[int] | None = None,
        fps: float | None = 30.0,
        batch: int = 1,
    ) -> None:
        if depth not in BLOCKS:
            raise InputError(f"extractor.depth must be 101 or 152, got {depth}{nearest(str(depth), ['101', '152'])}")
        if size is not None and (len(size) != 2 or min(size) < 32):
            raise InputError(f"extractor.size is [height, width], each at least 32, got {size}")
        super().__init__(fps, CLIP, batch, None, WIDTH)
        self.depth, self.weights, self.size = depth, weights, size
        resize = None if size is None else (size[0], size[1])
        self.transform = Transform(resize, None, (0.4345, 0.4051, 0.3775), (0.2768, 0.2713, 0.2737))

    def build(self) -> nn.Module:
        """See :class:`Extractor`."""
        if self.weights is None:
            raise InputError(
                f"R3DFeatures needs the released weights r3d{self.depth}_KM_200ep.pth (the card says where from): "
                "--model.extractor.weights FILE"
            )
        state, notes = r3d_weights(read_weights(Path(self.weights), "extractor.weights"))
        network = R3D(self.depth)
        load_strictly(network, state, self.weights)
        for note in notes:
            print(f"{self.weights}: {note}", file=sys.stderr)
        return network

    def frame(self, image: np.ndarray) -> Tensor:
        """See :class:`Extractor`."""
        return self.transform.size(image)

    def encode(self, network: nn.Module, clips: Tensor) -> Tensor:
        """Rows ``(N, 2048)``."""
        rows: Tensor = network(self.transform.normalise(clips).transpose(1, 2))
        return rows

    def settings(self) -> dict[str, Any]:
        """See :class:`Extractor`."""
        return {"depth": self.depth, "size": self.size, "fps": self.fps, "clip": self.clip}

    def weights_file(self) -> Path | None:
        """See :class:`Extractor`."""
        return None if self.weights is None else Path(self.weights)
