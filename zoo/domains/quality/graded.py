"""Clean photographs made worse by known degrees: a known order of quality without any person's score."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from zoo.domains.quality.data import Faces, QualityData, require_word, split_by_seed
from zoo.domains.quality.distortions import KINDS, LEVELS, Kind, distort, distort_region
from zoo.domains.quality.faces import Box
from zoo.domains.quality.pairs import PARTNERS, Plan
from zoo.domains.quality.photos import Photo, Photos, View, scene_names
from zoo.domains.quality.synthesis import synthesize_photographs
from zoo.domains.quality.tables import write_table
from zoo.errors import InputError
from zoo.training import IMAGE_SUFFIXES, DataError, Items, Split, read_image, resize_shorter

Where = Literal["whole", "window"]
WHERE: tuple[str, ...] = get_args(Where)
Part = Literal["", "inside", "outside"]
_KEPT = 64  # decoded photographs that a loader process keeps; a batch asks for one photograph several times in a row


class Version(NamedTuple):
    """What is done to a photograph.

    Attributes:
        kind: Of the distortion.
        level: 0, the photograph itself, to 5.
        part: Inside or outside the window only; empty for all of it.
    """

    kind: Kind
    level: int
    part: Part = ""

    @property
    def label(self) -> str:
        """How ids name it: ``clean``, ``blur-3``, ``noise-1-inside``."""
        parts = (self.kind, str(self.level), self.part)
        return "-".join(part for part in parts if part) if self.level else "clean"


def versions(kinds: Sequence[Kind], where: Where) -> list[Version]:
    """All versions of a photograph, the clean one first."""
    parts: tuple[Part, ...] = ("",) if where == "whole" else ("inside", "outside")
    made = [Version(kind, level, part) for part in parts for kind in kinds for level in range(1, LEVELS + 1)]
    return [Version(kinds[0], 0), *made]


class Graded(Photos):
    """Versions of photographs by index: those of a photograph side by side.

    Args:
        photos: The clean photographs; the score of each is 0.
        scenes: Names of the scenes of all splits.
        view: How they are cut.
        train: One random square each; otherwise the five of an evaluation.
        made: The versions of each photograph.
        side: Shorter side that a photograph is brought down to before it is distorted; 0 keeps its size.
        seed: Of the distortions.
        spread: Standard deviations of the logarithm of a scene's hidden scale, and of its offset.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        scenes: Sequence[str],
        view: View,
        train: bool,
        made: Sequence[Version],
        side: int,
        seed: int,
        spread: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        super().__init__(photos, scenes, view, train)
        self.made, self.side, self.seed, self.spread = list(made), side, seed, spread
        self._kept: OrderedDict[int, tuple[Tensor, Box | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.photos) * len(self.made)

    def _split(self, index: int) -> tuple[Photo, Version]:
        place, version = divmod(index, len(self.made))
        return self.photos[place], self.made[version]

    def scene(self, index: int) -> str:
        """Each photograph is a scene."""
        return self._split(index)[0].scene

    def name(self, index: int) -> str:
        """Photograph and version, e.g. ``images/1.jpg#blur-3``."""
        photo, version = self._split(index)
        return f"{photo.name}#{version.label}"

    @property
    def versions(self) -> int:
        """Of each photograph; all can be used or none."""
        return len(self.made)

    def made_of(self, index: int) -> str:
        """The photograph: which are of which split depends on all."""
        return self._split(index)[0].name

    def place(self, index: int) -> str:
        """The file of the photograph."""
        return self._split(index)[0].place

    def score(self, index: int) -> float:
        """Minus the level, on the hidden scale of its scene where there is one."""
        photo, version = self._split(index)
        if self.spread == (0.0, 0.0):
            return -float(version.level)
        rng = np.random.default_rng([self.seed, crc32(photo.name.encode()), len(KINDS)])
        scale, offset = np.exp(self.spread[0] * rng.normal()), self.spread[1] * rng.normal()
        return float(offset - scale * version.level)

    def pixels(self, index: int) -> tuple[Tensor, Box | None]:
        """The distorted photograph, and its window."""
        photo, version = self._split(index)
        image, box = self._clean(index // len(self.made))
        seed = [self.seed, crc32(photo.name.encode()), KINDS.index(version.kind)]
        drawn = int(np.random.default_rng(seed).integers(2**32))
        if not version.part:
            return distort(image, version.kind, version.level, drawn), box
        if box is None:
            raise DataError(f"{photo.place}: has no window to be distorted inside or outside of")
        return distort_region(image, box, version.part == "inside", version.kind, version.level, drawn), box

    def _clean(self, place: int) -> tuple[Tensor, Box | None]:
        """A photograph at its working size; the latest ones are kept."""
        if place not in self._kept:
            photo = self.photos[place]
            image, box = read_image(photo.file, photo.place), photo.box
            shorter = min(image.shape[-2:])
            if self.side and shorter > self.side:
                before = image.shape
                image = resize_shorter(image, self.side)
                if box is not None:
                    across, down = image.shape[2] / before[2], image.shape[1] / before[1]
                    left, right = round(box.left * across), round(box.right * across)
                    top, bottom = round(box.top * down), round(box.bottom * down)
                    box = Box(left, top, max(left + 1, right), max(top + 1, bottom))
            self._kept[place] = image, box
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(place)
        return self._kept[place]


class GradedDistortions(QualityData):
    """A user's own clean photographs, each with seven kinds of distortion at five levels; a photograph is a scene.

    The score is minus the level: blur, noise, JPEG, over- or underexposure, contrast, colour and downscaling, at
    strengths that make a level of each kind about equally bad. Within a kind the order is known; between kinds of
    different levels it is an assumption, and equal levels are ties. Made when it is read (some milliseconds), the same
    for the same seed whatever the order; ``zoo data make graded --from PHOTOS --out DIR`` writes it as image files with
    a table instead. Photographs are shared out to the splits by seed.

    Args:
        root: Folder of photographs, with any folders inside.
        batch_size: Images per process and step with the plan ``batch``, pairs with ``csv`` and ``epoch``.
        workers: Loader processes.
        synthesize: Use made-up photographs.
        limit: Use only so many images of each split; ``photographs`` keeps whole scenes.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` such images, count and report them.
        kinds: Distortions; null for all seven.
        photographs: Use only so many photographs of each split, spread evenly over it.
        side: Pixels of the shorter side that a photograph is brought down to before it is distorted; 0 keeps its size.
        where: ``whole``, or ``window``: every version once inside the face box only and once outside of it only.
        scale_spread: Standard deviation of the logarithm of a hidden factor on the scores of each scene.
        offset_spread: Standard deviation of a hidden offset of the scores of each scene, in levels.
        distortion_seed: Of noise, direction of exposure, hidden factors and offsets.
        split_seed: Shares the photographs out.
        val: Share of the validation split.
        test: Share of the test split.
        pairs: ``csv``, ``batch`` or ``epoch``, see :class:`zoo.domains.quality.data.QualityData`.
        partners: How often an image is the first of a pair in an epoch, where pairs are drawn.
        scenes_per_batch: Photographs in a batch of the plan ``batch``.
        steps_per_epoch: Batches of an epoch; null for all.
        resize: Pixels of the shorter side before cutting.
        crop: Side of the squares that are cut.
        faces: ``none``, ``csv``, ``cascade`` or ``yunet``, found on the clean photograph.
        boxes: Csv of face boxes (or windows), below the root.
        yunet: YuNet's onnx file.
        margin: Pixels by which a face box is enlarged on each side, at working size.
    """

    dataset = "graded"
    source = "your own photographs; the recipes use Flickr8k's (https://github.com/jbrownlee/Datasets) and COCO's"
    terms = "those of the photographs"
    layout = """
    **/*.jpg (.png, .webp, .tif, ...)   clean photographs in any folders; nothing else is needed
    boxes.csv                           optional: file, left, top, right, bottom
    """
    sample = "photographs/*.png"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 32,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        kinds: list[Kind] | None = None,
        photographs: int | None = None,
        side: int = 0,
        where: Where = "whole",
        scale_spread: float = 0.0,
        offset_spread: float = 0.0,
        distortion_seed: int = 0,
        split_seed: int = 0,
        val: float = 0.1,
        test: float = 0.2,
        pairs: Plan = "batch",
        partners: int = PARTNERS,
        scenes_per_batch: int = 4,
        steps_per_epoch: int | None = None,
        resize: int = 448,
        crop: int = 384,
        faces: Faces = "none",
        boxes: str | None = None,
        yunet: str | None = None,
        margin: int = 0,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error, pairs, None, partners,
                         scenes_per_batch, steps_per_epoch, resize, crop, faces, boxes, yunet, margin,
                         None)  # fmt: skip
        require_word("where", where, WHERE)
        chosen = list(KINDS) if kinds is None else list(kinds)
        for kind in chosen:
            require_word("kinds", kind, KINDS)
        if not chosen or len(set(chosen)) < len(chosen):
            raise InputError(f"data.kinds must name distortions once each, got {chosen}")
        if where == "window" and faces == "none":
            raise InputError("data.where: window needs to know the window; give data.faces csv and data.boxes FILE")
        if min(val, test) <= 0 or val + test >= 1:
            raise InputError(f"data.val and data.test must be above 0 and below 1 together, got {val} and {test}")
        for name, value in (("side", side), ("scale_spread", scale_spread), ("offset_spread", offset_spread)):
            if value < 0:
                raise InputError(f"data.{name} must not be negative, got {value}")
        if photographs is not None and photographs < 1:
            raise InputError(f"data.photographs must be at least 1, got {photographs}")
        self.kinds, self.where, self.side, self.photographs = chosen, where, side, photographs
        self.spread = (scale_spread, offset_spread)
        self.distortion_seed, self.split_seed, self.val, self.test = distortion_seed, split_seed, val, test

    def photos(self, root: Path) -> list[Photo]:
        """All clean photographs below the root, in the order of their paths.

        Raises:
            DataError: There are too few for three splits.
        """
        files = sorted(file for file in root.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        files = self.kept(files, lambda file: file.relative_to(root).as_posix())
        names = [file.relative_to(root).as_posix() for file in files]
        splits = split_by_seed(names, self.split_seed, self.val, self.test)
        if len(set(splits.values())) < 3:
            raise DataError(
                f"{root}: holds {len(files)} photographs, too few to share out to train, val ({self.val:g}) and "
                f"test ({self.test:g})"
            )
        return [Photo(name, file, 0.0, name, str(file), splits[name]) for name, file in zip(names, files, strict=True)]

    def read(self, root: Path, split: Split) -> Items:
        """All versions of the photographs of one split."""
        chosen = [photo for photo in self._all(root) if photo.split == self.part(split)]
        if self.photographs is not None and self.photographs < len(chosen):
            places = np.linspace(0, len(chosen) - 1, self.photographs).round().astype(int)
            chosen = [chosen[int(place)] for place in places]
        made = versions(self.kinds, self.where)
        place = (self._with_faces(root, chosen), scene_names(self._all(root)), self.view(root), split == "train")
        return Graded(*place, made, self.side, self.distortion_seed, self.spread)

    def prepare(self, source: Path, out: Path) -> None:
        """Writes all versions as PNG files and ``scores.csv``, which ``ScoredImages`` reads; goes on where it stopped.

        Args:
            source: Folder of clean photographs.
            out: Where to write.
        """
        rows: list[list[Any]] = []
        for split in get_args(Split):
            items = cast(Graded, self.read(source, split))
            for index in range(len(items)):
                photo, _, label = items.name(index).rpartition("#")
                name = f"images/{Path(photo).with_suffix('').as_posix()}/{label}.png"
                _write_png(out / name, items, index)
                rows.append([name, repr(items.score(index)), photo, split])
        write_table(out / "scores.csv", ("path", "score", "scene", "split"), rows)

    def make(self, root: Path) -> None:
        """Writes made-up photographs."""
        synthesize_photographs(root, self.seed)


def _write_png(file: Path, items: Graded, index: int) -> None:
    """A file under its name is always whole."""
    from PIL import Image

    if file.is_file():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    working = file.with_suffix(".part")
    image, _ = items.pixels(index)
    Image.fromarray(image.permute(1, 2, 0).contiguous().to(torch.uint8).numpy()).save(working, "PNG")
    os.replace(working, file)
