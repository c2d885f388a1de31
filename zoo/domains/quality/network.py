"""The dual-branch quality network: features of the whole image and of the face, LIQE logits, and a small head."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from zoo.layers import image_backbone

LIQE_LOGITS = 495
Branches = Literal["both", "full", "face"]
BRANCHES: tuple[Branches, ...] = get_args(Branches)


class QualityOutput(NamedTuple):
    """What the network gives.

    Attributes:
        score: ``(B,)``, any number; higher is better, and only differences within a scene mean something.
        full_features: ``(B, D)`` of the whole image, D = 1024 for Swin-B; None without that branch.
        face_features: ``(B, D)`` of the face; None without that branch.
        hidden: ``(B, 128)``, the head's hidden layer before its ReLU.
    """

    score: Tensor
    full_features: Tensor | None
    face_features: Tensor | None
    hidden: Tensor


class DualBranch(nn.Module):
    """Two backbones that share no weights, joined with the LIQE logits: D + D + 495 - 128 (ReLU, dropout) - 1.

    Source: DN-PIQA, NTIRE 2024: two Swin-B at 384 pixels, 174,082,929 parameters. The logits enter as they are (tens,
    100 times a cosine), nothing squashes the score. The head starts as PyTorch starts linear layers.

    Args:
        backbone: Any image model of timm, by name.
        pretrained: Weights that both backbones start from, see :func:`zoo.layers.image_backbone`.
        branches: ``both``, or one of ``full`` and ``face`` alone.
        liqe: Whether the LIQE logits are joined.
        hidden: Width of the head's hidden layer, >= 1.
        dropout: In the head, in [0, 1).
        drop_path: Stochastic depth of the backbones in [0, 1); None for what timm builds by default (Swin: 0.1).
        crop: Side of the square inputs in pixels; backbones with windows or position tables are built for it.

    Raises:
        InputError: There is no such backbone, or it cannot be built so.
        ValueError: A number or word is out of range.
    """

    def __init__(
        self,
        backbone: str = "swin_base_patch4_window12_384",
        pretrained: bool | str = False,
        branches: Branches = "both",
        liqe: bool = True,
        hidden: int = 128,
        dropout: float = 0.1,
        drop_path: float | None = None,
        crop: int = 384,
    ) -> None:
        super().__init__()
        if branches not in BRANCHES:
            raise ValueError(f"branches: {branches!r} given, expected one of {', '.join(BRANCHES)}")
        if hidden < 1 or not 0 <= dropout < 1 or not 0 <= (drop_path or 0) < 1:
            raise ValueError(
                f"hidden must be at least 1, dropout and drop_path in [0, 1); got {hidden}, {dropout}, {drop_path}"
            )
        self.branches, self.liqe = branches, liqe
        self.full = _backbone(backbone, pretrained, drop_path, crop) if branches != "face" else None
        self.face = _backbone(backbone, pretrained, drop_path, crop) if branches != "full" else None
        joined = sum(_width(branch) for branch in (self.full, self.face) if branch is not None)
        joined += LIQE_LOGITS if liqe else 0
        self.head = nn.Sequential(nn.Linear(joined, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1))

    def forward(
        self, image: Tensor | None = None, face: Tensor | None = None, aux: Tensor | None = None
    ) -> QualityOutput:
        """Scores images.

        Args:
            image: ``(B, 3, S, S)``, normalised; not looked at without the branch ``full``.
            face: ``(B, 3, S, S)``, normalised; not looked at without the branch ``face``.
            aux: ``(B, 495)`` raw LIQE logits; not looked at without the LIQE branch.

        Raises:
            ValueError: An input that the network needs is missing, or has another shape or batch size.
        """
        full = _features(self.full, image, "image")
        face_features = _features(self.face, face, "face")
        parts = [part for part in (full, face_features) if part is not None]
        if self.liqe:
            if aux is None or aux.ndim != 2 or aux.shape[1] != LIQE_LOGITS:
                got = "None" if aux is None else f"shape {tuple(aux.shape)}"
                raise ValueError(f"aux: expected shape (B, {LIQE_LOGITS}), the raw LIQE logits, got {got}")
            parts.append(aux.to(parts[0].dtype))
        if any(part.shape[0] != parts[0].shape[0] for part in parts):
            sizes = ", ".join(str(part.shape[0]) for part in parts)
            raise ValueError(f"image, face and aux differ in batch size: {sizes}")
        hidden = self.head[0](torch.cat(parts, dim=1))
        return QualityOutput(self.head[1:](hidden).squeeze(-1), full, face_features, hidden)


def _features(branch: nn.Module | None, pixels: Tensor | None, name: str) -> Tensor | None:
    """``(B, D)`` of one branch; None where there is no such branch."""
    if branch is None:
        return None
    if pixels is None or pixels.ndim != 4 or pixels.shape[1] != 3:
        got = "None" if pixels is None else f"shape {tuple(pixels.shape)}"
        raise ValueError(f"{name}: expected shape (B, 3, S, S), normalised, got {got}")
    features: Tensor = branch(pixels)
    return features


def _backbone(name: str, pretrained: bool | str, drop_path: float | None, crop: int) -> nn.Module:
    """A timm model that gives one row of pooled features per image."""
    from timm.models import get_pretrained_cfg

    options: dict[str, object] = {"num_classes": 0}
    if drop_path is not None:
        options["drop_path_rate"] = drop_path
    settings = get_pretrained_cfg(name)
    # networks with windows or position tables are built for one size; convolutions refuse to be told a size
    if settings is not None and settings.fixed_input_size and settings.input_size[-1] != crop:
        options["img_size"] = crop
    return image_backbone(name, pretrained, **options)


def _width(branch: nn.Module) -> int:
    """Features of an image; timm's ``num_features`` is what goes into a head that may widen it."""
    sizes: Any = branch
    return int(getattr(sizes, "head_hidden_size", None) or sizes.num_features)
