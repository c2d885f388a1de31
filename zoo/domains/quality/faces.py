"""Where the face of an image is: from a csv, from OpenCV's cascade, from YuNet, or nowhere; and cutting it out.

The released code finds faces with a GPL-derived detector that is not to be had; it takes the most confident box alone,
enlarges it by 20 pixels on each side, and uses the whole image where there is no face. That is kept here; boxes count
in pixels of the upright image, so that both branches see the same orientation.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from zoo.errors import InputError
from zoo.training import DataError, FeatureStore, read_image, refuse, usable
from zoo.training.documents import Cells, read_rows

Faces = Literal["none", "csv", "cascade", "yunet"]
FACES: tuple[Faces, ...] = get_args(Faces)
MARGIN = 20
COLUMNS = ("file", "left", "top", "right", "bottom")
CONFIDENCE = "confidence"
SIDE = 1280  # pixels of the longer side that a detector sees at most
_YUNET = "face_detection_yunet_2023mar.onnx of github.com/opencv/opencv_zoo"


class Box(NamedTuple):
    """A face in pixels of the upright image; right and bottom are outside of it.

    Attributes:
        left: Column.
        top: Row.
        right: Column, > left.
        bottom: Row, > top.
    """

    left: int
    top: int
    right: int
    bottom: int


class Finder(Protocol):
    """Finds the face of an image."""

    def find(self, file: Path, name: str) -> Box | None:
        """The most confident face.

        Args:
            file: The image.
            name: What the data set calls it, e.g. its path below the root.

        Returns:
            None where there is no face: then the whole image is used.
        """


class NoFaces:
    """Finds none: the whole image is the face."""

    def find(self, file: Path, name: str) -> Box | None:
        """None."""
        return None


class BoxTable:
    """Faces from a csv with the columns ``file, left, top, right, bottom`` and, where an image has several rows,
    ``confidence``.

    A row without numbers says that the image has no face. ``file`` is matched with the end of an image's path, so
    names alone, paths below the data's root and absolute paths all work.

    Args:
        file: The csv.
        spare: What is done about a row that is wrong; such a row is left out.

    Raises:
        DataError: It cannot be read, lacks a column, or a row is wrong; names file and line.
    """

    def __init__(self, file: Path, spare: Callable[[DataError], None] = refuse) -> None:
        self.file = file
        self.lines: dict[str, int] = {}
        self._boxes: dict[str, Box | None] = {}
        self._confidence: dict[str, float] = {}
        self._read(spare)

    def find(self, file: Path, name: str) -> Box | None:
        """The box of the row whose ``file`` is the longest end of the name or the path; None without a row."""
        key = self._key(file, name)
        return None if key is None else self._boxes[key]

    def check(self, files: Sequence[Path], names: Sequence[str], spare: Callable[[DataError], None] = refuse) -> None:
        """Refuses rows that point nowhere.

        Args:
            files: All images of a data set.
            names: Their names.
            spare: What is done about such a row.

        Raises:
            DataError: A row names none of them; names the nearest.
        """
        used = {self._key(file, name) for file, name in zip(files, names, strict=True)}
        for key, line in self.lines.items():
            if key not in used:
                near = difflib.get_close_matches(key, names, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                spare(DataError(f"{self.file}:{line}: {key!r} is no image of the data{hint}"))

    def files(self) -> list[Path]:
        """The images that the table names, looked up beside it.

        Raises:
            DataError: A row names no file.
        """
        found = []
        for key, line in self.lines.items():
            path = self.file.parent / key
            if not path.is_file():
                raise DataError(f"{self.file}:{line}: there is no image {path}")
            found.append(path)
        return found

    def _key(self, file: Path, name: str) -> str | None:
        for path in (_plain(name), file.as_posix()):
            parts = path.split("/")
            for start in range(len(parts)):
                key = "/".join(parts[start:])
                if key in self._boxes:
                    return key
        return None

    def _read(self, spare: Callable[[DataError], None]) -> None:
        rows = read_rows(self.file, "csv of face boxes")
        head = next(rows, None)
        columns = head.values if head is not None else []
        missing = [column for column in COLUMNS if column not in columns]
        if missing:
            raise DataError(
                f"{self.file}:1: no column {', '.join(missing)}; boxes need {', '.join(COLUMNS)}, "
                f"found {', '.join(columns) or 'nothing'}"
            )

        def add(cells: Cells) -> None:
            if cells.problem is not None:
                raise cells.problem
            if len(cells.values) != len(columns):
                raise DataError(f"{self.file}:{cells.number}: has {len(cells.values)} values, the head {len(columns)}")
            self._add(dict(zip(columns, cells.values, strict=True)), cells.number)

        usable(rows, add, spare)

    def _add(self, row: dict[str, str], line: int) -> None:
        where, key = f"{self.file}:{line}", _plain(row["file"])
        if not key:
            raise DataError(f"{where}: names no file")
        given = [row[column].strip() for column in COLUMNS[1:]]
        box = _box(given, where) if any(given) else None
        confidence = _number(row.get(CONFIDENCE, "").strip() or "nan", where)
        if key in self._boxes:
            if math.isnan(confidence) or math.isnan(self._confidence[key]):
                raise DataError(
                    f"{where}: {key!r} has a row already, line {self.lines[key]}, "
                    f"and no {CONFIDENCE} says which of them counts"
                )
            if confidence <= self._confidence[key]:
                return
        self._boxes[key], self._confidence[key], self.lines[key] = box, confidence, line


def _plain(name: str) -> str:
    return name.strip().replace("\\", "/").removeprefix("./")


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{where}: {text!r} is no number") from error


def _box(given: Sequence[str], where: str) -> Box:
    values = [_number(text or "nan", where) for text in given]
    if not all(math.isfinite(value) for value in values):
        raise DataError(f"{where}: the box {', '.join(given)} is not complete; leave all four empty for no face")
    box = Box(*(round(value) for value in values))
    if box.right <= box.left or box.bottom <= box.top:
        raise DataError(f"{where}: the box {', '.join(given)} is empty: right must exceed left, bottom top")
    return box


class Cascade:
    """OpenCV's frontal-face cascade, out of the wheel of ``opencv-python-headless<5``."""

    def __init__(self) -> None:
        cv2 = _opencv("cascade")
        folder = getattr(getattr(cv2, "data", None), "haarcascades", None)
        file = Path(folder or "") / "haarcascade_frontalface_default.xml"
        if folder is None or not file.is_file() or not hasattr(cv2, "CascadeClassifier"):
            raise InputError(
                f"this OpenCV ({cv2.__version__}) carries no face cascade: pip install 'opencv-python-headless<5'"
            )
        self._cascade: Any = cv2.CascadeClassifier(str(file))
        self.made_by = {"detector": file.name, "opencv": cv2.__version__, "side": SIDE}

    def find(self, file: Path, name: str) -> Box | None:
        """The face with the highest weight in the last stage."""
        return self.detect(read_image(file, name))

    def detect(self, image: Tensor) -> Box | None:
        """The face of an image ``(3, H, W)`` uint8."""
        import cv2

        pixels, scale = _seen(image)
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        found, _, weights = self._cascade.detectMultiScale3(grey, 1.1, 5, outputRejectLevels=True)
        if not len(found):
            return None
        left, top, width, height = (float(value) for value in found[int(np.argmax(weights))])
        return _scaled((left, top, left + width, top + height), scale)


