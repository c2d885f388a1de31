"""SVHN, cropped house numbers, in the official Matlab files, as torchvision keeps them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.domains.calibration.data import ImageData
from zoo.domains.calibration.data_items import Arrays, Pictures, usable_labels
from zoo.domains.calibration.data_splits import check_share, shuffled_split
from zoo.domains.calibration.data_synthesis import synthesize_svhn
from zoo.domains.calibration.data_views import CIFAR, View
from zoo.training import DataError, Split, refuse

SIZE = 32


class SVHN(ImageData):
    """SVHN, cropped digits: 73,257 training images, a tenth of them held out for validation, and 26,032 test images.

    The statistics are CIFAR's, as in the released code. Digits are not mirrored.

    Args:
        root: Folder with ``train_32x32.mat`` and ``test_32x32.mat``.
        batch_size: Images per process and step.
        workers: Loader processes; all images lie in memory.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first unusable image, or ``skip`` and report.
        val_fraction: Share of the training images held out for validation, in (0, 1).
        padding: Black pixels around a training image before the random crop.
        ood: Out-of-distribution sets behind the test split: names of data sets or folders of images.
        split_seed: Which images are held out, by the shuffle of :class:`zoo.domains.calibration.CIFAR10`.
        drop_last: Whether an incomplete last training batch is left out.
    """

    dataset = "svhn"
    source = "http://ufldl.stanford.edu/housenumbers/ (format 2, cropped digits; torchvision downloads the same files)"
    terms = "non-commercial use only, says the page; Netzer et al., NIPS workshop 2011"
    layout = """
    train_32x32.mat    X (32, 32, 3, N) uint8, y (N, 1): 1 to 10, where 10 is the digit 0
    test_32x32.mat     the same
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 128,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        val_fraction: float = 0.1,
        padding: int = 4,
        ood: list[str] | None = None,
        split_seed: int = 1,
        drop_last: bool = True,
    ) -> None:
        check_share("val_fraction", val_fraction)
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error,
            View(SIZE, padding=padding, crop=True), View(SIZE), CIFAR, ood, split_seed, drop_last,
        )  # fmt: skip
        self.val_fraction = val_fraction
        self.class_names = [str(digit) for digit in range(10)]

    def pictures(self, root: Path, split: Split) -> Pictures:
        """The images of a split."""
        part = "test" if split == "test" else "train"
        images, labels, numbers = read_svhn(root / f"{part}_32x32.mat", self.spare)
        names = [f"{part}/{number}" for number in numbers]
        found = Pictures(Arrays(images), labels, names, self.view(split), self.statistics)
        if split == "test":
            return found
        train, val = shuffled_split(len(labels), round(self.val_fraction * len(labels)), self.split_seed)
        return found.only(train if split == "train" else val)

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        synthesize_svhn(root, self.seed)


def read_svhn(file: Path, spare: Callable[[DataError], None] = refuse) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads a Matlab file of SVHN.

    Args:
        file: The file.
        spare: What is done about an image with a label that is out of range; it is left out.

    Returns:
        ``(N, 3, 32, 32)`` uint8, ``(N,)`` labels, the digits, and the ``(N,)`` numbers of the images in the file.

    Raises:
        DataError: The file is missing or damaged, or a label is out of range; names it.
    """
    from scipy.io import loadmat

    if not file.is_file():
        raise DataError(f"{file}: there is no such file (zoo data show svhn says where to get it)")
    try:
        content = loadmat(file, variable_names=["X", "y"])
    except Exception as error:  # a damaged file raises almost anything
        raise DataError(f"{file}: is no readable Matlab file ({' '.join(str(error).split())[:120]})") from error
    if "X" not in content or "y" not in content:
        raise DataError(f"{file}: holds no {'X' if 'X' not in content else 'y'}; expected X and y")
    images, labels = content["X"], content["y"].reshape(-1)
    if images.dtype != np.uint8 or images.shape != (SIZE, SIZE, 3, len(labels)):
        raise DataError(
            f"{file}: X is {images.dtype} {images.shape} with {len(labels)} labels, expected uint8 (32, 32, 3, N)"
        )
    good = usable_labels(labels, range(1, 11), str(file), spare, " (10 is the digit 0)")
    images = images if len(good) == len(labels) else images[..., good]
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels[good].astype(np.int64) % 10, good
