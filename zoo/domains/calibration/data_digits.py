"""The handwritten digits that scikit-learn carries: real data that is always there."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from zoo.domains.calibration.data import ImageData
from zoo.domains.calibration.data_folder_files import read_folder
from zoo.domains.calibration.data_items import Arrays, Pictures
from zoo.domains.calibration.data_splits import split_by_class
from zoo.domains.calibration.data_views import Statistics, View
from zoo.training import Split

SIZE = 8
FILE = "digits.csv.gz"
DIGITS = Statistics((0.3053, 0.3053, 0.3053), (0.3760, 0.3760, 0.3760))
"""Mean and standard deviation of all 1,797 images, white on black."""


class Digits(ImageData):
    """1,797 grey images of 8 x 8 pixels of the digits 0 to 9, out of scikit-learn; real, and there without a download.

    These are the test images of the UCI set; a third of each digit is the test split here, a sixth is for validation.

    Args:
        root: A folder that ``zoo data make Digits`` wrote; null for the copy inside scikit-learn.
        batch_size: Images per process and step.
        workers: Loader processes; all images lie in memory.
        synthesize: Read the same images from a folder of PNG files in the cache, shared out anew by the seed.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first unusable image, or ``skip`` and report.
        padding: Black pixels around a training image before the random crop.
        ood: Out-of-distribution sets behind the test split: names of data sets or folders of images.
        split_seed: Which images are in which split.
        drop_last: Whether an incomplete last training batch is left out.
    """

    dataset = "digits"
    source = "inside scikit-learn (sklearn.datasets.load_digits); https://archive.ics.uci.edu/dataset/80 (E. Alpaydin)"
    terms = "CC BY 4.0"
    layout = """
    nothing to get: the images are inside scikit-learn
    train/<digit>/*.png, val/<digit>/*.png, test/<digit>/*.png    what zoo data make Digits writes
    """
    sample = "test/*/*0.png"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 64,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        padding: int = 1,
        ood: list[str] | None = None,
        split_seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error,
            View(SIZE, padding=padding, crop=True), View(SIZE), DIGITS, ood, split_seed, drop_last,
        )  # fmt: skip
        self.class_names = [str(digit) for digit in range(10)]

    def folder(self) -> Path:
        """A given root, the made set, or the folder of scikit-learn's copy."""
        if self.root is not None or self.use_synthesized:
            return super().folder()
        import sklearn.datasets

        return Path(sklearn.datasets.__file__).parent / "data"

    def pictures(self, root: Path, split: Split) -> Pictures:
        """The images of a split."""
        if not (root / FILE).is_file():
            files, labels, names = read_folder(root / split, self.class_names)
            return Pictures(files, labels, names, self.view(split), self.statistics)
        images, labels, chosen = digits(self.split_seed)
        whole = Pictures(
            Arrays(images), labels, [f"digits/{number}" for number in range(len(labels))], self.view(split), DIGITS
        )
        return whole.only(chosen[split])

    def make(self, root: Path) -> None:
        """Writes the images as PNG files; which split an image is in depends on the seed."""
        from PIL import Image

        images, labels, chosen = digits(self.seed)
        for split, positions in chosen.items():
            for index in positions.tolist():
                folder = root / split / str(labels[index])
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(images[index, 0]).save(folder / f"{index:04d}.png")


def digits(seed: int) -> tuple[np.ndarray, np.ndarray, dict[Split, np.ndarray]]:
    """The images of scikit-learn.

    Args:
        seed: Which images are in which split.

    Returns:
        ``(1797, 3, 8, 8)`` uint8, ``(1797,)`` labels, and the positions of each split, in ascending order.
    """
    from sklearn.datasets import load_digits

    grey, labels = load_digits(return_X_y=True)
    images = np.round(grey.reshape(-1, 1, SIZE, SIZE) * (255 / 16)).astype(np.uint8).repeat(3, axis=1)
    rest, test = split_by_class(labels, 1 / 3, seed)
    inner, outer = split_by_class(labels[rest], 1 / 4, seed)
    chosen: dict[Split, np.ndarray] = {
        "train": np.sort(rest[inner]),
        "val": np.sort(rest[outer]),
        "test": np.sort(test),
    }
    return images, labels.astype(np.int64), chosen
