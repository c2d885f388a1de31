"""Data in the layout of Pascal VOC: an xml per image. VOC itself, the blood cells of BCCD, and anybody's."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from zoo.domains.detection.coco import CROP, CROP_SIZES, SIZES
from zoo.domains.detection.data import DetectionData
from zoo.domains.detection.records import Record, check_inside, checked_box, class_index, find_image, record
from zoo.domains.detection.synthesis import TINY, synthesize_voc
from zoo.errors import InputError
from zoo.training import IMAGE_SUFFIXES, DataError, Split, refuse, usable
from zoo.training.lines import as_text, text_lines

VOC_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
BCCD_NAMES = ("RBC", "WBC", "Platelets")
_MEMBER = re.compile(r"\s+-?[01]$")  # whether the image shows the class that the list is of
_ENDING = re.compile(rf"({'|'.join(map(re.escape, IMAGE_SUFFIXES))})$", re.IGNORECASE)


def read_list(file: Path, spare: Callable[[DataError], None] = refuse) -> dict[str, str]:
    """Image stems of a list below ``ImageSets/Main``, each with its line for messages.

    A second column (1, 0 or -1) and endings are not looked at.

    Args:
        file: The list.
        spare: What is done about a line that is no text, or names an image again.

    Raises:
        DataError: There is no such list, it is empty, or ``spare`` raises.
    """
    stems: dict[str, str] = {}

    def add(numbered: tuple[str, str]) -> None:
        stem = _ENDING.sub("", _MEMBER.sub("", as_text(*numbered).strip()))
        if stem in stems:
            raise DataError(f"{numbered[0]}: {stem} stands twice, first in {stems[stem]}")
        stems[stem] = numbered[0]

    usable(((place, line) for place, line in text_lines(file, "list of images") if line.strip()), add, spare)
    if not stems:
        raise DataError(f"{file}: the list is empty")
    return stems


def parse(file: Path) -> ET.Element:
    """The root of an xml file.

    Raises:
        DataError: There is none, or it is damaged; names the line.
    """
    try:
        return ET.parse(file).getroot()
    except FileNotFoundError as error:
        raise DataError(f"{file}: there is no such annotation") from error
    except ET.ParseError as error:
        raise DataError(f"{file}:{error.position[0]}: is no xml, or is cut off: {error.msg}") from error
    except (OSError, ValueError, LookupError) as error:  # a folder, a name that no file can have, an unknown encoding
        raise DataError(f"{file}: cannot be read as xml ({' '.join(str(error).split())[:120]})") from error


def object_names(root: Path, spare: Callable[[DataError], None] = refuse) -> list[str]:
    """All class names of a folder, sorted.

    Args:
        root: Folder of ``Annotations``.
        spare: What is done about a file that cannot be used; its classes do not count.
    """
    trees = usable(sorted((root / "Annotations").glob("*.xml")), lambda file: _objects(parse(file), file), spare)
    found = {name for objects in trees for name, _, _ in objects}
    if not found:
        raise DataError(f"{root / 'Annotations'}: no xml there names an object")
    return sorted(found)


def read_voc(root: Path, stem: str, names: list[str], listed: str) -> Record:
    """One image. Pixels are counted from 1 and both ends belong to a box; difficult objects count as crowd regions.

    Args:
        root: Folder of ``Annotations`` and ``JPEGImages``.
        stem: Of the image.
        names: The classes.
        listed: File and line that name the image.

    Raises:
        DataError: The xml is damaged, or an object cannot be used; names file and object.
    """
    file = root / "Annotations" / f"{stem}.xml"
    if not os.path.lexists(file):
        raise DataError(f"{listed}: there is no such annotation {file}")
    tree = parse(file)
    given = Path(tree.findtext("filename") or "").suffix
    image = find_image(root / "JPEGImages", stem, str(file), given)
    size = _size(tree, file)
    boxes, labels, difficult = [], [], []
    for number, (name, box, crowd) in enumerate(_objects(tree, file), start=1):
        place = f"{file}: object {number}"
        labels.append(class_index(name, names, place))
        if size is not None:
            check_inside(box, size, place)
        boxes.append((box[0] - 1, box[1] - 1, box[2], box[3]))
        difficult.append(crowd)
    return record(stem, image, str(file), size, boxes, labels, difficult)


def _objects(tree: ET.Element, file: Path) -> list[tuple[str, tuple[float, float, float, float], bool]]:
    """Class, box as written and whether it is difficult, of every object."""
    found = []
    for number, entry in enumerate(tree.iter("object"), start=1):
        place = f"{file}: object {number}"
        name = (entry.findtext("name") or "").strip()
        if not name:
            raise DataError(f"{place}: has no name")
        bounds = entry.find("bndbox")
        if bounds is None:
            raise DataError(f"{place}: has no bndbox")
        box = checked_box((bounds.findtext(key) for key in ("xmin", "ymin", "xmax", "ymax")), place)
        found.append((name, box, (entry.findtext("difficult") or "0").strip() == "1"))
    return found


def _size(tree: ET.Element, file: Path) -> tuple[int, int] | None:
    """``(height, width)`` as the file says; some tools write 0 where they do not know."""
    try:
        height, width = (int(float(tree.findtext(f"size/{side}") or 0)) for side in ("height", "width"))
    except (ValueError, OverflowError) as error:
        raise DataError(f"{file}: size holds no finite numbers") from error
    return (height, width) if height > 0 and width > 0 else None


def _record(folder: Path, names: list[str], listed: tuple[str, str]) -> Record:
    return read_voc(folder, listed[0], names, listed[1])


class VOCFormat(DetectionData):
    """Your own images in the layout of Pascal VOC: an xml for each.

    Args:
        root: Folder of the data.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` and report.
        classes: Names of the classes in their order; null takes all that the annotations name, sorted.
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

    dataset = "voc_format"
    source = "your own images"
    terms = "yours"
    layout = """
    Annotations/<image>.xml           objects with name, bndbox and difficult, as labelImg writes them
    ImageSets/Main/train.txt          names of images, one a line; val.txt and test.txt likewise
    JPEGImages/<image>.jpg            or another ending of images
    """
    sample = "JPEGImages/*.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 2,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        classes: list[str] | None = None,
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
        self.class_names = list(classes or [])

    def folders(self, root: Path, split: Split) -> list[tuple[Path, str]]:
        """The folders in the layout that a split is made of, and the list of its images in each."""
        return [(root, split)]

    def records(self, root: Path, split: Split) -> list[Record]:
        """The images of a split.

        Raises:
            DataError: A list or an xml is missing or malformed.
        """
        found = []
        for folder, name in self.folders(root, split):
            stems = read_list(folder / "ImageSets" / "Main" / f"{name}.txt", self.spare)
            # a damaged file is told of where its image is listed
            self.class_names = self.class_names or object_names(
                folder, refuse if self.on_error == "stop" else lambda error: None
            )
            found += usable(stems.items(), partial(_record, folder, self.class_names), self.spare)
        return found

    def make(self, root: Path) -> None:
        """Writes tiny images of shapes with their annotations."""
        names = self.class_names or ["disc", "square", "star", "triangle"]
        synthesize_voc(root, TINY, names, self.seed)


class BCCD(VOCFormat):
    """Blood cells under the microscope: 364 images, red and white cells and platelets, official split.

    Args:
        root: Folder of the data.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` and report.
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

    dataset = "bccd"
    source = "https://github.com/Shenggan/BCCD_Dataset (the folder BCCD)"
    terms = "MIT"
    layout = """
    Annotations/BloodImage_00000.xml
    ImageSets/Main/train.txt    val.txt, test.txt: 205, 87 and 72 images
    JPEGImages/BloodImage_00000.jpg
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 2,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
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
            root, batch_size, workers, synthesize, limit, on_error, list(BCCD_NAMES), sizes, longest, crop_sizes, crop,
            flip, test_size, test_longest, evaluation_batch, aspect_grouping, keep_empty,
        )  # fmt: skip


class VOC(VOCFormat):
    """Pascal VOC, 20 classes: the training and validation images of the years, the test of 2007.

    Args:
        root: Folder of the data, ``VOCdevkit``.
        batch_size: Images per process and step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` and report.
        years: Whose images are used, out of 2007 and 2012.
        trainval: Whether training takes the validation images too, as published figures do.
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

    dataset = "voc"
    source = "http://host.robots.ox.ac.uk/pascal/VOC: trainval and test of 2007, trainval of 2012"
    terms = "images under Flickr's terms of use; annotations free for research"
    layout = """
    VOC2007/Annotations/000001.xml
    VOC2007/ImageSets/Main/train.txt    val.txt, trainval.txt, test.txt
    VOC2007/JPEGImages/000001.jpg
    VOC2012/                            likewise, without test.txt
    """
    sample = "VOC2007/JPEGImages/*.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 2,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        years: list[int] = [2007, 2012],  # noqa: B006 (never changed)
        trainval: bool = False,
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
            root, batch_size, workers, synthesize, limit, on_error, list(VOC_NAMES), sizes, longest, crop_sizes, crop,
            flip, test_size, test_longest, evaluation_batch, aspect_grouping, keep_empty,
        )  # fmt: skip
        if not years or not set(years) <= {2007, 2012}:
            raise InputError(f"data.years are out of 2007 and 2012, got {years}")
        self.years, self.trainval = years, trainval

    def folders(self, root: Path, split: Split) -> list[tuple[Path, str]]:
        """One folder per year; the test is that of 2007, the only one whose annotations are public."""
        if split == "test":
            return [(root / "VOC2007", "test")]
        name = "trainval" if split == "train" and self.trainval else split
        return [(root / f"VOC{year}", name) for year in self.years]

    def make(self, root: Path) -> None:
        """Writes tiny images of shapes, which are called by VOC's names."""
        for year, splits in ((2007, TINY), (2012, {"train": 3, "val": 2})):
            synthesize_voc(root / f"VOC{year}", splits, self.class_names, self.seed + year)
            lists = root / f"VOC{year}" / "ImageSets" / "Main"
            both = [line for name in ("train", "val") for line in read_list(lists / f"{name}.txt")]
            (lists / "trainval.txt").write_text("".join(f"{line}\n" for line in both))
