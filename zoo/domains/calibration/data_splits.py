"""Which images are in which split, and the counts of long-tailed sets; everything a function of a seed."""

from __future__ import annotations

import numpy as np

from zoo.errors import InputError


def shuffled_split(size: int, held: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The released split of CIFAR: all positions shuffled by numpy's legacy generator, the first are validation.

    Args:
        size: Number of images.
        held: Validation images.
        seed: Of the shuffle; the authors' reference uses 1, whose order begins 26247, 35067, 34590 for 50,000 images.

    Returns:
        Training positions and validation positions, in the shuffled order.
    """
    order = np.arange(size)
    np.random.RandomState(seed).shuffle(order)
    return order[held:], order[:held]


def split_by_class(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The released split of Tiny-ImageNet: the images of each class shuffled, the last of each are validation.

    Args:
        labels: ``(N,)``.
        fraction: Share of each class that is held out, at least one image of a class that has two.
        seed: Of numpy's legacy generator; the classes take their turn in ascending order.

    Returns:
        Training positions and validation positions, class by class.
    """
    random = np.random.RandomState(seed)
    train, val = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for label in np.unique(labels):
        order = np.flatnonzero(labels == label)
        random.shuffle(order)
        held = min(max(1, round(fraction * len(order))), len(order) - 1)
        train.append(order[: len(order) - held])
        val.append(order[len(order) - held :])
    return np.concatenate(train), np.concatenate(val)


def long_tail_counts(largest: int, classes: int, imbalance: float) -> list[int]:
    """Images per class of a long-tailed set: ``int(largest * imbalance ** (c / (classes - 1)))``.

    Args:
        largest: Images of class 0, the largest.
        classes: Number of classes, >= 2.
        imbalance: Smallest over largest class, in (0, 1].
    """
    return [int(largest * imbalance ** (label / (classes - 1))) for label in range(classes)]


def long_tail(
    labels: np.ndarray, classes: int, imbalance: float, held: int = 0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a long-tailed part of a balanced set, class by class.

    Args:
        labels: ``(N,)`` of the balanced set.
        classes: Number of classes.
        imbalance: Smallest over largest class.
        held: Images of each class that are held out for validation: the last of its shuffled images, which the tail
            mostly leaves; where it does not, the class trains on fewer.
        seed: Of numpy's legacy generator, which shuffles each class in turn; a class trains on its first images.

    Returns:
        Training positions and validation positions.
    """
    random = np.random.RandomState(seed)
    counts = long_tail_counts(len(labels) // classes, classes, imbalance)
    train, val = [], []
    for label, count in enumerate(counts):
        order = np.flatnonzero(labels == label)
        random.shuffle(order)
        train.append(order[: max(0, min(count, len(order) - held))])
        val.append(order[max(0, len(order) - held) :])
    return np.concatenate(train), np.concatenate(val)


def balanced_parts(labels: np.ndarray, sizes: tuple[int, ...], seed: int) -> list[np.ndarray]:
    """Disjoint balanced parts: every class gives the same number of images to each.

    Args:
        labels: ``(N,)``.
        sizes: Images of each part; multiples of the number of classes.
        seed: Which images.

    Raises:
        InputError: A size is no multiple of the number of classes, or a class has too few images.
    """
    kinds = np.unique(labels)
    for size in sizes:
        if size < 1 or size % len(kinds):
            raise InputError(
                f"data: a balanced part of {len(kinds)} classes holds a multiple of {len(kinds)} images, got {size}"
            )
    wanted = [size // len(kinds) for size in sizes]
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in sizes]
    for label in kinds:
        order = rng.permutation(np.flatnonzero(labels == label))
        if len(order) < sum(wanted):
            raise InputError(
                f"data: class {int(label)} has {len(order)} images, {sum(wanted)} of each class are asked for"
            )
        for part, end, count in zip(parts, np.cumsum(wanted), wanted, strict=True):
            part.append(order[end - count : end])
    return [np.sort(np.concatenate(part)) for part in parts]


def check_share(name: str, value: float) -> None:
    """Refuses a share outside (0, 1).

    Raises:
        InputError: Names the argument.
    """
    if not 0 < value < 1:
        raise InputError(f"data.{name} must be in (0, 1), got {value}")
