"""From what a user has to what the network sees: the view and the statistics of the data a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.domains.calibration.data_views import Statistics, View, normalised
from zoo.errors import InputError

Channels = tuple[float, float, float]


class Inputs(NamedTuple):
    """What test images go through.

    Attributes:
        size: Height and width of what the network sees.
        resize: Length of the shorter side before the crop from the centre; None where images keep their size.
        stretch: Whether both sides are resized to that length.
        mean: Of the channels R, G, B of pixels in [0, 1].
        std: Of the channels.
    """

    size: int
    resize: int | None
    stretch: bool
    mean: Channels
    std: Channels

    @classmethod
    def of(cls, source: object) -> Inputs | None:
        """The values of a data set, or of what a checkpoint says of itself; None where it has none.

        Args:
            source: Has ``size``, ``resize``, ``stretch``, ``mean`` and ``std``, as attributes or keys.
        """
        found: dict[str, Any] = {
            name: source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
            for name in cls._fields
        }
        if found["size"] is None or found["mean"] is None or found["std"] is None:
            return None
        resize = None if found["resize"] is None else int(found["resize"])
        return cls(
            int(found["size"]), resize, bool(found["stretch"]), _channels(found["mean"]), _channels(found["std"])
        )

    def plain(self) -> dict[str, Any]:
        """As plain values, for the checkpoint."""
        return {**self._asdict(), "mean": list(self.mean), "std": list(self.std)}

    def prepare(self, images: list[Tensor]) -> Tensor:
        """Resizes, crops and normalises images as the test images of the data set.

        Where those keep their size, images of another are resized, so that all of a user's photograph is seen.

        Args:
            images: ``(3, H, W)`` float32 in [0, 1], of any sizes.

        Returns:
            ``(B, 3, size, size)``.
        """
        view, statistics = View(self.size, self.resize or self.size, self.stretch), Statistics(self.mean, self.std)
        nothing = np.random.default_rng(0)  # a view without random crop and flip draws nothing
        return torch.cat([normalised(view(_pixels(image), nothing)[None].copy(), statistics) for image in images])


def _pixels(image: Tensor) -> np.ndarray:
    """Values 0 to 255: as uint8 where they are those of 8 bits, so that a file is seen as the data sets see theirs."""
    values = image.cpu() * 255
    whole = values.round()
    found: np.ndarray = (whole.to(torch.uint8) if torch.equal(whole / 255, image.cpu()) else values).numpy()
    return found


def _channels(values: Any) -> Channels:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def given(
    size: int | None, resize: int | None, stretch: bool, mean: Channels | None, std: Channels | None
) -> Inputs | None:
    """The inputs that a recipe writes down; None where it leaves them to the data.

    Raises:
        InputError: Some are given and others not, or one is out of range.
    """
    if size is None and mean is None and std is None:
        if resize is not None or stretch:
            raise InputError("model: resize and stretch go with size, mean and std")
        return None
    if size is None or mean is None or std is None:
        raise InputError("model: size, mean and std go together; leave all three out to take them from the data")
    if min(std) <= 0:
        raise InputError(f"model.std must be above 0, got {list(std)}")
    View(size, resize, stretch)  # checks its numbers
    return Inputs(size, resize, stretch, _channels(mean), _channels(std))
