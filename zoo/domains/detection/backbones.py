"""Backbones by name: the paper's three, or any image network of timm that has maps of strides 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm import get_pretrained_cfg
from torch import Tensor, nn

from zoo.domains.detection.pretrained import fetch
from zoo.domains.detection.resnet import Norm, ResNet50
from zoo.domains.detection.swin import Swin
from zoo.errors import InputError
from zoo.layers import image_backbone, pretrained_allowed

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of RGB 0..255
STRIDES = (8, 16, 32)
SIDES = {1: (101, 77), 4: (100, 76), 32: (160, 96)}  # sizes whose sides divide by a number, and by hardly more
DROP_PATH = 0.2
SWINS: dict[str, dict[str, Any]] = {
    "swin_tiny": {"width": 96, "depths": (2, 2, 6, 2), "heads": (3, 6, 12, 24)},
    "swin_large": {"width": 192, "depths": (2, 2, 18, 2), "heads": (6, 12, 24, 48)},
}


class TimmMaps(nn.Module):
    """Three maps of a timm model.

    Args:
        name: What timm calls it.
        pretrained: See :func:`zoo.layers.image_backbone`.
        norm: ``frozen``: batch norms keep the statistics and weights they start with; ``batch``: they are trained.
        drop_path: Stochastic depth; None for what timm builds by default.
        activation_checkpointing: Compute again in the backward pass instead of keeping what is inside.

    Raises:
        InputError: There is no such model, or it has no such maps.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool | str = False,
        norm: Norm = "frozen",
        drop_path: float | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"features_only": True}
        if drop_path is not None:
            options["drop_path_rate"] = drop_path
        about = get_pretrained_cfg(name)
        if about is not None and about.fixed_input_size:
            options["strict_img_size"] = False
        with torch.device("meta"):
            try:
                probe: Any = image_backbone(name, **options)
            except InputError as error:
                if "strict_img_size" not in str(error):
                    raise
                del options["strict_img_size"]  # what it takes then is tried below
                probe = image_backbone(name, **options)
        strides = probe.feature_info.reduction()
        if missing := [stride for stride in STRIDES if stride not in strides]:
            raise InputError(
                f"backbone: {name!r} has maps of strides {', '.join(map(str, strides))}, none of "
                f"{', '.join(map(str, missing))}; detection needs {', '.join(map(str, STRIDES))}"
            )
        self.multiple = next((multiple for multiple, size in SIDES.items() if _takes(probe, size)), 0)
        if not self.multiple:
            raise InputError(f"backbone: {name!r} takes images of one size only; detection has many")
        places = [len(strides) - 1 - strides[::-1].index(stride) for stride in STRIDES]
        indices = tuple(probe.feature_info.out_indices[place] for place in places)
        model: Any = image_backbone(name, pretrained, out_indices=indices, **options)
        self.model, self.norm = model, norm
        if norm == "frozen":
            for part in self._norms():
                part.requires_grad_(False)
        self.channels = tuple(model.feature_info.channels())
        self.channels_last = str(getattr(model, "output_fmt", "NCHW")).upper().endswith("NHWC")
        if about is not None:
            self.mean, self.std = (tuple(255 * value for value in values) for values in (about.mean, about.std))
        if activation_checkpointing:
            model.set_grad_checkpointing(True)
        self.train(self.training)

    def _norms(self) -> list[nn.Module]:
        return [part for part in self.model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]

    def train(self, mode: bool = True) -> TimmMaps:
        """Train or eval mode; frozen norms stay in eval mode."""
        super().train(mode)
        if self.norm == "frozen":
            for part in self._norms():
                part.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps ``(B, C, h, w)`` of strides 8, 16 and 32."""
        height, width = images.shape[2:]
        if self.multiple > 1:
            images = F.pad(images, (0, -width % self.multiple, 0, -height % self.multiple))
        maps: list[Tensor] = self.model(images)
        if self.channels_last:
            maps = [part.permute(0, 3, 1, 2).contiguous() for part in maps]
        if self.multiple > 1:
            sizes = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
            maps = [part[:, :, :high, :wide] for part, (high, wide) in zip(maps, sizes, strict=True)]
        return maps


def _takes(probe: Any, size: tuple[int, int]) -> bool:
    """Whether a network on the meta device takes images of a size.

    True as well where it cannot be run there, so that nothing is known.
    """
    try:
        with torch.no_grad():
            probe.eval()(torch.empty(1, 3, *size, device="meta"))
    except NotImplementedError:  # an operation that the meta device does not have
        return True
    except (RuntimeError, AssertionError, ValueError):  # sides that do not divide
        return False
    return True


def build_backbone(
    name: str | nn.Module,
    pretrained: bool | str = False,
    norm: Norm = "frozen",
    drop_path: float | None = None,
    activation_checkpointing: bool = False,
) -> nn.Module:
    """A backbone.

    Args:
        name: ``resnet50``, ``swin_tiny`` and ``swin_large`` are the paper's; any other name is timm's. A module of your
            own gives three maps ``(B, C, h, w)``, finest first, and has their ``channels``; it is taken as it is.
        pretrained: False starts at random. True takes ImageNet weights (an installed package's, else a download); a
            text is a local file.
        norm: ``frozen``: batch norms keep the statistics and weights they start with; ``batch``: they are trained.
        drop_path: Stochastic depth of Swin and timm's; None for the paper's 0.2 (Swin), or timm's default.
        activation_checkpointing: Compute again in the backward pass instead of keeping what is inside.

    Raises:
        InputError: There is no such backbone, or it cannot be built so.
    """
    if isinstance(name, nn.Module):
        if pretrained:
            raise InputError(f"pretrained: {type(name).__name__} is a module of your own; load its weights yourself")
        channels = getattr(name, "channels", None)
        if not isinstance(channels, Sequence) or len(channels) != len(STRIDES):
            raise InputError(
                f"backbone: {type(name).__name__} needs the attribute channels, the channels of its three maps; "
                f"found {channels!r}"
            )
        return name
    if name == "resnet50":
        if drop_path:
            raise InputError("drop_path: resnet50 has no stochastic depth")
        own: nn.Module = ResNet50(norm, activation_checkpointing)
    elif name in SWINS:
        rate = DROP_PATH if drop_path is None else drop_path
        own = Swin(**SWINS[name], drop_path=rate, activation_checkpointing=activation_checkpointing)
    else:
        return TimmMaps(name, pretrained, norm, drop_path, activation_checkpointing)
    if pretrained and pretrained_allowed():
        _fill(own, fetch(name, pretrained), f"pretrained weights of {name!r}")
    return own


def _fill(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    expected = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    wrong = [key for key in expected if key not in state or state[key].shape != expected[key].shape]
    wrong += [key for key in state if key not in expected]
    if wrong:
        raise InputError(f"{what}: {len(wrong)} tensors do not fit: {', '.join(wrong[:5])}")
    module.load_state_dict(dict(state), strict=False)


def three_maps(found: Any, backbone: nn.Module) -> list[Tensor]:
    """What a backbone gave, as a list, checked.

    Raises:
        InputError: It gave no three maps of its ``channels``.
    """
    maps = list(found.values()) if isinstance(found, Mapping) else list(found)
    channels: Any = backbone.channels
    shapes = [tuple(part.shape) for part in maps]
    if len(maps) != len(STRIDES) or any(
        len(shape) != 4 or shape[1] != count for shape, count in zip(shapes, channels, strict=True)
    ):
        raise InputError(
            f"backbone: {type(backbone).__name__} says its maps have {', '.join(map(str, channels))} channels, but "
            f"gave {', '.join(map(str, shapes))}"
        )
    return maps
