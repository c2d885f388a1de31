"""C3D, the extractor of the paper: fc6 features of 16-frame clips. The network, its released weights, the extractor."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from zoo.domains.anomaly.extractors import Extractor, Transform
from zoo.domains.anomaly.protocols import CLIP
from zoo.domains.anomaly.weights import digest, load_strictly, read_weights
from zoo.errors import InputError
from zoo.training.choices import check_choice

Scaling = Literal["caffe", "raw", "ekosman"]
FC6 = 4096
RESIZE, CROP = (128, 171), 112
MEAN = (124.0, 117.0, 104.0)  # red, green, blue
# name, channels in and out, pooling after it: kernel and padding, None for no pooling
LAYERS: tuple[tuple[str, int, int, tuple[tuple[int, int, int], tuple[int, int, int]] | None], ...] = (
    ("conv1", 3, 64, ((1, 2, 2), (0, 0, 0))),
    ("conv2", 64, 128, ((2, 2, 2), (0, 0, 0))),
    ("conv3a", 128, 256, None),
    ("conv3b", 256, 256, ((2, 2, 2), (0, 0, 0))),
    ("conv4a", 256, 512, None),
    ("conv4b", 512, 512, ((2, 2, 2), (0, 0, 0))),
    ("conv5a", 512, 512, None),
    ("conv5b", 512, 512, ((2, 2, 2), (0, 1, 1))),
)
DROPPED = tuple(f"{layer}.{kind}" for layer in ("fc7", "fc8") for kind in ("weight", "bias"))


class C3D(nn.Module):
    """C3D up to fc6: eight 3 x 3 x 3 convolutions, each with a ReLU, five max poolings, one linear layer with a ReLU.

    Source: Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015, in the layout of
    the converted Sports-1M weights. 61,214,464 parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        for name, inner, outer, _ in LAYERS:
            setattr(self, name, nn.Conv3d(inner, outer, kernel_size=3, padding=1))
        self.fc6 = nn.Linear(8192, FC6)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def stages(self, clips: Tensor) -> list[Tensor]:
        """The maps after each pooling, ``(N, C, T, H, W)``; the last are what fc6 takes, flattened.

        Args:
            clips: ``(N, 3, 16, 112, 112)``.
        """
        maps, stages = clips, []
        for name, _, _, pooling in LAYERS:
            maps = torch.relu(getattr(self, name)(maps))
            if pooling is not None:
                kernel, padding = pooling
                maps = nn.functional.max_pool3d(maps, kernel, kernel, padding)
                stages.append(maps)
        return stages

    def forward(self, clips: Tensor) -> Tensor:
        """fc6 after its ReLU.

        Args:
            clips: ``(N, 3, 16, 112, 112)``, scaled as the weights ask.

        Returns:
            ``(N, 4096)``, >= 0.

        Raises:
            ValueError: Another shape.
        """
        if clips.ndim != 5 or clips.shape[1:] != (3, CLIP, CROP, CROP):
            raise ValueError(f"clips: expected shape (N, 3, {CLIP}, {CROP}, {CROP}), got {tuple(clips.shape)}")
        return torch.relu(self.fc6(self.stages(clips)[-1].flatten(1)))


