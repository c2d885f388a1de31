"""What turns frames into rows of features: the base, torchvision's video networks, timm's image networks.

An extractor is plain data until it is used: it stands in recipes (``model.extractor``) and is no part of a checkpoint's
weights. Its network is built at the first video.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from zoo.domains.anomaly.protocols import CLIP
from zoo.domains.anomaly.weights import digest, load_strictly, read_weights
from zoo.errors import InputError
from zoo.layers.backbones import image_backbone
from zoo.training.choices import check_choice

VideoName = Literal["r2plus1d_18", "r3d_18", "s3d", "mvit_v2_s"]
Reduce = Literal["mean", "change"]


@dataclass(frozen=True)
class Transform:
    """From a frame to what a network takes: bilinear resize, centre crop, then ``(x / 255 - mean) / std``.

    Attributes:
        resize: Height and width, whatever the proportions; None keeps the size.
        crop: Side of the square in the middle; None keeps all.
        mean: Of each channel, for values in [0, 1].
        std: Of each channel.
        antialias: Whether shrinking smooths first, as Pillow does and the video networks' transforms do not.
    """

    resize: tuple[int, int] | None
    crop: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    antialias: bool = False

    def size(self, image: np.ndarray) -> Tensor:
        """Resizes and crops.

        Args:
            image: ``(H, W, 3)`` uint8.

        Returns:
            ``(3, h, w)``, 0..255, float32; uint8 where nothing is to be done.
        """
        frame = torch.from_numpy(image).permute(2, 0, 1)
        if self.resize is not None and tuple(frame.shape[1:]) != self.resize:
            batch = frame[None].to(torch.float32)
            frame = interpolate(batch, self.resize, mode="bilinear", align_corners=False, antialias=self.antialias)[0]
        if self.crop is not None:
            top, left = (round((side - self.crop) / 2) for side in frame.shape[1:])
            frame = frame[:, top : top + self.crop, left : left + self.crop]
        return frame.contiguous()

    def normalise(self, frames: Tensor) -> Tensor:
        """``(..., 3, h, w)`` in 0..255 as the network takes it."""
        mean, std = (frames.new_tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (self.mean, self.std))
        return (frames.to(torch.float32) / 255 - mean) / std


class Extractor(ABC):
    """Base: a row of features for every ``clip`` frames; a rest shorter than that gives none.

    Args:
        fps: Rate to which videos are sampled first; None keeps their own.
        clip: Frames of a row.
        batch: Clips that go through the network at once.
        positions: Which frames of a clip are looked at, from 0; None for all.
        width: Features D of a row; None where only the network knows.
    """

    def __init__(
        self, fps: float | None, clip: int, batch: int, positions: tuple[int, ...] | None, width: int | None
    ) -> None:
        if fps is not None and fps <= 0:
            raise InputError(f"extractor.fps must be above 0, got {fps}")
        for name, value in (("clip", clip), ("batch", batch)):
            if value < 1:
                raise InputError(f"extractor.{name} must be at least 1, got {value}")
        self.fps, self.clip, self.batch, self.width = fps, clip, batch, width
        self.positions = tuple(range(clip)) if positions is None else positions
        self._network: tuple[nn.Module, torch.device] | None = None

    # -- what an extractor writes

    @abstractmethod
    def build(self) -> nn.Module:
        """The network with its weights.

        Raises:
            InputError: The weights cannot be had.
        """

    @abstractmethod
    def frame(self, image: np.ndarray) -> Tensor:
        """A frame ``(H, W, 3)`` uint8 as ``(3, h, w)``; runs in the thread that decodes."""

    @abstractmethod
    def encode(self, network: nn.Module, clips: Tensor) -> Tensor:
        """Clips ``(N, P, 3, h, w)`` of :meth:`frame` through the network: ``(N, ...)``."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything the rows depend on beside the video and the file of the weights, as plain values."""

    def weights_file(self) -> Path | None:
        """The file that the weights come from, where a recipe names one."""
        return None

    def join(self, encoded: Iterator[Tensor]) -> Iterator[Tensor]:
        """Rows ``(n, D)`` of what :meth:`encode` gave, batch by batch."""
        yield from encoded

    # -- what all share

    def network(self, device: torch.device) -> nn.Module:
        """The network in eval mode, built once."""
        if self._network is None or self._network[1] != device:
            built = self.build().eval().requires_grad_(False) if self._network is None else self._network[0]
            self._network = built.to(device), device
        return self._network[0]

    def made_by(self) -> dict[str, Any]:
        """Settings and the content of the weights' file: features of two extractors are equal where this is."""
        file = self.weights_file()
        return {"extractor": type(self).__name__, **self.settings(), "weights": None if file is None else digest(file)}