class YuNet:
    """OpenCV's YuNet, given its onnx file.

    Args:
        file: E.g. ``face_detection_yunet_2023mar.onnx`` of the OpenCV model zoo.
        confidence: Least confidence of a face.
    """

    def __init__(self, file: Path, confidence: float = 0.7) -> None:
        cv2 = _opencv("yunet")
        if not file.is_file():
            raise InputError(f"{file}: there is no such file; faces: yunet needs {_YUNET}")
        try:
            self._detector: Any = cv2.FaceDetectorYN.create(str(file), "", (320, 320), confidence)
        except (cv2.error, AttributeError) as error:
            first = " ".join(str(error).split())[:160]
            raise InputError(f"{file}: is no YuNet model that OpenCV {cv2.__version__} reads ({first})") from error
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self.file = file
        self.made_by = {"detector": digest, "confidence": confidence, "opencv": cv2.__version__, "side": SIDE}

    def find(self, file: Path, name: str) -> Box | None:
        """The most confident face."""
        return self.detect(read_image(file, name))

    def detect(self, image: Tensor) -> Box | None:
        """The face of an image ``(3, H, W)`` uint8."""
        import cv2

        pixels, scale = _seen(image)
        self._detector.setInputSize((pixels.shape[1], pixels.shape[0]))
        try:
            _, found = self._detector.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            raise InputError(f"{self.file}: is no YuNet model ({' '.join(str(error).split())[:160]})") from error
        if found is None or not len(found):
            return None
        left, top, width, height = (float(value) for value in found[int(np.argmax(found[:, 14]))][:4])
        return _scaled((left, top, left + width, top + height), scale)


