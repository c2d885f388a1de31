"""The files of CIFAR-10 and CIFAR-100: pickled python batches, read without running what a pickle may ask for."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy._core.multiarray

from zoo.domains.calibration.data_items import usable_labels
from zoo.training import DataError, refuse
from zoo.training.choices import nearest

PIXELS = 3 * 32 * 32
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_HUNDRED = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
CIFAR100_NAMES = tuple(_HUNDRED.split())
FOLDERS = {10: ("cifar-10-batches-py", "cifar-10-batches-bin"), 100: ("cifar-100-python", "cifar-100-binary")}
FILES = {
    (10, False): [f"data_batch_{number}" for number in range(1, 6)],
    (10, True): ["test_batch"],
    (100, False): ["train"],
    (100, True): ["test"],
}


def read_cifar(
    root: Path, classes: int, test: bool, spare: Callable[[DataError], None] = refuse
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Reads one part of CIFAR.

    Args:
        root: The folder that holds the official folder, or that folder itself.
        classes: 10 or 100 (the fine labels).
        test: The test part; else the training part.
        spare: What is done about an image with a label that is out of range; it is left out.

    Returns:
        ``(N, 3, 32, 32)`` uint8, ``(N,)`` int64 labels, N names.

    Raises:
        DataError: A file is missing, damaged, or holds a label out of range; names it.
    """
    files, binary = _files(root, classes, test)
    read = _binary if binary else _python
    parts = [read(file, classes, spare) for file in files]
    names = [name for _, _, found in parts for name in found]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]), names


def _files(root: Path, classes: int, test: bool) -> tuple[list[Path], bool]:
    """The official files, and whether they are of the binary version."""
    python, binary = FOLDERS[classes]
    wanted = FILES[classes, test]
    for folder, ending in ((python, ""), (binary, ".bin")):
        for place in (root / folder, root):
            files = [place / f"{name}{ending}" for name in wanted]
            missing = [file for file in files if not file.is_file()]
            if not missing:
                return files, bool(ending)
            if place.name == folder and place.is_dir():
                raise DataError(f"{missing[0]}: there is no such file; {folder} holds {', '.join(wanted)}")
    there = sorted(place.name for place in root.iterdir() if place.is_dir())
    raise DataError(f"{root}: there is no folder {python} (or {binary}) in it{nearest(python, there)}")


# all that a CIFAR batch is made of; the last is how Python 3 writes bytes into an old pickle
_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): numpy._core.multiarray._reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): numpy._core.multiarray._reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
}


class _Plain(pickle.Unpickler):
    """Rebuilds arrays, and refuses every other class."""

    def find_class(self, module: str, name: str) -> Any:
        """One of the few that CIFAR needs."""
        found = _ALLOWED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR file needs")
        return found


def _python(file: Path, classes: int, spare: Callable[[DataError], None]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    try:
        with file.open("rb") as stream:
            content = _Plain(stream, encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises almost anything
        raise DataError(f"{file}: is no readable CIFAR file ({' '.join(str(error).split())[:120]})") from error
    key = "labels" if classes == 10 else "fine_labels"
    if not isinstance(content, dict) or "data" not in content or key not in content:
        kind = f"the keys {', '.join(map(str, content))}" if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{file}: holds {kind}, expected 'data' and {key!r}")
    pixels, labels = np.asarray(content["data"]), np.asarray(content[key])
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != PIXELS or labels.shape != (len(pixels),):
        raise DataError(
            f"{file}: 'data' is {pixels.dtype} {pixels.shape} with {labels.shape} labels, "
            f"expected uint8 (N, {PIXELS}) and (N,)"
        )
    names = [str(name) for name in content.get("filenames", [])]
    if len(names) != len(pixels):
        names = [f"{file.name}/{number}" for number in range(len(pixels))]
    return _checked(file, pixels, labels, names, classes, spare)


def _binary(file: Path, classes: int, spare: Callable[[DataError], None]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    head = 1 if classes == 10 else 2  # CIFAR-100: the coarse label first
    content = np.fromfile(file, dtype=np.uint8)
    if not len(content) or len(content) % (PIXELS + head):
        raise DataError(
            f"{file}: has {len(content)} bytes, no multiple of {PIXELS + head} bytes per image; is it cut short?"
        )
    rows = content.reshape(-1, PIXELS + head)
    names = [f"{file.name}/{number}" for number in range(len(rows))]
    return _checked(file, rows[:, head:], rows[:, head - 1], names, classes, spare)


def _checked(
    file: Path,
    pixels: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    classes: int,
    spare: Callable[[DataError], None],
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The images whose labels are in range."""
    good = usable_labels(labels, range(classes), str(file), spare)
    found = pixels if len(good) == len(pixels) else pixels[good]
    return found.reshape(-1, 3, 32, 32), labels[good].astype(np.int64), [names[int(index)] for index in good]
