"""COCO 2017, and anybody's data with annotations in its json format."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from zoo.domains.detection.data import DetectionData
from zoo.domains.detection.records import Record, check_inside, checked_box, record
from zoo.domains.detection.synthesis import synthesize_coco
from zoo.training import DataError, Split, refuse
from zoo.training.documents import parse_json, read_text
from zoo.training.paths import below

SIZES = [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]
CROP_SIZES = [400, 500, 600]
CROP = [384, 600]
NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
_LARGEST = 1e6  # pixels of a side
_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)


def read_coco(file: Path, images: Path, spare: Callable[[DataError], None] = refuse) -> tuple[list[Record], list[str]]:
    """Reads an annotation file in the COCO format; segmentations are not looked at.

    Args:
        file: The json.
        images: Folder of the images.
        spare: What is done with an image whose entries are malformed; such an image is left out.

    Returns:
        The images in the order of the file, and the class names: class i is the i-th smallest category id.

    Raises:
        DataError: The file is missing or malformed; names the entry.
    """
    tree = _load(file)
    parts = {}
    for key in ("images", "annotations", "categories"):
        if not isinstance(tree.get(key), list):
            raise DataError(f"{file}: has no list {key!r}, as annotations in the COCO format do")
        parts[key] = tree[key]
    categories = {_id(entry, "id", f"{file}: categories[{n}]"): entry for n, entry in enumerate(parts["categories"])}
    if not categories or len(categories) < len(parts["categories"]):
        raise DataError(f"{file}: {'two categories have one id' if categories else 'there are no categories'}")
    try:
        order = {number: place for place, number in enumerate(sorted(categories))}
    except TypeError:
        raise DataError(f"{file}: ids of categories are numbers, these are mixed") from None
    objects: dict[Any, list[tuple[int, dict[str, Any]]]] = {}
    entries: dict[Any, dict[str, Any]] = {}
    seen: set[Any] = set()
    for number, entry in enumerate(parts["images"]):
        place = f"{file}: images[{number}]"
        try:
            own, name = _id(entry, "id", place), entry.get("file_name")
            if own in objects:
                raise DataError(f"{place}: the id {own!r} stands there twice")
            if isinstance(name, str) and name in seen:
                raise DataError(f"{place}: the image {name} stands there twice")
        except DataError as error:
            spare(error)
            continue
        entries[own], objects[own] = entry, []
        seen.add(name if isinstance(name, str) else None)
    seen = set()
    for number, entry in enumerate(parts["annotations"]):
        place = f"{file}: annotations[{number}]"
        try:
            if _id(entry, "image_id", place) not in objects:
                raise DataError(f"{place}: there is no image with the id {entry['image_id']!r}")
            own = _id(entry, "id", place) if "id" in entry else f"without an id: {number}"
            if own in seen:
                raise DataError(f"{place}: the id {own!r} stands there twice")
        except DataError as error:
            spare(error)
            continue
        seen.add(own)
        objects[entry["image_id"]].append((number, entry))
    names = [str(categories[number].get("name", number)) for number in order]
    records = []
    for own, entry in entries.items():
        try:
            records.append(_record(file, images, entry, objects[own], order))
        except DataError as error:
            spare(error)
    return records, names


def _record(
    file: Path, images: Path, entry: dict[str, Any], objects: list[tuple[int, dict[str, Any]]], order: dict[Any, int]
) -> Record:
    place = f"{file}: image {entry['id']}"
    name = _field(entry, "file_name", place)
    if not isinstance(name, str) or not name:
        raise DataError(f"{place}: file_name is the path of an image, got {name!r}")
    size = _size(entry, place)
    boxes, areas, crowd = [], [], []
    for number, found in objects:
        where = f"{file}: annotations[{number}]"
        if _id(found, "category_id", where) not in order:
            raise DataError(f"{where}: there is no category with the id {found['category_id']!r}")
        box = _corners(_field(found, "bbox", where), where)
        if size is not None:
            check_inside(box, size, where)
        boxes.append(box)
        areas.append(_area(found.get("area"), box, where))
        crowd.append(_is_crowd(found.get("iscrowd"), where))
    labels = [order[found["category_id"]] for _, found in objects]
    return record(name, below(images, name), place, size, boxes, labels, crowd, areas, entry["id"])


def _size(entry: dict[str, Any], place: str) -> tuple[int, int] | None:
    """``(height, width)``, or None where the file does not say it."""
    height, width = entry.get("height"), entry.get("width")
    if not height or not width:
        return None
    if not all(isinstance(side, int | float) and 1 <= side < _LARGEST for side in (height, width)):
        raise DataError(f"{place}: height and width are pixels, got {height!r} and {width!r}")
    return int(height), int(width)


def _corners(box: Any, place: str) -> tuple[float, float, float, float]:
    """Left, top, width, height as left, top, right, bottom."""
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, int | float) for value in box):
        raise DataError(f"{place}: bbox is [left, top, width, height], got {box!r}")
    if not all(map(_is_number, box)):
        raise DataError(f"{place}: a box is four finite numbers, got {box}")
    left, top, width, height = box
    if width < 0 or height < 0:
        raise DataError(f"{place}: bbox has a negative width or height: {box}")
    return checked_box((left, top, left + width, top + height), place)


def _area(given: Any, box: Sequence[float], place: str) -> float:
    """Of the segmentation where the file says it, else of the box."""
    if isinstance(given, int | float) and not (_is_number(given) and given >= 0):
        raise DataError(f"{place}: area is {given!r}, expected square pixels as a finite number")
    return float(given) if isinstance(given, int | float) and given else (box[2] - box[0]) * (box[3] - box[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < _LARGEST**2  # false for nan


def _is_crowd(given: Any, place: str) -> bool:
    if given not in (0, 1, None):
        raise DataError(f"{place}: iscrowd is {given!r}, expected 0 or 1")
    return bool(given)


def _load(file: Path) -> dict[str, Any]:
    text = read_text(file, "annotation file")
    try:
        tree = parse_json(text, str(file))
    except json.JSONDecodeError as error:
        raise DataError(f"{file}:{error.lineno}: is no json, or is cut off: {error.msg}") from error
    if not isinstance(tree, dict):
        raise DataError(f"{file}: holds a {type(tree).__name__}, not an object with images and annotations")
    return tree


def _field(entry: Any, key: str, place: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        raise DataError(f"{place}: has no {key!r}")
    return entry[key]


def _id(entry: Any, key: str, place: str) -> int | str:
    found = _field(entry, key, place)
    if not isinstance(found, int | str):
        raise DataError(f"{place}: {key} is a number or a text, got {found!r}")
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


class COCOFormat(DetectionData):
    """Your own images with annotations in the COCO format: a json and a folder of images per split.

    Args:
        root: Folder of the data.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` and report.
        annotations: The json of a split below the root; ``{split}`` stands for train, val, test.
        images: The folder of a split's images below the root; ``{split}`` likewise.
        test_split: Which split is the test: ``test``, or ``val`` where there is no other.
        sizes: Shorter sides that training draws from.
        longest: Most that the longer side may have in training.
        crop_sizes: Shorter sides before the crop of every second training image; empty for no crops.
        crop: Least and most pixels of a crop's sides.
        flip: Share of the training images that are mirrored.
        test_size: Shorter side in the test.
        test_longest: Longer side in the test.
        evaluation_batch: Images per evaluation batch; only with 1 no image is padded.
        aspect_grouping: Whether a training batch holds landscapes or portraits only.
        keep_empty: Whether images without an object are trained on.
    """

    dataset = "coco_format"
    source = "your own images"
    terms = "yours"
    layout = """
    annotations/train.json   COCO's format: images, annotations with bbox [left, top, width, height], categories
    annotations/val.json     likewise
    annotations/test.json    likewise; without one, --data.test_split val
    train/                   images; val/ and test/ likewise
    """
    sample = "test/*.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 2,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        annotations: str = "annotations/{split}.json",
        images: str = "{split}",
        test_split: Literal["val", "test"] = "test",
        sizes: list[int] = SIZES,
        longest: int = 1333,
        crop_sizes: list[int] = CROP_SIZES,
        crop: list[int] = CROP,
        flip: float = 0.5,
        test_size: int = 800,
        test_longest: int = 1333,
        evaluation_batch: int = 1,
        aspect_grouping: bool = True,
        keep_empty: bool = False,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, sizes, longest, crop_sizes, crop, flip, test_size,
            test_longest, evaluation_batch, aspect_grouping, keep_empty,
        )  # fmt: skip
        self.annotations, self.images, self.test_split = annotations, images, test_split

    def records(self, root: Path, split: Split) -> list[Record]:
        """The images of a split.

        Raises:
            DataError: The annotation file is malformed, or has other categories than that of another split.
        """
        name = self.test_split if split == "test" else split
        file = root / self.annotations.replace("{split}", name)
        found, names = read_coco(file, root / self.images.replace("{split}", name), self.spare)
        if self.class_names and names != self.class_names:
            raise DataError(f"{file}: its categories are {_some(names)}, expected {_some(self.class_names)}")
        self.class_names = names
        return found

    def make(self, root: Path) -> None:
        """Writes tiny images of shapes with their annotations."""
        synthesize_coco(root, self.annotations, self.images, ("train", "val", self.test_split), self.seed)


class COCO(COCOFormat):
    """COCO 2017: 118,287 training and 5,000 validation images, 80 classes; the test is val2017.

    Args:
        root: Folder of the data.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` and report.
        annotations: The json of a split below the root; ``{split}`` stands for train and val.
        images: The folder of a split's images below the root; ``{split}`` likewise.
        sizes: Shorter sides that training draws from.
        longest: Most that the longer side may have in training.
        crop_sizes: Shorter sides before the crop of every second training image; empty for no crops.
        crop: Least and most pixels of a crop's sides.
        flip: Share of the training images that are mirrored.
        test_size: Shorter side in the test.
        test_longest: Longer side in the test.
        evaluation_batch: Images per evaluation batch; only with 1 no image is padded.
        aspect_grouping: Whether a training batch holds landscapes or portraits only.
        keep_empty: Whether images without an object are trained on.
    """

    dataset = "coco"
    source = "https://cocodataset.org/#download: train2017.zip, val2017.zip, annotations_trainval2017.zip"
    terms = "annotations CC BY 4.0; images under their own Flickr terms"
    layout = """
    annotations/instances_train2017.json   (another folder: --data.annotations 'instances_{split}2017.json')
    annotations/instances_val2017.json
    train2017/*.jpg
    val2017/*.jpg
    """
    splits = ("train", "val")
    sample = "val2017/*.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 2,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        annotations: str = "annotations/instances_{split}2017.json",
        images: str = "{split}2017",
        sizes: list[int] = SIZES,
        longest: int = 1333,
        crop_sizes: list[int] = CROP_SIZES,
        crop: list[int] = CROP,
        flip: float = 0.5,
        test_size: int = 800,
        test_longest: int = 1333,
        evaluation_batch: int = 1,
        aspect_grouping: bool = True,
        keep_empty: bool = False,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, annotations, images, "val", sizes, longest,
            crop_sizes, crop, flip, test_size, test_longest, evaluation_batch, aspect_grouping, keep_empty,
        )  # fmt: skip
        self.class_names = list(NAMES)

    def make(self, root: Path) -> None:
        """Writes tiny images of shapes, which are called by COCO's names, with all 80 categories."""
        synthesize_coco(
            root, self.annotations, self.images, ("train", "val"), self.seed, dict(zip(IDS, NAMES, strict=True))
        )