class VideoFeatures(Extractor):
    """A torchvision network trained on Kinetics-400, without its classifier, over 16-frame clips.

    ============ ===== =========================
    name         D     frames
    ============ ===== =========================
    r2plus1d_18  512   128 x 171, crop 112
    r3d_18       512   128 x 171, crop 112
    s3d          1024  256 x 256, crop 224
    mvit_v2_s    768   256 x 256, crop 224
    ============ ===== =========================

    Args:
        name: Which.
        pretrained: True takes torchvision's Kinetics-400 weights (a download), a text a local file of them, strictly;
            False random numbers of a fixed seed, which say little of a video.
        fps: Rate to which videos are sampled.
        batch: Clips that go through the network at once.
    """

    def __init__(
        self, name: VideoName, pretrained: bool | str = True, fps: float | None = 30.0, batch: int = 4
    ) -> None:
        check_choice("extractor.name", name, get_args(VideoName))
        super().__init__(fps, CLIP, batch, None, {"s3d": 1024, "mvit_v2_s": 768}.get(name, 512))
        self.name, self.pretrained = name, pretrained
        self.transform = _video_transform(name)

    def build(self) -> nn.Module:
        """See :class:`Extractor`."""
        from torchvision.models import get_model, get_model_weights

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network: nn.Module = get_model(self.name, weights=None)
        if isinstance(self.pretrained, str):
            load_strictly(network, read_weights(Path(self.pretrained), "extractor.pretrained"), self.pretrained)
        elif self.pretrained:
            chosen = get_model_weights(self.name).DEFAULT
            try:
                state = chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
            except (OSError, RuntimeError) as error:
                raise InputError(
                    f"the weights of {self.name} cannot be had ({' '.join(str(error).split())[:160]}); download "
                    f"{chosen.url} elsewhere and give it: --model.extractor.pretrained FILE"
                ) from error
            network.load_state_dict(state)
        head = {"s3d": "classifier", "mvit_v2_s": "head"}.get(self.name, "fc")
        setattr(network, head, nn.Identity())
        return network

    def frame(self, image: np.ndarray) -> Tensor:
        """See :class:`Extractor`."""
        return self.transform.size(image)

    def encode(self, network: nn.Module, clips: Tensor) -> Tensor:
        """Rows ``(N, D)``."""
        rows: Tensor = network(self.transform.normalise(clips).transpose(1, 2))
        return rows

    def settings(self) -> dict[str, Any]:
        """See :class:`Extractor`."""
        trained = True if isinstance(self.pretrained, str) else self.pretrained
        return {"name": self.name, "pretrained": trained, "fps": self.fps, "clip": self.clip}

    def weights_file(self) -> Path | None:
        """See :class:`Extractor`."""
        return Path(self.pretrained) if isinstance(self.pretrained, str) else None


