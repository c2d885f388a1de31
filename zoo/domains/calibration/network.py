"""The classifiers: ResNet and wide ResNet in the layouts for 32, 64 and 224 pixels, and any timm classifier.

The blocks are torchvision's (post-activation; the bottleneck carries its stride in the 3x3 convolution). Stem, pooling
and initialisation are those of the released code:

======== ========================================= ========================== =========================== =======
layout   stem                                      pooling before the last     initialisation              dropout
                                                   layer
======== ========================================= ========================== =========================== =======
cifar    3x3, stride 1                             global average (4x4 cells) ResNet: torch's default      0
tiny     3x3, stride 1                             average to 2x2 cells       convolutions normal, He's    0
                                                                              fan-out deviation
imagenet 7x7, stride 2, 3x3 max pooling stride 2   global average             the same                     0.5
======== ========================================= ========================== =========================== =======

A wide ResNet is initialised like ``tiny`` in every layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from zoo.errors import InputError
from zoo.layers import image_backbone
from zoo.training.choices import check_choice, nearest

Layout = Literal["cifar", "tiny", "imagenet"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


class ClassifierOutput(NamedTuple):
    """What a classifier gives.

    Attributes:
        logits: ``(B, C)``, raw: no temperature is ever applied.
    """

    logits: Tensor


class Plan(NamedTuple):
    """What tells one network from another.

    Attributes:
        block: Kind of block.
        stem: Channels of the stem.
        widths: Width of each stage; strides are 1, 2, 2, ...
        blocks: Blocks per stage.
    """

    block: type[BasicBlock] | type[Bottleneck]
    stem: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]


_FOUR = (64, 128, 256, 512)
PLANS = {
    "resnet34": Plan(BasicBlock, 64, _FOUR, (3, 4, 6, 3)),
    "resnet50": Plan(Bottleneck, 64, _FOUR, (3, 4, 6, 3)),
    "resnet101": Plan(Bottleneck, 64, _FOUR, (3, 4, 23, 3)),
    "wrn26_10": Plan(BasicBlock, 16, (160, 320, 640), (4, 4, 4)),
}
SMALL, SMALL_WIDTH = "resnet8", 16


class ResNet(nn.Module):
    """A residual network; tensors are named as torchvision's (``conv1``, ``bn1``, ``layer1.0.downsample.0``, ``fc``).

    Args:
        plan: Blocks and widths.
        classes: C, >= 2.
        layout: Stem, pooling and initialisation, see the head of this file.
        dropout: Before the last layer, in [0, 1); None for the layout's own.
        he: Whether convolutions are drawn with He's fan-out deviation; None for the layout's own.
    """

    def __init__(
        self, plan: Plan, classes: int, layout: Layout, dropout: float | None = None, he: bool | None = None
    ) -> None:
        super().__init__()
        large = layout == "imagenet"
        self.inner = plan.stem
        kernel, stride, border = (7, 2, 3) if large else (3, 1, 1)
        self.conv1 = nn.Conv2d(3, plan.stem, kernel, stride, border, bias=False)
        self.bn1 = nn.BatchNorm2d(plan.stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        self.stages = [f"layer{number}" for number in range(1, len(plan.widths) + 1)]
        for number, (name, width, count) in enumerate(zip(self.stages, plan.widths, plan.blocks, strict=True)):
            self.add_module(name, self._stage(plan.block, width, count, 1 if number == 0 else 2))
        self.cells = 2 if layout == "tiny" else 1
        self.avgpool = nn.AdaptiveAvgPool2d(self.cells)
        self.dropout = nn.Dropout((0.5 if large else 0.0) if dropout is None else dropout)
        self.fc = nn.Linear(self.inner * self.cells**2, classes)
        if layout != "cifar" if he is None else he:
            for part in self.modules():
                if isinstance(part, nn.Conv2d):
                    nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def _stage(self, block: type[BasicBlock] | type[Bottleneck], width: int, count: int, stride: int) -> nn.Sequential:
        blocks: list[nn.Module] = []
        for step in (stride, *[1] * (count - 1)):
            outer = width * block.expansion
            shortcut = None
            if step != 1 or self.inner != outer:
                shortcut = nn.Sequential(nn.Conv2d(self.inner, outer, 1, step, bias=False), nn.BatchNorm2d(outer))
            blocks.append(block(self.inner, width, step, shortcut))
            self.inner = outer
        return nn.Sequential(*blocks)

    def features(self, images: Tensor) -> Tensor:
        """The feature map of the last stage.

        Args:
            images: ``(B, 3, H, W)``, normalised.
        """
        values: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for name in self.stages:
            values = self.get_submodule(name)(values)
        return values

    def head(self, features: Tensor) -> Tensor:
        """Logits of a feature map.

        Args:
            features: ``(B, D, h, w)``.
        """
        logits: Tensor = self.fc(self.dropout(self.avgpool(features).flatten(1)))
        return logits

    def forward(self, images: Tensor) -> ClassifierOutput:
        """Classifies images.

        Args:
            images: ``(B, 3, H, W)``, normalised.
        """
        return ClassifierOutput(self.head(self.features(images)))


class TimmClassifier(nn.Module):
    """Any timm classifier, cut between its feature map and its head.

    Args:
        model: What ``timm.create_model`` gives.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def features(self, images: Tensor) -> Tensor:
        """The model's features before pooling.

        Args:
            images: ``(B, 3, H, W)``, normalised.
        """
        run: Callable[[Tensor], Tensor] = self.model.forward_features  # type: ignore[assignment]
        return run(images)

    def head(self, features: Tensor) -> Tensor:
        """Logits of features."""
        run: Callable[[Tensor], Tensor] = self.model.forward_head  # type: ignore[assignment]
        return run(features)

    def forward(self, images: Tensor) -> ClassifierOutput:
        """Classifies images.

        Args:
            images: ``(B, 3, H, W)``, normalised.
        """
        return ClassifierOutput(self.head(self.features(images)))


