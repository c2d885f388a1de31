"""Made-up images: a class is a coloured grating, and the official formats that hold arrays of them.

What a class looks like is fixed; which images there are depends on the seed. So a model trained on the data of one
seed can be evaluated on those of another.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np

WORLD = 2023  # what the classes look like


def make_images(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Draws an image per label.

    Args:
        labels: ``(N,)``; any class numbers.
        size: Height and width.
        seed: Which images.

    Returns:
        ``(N, 3, size, size)`` uint8.
    """
    rng = np.random.default_rng([WORLD, seed, size])
    rows, columns = np.mgrid[0:size, 0:size] / size
    images = np.empty((len(labels), 3, size, size), dtype=np.uint8)
    for index, label in enumerate(labels):
        looks = np.random.default_rng([WORLD, int(label)])
        angle, frequency, colour = looks.uniform(0, np.pi), looks.uniform(1.5, 5), looks.uniform(-1, 1, 3)
        turned = angle + rng.normal(scale=0.15)
        wave = np.sin(2 * np.pi * frequency * (columns * np.cos(turned) + rows * np.sin(turned)) + rng.uniform(0, 6.28))
        light = rng.uniform(0.35, 0.65) + rng.normal(scale=0.3) * (rows - 0.5)
        strength = rng.uniform(0.05, 0.25)
        picture = (
            light + strength * colour[:, None, None] * (wave + 1) / 2 + rng.normal(scale=0.1, size=(3, size, size))
        )
        images[index] = np.clip(255 * picture, 0, 255)
    return images


def labels_of(classes: int, each: int, seed: int) -> np.ndarray:
    """``each`` labels of every class, in a random order."""
    return np.random.default_rng([WORLD, seed, 1]).permutation(np.repeat(np.arange(classes), each))


def jpeg(pixels: np.ndarray) -> bytes:
    """``(3, H, W)`` uint8 as the bytes of a JPEG file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def synthesize_jpeg(root: Path, seed: int, names: list[str], train: int = 40, test: int = 20) -> None:
    """Writes npz files of JPEG byte strings.

    Args:
        root: Existing folder.
        seed: Which images.
        names: Class names.
        train: Training images per class.
        test: Test images per class.
    """
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    for part, each in (("train", train), ("test", test)):
        labels = np.sort(labels_of(len(names), each, seed))
        coded = [jpeg(pixels) for pixels in make_images(labels, 32, 2 * seed + (part == "test"))]
        offset = np.cumsum([0, *(len(content) for content in coded)])
        ids = [f"{names[label]}/{number:04d}.jpg" for number, label in enumerate(labels)]
        content = np.frombuffer(b"".join(coded), dtype=np.uint8)
        save_npz(root / f"{part}.npz", {"jpeg": content, "offset": offset, "label": labels, "name": np.array(ids)})


def save_npz(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes an npz whose bytes depend on its content alone: numpy's own would hold the time of day."""
    import zipfile

    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), stream.getvalue())


def synthesize_cifar(root: Path, seed: int, folder: str, names: list[str], train: int, test: int) -> None:
    """Writes CIFAR's python version.

    Args:
        root: Existing folder.
        seed: Which images.
        folder: ``cifar-10-batches-py`` or ``cifar-100-python``.
        names: Class names.
        train: Training images per class.
        test: Test images per class.
    """
    place = root / folder
    place.mkdir()
    hundred = folder == "cifar-100-python"
    key = "fine_labels" if hundred else "labels"
    whole = labels_of(len(names), train, seed)
    pixels = make_images(whole, 32, 2 * seed)
    count = 1 if hundred else 5
    for number, part in enumerate(np.array_split(np.arange(len(whole)), count), start=1):
        name = "train" if hundred else f"data_batch_{number}"
        _cifar_file(place / name, pixels[part], whole[part], key)
    held = labels_of(len(names), test, seed + 1)
    _cifar_file(place / ("test" if hundred else "test_batch"), make_images(held, 32, 2 * seed + 1), held, key)
    meta = {"fine_label_names" if hundred else "label_names": names}
    (place / ("meta" if hundred else "batches.meta")).write_bytes(pickle.dumps(meta, protocol=2))


def _cifar_file(file: Path, pixels: np.ndarray, labels: np.ndarray, key: str) -> None:
    names = [f"{file.name}_{number:05d}.png" for number in range(len(labels))]
    content = {"data": pixels.reshape(len(pixels), -1), key: labels.tolist(), "filenames": names}
    file.write_bytes(pickle.dumps(content, protocol=2))


def synthesize_svhn(root: Path, seed: int, train: int = 30, test: int = 15) -> None:
    """Writes ``train_32x32.mat`` and ``test_32x32.mat``.

    Args:
        root: Existing folder.
        seed: Which images.
        train: Training images per digit.
        test: Test images per digit.
    """
    from scipy.io import savemat

    for part, each in (("train", train), ("test", test)):
        labels = labels_of(10, each, seed)
        pixels = make_images(labels + 300, 32, 2 * seed + (part == "test"))
        file = root / f"{part}_32x32.mat"
        savemat(file, {"X": pixels.transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels)[:, None]})
        content = file.read_bytes()
        # scipy's header text names the platform and the time of day
        file.write_bytes(b"MATLAB 5.0 MAT-file, made up by rankzoo".ljust(116) + content[116:])