class ImageFeatures(Extractor):
    """A timm image network on some frames of every clip; pixels, mean and deviation as timm says of the network.

    Args:
        name: What timm calls it, e.g. ``tf_efficientnet_lite0``.
        pretrained: See :func:`zoo.layers.backbones.image_backbone`.
        size: Side of the square to which frames are resized, whatever their proportions.
        clip: Frames of a row; 16, or fewer for folders of frames that were sampled already.
        frames: How many of them are looked at, evenly spread: 4 of 16 are every fourth.
        reduce: ``mean`` of their features; or ``change``, the mean absolute change from each frame to the next
            (the first of the next clip after the last), divided by the norm of the mean, as
            :func:`zoo.domains.anomaly.clip_snippets` does it.
        fps: Rate to which videos are sampled.
        batch: Clips that go through the network at once.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool | str = True,
        size: int = 224,
        clip: int = CLIP,
        frames: int = 4,
        reduce: Reduce = "mean",
        fps: float | None = 30.0,
        batch: int = 8,
    ) -> None:
        check_choice("extractor.reduce", reduce, get_args(Reduce))
        if not 1 <= frames <= clip:
            raise InputError(f"extractor.frames must be from 1 to extractor.clip ({clip}), got {frames}")
        if reduce == "change" and frames < 2:
            raise InputError("extractor.reduce: the change needs at least two frames of a clip (extractor.frames)")
        super().__init__(fps, clip, batch, tuple(place * clip // frames for place in range(frames)), None)
        self.name, self.pretrained, self.size, self.frames, self.reduce = name, pretrained, size, frames, reduce

    def build(self) -> nn.Module:
        """See :class:`Extractor`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = image_backbone(self.name, self.pretrained, num_classes=0)
        told: Any = network
        self.width = int(told.num_features)
        return network

    def frame(self, image: np.ndarray) -> Tensor:
        """See :class:`Extractor`."""
        return self._transform((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).size(image)

    def _transform(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Transform:
        return Transform((self.size, self.size), None, mean, std, antialias=True)

    def encode(self, network: nn.Module, clips: Tensor) -> Tensor:
        """Features ``(N, P, D)`` of every frame that is looked at."""
        told: Any = network
        transform = self._transform(tuple(told.pretrained_cfg["mean"]), tuple(told.pretrained_cfg["std"]))
        features: Tensor = network(transform.normalise(clips.flatten(0, 1)))
        return features.unflatten(0, clips.shape[:2])

    def join(self, encoded: Iterator[Tensor]) -> Iterator[Tensor]:
        """Rows ``(n, D)``; a change waits for the first frame of the next clip."""
        if self.reduce == "mean":
            yield from (features.mean(dim=1) for features in encoded)
            return
        waiting: Tensor | None = None
        for features in encoded:
            known = features if waiting is None else torch.cat([waiting, features])
            if len(known) > 1:
                yield _changes(known[:-1], known[1:, 0])
            waiting = known[-1:]
        if waiting is not None:
            yield _changes(waiting, None)

    def settings(self) -> dict[str, Any]:
        """See :class:`Extractor`."""
        trained = True if isinstance(self.pretrained, str) else self.pretrained
        return {"name": self.name, "pretrained": trained, "size": self.size, "clip": self.clip, "frames": self.frames,
                "reduce": self.reduce, "fps": self.fps}  # fmt: skip

    def weights_file(self) -> Path | None:
        """See :class:`Extractor`."""
        return Path(self.pretrained) if isinstance(self.pretrained, str) else None


def _changes(features: Tensor, after: Tensor | None) -> Tensor:
    """Relative change within clips.

    Args:
        features: ``(N, P, D)``.
        after: ``(N, D)``, the frame after each clip; None for the end of the video.
    """
    following = features[:, 1:] if after is None else torch.cat([features[:, 1:], after[:, None]], dim=1)
    moved = (following - features[:, : following.shape[1]]).abs().mean(dim=1)
    return moved / features.mean(dim=1).norm(dim=1, keepdim=True).clamp_min(1e-12)


def _video_transform(name: VideoName) -> Transform:
    if name == "mvit_v2_s":
        return Transform((256, 256), 224, (0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
    mean, std = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
    return Transform((256, 256), 224, mean, std) if name == "s3d" else Transform((128, 171), 112, mean, std)