def c3d_weights(released: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The released tensors that lead to fc6.

    Args:
        released: ``conv1`` to ``conv5b`` and ``fc6`` to ``fc8``, ``.weight`` and ``.bias`` (``c3d.pickle``).

    Returns:
        Those of :class:`C3D`, as float32; and what was dropped and why, one line each.
    """
    dropped = [name for name in DROPPED if name in released]
    notes = [f"dropped {', '.join(dropped)}: classifier after fc6"] if dropped else []
    return {name: tensor.to(torch.float32) for name, tensor in released.items() if name not in dropped}, notes


class C3DFeatures(Extractor):
    """fc6 of C3D: 4096 numbers for 16 frames of 112 x 112, out of the middle of 128 x 171.

    The Caffe network that the Sports-1M weights come from takes values of 0..255 less the mean of its training clips.
    The demo of the converted weights feeds it 0..255 as they are; the PyTorch port of this method feeds it
    ``(x - mean) * 0.0167``, a sixtieth, which may be why its results are lower. ``scaling`` says which; features of one
    do not fit a detector trained on another.

    Args:
        weights: ``c3d.pickle`` or another file of its tensors.
        scaling: ``caffe``: 0..255 less ``mean``. ``raw``: 0..255. ``ekosman``: as the port.
        mean: ``.npy`` of the mean clip for ``caffe``: ``(3, 16, 112, 112)``, ``(3, 16, 128, 171)``, of which the middle
            is used, or ``(3,)``; 0..255, in the order of ``channels``. None takes the port's means of the three
            colours, 124, 117 and 104, in the place of the clip, and says so.
        channels: Order in which the weights take the colours; Caffe's own tools read frames as ``bgr``.
        fps: Rate to which videos are sampled; the paper has 30.
        batch: Clips that go through the network at once.
    """

    def __init__(
        self,
        weights: str | None = None,
        scaling: Scaling = "caffe",
        mean: str | None = None,
        channels: Literal["rgb", "bgr"] = "rgb",
        fps: float | None = 30.0,
        batch: int = 4,
    ) -> None:
        check_choice("extractor.scaling", scaling, get_args(Scaling))
        check_choice("extractor.channels", channels, ("rgb", "bgr"))
        if mean is not None and scaling != "caffe":
            raise InputError("extractor.mean belongs to extractor.scaling: caffe")
        super().__init__(fps, CLIP, batch, None, FC6)
        self.weights, self.scaling, self.mean, self.channels = weights, scaling, mean, channels
        deviation = 1 / (0.0167 * 255)
        mean_red, mean_green, mean_blue = (value / 255 for value in MEAN)
        self.transform = Transform(RESIZE, CROP, (mean_red, mean_green, mean_blue), (deviation, deviation, deviation))
        self._cube: Tensor | None = None

    def build(self) -> nn.Module:
        """See :class:`Extractor`."""
        if self.weights is None:
            raise InputError(
                "C3DFeatures needs the weights of C3D trained on Sports-1M, c3d.pickle (the card says where from): "
                "--model.extractor.weights FILE"
            )
        self._cube = None if self.mean is None else mean_clip(Path(self.mean))
        state, notes = c3d_weights(read_weights(Path(self.weights), "extractor.weights"))
        network = C3D()
        load_strictly(network, state, self.weights)
        if self.scaling == "caffe" and self.mean is None:
            notes = [*notes, f"no mean clip is given (extractor.mean), {MEAN} is subtracted from red, green and blue"]
        for note in notes:
            print(f"{self.weights}: {note}", file=sys.stderr)
        return network

    def frame(self, image: np.ndarray) -> Tensor:
        """See :class:`Extractor`."""
        return self.transform.size(image)

    def encode(self, network: nn.Module, clips: Tensor) -> Tensor:
        """Rows ``(N, 4096)``."""
        rows: Tensor = network(self.scaled(clips).transpose(1, 2))
        return rows

    def scaled(self, clips: Tensor) -> Tensor:
        """Clips ``(N, 16, 3, 112, 112)`` of RGB 0..255 as the weights take them."""
        values = self.transform.normalise(clips) if self.scaling == "ekosman" else clips.to(torch.float32)
        if self.scaling == "caffe" and self.mean is None:
            values = values - values.new_tensor(MEAN).view(3, 1, 1)
        values = values.flip(2) if self.channels == "bgr" else values
        return values if self._cube is None else values - self._cube.to(values.device)

    def settings(self) -> dict[str, Any]:
        """See :class:`Extractor`."""
        without = list(MEAN) if self.scaling == "caffe" else None
        mean = without if self.mean is None else digest(Path(self.mean))
        return {"scaling": self.scaling, "mean": mean, "channels": self.channels, "fps": self.fps, "clip": self.clip}

    def weights_file(self) -> Path | None:
        """See :class:`Extractor`."""
        return None if self.weights is None else Path(self.weights)


def mean_clip(file: Path) -> Tensor:
    """The mean clip, as it is subtracted: ``(16, 3, 112, 112)``, or ``(1, 3, 1, 1)`` of one number per colour.

    Args:
        file: ``.npy``; see :class:`C3DFeatures`.

    Raises:
        InputError: There is no such file, or it holds another shape or values that are not finite.
    """
    try:
        values = np.load(file.expanduser(), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"extractor.mean: {file} cannot be read as a numpy file: {error}") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise InputError(f"extractor.mean: {file} holds no array of finite numbers")
    cube = torch.from_numpy(values.astype(np.float32))
    if tuple(cube.shape) == (3,):
        return cube.view(1, 3, 1, 1)
    if tuple(cube.shape) == (3, CLIP, *RESIZE):
        top, left = (round((side - CROP) / 2) for side in RESIZE)
        cube = cube[:, :, top : top + CROP, left : left + CROP]
    if tuple(cube.shape) != (3, CLIP, CROP, CROP):
        raise InputError(
            f"extractor.mean: {file} has shape {values.shape}, expected (3, {CLIP}, {CROP}, {CROP}), "
            f"(3, {CLIP}, {RESIZE[0]}, {RESIZE[1]}) or (3,)"
        )
    return cube.transpose(0, 1).contiguous()