def build(
    name: str,
    classes: int,
    layout: Layout = "cifar",
    width: int | None = None,
    dropout: float | None = None,
    pretrained: bool | str = False,
) -> ResNet | TimmClassifier:
    """Builds a classifier by name.

    Args:
        name: ``resnet8``, ``resnet34``, ``resnet50``, ``resnet101``, ``wrn26_10``, or a timm model (``convnext_tiny``;
            ``timm/resnet50`` where the name stands for one of the others too).
        classes: C, >= 2.
        layout: Stem, pooling and initialisation of a residual network; a timm model has its own.
        width: Of the first stage of ``resnet8``, 16 where None.
        dropout: Before the last layer, in [0, 1); None for the layout's own.
        pretrained: Weights a timm model starts from, see :func:`zoo.layers.image_backbone`.

    Raises:
        InputError: No such network, or an argument that it does not take.
    """
    if classes < 2:
        raise InputError(f"model.classes must be at least 2, got {classes}")
    check_choice("model.layout", layout, LAYOUTS)
    if dropout is not None and not 0 <= dropout < 1:
        raise InputError(f"model.dropout must lie in [0, 1), got {dropout}")
    if width is not None and (name != SMALL or width < 1):
        raise InputError(f"model.width is the width of {SMALL} alone, at least 1; got {width} for {name!r}")
    if name == SMALL:
        first = width or SMALL_WIDTH
        plan = Plan(BasicBlock, first, (first, 2 * first, 4 * first), (1, 1, 1))
    elif name in PLANS:
        plan = PLANS[name]
    else:
        return _timm(name, classes, dropout, pretrained)
    if pretrained:
        raise InputError(f"model.pretrained: there are no weights for {name!r}; timm's networks have some")
    # the released wide ResNet draws its convolutions alike in every layout, the ResNet for 32 pixels does not
    return ResNet(plan, classes, layout, dropout, he=True if name.startswith("wrn") else None)


def _timm(name: str, classes: int, dropout: float | None, pretrained: bool | str) -> TimmClassifier:
    known = name.removeprefix("timm/")
    try:
        if isinstance(pretrained, str):
            # the file's own last layer may tell other classes apart, so it stays behind
            model = image_backbone(known, pretrained, num_classes=0, drop_rate=dropout or 0.0)
            reset: Callable[[int], None] = model.reset_classifier  # type: ignore[assignment]
            reset(classes)
        else:
            model = image_backbone(known, pretrained, num_classes=classes, drop_rate=dropout or 0.0)
    except InputError as error:
        near = nearest(known, [SMALL, *PLANS])
        if "has no model" in str(error) and near:
            raise InputError(f"model.network: there is no network {name!r}{near}") from error
        raise
    return TimmClassifier(model)
