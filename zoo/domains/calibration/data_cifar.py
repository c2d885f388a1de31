"""CIFAR-10 and CIFAR-100 in their official folders, as torchvision keeps them; the released splits."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np

from zoo.domains.calibration.data import ImageData
from zoo.domains.calibration.data_cifar_files import CIFAR10_NAMES, CIFAR100_NAMES, read_cifar
from zoo.domains.calibration.data_items import Arrays, Pictures
from zoo.domains.calibration.data_splits import check_share, shuffled_split
from zoo.domains.calibration.data_synthesis import synthesize_cifar
from zoo.domains.calibration.data_views import CIFAR, IMAGENET, Statistics, View
from zoo.training import Split
from zoo.training.choices import check_choice

SIZE = 32
Normalization = Literal["consistent", "official"]


class CIFARData(ImageData):
    """Base of CIFAR-10 and CIFAR-100.

    Args:
        classes: 10 or 100.
        root: See :class:`zoo.domains.calibration.data.ImageData`, as the next five.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use made-up data.
        limit: Use only so many images of each split.
        on_error: ``stop`` or ``skip``.
        val_fraction: Share of the training images held out for validation.
        padding: Black pixels around a training image before the random crop.
        flip: Mirror every second training image.
        normalization: ``consistent`` or ``official``.
        ood: Out-of-distribution sets behind the test split.
        split_seed: Which images are held out.
        drop_last: Whether an incomplete last training batch is left out.
    """

    def __init__(
        self,
        classes: int,
        root: str | None,
        batch_size: int,
        workers: int,
        synthesize: bool,
        limit: int | None,
        on_error: Literal["stop", "skip"],
        val_fraction: float,
        padding: int,
        flip: bool,
        normalization: Normalization,
        ood: list[str] | None,
        split_seed: int,
        drop_last: bool,
    ) -> None:
        check_share("val_fraction", val_fraction)
        check_choice("data.normalization", normalization, get_args(Normalization))
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error,
            View(SIZE, padding=padding, flip=flip, crop=True), View(SIZE), CIFAR, ood, split_seed, drop_last,
        )  # fmt: skip
        self.classes, self.val_fraction, self.normalization = classes, val_fraction, normalization
        self.class_names = list(CIFAR10_NAMES if classes == 10 else CIFAR100_NAMES)
        self._read: dict[tuple[Path, bool], tuple[np.ndarray, np.ndarray, list[str]]] = {}

    def statistics_of(self, split: Split) -> Statistics:
        """What the images of a split are normalised with; the released CIFAR-100 test loader takes ImageNet's."""
        official = self.normalization == "official" and self.classes == 100 and split == "test"
        return IMAGENET if official else CIFAR

    def outside_statistics(self, other: ImageData) -> Statistics:
        """Of CIFAR's sets as released, each its own loader's; else as this set's test images."""
        if self.normalization == "official" and isinstance(other, CIFARData):
            other.normalization = "official"
            return other.statistics_of("test")
        return super().outside_statistics(other)

    def pictures(self, root: Path, split: Split) -> Pictures:
        """The images of a split."""
        found = self.part(root, split == "test", split)
        if split == "test":
            return found
        train, val = self.split(found.labels)
        return found.only(train if split == "train" else val)

    def split(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of training and validation images."""
        return shuffled_split(len(labels), round(self.val_fraction * len(labels)), self.split_seed)

    def forget(self) -> None:
        """The files are read anew."""
        self._read.clear()

    def part(self, root: Path, test: bool, split: Split) -> Pictures:
        """All images of the official training or test part, in the view of a split."""
        key = root, test
        if key not in self._read:
            self._read[key] = read_cifar(root, self.classes, test, self.spare)
        images, labels, names = self._read[key]
        return Pictures(Arrays(images), labels, names, self.view(split), self.statistics_of(split))

    def make(self, root: Path) -> None:
        """Writes tiny data in the official python version."""
        folder, each = ("cifar-10-batches-py", (40, 20)) if self.classes == 10 else ("cifar-100-python", (6, 2))
        synthesize_cifar(root, self.seed, folder, self.class_names, *each)


class CIFAR10(CIFARData):
    """CIFAR-10: 50,000 training images, of which a tenth is held out for validation, and 10,000 test images.

    The split is the released one: all training images shuffled by numpy with ``split_seed``, the first tenth is for
    validation (seed 1 begins 26247, 35067, 34590). Of the training images an incomplete last batch is left out.

    Args:
        root: Folder with ``cifar-10-batches-py`` (as torchvision keeps it) or ``cifar-10-batches-bin``.
        batch_size: Images per process and step.
        workers: Loader processes; all images lie in memory.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first unusable image, or ``skip`` and report.
        val_fraction: Share of the training images held out for validation, in (0, 1).
        padding: Black pixels around a training image before the random crop.
        flip: Mirror every second training image.
        normalization: Matters for CIFAR-100 as an out-of-distribution set only, see :class:`CIFAR100`.
        ood: Out-of-distribution sets behind the test split: names of data sets or folders of images.
        split_seed: Which images are held out.
        drop_last: Whether an incomplete last training batch is left out.
    """

    dataset = "cifar10"
    source = "https://www.cs.toronto.edu/~kriz/cifar.html (python or binary version; torchvision downloads the former)"
    terms = "none stated; the page asks for citation (A. Krizhevsky, 2009)"
    layout = """
    cifar-10-batches-py/data_batch_1 ... data_batch_5, test_batch, batches.meta
    cifar-10-batches-bin/data_batch_1.bin ... test_batch.bin    read where the python version is not there
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
        flip: bool = True,
        normalization: Normalization = "consistent",
        ood: list[str] | None = None,
        split_seed: int = 1,
        drop_last: bool = True,
    ) -> None:
        super().__init__(
            10, root, batch_size, workers, synthesize, limit, on_error, val_fraction, padding, flip, normalization,
            ood, split_seed, drop_last,
        )  # fmt: skip


class CIFAR100(CIFARData):
    """CIFAR-100: 50,000 training images, of which a tenth is held out for validation, and 10,000 test images.

    Args:
        root: Folder with ``cifar-100-python`` (as torchvision keeps it) or ``cifar-100-binary``.
        batch_size: Images per process and step.
        workers: Loader processes; all images lie in memory.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first unusable image, or ``skip`` and report.
        val_fraction: Share of the training images held out for validation, in (0, 1).
        padding: Black pixels around a training image before the random crop.
        flip: Mirror every second training image.
        normalization: ``consistent`` normalises all images with the statistics of CIFAR. ``official`` takes ImageNet's
            for the test images, as the released loader does: for its numbers, and only for them.
        ood: Out-of-distribution sets behind the test split: names of data sets or folders of images.
        split_seed: Which images are held out.
        drop_last: Whether an incomplete last training batch is left out; the released code keeps it here.
    """

    dataset = "cifar100"
    source = "https://www.cs.toronto.edu/~kriz/cifar.html (python or binary version; torchvision downloads the former)"
    terms = "none stated; the page asks for citation (A. Krizhevsky, 2009)"
    layout = """
    cifar-100-python/train, test, meta
    cifar-100-binary/train.bin, test.bin    read where the python version is not there
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
        flip: bool = True,
        normalization: Normalization = "consistent",
        ood: list[str] | None = None,
        split_seed: int = 1,
        drop_last: bool = False,
    ) -> None:
        super().__init__(
            100, root, batch_size, workers, synthesize, limit, on_error, val_fraction, padding, flip, normalization,
            ood, split_seed, drop_last,
        )  # fmt: skip
