"""Data of quality: photographs with a score and a scene, and how they become batches.

The batch, as `collate` gives it (the contract with `module.py`):

==============  ==============================================================================================
``image``       training ``(B, 3, C, C)``; evaluation ``(B, 5, 3, C, C)``, the five of ``views``; float32
``face``        the same shapes: crop v of the face belongs to crop v of the image; the whole image where no face is
``aux``         ``(B, 495)`` float32 raw LIQE logits; absent where the recipe's data has ``aux: null``
``score``       ``(B,)`` float32, higher is better
``scene``       ``(B,)`` int64; scores compare within a scene only; the numbers hold for all splits of a data set
``scene_name``  list[str], the scene's name
``id``          list[str], the image's path as the table writes it
``pair``        ``(P, 2)`` int64 rows of the batch, only with the plans ``csv`` and ``epoch``: pair p compares row
                ``pair[p, 0]`` with row ``pair[p, 1]``. Rows 0..P-1 are the first images and P..2P-1 the second, so
                ``pair = [[0, P], [1, P + 1], ...]``. Absent with ``batch``: all pairs of a scene in the batch count
==============  ==============================================================================================
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from zoo.domains.quality.faces import FACES, BoxTable, Faces, face_finder, find_boxes
from zoo.domains.quality.pairs import (
    PLANS,
    PairOrder,
    Plan,
    SceneOrder,
    Scored,
    fixed_pairs,
    read_pairs,
    stem,
)
from zoo.domains.quality.photos import Photo, Photos, View, require_files, scene_names, with_boxes
from zoo.errors import InputError, ZooError
from zoo.training import DataError, EpochOrder, Items, Split, ZooData, read_image
from zoo.training.order import Occurrences, Seeded


class QualityData(ZooData):
    """Base of the data sets of quality. A subclass says which photographs there are: :meth:`photos`.

    Args:
        root: Folder of the data.
        batch_size: Pairs per process and step with the plans ``csv`` and ``epoch``, images with ``batch``.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` such images, count and report them.
        pairs: Which images of a scene are compared: ``csv``, the same pairs in every epoch, out of ``pairs_file`` or
            drawn once; ``batch``, all pairs inside a scene-balanced batch; ``epoch``, fresh partners in every epoch.
        pairs_file: Csv of pairs below the root, for the plan ``csv``; null draws them from the training images.
        partners: How often an image is the first of a pair in an epoch, where pairs are drawn.
        scenes_per_batch: Scenes in a batch of the plan ``batch``, per process; each gives
            ``batch_size // scenes_per_batch`` images.
        steps_per_epoch: Batches of an epoch; null takes every pair, or as many images as there are, once.
        resize: Pixels of the shorter side before cutting; 0 keeps the size.
        crop: Side of the squares that are cut.
        faces: Where faces are: ``none`` (the whole image is the face), ``csv`` (``boxes``), ``cascade`` (OpenCV's
            frontal-face cascade) or ``yunet`` (OpenCV's YuNet, ``yunet``).
        boxes: Csv of face boxes, below the root.
        yunet: YuNet's onnx file.
        margin: Pixels by which a face box is enlarged on each side.
        aux: Folder of LIQE logits below the root; null leaves that input out.
    """

    domain = "quality"

    def __init__(
        self,
        root: str | None,
        batch_size: int,
        workers: int,
        synthesize: bool,
        limit: int | None,
        on_error: Literal["stop", "skip"],
        pairs: Plan,
        pairs_file: str | None,
        partners: int,
        scenes_per_batch: int,
        steps_per_epoch: int | None,
        resize: int,
        crop: int,
        faces: Faces,
        boxes: str | None,
        yunet: str | None,
        margin: int,
        aux: str | None,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
        require_word("pairs", pairs, PLANS)
        require_word("faces", faces, FACES)
        for name, value in (
            ("partners", partners),
            ("scenes_per_batch", scenes_per_batch),
            ("steps_per_epoch", steps_per_epoch),
        ):
            if value is not None and value < 1:
                raise InputError(f"data.{name} must be at least 1, got {value}")
        if pairs_file is not None and pairs != "csv":
            raise InputError(f"data.pairs_file belongs to the plan csv, data.pairs is {pairs}")
        View(resize, crop, margin, None)
        self.pairs, self.pairs_file, self.partners = pairs, pairs_file, partners
        self.scenes_per_batch, self.steps_per_epoch = scenes_per_batch, steps_per_epoch
        self.resize, self.crop, self.margin = resize, crop, margin
        self.faces, self.boxes, self.yunet, self.aux = faces, boxes, yunet, aux
        self._photos: dict[Path, list[Photo]] = {}

    # -- what a data set writes

    def photos(self, root: Path) -> list[Photo]:
        """All photographs of all splits.

        Args:
            root: Folder of the data.

        Raises:
            DataError: A table is missing or malformed; names file and line.
        """
        raise ZooError(f"{type(self).__name__} does not say which photographs it has")

    def labels(self) -> str:
        """What the scores are, for messages."""
        return f"the scores of {self.dataset}"

    def part(self, split: Split) -> Split:
        """Whose photographs a split has: its own, but where a data set says otherwise."""
        return split

    # -- what they share

    def read(self, root: Path, split: Split) -> Items:
        """The photographs of one split, with their face boxes.

        Raises:
            DataError: A table is malformed, or an image is missing where ``on_error`` is ``stop``.
        """
        chosen = [photo for photo in self._all(root) if photo.split == self.part(split)]
        if self.on_error == "stop":
            require_files(chosen, f"the {split} split")
        return Photos(self._with_faces(root, chosen), scene_names(self._all(root)), self.view(root), split == "train")

    def view(self, root: Path) -> View:
        """How images are cut."""
        return View(self.resize, self.crop, self.margin, below(root, self.aux))

    def forget(self) -> None:
        """The photographs are listed anew."""
        self._photos.clear()

    def _all(self, root: Path) -> list[Photo]:
        if root not in self._photos:
            self._photos[root] = self.photos(root)
        return self._photos[root]

    def _with_faces(self, root: Path, photos: list[Photo]) -> list[Photo]:
        if self.faces == "none":
            return photos
        table, yunet = (str(path) if path else None for path in self._face_files(root))
        finder = face_finder(self.faces, table, yunet, self.spare)
        if isinstance(finder, BoxTable):
            known = [(photo.file, photo.name) for photo in self._all(root)]
            known += [(root / name, name) for name in sorted(self.dropped)]  # left out, but no strangers
            finder.check([file for file, _ in known], [name for _, name in known], self.spare)
        # what cannot be read has no face, and is left out and reported when its turn comes
        seen = [photo for photo in photos if self.on_error == "stop" or _readable(photo)]
        found = find_boxes(finder, [photo.file for photo in seen], [photo.name for photo in seen])
        boxes = dict(zip((photo.name for photo in seen), found, strict=True))
        return with_boxes(photos, [boxes.get(photo.name) for photo in photos])

    def _face_files(self, root: Path) -> tuple[Path | None, Path | None]:
        return below(root, self.boxes), below(root, self.yunet)

    def items(self, split: Split) -> Seeded:
        """The usable photographs of a split; those of the training may come several times in an epoch."""
        first = split not in self._sets
        found = super().items(split)
        if first and split == "train":
            self._sets[split] = Occurrences(found.items, found.seed, found.subset)
        return self._sets[split]

    def order(self, items: Items, subset: np.ndarray, rank: int, world_size: int) -> EpochOrder:
        """Batches by the plan of pairs.

        Raises:
            DataError: The file of pairs cannot be used, or no two training images are of one scene.
        """
        photos = cast(Photos, items)
        scenes = [photos.scene(int(index)) for index in subset]
        place = (self.batch_size, self.seed, rank, world_size)
        if self.pairs == "batch":
            return SceneOrder(scenes, *place, self.scenes_per_batch, self.steps_per_epoch)
        if len(set(scenes)) == len(scenes):
            raise DataError(f"{self.folder()}: no two of {len(scenes)} training images are of one scene; nothing pairs")
        fixed = self._fixed(photos, subset, scenes) if self.pairs == "csv" else None
        return PairOrder(scenes, *place, fixed, self.partners, self.steps_per_epoch)

    def _fixed(self, photos: Photos, subset: np.ndarray, scenes: list[str]) -> np.ndarray:
        """``(P, 2)`` positions in the subset of the pairs that are the same in every epoch."""
        if self.pairs_file is None:
            return fixed_pairs(scenes, self.seed, self.partners)
        root = self.folder()
        file = cast(Path, below(root, self.pairs_file))
        known = {stem(photo.name): Scored(photo.name, photo.scene, photo.score) for photo in self._all(root)}
        places = {stem(photos.name(int(index))): place for place, index in enumerate(subset)}
        pairs = read_pairs(file, known, self.labels(), self.spare)
        used = [(places[one], places[two]) for one, two in pairs if one in places and two in places]
        if not used:
            raise DataError(f"{file}: none of {len(pairs)} pairs is of training images")
        if len(used) < len(pairs):
            left = len(pairs) - len(used)
            self.skipped[f"train: {file}: {left} of {len(pairs)} pairs hold an image that is not trained on"] = 1
        return np.array(used, dtype=np.int64)

    def image_files(self, split: Split) -> list[Path]:
        """The image files of a split."""
        return [photo.file for photo in self._all(self.folder()) if photo.split == self.part(split)]

    def collate(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Joins items, see the head of this module."""
        joined: dict[str, Any] = {
            "id": [item["id"] for item in batch],
            "scene_name": [item["scene_name"] for item in batch],
            "score": torch.tensor([item["score"] for item in batch], dtype=torch.float32),
            "scene": torch.tensor([item["scene"] for item in batch], dtype=torch.int64),
        }
        for name in ("image", "face", "aux"):
            if name in batch[0]:
                joined[name] = torch.stack([item[name] for item in batch])
        training = batch[0]["image"].ndim == 3
        if training and self.pairs != "batch":
            first = torch.arange(len(batch) // 2)
            joined["pair"] = torch.stack([first, first + len(first)], dim=1)
        return joined


def _readable(photo: Photo) -> bool:
    try:
        read_image(photo.file, photo.place)
    except DataError:
        return False
    return True


def below(root: Path, path: str | None) -> Path | None:
    """A path of the recipe: absolute as it is, else below the root, else (where only that exists) below the folder that
    the command runs in."""
    if path is None:
        return None
    given = Path(path).expanduser()
    inside = root / given
    return given if not inside.exists() and given.exists() else inside


def require_word(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuses a word that is none of the known ones.

    Raises:
        InputError: Names the argument, the word and the choices.
    """
    if value not in known:
        raise InputError(f"data.{name} must be one of {', '.join(known)}, got {value!r}")


def split_by_seed(names: list[str], seed: int, val: float, test: float) -> dict[str, Split]:
    """Shares names out to the splits: the same for the same names and seed, whatever their order.

    Args:
        names: Scenes, photographs or prompts, which must not stand in two splits.
        seed: Of the draw.
        val: Share of the validation split.
        test: Share of the test split.

    Returns:
        The split of each name; the shares are exact, rounded to whole names.
    """
    distinct = sorted(set(names))
    order = np.random.default_rng(seed).permutation(len(distinct))
    tested, validated = round(test * len(distinct)), round(val * len(distinct))
    found: dict[str, Split] = {}
    for place, index in enumerate(order):
        found[distinct[int(index)]] = "test" if place < tested else "val" if place < tested + validated else "train"
    return found
