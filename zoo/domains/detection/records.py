"""What every reader gives: images with their boxes, checked, in pixels; and the messages about what is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.training import IMAGE_SUFFIXES, DataError
from zoo.training.choices import nearest
from zoo.training.paths import is_there

_FARTHEST = 1e9  # pixels; farther places are none, and leave float32
SMALLEST = 1e-5  # of the released code: boxes with a side below it are no objects


@dataclass(frozen=True)
class Record:
    """One image and what is in it.

    Attributes:
        name: Its id in tables and messages.
        file: The image.
        place: Where it is annotated, for messages.
        size: ``(height, width)`` as the annotation says it; None where it does not.
        boxes: ``(N, 4)`` float32 left, top, right, bottom in pixels.
        labels: ``(N,)`` int64.
        crowd: ``(N,)`` bool: regions that are neither trained on nor counted as missed.
        area: ``(N,)`` float32 square pixels, which sorts objects into small, medium and large.
        image_id: Of the annotation file, for COCO's own tools.
    """

    name: str
    file: Path
    place: str
    size: tuple[int, int] | None
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    image_id: int | str = field(default="")

    @property
    def objects(self) -> np.ndarray:
        """``(N,)`` bool: what training uses."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return ~self.crowd & (sides > SMALLEST).all(1)

    def aspect(self) -> bool:
        """Whether the image is wider than high; its head is read where the annotation gives no size."""
        height, width = self.size if self.size is not None else image_size(self.file, self.place)
        return width > height


def record(
    name: str,
    file: Path,
    place: str,
    size: tuple[int, int] | None,
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int],
    crowd: Sequence[bool] | None = None,
    area: Sequence[float] | None = None,
    image_id: int | str = "",
) -> Record:
    """A record of lists; boxes are clipped to the image where its size is known.

    Args:
        name: See :class:`Record`, as the others.
        file: The image.
        place: For messages.
        size: ``(height, width)`` or None.
        boxes: Left, top, right, bottom each.
        labels: Of the boxes.
        crowd: None where there are none.
        area: None takes that of the clipped boxes.
        image_id: Of the annotation file.
    """
    array = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    if size is not None:
        height, width = size
        array = array.clip(0, np.array([width, height, width, height], dtype=np.float32))
    areas = (array[:, 2:] - array[:, :2]).prod(1) if area is None else np.asarray(area, dtype=np.float32)
    marks = np.zeros(len(array), dtype=bool) if crowd is None else np.asarray(crowd, dtype=bool)
    return Record(name, file, place, size, array, np.asarray(labels, dtype=np.int64), marks, areas, image_id)


def image_size(file: Path, place: str) -> tuple[int, int]:
    """``(height, width)`` of an image as people see it, from its head alone.

    Raises:
        DataError: There is no such image, or it cannot be read; names the place.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # see read_image
            with Image.open(file) as image:
                width, height = image.size
                turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except FileNotFoundError as error:
        raise DataError(f"{place}: there is no image {file}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{place}: {file} has more pixels than are decoded at once ({error})") from error
    except Exception as error:  # a damaged file raises almost anything
        what = "the file is empty" if is_there(file) and file.stat().st_size == 0 else "is no image that can be read"
        raise DataError(f"{place}: {file}: {what}") from error
    return (width, height) if turned else (height, width)


def find_image(folder: Path, stem: str, place: str, given: str = "") -> Path:
    """The image of a stem in a folder, whatever its ending.

    Args:
        folder: Of the images.
        stem: Name without its ending.
        place: For the message.
        given: Ending to look for first.

    Raises:
        DataError: There is none.
    """
    for suffix in dict.fromkeys([given, *IMAGE_SUFFIXES, *(suffix.upper() for suffix in IMAGE_SUFFIXES)]):
        if suffix and is_there(folder / f"{stem}{suffix}"):
            return folder / f"{stem}{suffix}"
    raise DataError(f"{place}: there is no image {folder / stem} ({', '.join(IMAGE_SUFFIXES)})")


def class_index(name: str, names: Sequence[str], place: str) -> int:
    """The number of a class.

    Raises:
        DataError: There is no such class; names the place and the nearest one.
    """
    try:
        return names.index(name)
    except ValueError:
        hint = nearest(name, names) or f"; there are {', '.join(names[:20])}"
        raise DataError(f"{place}: {name!r} is no class{hint}") from None


def checked_box(values: Iterable[object], place: str) -> tuple[float, float, float, float]:
    """Left, top, right, bottom as finite numbers in order.

    Raises:
        DataError: Something else; names the place.
    """
    written = list(values)
    try:
        box = [float(value) for value in written]  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{place}: a box is four numbers, got {_shown(written)}") from None
    if len(box) != 4 or not np.isfinite(box).all() or max(map(abs, box)) > _FARTHEST:
        raise DataError(f"{place}: a box is four finite numbers, got {_shown(written)}")
    if box[2] < box[0] or box[3] < box[1]:
        raise DataError(f"{place}: left, top, right, bottom are out of order: {_shown(box)}")
    return box[0], box[1], box[2], box[3]


def check_inside(box: Sequence[float], size: tuple[int, int], place: str) -> None:
    """Refuses a box that lies outside of its image altogether; one without an extent is no object wherever it lies.

    Raises:
        DataError: Names the place.
    """
    height, width = size
    if box[2] - box[0] <= SMALLEST or box[3] - box[1] <= SMALLEST:
        return
    if box[0] >= width or box[1] >= height or box[2] <= 0 or box[3] <= 0:
        raise DataError(f"{place}: the box {_shown(box)} lies outside of the image, {width} x {height}")


def require_images(records: Sequence[Record]) -> None:
    """Looks for every image, so that a wrong folder shows before anything is trained.

    Raises:
        DataError: Names the first that is missing, and how many are.
    """
    missing = [one for one in records if not is_there(one.file)]
    if missing:
        more = f" ({len(missing)} of {len(records)} images are missing)" if len(missing) > 1 else ""
        raise DataError(f"{missing[0].place}: there is no image {missing[0].file}{more}")


def _shown(values: Iterable[object]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values) or "nothing"
