"""The Rank-DETR network: backbone, neck, two-stage transformer, heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from zoo.domains.detection.backbones import MEAN, STD, build_backbone, three_maps
from zoo.domains.detection.heads import Heads
from zoo.domains.detection.neck import Neck
from zoo.domains.detection.outputs import Detections, LayerOutputs
from zoo.domains.detection.positions import image_mask
from zoo.domains.detection.resnet import Norm
from zoo.domains.detection.transformer import Transformer, TransformerOutputs
from zoo.errors import InputError
from zoo.layers.deformable_attention import Engine

__all__ = ["Detections", "LayerOutputs", "RankDETRNetwork"]

Padding = Literal["masked", "official"]
Sizes = Tensor | Sequence[Sequence[int]]
LARGEST_SIDE = 2**13


class RankDETRNetwork(nn.Module):
    """Detects objects. With every switch off it is H-Deformable-DETR with its tricks, two-stage.

    Source: Rank-DETR, NeurIPS 2023; R50 with 80 classes 52,079,884 parameters, Swin-T 52,622,918, Swin-L 222,213,728.

    Args:
        backbone: A name, or a module; see :func:`~zoo.domains.detection.backbones.build_backbone`.
        num_classes: C.
        encoder_layers: At least 0.
        decoder_layers: At least 1.
        ffn_dim: Inner width of the feed-forward blocks.
        queries_one2one: Queries that are matched one to one, and answer in the end.
        queries_one2many: Further queries while training; 0 for none.
        k_one2many: How often each target is repeated for those (the losses do that).
        width: Of tokens and queries; divisible by 4 and by ``heads``.
        heads: Of all attentions.
        rank_adaptive_head: Add a learnt bias per rank and class to the logits of each layer.
        query_rank_layer: Join the sorted queries with embeddings of their ranks.
        look_forward_twice: Let the loss of a layer's boxes reach the box head of the layer before.
        mixed_selection: Start the contents of the queries from embeddings, not from the proposals.
        padding_mask_at_eval: ``masked``, as in training, or ``official``: the released code's evaluation, which takes
            padding for image. At batch 1 they are equal.
        pretrained: Of the backbone.
        backbone_norm: ``frozen`` or ``batch``.
        freeze_backbone: Train nothing of the backbone, and keep it in eval mode.
        drop_path: Of the backbone.
        activation_checkpointing: Compute each layer again in the backward pass instead of keeping what is inside.
        engine: Of the deformable attention.

    Raises:
        InputError: There is no such backbone.
        ValueError: A number or word is out of range.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: str | nn.Module = "resnet50",
        num_classes: int = 80,
        encoder_layers: int = 6,
        decoder_layers: int = 6,
        ffn_dim: int = 2048,
        queries_one2one: int = 300,
        queries_one2many: int = 1500,
        k_one2many: int = 6,
        width: int = 256,
        heads: int = 8,
        rank_adaptive_head: bool = True,
        query_rank_layer: bool = True,
        look_forward_twice: bool = True,
        mixed_selection: bool = True,
        padding_mask_at_eval: Padding = "masked",
        pretrained: bool | str = False,
        backbone_norm: Norm = "frozen",
        freeze_backbone: bool = False,
        drop_path: float | None = None,
        activation_checkpointing: bool = False,
        engine: Engine = "auto",
    ) -> None:
        super().__init__()
        least = {
            "num_classes": (num_classes, 1),
            "encoder_layers": (encoder_layers, 0),
            "decoder_layers": (decoder_layers, 1),
            "ffn_dim": (ffn_dim, 1),
            "queries_one2one": (queries_one2one, 1),
            "queries_one2many": (queries_one2many, 0),
            "k_one2many": (k_one2many, 1),
            "heads": (heads, 1),
            "width": (width, 4),
        }
        for name, (number, low) in least.items():
            if number < low:
                raise ValueError(f"{name} must be at least {low}, got {number}")
        if width % 4 or width % heads:
            raise ValueError(f"width must be divisible by 4 and by heads ({heads}), got {width}")
        for name, word, words in (
            ("padding_mask_at_eval", padding_mask_at_eval, get_args(Padding)),
            ("backbone_norm", backbone_norm, get_args(Norm)),
            ("engine", engine, get_args(Engine)),
        ):
            if word not in words:
                raise ValueError(f"{name}: {word!r} given, expected one of {', '.join(words)}")
        self.num_classes, self.k_one2many = num_classes, k_one2many
        self.queries_one2one, self.queries_one2many = queries_one2one, queries_one2many
        self.padding_mask_at_eval, self.freeze_backbone = padding_mask_at_eval, freeze_backbone
        queries = queries_one2one + queries_one2many
        self.backbone = build_backbone(backbone, pretrained, backbone_norm, drop_path, activation_checkpointing)
        if freeze_backbone:
            self.backbone.requires_grad_(False)
        channels: Any = self.backbone.channels
        self.neck = Neck(channels, width)
        self.query_embedding = nn.Embedding(queries, width)
        self.heads = Heads(decoder_layers, width, num_classes, queries, rank_adaptive_head)
        self.transformer = Transformer(
            encoder_layers,
            decoder_layers,
            width,
            heads,
            ffn_dim,
            queries,
            sort=rank_adaptive_head or query_rank_layer,
            query_rank_layer=query_rank_layer,
            look_forward_twice=look_forward_twice,
            mixed_selection=mixed_selection,
            engine=engine,
            activation_checkpointing=activation_checkpointing,
        )
        for name, default in (("mean", MEAN), ("std", STD)):
            values = torch.tensor(getattr(self.backbone, name, default)).view(3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def train(self, mode: bool = True) -> RankDETRNetwork:
        """Train or eval mode; a frozen backbone stays in eval mode."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor, sizes: Sizes | None = None) -> Detections:
        """The answers of the last layer.

        Args:
            images: ``(B, 3, H, W)`` RGB 0..255, padded to the right and below.
            sizes: ``(B, 2)`` height and width of each image, also as lists; None where none is padded.

        Raises:
            InputError: The images are too small for so many queries, or not ``(B, 3, H, W)``; or the sizes do not fit.
        """
        found = self._run(images, sizes, every_token=False)
        return Detections(found.logits[-1][:, : self.queries_one2one], found.boxes[-1][:, : self.queries_one2one])

    def layers(self, images: Tensor, sizes: Sizes | None = None) -> LayerOutputs:
        """The answers of every layer, of both groups of queries (in train mode), and of the encoder.

        Args:
            images: As for :meth:`forward`.
            sizes: As for :meth:`forward`.
        """
        found = self._run(images, sizes, every_token=True)
        logits, boxes = torch.stack(found.logits), torch.stack(found.boxes)
        one = self.queries_one2one
        many = logits.shape[2] > one
        assert found.encoder_boxes is not None
        return LayerOutputs(
            logits=logits[:, :, :one],
            boxes=boxes[:, :, :one],
            many_logits=logits[:, :, one:] if many else None,
            many_boxes=boxes[:, :, one:] if many else None,
            encoder_logits=found.encoder_logits,
            encoder_boxes=found.encoder_boxes,
        )

    def _run(self, images: Tensor, sizes: Sizes | None, every_token: bool) -> TransformerOutputs:
        if images.dim() != 4 or images.shape[1] != 3:
            raise InputError(f"images must be (B, 3, H, W), got {tuple(images.shape)}")
        queries = self.queries_one2one + (self.queries_one2many if self.training else 0)
        if sizes is not None:
            sizes = torch.as_tensor(sizes, device=images.device)
            if tuple(sizes.shape) != (images.shape[0], 2):
                raise InputError(f"sizes must be (B, 2), a height and a width per image, got {tuple(sizes.shape)}")
        mask = image_mask(images, sizes)
        # padding is zero after the normalisation, whatever it was before
        x = ((images - self.mean) / self.std).to(self.query_embedding.weight.dtype) * mask.unsqueeze(1)
        if not self.training and self.padding_mask_at_eval == "official":
            mask = torch.ones_like(mask)
        # a frozen backbone keeps nothing for a backward pass: neither its weights nor the images ask for a gradient
        found = self.backbone(x)
        maps = self.neck(three_maps(found, self.backbone))
        tokens = sum(part.shape[2] * part.shape[3] for part in maps)
        if not torch.compiler.is_exporting() and tokens < queries:
            raise InputError(self._too_small(tuple(images.shape[2:]), tokens, queries))
        return self.transformer(
            maps, mask, self.heads, self.query_embedding.weight, queries, self.queries_one2one, every_token
        )

    def _too_small(self, size: Sequence[int], tokens: int, queries: int) -> str:
        groups = f" ({self.queries_one2one} one2one + {self.queries_one2many} one2many)" if self.training else ""
        side = self.smallest_side(queries)
        advice = "" if side is None else f"the smallest square image that works is {side}x{side}, or "
        return (
            f"images of {size[0]}x{size[1]} give {tokens} tokens, too few for {queries} queries{groups}; "
            f"{advice}take fewer queries"
        )

    def smallest_side(self, queries: int) -> int | None:
        """The side of the smallest square image that gives as many tokens as there are queries.

        None where no side up to 8,192 does, or where a module of the user's own cannot run on the meta device.
        """
        meta = torch.device("meta")
        tensors = [*self.backbone.named_parameters(), *self.backbone.named_buffers()]
        shapes = {name: value.to(meta) for name, value in tensors}
        low, high = 0, 1
        while self._tokens(high, shapes) < queries and high < LARGEST_SIDE:
            low, high = high, high * 2
        if high >= LARGEST_SIDE:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._tokens(middle, shapes) >= queries else (middle, high)
        return high

    def _tokens(self, side: int, shapes: dict[str, Tensor]) -> int:
        """Tokens of a square image, found without computing anything; 0 where the backbone cannot take it.

        Args:
            side: Of the image.
            shapes: The backbone's tensors on the meta device.
        """
        image = torch.empty(1, 3, side, side, device="meta", dtype=self.query_embedding.weight.dtype)
        try:
            with torch.no_grad():
                found = torch.func.functional_call(self.backbone, shapes, (image,))
        except (RuntimeError, AssertionError, ValueError):  # a map of no size
            return 0
        *_, last = maps = three_maps(found, self.backbone)
        return sum(part.shape[2] * part.shape[3] for part in maps) + -(-last.shape[2] // 2) * -(-last.shape[3] // 2)
