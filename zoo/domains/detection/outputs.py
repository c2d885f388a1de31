"""What the detection network gives: plain named tuples of tensors."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Detections(NamedTuple):
    """The last decoder layer's answers, in its query order.

    Attributes:
        logits: ``(B, Q, C)``, a sigmoid per class.
        boxes: ``(B, Q, 4)`` cx, cy, w, h in [0, 1] of the (unpadded) image.
    """

    logits: Tensor
    boxes: Tensor


class LayerOutputs(NamedTuple):
    """All that the losses look at. The one-to-many branch exists in train mode only.

    Attributes:
        logits: ``(L, B, Q, C)`` of every decoder layer, one-to-one queries, each in its layer's query order.
        boxes: ``(L, B, Q, 4)`` cx, cy, w, h in [0, 1].
        many_logits: ``(L, B, M, C)`` of the one-to-many queries; None without them and in eval mode.
        many_boxes: ``(L, B, M, 4)``; None likewise.
        encoder_logits: ``(B, T, C)`` of every token.
        encoder_boxes: ``(B, T, 4)``; tokens in the padding or at the rim have 1, 1, 1, 1.
    """

    logits: Tensor
    boxes: Tensor
    many_logits: Tensor | None
    many_boxes: Tensor | None
    encoder_logits: Tensor
    encoder_boxes: Tensor
