"""CIFAR with a long tail: class c has ``int(n_max * imbalance ** (c / (C - 1)))`` training images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from zoo.domains.calibration.data_cifar import CIFARData, Normalization
from zoo.domains.calibration.data_items import Pictures
from zoo.domains.calibration.data_order import ClassAwareOrder
from zoo.domains.calibration.data_splits import long_tail
from zoo.errors import InputError
from zoo.training import EpochOrder, Items, Split
from zoo.training.choices import check_choice

Order = Literal["class_aware", "uniform"]
Validation = Literal["held_out", "test"]
GROUPS = {
    10: {"head": range(3), "medium": range(3, 7), "tail": range(7, 10)},
    100: {"head": range(36), "medium": range(36, 71), "tail": range(71, 100)},
}


class LongTailData(CIFARData):
    """Base of CIFAR-10-LT and CIFAR-100-LT.

    Args:
        classes: 10 or 100.
        root: See :class:`zoo.domains.calibration.data_cifar.CIFARData`, as all others but the last three.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use made-up data.
        limit: Use only so many images of each split.
        on_error: ``stop`` or ``skip``.
        padding: Black pixels around a training image before the random crop.
        flip: Mirror every second training image.
        normalization: ``consistent`` or ``official``.
        ood: Out-of-distribution sets behind the test split.
        drop_last: Whether an incomplete last training batch is left out.
        imbalance: Smallest over largest class.
        order: How training images are drawn.
        val: What validates.

    Attributes:
        class_groups: Classes of the head, the middle and the tail.
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
        padding: int,
        flip: bool,
        normalization: Normalization,
        ood: list[str] | None,
        drop_last: bool,
        imbalance: float,
        order: Order,
        val: Validation,
    ) -> None:
        super().__init__(
            classes, root, batch_size, workers, synthesize, limit, on_error, 0.1, padding, flip, normalization, ood,
            0, drop_last,
        )  # fmt: skip
        if not 0 < imbalance <= 1:
            raise InputError(f"data.imbalance must be in (0, 1], got {imbalance}")
        check_choice("data.order", order, get_args(Order))
        check_choice("data.val", val, get_args(Validation))
        self.imbalance, self.sampling, self.val = imbalance, order, val
        self.class_groups = {name: list(inside) for name, inside in GROUPS[classes].items()}

    def pictures(self, root: Path, split: Split) -> Pictures:
        """The images of a split; with ``val="test"`` the validation images are the test images."""
        if split == "val" and self.val == "test":
            return self.part(root, True, split)
        return super().pictures(root, split)

    def split(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of training and validation images; the split's seed is 0, as released."""
        held = 0 if self.val == "test" else round(self.val_fraction * len(labels) / self.classes)
        return long_tail(labels, self.classes, self.imbalance, held, self.split_seed)

    def order(self, items: Items, subset: np.ndarray, rank: int, world_size: int) -> EpochOrder:
        """Class-aware sampling, or all images once."""
        if self.sampling == "uniform":
            return super().order(items, subset, rank, world_size)
        given: Any = items
        return ClassAwareOrder(given.labels[subset], self.batch_size, self.seed, rank, world_size, self.drop_last)


class CIFAR10LT(LongTailData):
    """CIFAR-10 with a long tail: 20,431 training images at imbalance 0.1 (5000, 3871, 2997, ..., 500).

    The released code takes the test images for validation too, and so selects on them (``val: test``). Here a tenth of
    the largest class's number of images per class is held out: of those that the tail leaves, and where these do not
    suffice, of the class's own (class 0 trains on 4,500 then). Everything is drawn by numpy's seed 0.

    Args:
        root: Folder of CIFAR-10, see :class:`zoo.domains.calibration.CIFAR10`.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first unusable image, or ``skip`` and report.
        padding: Black pixels around a training image before the random crop.
        flip: Mirror every second training image.
        normalization: See :class:`zoo.domains.calibration.CIFAR100`.
        ood: Out-of-distribution sets behind the test split.
        drop_last: Whether an incomplete last training batch is left out.
        imbalance: Smallest over largest class, in (0, 1].
        order: ``class_aware``: classes in random turn, 4 images a visit, an epoch as long as if every class were as
            large as the largest; ``uniform``: every image once.
        val: ``held_out``, or ``test`` as released.
    """

    dataset = "cifar10"
    source = "https://www.cs.toronto.edu/~kriz/cifar.html; the tail is cut from CIFAR-10 when it is read"
    terms = "none stated; the page asks for citation (A. Krizhevsky, 2009)"
    layout = """
    cifar-10-batches-py/data_batch_1 ... data_batch_5, test_batch    as for CIFAR10
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 128,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        padding: int = 4,
        flip: bool = True,
        normalization: Normalization = "consistent",
        ood: list[str] | None = None,
        drop_last: bool = True,
        imbalance: float = 0.1,
        order: Order = "class_aware",
        val: Validation = "held_out",
    ) -> None:
        super().__init__(
            10, root, batch_size, workers, synthesize, limit, on_error, padding, flip, normalization, ood, drop_last,
            imbalance, order, val,
        )  # fmt: skip


class CIFAR100LT(LongTailData):
    """CIFAR-100 with a long tail: 10,847 training images at imbalance 0.01 (500, 477, ..., 5).

    Validation as in :class:`CIFAR10LT`: 50 images of each class are held out, the largest classes keep 450.

    Args:
        root: Folder of CIFAR-100, see :class:`zoo.domains.calibration.CIFAR100`.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first unusable image, or ``skip`` and report.
        padding: Black pixels around a training image before the random crop.
        flip: Mirror every second training image.
        normalization: See :class:`zoo.domains.calibration.CIFAR100`.
        ood: Out-of-distribution sets behind the test split.
        drop_last: Whether an incomplete last training batch is left out.
        imbalance: Smallest over largest class, in (0, 1].
        order: ``class_aware`` or ``uniform``, see :class:`CIFAR10LT`.
        val: ``held_out``, or ``test`` as released.
    """

    dataset = "cifar100"
    source = "https://www.cs.toronto.edu/~kriz/cifar.html; the tail is cut from CIFAR-100 when it is read"
    terms = "none stated; the page asks for citation (A. Krizhevsky, 2009)"
    layout = """
    cifar-100-python/train, test    as for CIFAR100
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 128,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        padding: int = 4,
        flip: bool = True,
        normalization: Normalization = "consistent",
        ood: list[str] | None = None,
        drop_last: bool = False,
        imbalance: float = 0.01,
        order: Order = "class_aware",
        val: Validation = "held_out",
    ) -> None:
        super().__init__(
            100, root, batch_size, workers, synthesize, limit, on_error, padding, flip, normalization, ood, drop_last,
            imbalance, order, val,
        )  # fmt: skip
