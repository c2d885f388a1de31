"""What the data sets of this domain share: views, order, out-of-distribution sets behind the test split.

A batch is a dict with ``image (B, 3, size, size)`` float32, normalised, ``label (B,)`` int64 and ``id`` (a list of B
names). Items of the k-th out-of-distribution set (``data.ood``, from 0) have the label ``-1 - k``. The plain values
``size``, ``resize``, ``stretch``, ``mean`` and ``std`` of a data object say what its test images went through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.domains.calibration.data_items import Files, Joined, Pictures, collate, image_paths
from zoo.domains.calibration.data_views import Statistics, View
from zoo.errors import InputError, ZooError
from zoo.training import DataError, EpochOrder, Items, Split, ZooData
from zoo.training.choices import nearest

SETS: dict[str, Callable[..., ImageData]] = {}
"""The data sets of this domain by name: what ``ood`` may name."""


class ImageData(ZooData):
    """Base of the data sets of this domain.

    Args:
        root: See :class:`zoo.training.ZooData`, as the next five.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use made-up data.
        limit: Use only so many images of each split.
        on_error: ``stop`` or ``skip``.
        train_view: What happens to training images.
        test_view: What happens to validation and test images.
        statistics: What images are normalised with.
        ood: Out-of-distribution sets that follow the test split: names of data sets or folders of images.
        split_seed: Which images are held out.
        drop_last: Whether an incomplete last training batch is left out.

    Attributes:
        size: Height and width of what the network sees.
        resize: Length of the shorter side before the crop, or None.
        stretch: Whether both sides are resized to that length.
        mean: Of the channels, in [0, 1].
        std: Of the channels.
    """

    domain = "calibration"

    def __init_subclass__(cls) -> None:
        """Makes the data set known by its name; of several classes of one name the first."""
        super().__init_subclass__()
        if "dataset" in vars(cls):
            SETS.setdefault(cls.dataset, cls)

    def __init__(
        self,
        root: str | None,
        batch_size: int,
        workers: int,
        synthesize: bool,
        limit: int | None,
        on_error: Literal["stop", "skip"],
        train_view: View,
        test_view: View,
        statistics: Statistics,
        ood: list[str] | None,
        split_seed: int,
        drop_last: bool,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
        if split_seed < 0:
            raise InputError(f"data.split_seed must not be negative, got {split_seed}")
        check_names(ood or ())
        self.train_view, self.test_view, self.statistics = train_view, test_view, statistics
        self.ood, self.split_seed, self.drop_last = list(ood or ()), split_seed, drop_last
        self.size, self.resize, self.stretch = test_view.size, test_view.resize, test_view.stretch
        self.mean, self.std = statistics

    # -- what a data set writes

    def pictures(self, root: Path, split: Split) -> Pictures:
        """The images of a split, in the view and with the statistics of that split.

        Raises:
            DataError: A file is missing or malformed; names it.
        """
        raise ZooError(f"{type(self).__name__} does not say how to read its {split} split")

    # -- what they share

    def usable(self, found: Pictures) -> Pictures:
        """Without the images that are known not to be readable, on which no split may depend."""
        return found.only(np.array(self.kept(range(len(found)), found.made_of), dtype=np.int64))

    def view(self, split: Split) -> View:
        """What happens to the images of a split."""
        return self.train_view if split == "train" else self.test_view

    def read(self, root: Path, split: Split) -> Items:
        """The images of a split; behind those of the test split the out-of-distribution sets."""
        found = self.pictures(root, split)
        if split != "test" or not self.ood:
            return found
        return Joined([found, *(self.outside(name, root, number) for number, name in enumerate(self.ood))])

    def outside(self, name: str, root: Path, number: int) -> Pictures:
        """The images of an out-of-distribution set as the network sees its test images.

        They are resized to its input, cropped from the centre, and normalised like its test images.

        Args:
            name: A data set (its test images), looked for beside ``root`` and in the usual places; or a folder, all
                images below it.
            root: Folder of this data set.
            number: Which set it is, from 0; its images have the label ``-1 - number``.

        Raises:
            InputError: There is no such data set or folder; names the nearest.
        """
        view = View(self.size, self.resize or self.size, self.stretch)
        if name in SETS:
            other = SETS[name]()
            found = other.pictures(self._beside(other, root), "test")
            found = found.seen(view, self.outside_statistics(other))
        elif Path(name).is_dir():
            files = image_paths(Path(name))
            if not files:
                raise DataError(f"{name}: the out-of-distribution folder holds no image")
            names = [file.relative_to(name).as_posix() for file in files]
            found = Pictures(Files(files), np.zeros(len(files)), names, view, self.statistics_of("test"))
        else:
            raise InputError(
                f"data.ood: there is no data set and no folder {name!r}{nearest(name, list(SETS))}; "
                f"data sets: {', '.join(SETS)}"
            )
        return found.marked(-1 - number, f"{Path(name).name}:")

    def _beside(self, other: ImageData, root: Path) -> Path:
        """Where another data set lies: made up if this one is, else beside this one, else in the usual places."""
        other.seed, other.on_error, other.skipped = self.seed, self.on_error, self.skipped
        other.use_synthesized = self.use_synthesized and self.root is None
        place = root.parent / other.dataset
        if not other.use_synthesized and place.is_dir() and place != root:
            return place
        try:
            return other.folder()
        except InputError as error:
            # data.root, which the error speaks of, is the folder of this data set
            raise InputError(
                f"data.ood: {other.dataset} is neither in {place} nor in the usual places (set ZOO_DATA; zoo data show "
                f"{other.dataset} says where to get it); a folder of images does as well"
            ) from error

    def statistics_of(self, split: Split) -> Statistics:
        """What the images of a split are normalised with."""
        return self.statistics

    def outside_statistics(self, other: ImageData) -> Statistics:
        """What the images of an out-of-distribution set are normalised with: as this set's test images."""
        return self.statistics_of("test")

    def order(self, items: Items, subset: np.ndarray, rank: int, world_size: int) -> EpochOrder:
        """A new order every epoch."""
        size = len(subset)
        return EpochOrder(size, self.batch_size, self.seed, rank, world_size, drop_last=self.drop_last)

    def collate(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """See :func:`collate`."""
        return collate(batch)

    def image_files(self, split: Split) -> list[Path]:
        """The files of a split; none where images do not lie in files of their own."""
        items: Any = self.items(split).items
        return [
            part.source.files[int(index)]
            for part in getattr(items, "parts", [items])
            if isinstance(part.source, Files)
            for index in part.chosen
        ]

    def synthetic_arguments(self) -> dict[str, Any]:
        """The seed; everything else is fixed."""
        return {"seed": self.seed}


def check_names(ood: Sequence[str]) -> None:
    """Refuses two out-of-distribution sets whose figures would have one name, that of the last folder.

    Raises:
        InputError: Names both.
    """
    seen: dict[str, str] = {}
    for given in ood:
        name = Path(given).name
        if name in seen:
            raise InputError(
                f"data.ood: {seen[name]!r} and {given!r} are both called {name!r} in the figures; rename one folder"
            )
        seen[name] = given