def _opencv(faces: str) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            f"faces: {faces} needs OpenCV: pip install 'rankzoo[faces]', that is 'opencv-python-headless<5'"
        ) from error
    return cv2


def _seen(image: Tensor) -> tuple[np.ndarray, float]:
    """The pixels ``(H, W, 3)`` that a detector sees, and how much smaller they are than the image."""
    import cv2

    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    scale = max(1.0, max(pixels.shape[:2]) / SIDE)
    if scale > 1:
        size = (max(1, round(pixels.shape[1] / scale)), max(1, round(pixels.shape[0] / scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return pixels, scale


def _scaled(corners: Sequence[float], scale: float) -> Box | None:
    box = Box(*(round(value * scale) for value in corners))
    return box if box.right > box.left and box.bottom > box.top else None


def face_finder(
    faces: Faces = "none",
    boxes: str | Path | None = None,
    yunet: str | Path | None = None,
    spare: Callable[[DataError], None] = refuse,
) -> Finder:
    """What finds faces, as a recipe chooses it.

    Args:
        faces: ``none`` (the whole image), ``csv``, ``cascade`` or ``yunet``.
        boxes: The csv of ``csv``.
        yunet: The onnx file of ``yunet``.
        spare: What is done about a wrong row of the csv.

    Raises:
        InputError: The word is unknown, or its file is not given, not there or not fit.
    """
    if faces not in FACES:
        raise InputError(f"faces: {faces!r} given, expected one of {', '.join(FACES)}")
    for name, given, owner in (("boxes", boxes, "csv"), ("yunet", yunet, "yunet")):
        if faces == owner and given is None:
            raise InputError(f"faces: {owner} needs a file: {name}: FILE")
    if faces == "csv":
        return BoxTable(Path(str(boxes)).expanduser(), spare)
    if faces == "yunet":
        return YuNet(Path(str(yunet)).expanduser())
    return Cascade() if faces == "cascade" else NoFaces()


def find_boxes(finder: Finder, files: Sequence[Path], names: Sequence[str]) -> list[Box | None]:
    """The faces of many images; a detector's are kept in the cache by the content of the image.

    Says on stderr how many images have no face and are used whole.

    Args:
        finder: What finds them.
        files: The images.
        names: What the data set calls them.

    Raises:
        DataError: An image cannot be read.
    """
    if isinstance(finder, NoFaces):
        return [None] * len(files)
    found = [finder.find(file, name) for file, name in zip(files, names, strict=True)] if isinstance(
        finder, BoxTable) else _detected(finder, files)  # fmt: skip
    whole = sum(box is None for box in found)
    if whole:
        print(f"faces: {whole} of {len(files)} images have none and are used whole", file=sys.stderr)
    return found


def _detected(finder: Any, files: Sequence[Path]) -> list[Box | None]:
    def compute(paths: list[Path]) -> list[np.ndarray]:
        return [np.array(finder.find(path, str(path)) or (), dtype=np.int64) for path in paths]

    arrays = FeatureStore("faces", finder.made_by).get(files, compute, 1, "faces")
    return [Box(*(int(value) for value in array)) if len(array) else None for array in arrays]


def crop_face(image: Tensor, box: Box | None, margin: int = MARGIN) -> Tensor:
    """Cuts a face out.

    Args:
        image: ``(3, H, W)``, upright.
        box: The face; None takes the whole image.
        margin: Pixels that the box is enlarged by on each side.

    Returns:
        ``(3, h, w)``; black where the enlarged box lies outside the image.

    Raises:
        ValueError: The box does not touch the image.
    """
    if box is None:
        return image
    height, width = image.shape[-2:]
    if box.left >= width or box.top >= height or box.right <= 0 or box.bottom <= 0:
        raise ValueError(f"the face box {tuple(box)} lies outside the image of {width} x {height} pixels")
    left, top, right, bottom = box.left - margin, box.top - margin, box.right + margin, box.bottom + margin
    face = torch.zeros(3, bottom - top, right - left, dtype=image.dtype, device=image.device)
    inside = image[:, max(0, top) : bottom, max(0, left) : right]
    y, x = max(0, -top), max(0, -left)
    face[:, y : y + inside.shape[1], x : x + inside.shape[2]] = inside
    return face
