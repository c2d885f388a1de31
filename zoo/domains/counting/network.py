"""The counting network: images in, three density maps and three counts out. No Lightning here."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.domains.counting.encoder import STRIDES, Token, build_encoder
from zoo.domains.counting.perturbations import Perturbations
from zoo.domains.counting.regression import Regression

STRIDE = STRIDES[0]  # pixels per cell of a density map


class TreeFormerOutput(NamedTuple):
    """What the network gives, in training and in evaluation.

    Attributes:
        maps: ``(y0, y1, y2)``, fine to coarse, each ``(B, 1, ceil(H/4), ceil(W/4))``: trees per cell, >= 0. ``y0`` is
            the method's answer; its sum is the count.
        token_counts: ``(B, 3)`` counts of the tokens of stages 2, 3 and 4; may be negative.
        features: The four maps of the encoder, strides 4, 8, 16 and 32.
    """

    maps: tuple[Tensor, ...]
    token_counts: Tensor
    features: tuple[Tensor, ...]


class TreeCounter(nn.Module):
    """Encoder, fusion, three regressors and the token counter.

    Args:
        backbone: ``pvt_treeformer``, the released encoder, or any pyramid of timm by name.
        pretrained: Weights that the encoder starts from: false, true or a file.
        token: ``first_patch`` as released, or the ``learned`` token of the paper.
        perturbations: What disturbs the regressors in training; None is the paper's.

    Raises:
        InputError: There is no such backbone, or its weights cannot be had.
    """

    def __init__(
        self,
        backbone: str = "pvt_treeformer",
        pretrained: bool | str = False,
        token: Token = "learned",
        perturbations: Perturbations | None = None,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(backbone, pretrained, token)
        self.regression = Regression(self.encoder.channels, perturbations or Perturbations())

    def forward(self, images: Tensor) -> TreeFormerOutput:
        """Counts.

        Args:
            images: ``(B, 3, H, W)`` normalised RGB of any size; sides that do not divide by 32 are filled up with the
                mean colour at the right and the bottom, and what lies there is cut off again.
        """
        height, width = images.shape[2:]
        last = STRIDES[-1]
        # without negative numbers, which ONNX divides otherwise, and so that an exported size stays a short formula
        down, across = ((side + last - 1) // last * last - side for side in (height, width))
        padded = functional.pad(images, (0, across, 0, down))
        features, tokens = self.encoder(padded)
        maps, counts = self.regression(features, tokens)
        return TreeFormerOutput(
            tuple(_cut(y, height, width, STRIDE) for y in maps),
            counts,
            tuple(_cut(x, height, width, stride) for x, stride in zip(features, STRIDES, strict=True)),
        )


def _cut(x: Tensor, height: int, width: int, stride: int) -> Tensor:
    if torch.compiler.is_exporting():  # a slice would fix whether there is something to cut off
        # and ONNX divides negative numbers otherwise
        rows, columns = (torch.arange((side + stride - 1) // stride, device=x.device) for side in (height, width))
        return x.index_select(2, rows).index_select(3, columns)
    return x[..., : -(-height // stride), : -(-width // stride)]
