"""PIQ23: portraits of 50 scenes, scored by people within each scene, for three attributes, in two official splits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from zoo.domains.quality.data import Faces, QualityData, require_word, split_by_seed
from zoo.domains.quality.pairs import PARTNERS, SECOND, Plan, fixed_pairs
from zoo.domains.quality.photos import Photo
from zoo.domains.quality.synthesis import synthesize_piq23
from zoo.domains.quality.tables import Line, Spare, distinct, read_table, write_table
from zoo.errors import InputError
from zoo.training import DataError, Split, refuse, usable

Attribute = Literal["details", "exposure", "overall"]
ATTRIBUTES: tuple[str, ...] = get_args(Attribute)
OfficialSplit = Literal["device", "scene"]
SPLITS: tuple[str, ...] = get_args(OfficialSplit)
Validation = Literal["holdout", "official"]
VALIDATIONS: tuple[str, ...] = get_args(Validation)

TEST_SCENES = (
    *(f"Indoor_Scene_{number}" for number in (1, 5, 10, 11)),
    *(f"Lowlight_Scene_{number}" for number in (16, 17, 20)),
    *(f"Night_Scene_{number}" for number in (28, 30, 31)),
    *(f"Outdoor_Scene_{number}" for number in (33, 34, 43, 45, 46)),
)
"""The 15 of 50 scenes that the official scene split tests on."""

HOLDOUT = 0.15  # of the training scenes, or of the training images of each scene
_COLUMNS = ("IMAGE PATH", "JOD", "IMAGE", "SCENE", "CONDITION")


class Portrait(NamedTuple):
    """A line of a PIQ23 table.

    Attributes:
        image: File name; unique in the data set.
        path: Below the root, with forward slashes.
        jod: Just-objectionable differences; its mean within a scene is 0.
        scene: E.g. ``Indoor_Scene_0``.
        line: Where it stands.
    """

    image: str
    path: str
    jod: float
    scene: str
    line: Line


def read_portraits(file: Path, scored: bool = True, spare: Spare = refuse) -> list[Portrait]:
    """Reads a table of portraits: ``Scores_*.csv`` and the split tables of PIQ23, or those of NTIRE 2024.

    Args:
        file: The csv.
        scored: Whether it has scores; NTIRE's test table has none, its ``jod`` are NaN.
        spare: What is done about a line that cannot be used; such a line is left out.

    Raises:
        DataError: A column is missing, a value is malformed, or an image stands twice.
    """
    lines = read_table(file, [column for column in _COLUMNS if scored or column != "JOD"], spare=spare)

    def portrait(line: Line) -> Portrait:
        path, jod = line.text("IMAGE PATH").replace("\\", "/"), line.number_of("JOD") if scored else math.nan
        return Portrait(line.text("IMAGE"), path, jod, line.text("SCENE"), line)

    return usable(distinct(lines, "IMAGE", spare), portrait, spare)


def read_device_split(file: Path, spare: Spare = refuse) -> dict[str, bool]:
    """Reads ``Device Split.csv``: whether each image is tested on.

    Raises:
        DataError: A line is neither Train nor Test, or an image stands twice.
    """
    return _read_split(file, "IMAGE", spare)


def read_scene_split(file: Path, spare: Spare = refuse) -> dict[str, bool]:
    """Reads ``Scene Split.csv``: whether each scene is tested on."""
    return _read_split(file, "SCENE", spare)


def _read_split(file: Path, column: str, spare: Spare) -> dict[str, bool]:
    def tested(line: Line) -> tuple[str, bool]:
        word = line.text("SPLIT")
        if word not in ("Train", "Test"):
            raise DataError(f"{line.place}: SPLIT is {word!r}, expected Train or Test")
        return line.text(column), word == "Test"

    lines = read_table(file, (column, "SPLIT"), spare=spare)
    return dict(usable(distinct(lines, column, spare), tested, spare))


class PIQ23(QualityData):
    """PIQ23 (Chahine et al., CVPR 2023): 5,116 portraits by more than 100 phones, 50 scenes, three attributes.

    Scores (JOD) compare within a scene only. The device split has every scene on both sides (3,604 and 1,512 images),
    the scene split 35 and 15 scenes (3,630 and 1,486). Neither has a validation part, and the released training of
    DN-PIQA picks its epoch on the test scenes; ``validation: holdout`` keeps a seventh of the training part for that
    instead (whole scenes in the scene split), ``official`` does as released.

    Args:
        root: Folder of the data.
        batch_size: Pairs per process and step with the plans ``csv`` and ``epoch``, images with ``batch``.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` such images, count and report them.
        attribute: ``details``, ``exposure`` or ``overall``: which images and which scores.
        split: ``device`` or ``scene``.
        validation: ``holdout`` or ``official``.
        holdout_seed: Which scenes or images are held out.
        pairs: ``csv``, ``batch`` or ``epoch``, see :class:`zoo.domains.quality.data.QualityData`.
        pairs_file: Csv of pairs below the root, e.g. DN-PIQA's ``exp.csv``, which holds exposure scores; null draws
            them from the attribute's own scores.
        partners: How often an image is the first of a pair in an epoch, where pairs are drawn.
        scenes_per_batch: Scenes in a batch of the plan ``batch``.
        steps_per_epoch: Batches of an epoch; null for all.
        resize: Pixels of the shorter side before cutting.
        crop: Side of the squares that are cut.
        faces: ``none``, ``csv``, ``cascade`` or ``yunet``.
        boxes: Csv of face boxes, below the root.
        yunet: YuNet's onnx file.
        margin: Pixels by which a face box is enlarged on each side.
        aux: Folder of LIQE logits below the root; null leaves that input out.
    """

    dataset = "piq23"
    source = (
        "https://corp.dxomark.com/data-base-piq23 (request form); splits: https://github.com/DXOMARK-Research/PIQ2023"
    )
    terms = "non-commercial; access on request; images may be withdrawn by the people on them"
    layout = """
    Details/ Exposure/ Overall/       {id}_{Condition}_Scene_{number}.jpg: the same names, each attribute's own region
    Scores_Details.csv (..Exposure, ..Overall)   IMAGE PATH, JOD, ..., IMAGE, SCENE, ..., CONDITION; also below Scores/
    Device Split.csv                  IMAGE, SPLIT (Train or Test); also below "Test split/"; for split: device
    Scene Split.csv                   SCENE, SPLIT; also below "Test split/"; without it the 15 official test scenes
    DeviceSplit_{Train,Test}_Scores_{..}.csv, SceneSplit_{..}   scores and split at once, taken first where both are
    """
    sample = "Overall/*.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 6,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        attribute: Attribute = "overall",
        split: OfficialSplit = "scene",
        validation: Validation = "holdout",
        holdout_seed: int = 0,
        pairs: Plan = "csv",
        pairs_file: str | None = None,
        partners: int = PARTNERS,
        scenes_per_batch: int = 1,
        steps_per_epoch: int | None = None,
        resize: int = 448,
        crop: int = 384,
        faces: Faces = "none",
        boxes: str | None = None,
        yunet: str | None = None,
        margin: int = 20,
        aux: str | None = None,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error, pairs, pairs_file, partners,
                         scenes_per_batch, steps_per_epoch, resize, crop, faces, boxes, yunet, margin, aux)  # fmt: skip
        require_word("attribute", attribute, ATTRIBUTES)
        require_word("split", split, SPLITS)
        require_word("validation", validation, VALIDATIONS)
        self.attribute, self.split, self.validation, self.holdout_seed = attribute, split, validation, holdout_seed

    def labels(self) -> str:
        """Name of the table of scores."""
        return f"Scores_{self.attribute.capitalize()}.csv"

    def photos(self, root: Path) -> list[Photo]:
        """All portraits of the attribute.

        Raises:
            DataError: A table is missing or malformed, an image's path is of another attribute, or the split does not
                know an image or scene.
        """
        folder = self.attribute.capitalize()

        def own(found: tuple[Portrait, bool]) -> tuple[Portrait, bool]:
            portrait, wanted = found[0], f"{folder}/{found[0].image}"
            if portrait.path != wanted:
                raise DataError(f"{portrait.line.place}: IMAGE PATH is {portrait.path}, expected {wanted}")
            return found

        official = self.kept(usable(self._official(root), own, self.spare), lambda found: found[0].path)
        portraits, tested = [portrait for portrait, _ in official], [test for _, test in official]
        splits = self._splits(portraits, tested)
        return [
            Photo(
                portrait.path,
                root / portrait.path,
                portrait.jod,
                portrait.scene,
                f"{portrait.line.place} ({portrait.path})",
                split,
            )
            for portrait, split in zip(portraits, splits, strict=True)
        ]

    def _official(self, root: Path) -> list[tuple[Portrait, bool]]:
        """All portraits, and whether each is in the official test part."""
        kind = self.split.capitalize()
        halves = [f"{kind}Split_{part}_{self.labels()}" for part in ("Train", "Test")]
        found = [_find(root, half, f"Test split/{kind} Split/{half}") for half in halves]
        if found[0] is not None and found[1] is not None:
            train, test = (read_portraits(half, spare=self.spare) for half in found if half is not None)
            twice = {portrait.image for portrait in train} & {portrait.image for portrait in test}
            for image in sorted(twice):  # tested, and so in no training
                self.spare(DataError(f"{found[1]}: {image} stands in {found[0].name} too"))
            parts = [([one for one in train if one.image not in twice], False), (test, True)]
            return [(portrait, tested) for half, tested in parts for portrait in half]
        portraits = read_portraits(_require(root, self.labels(), f"Scores/{self.labels()}"), spare=self.spare)
        return self._tested(root, portraits)

    def _tested(self, root: Path, portraits: list[Portrait]) -> list[tuple[Portrait, bool]]:
        """Whether each portrait is in the official test part, by the table of the split."""
        if self.split == "device":
            file = _require(root, "Device Split.csv", "Test split/Device Split.csv")
            known, by_scene = read_device_split(file, self.spare), False
        else:
            table = _find(root, "Scene Split.csv", "Test split/Scene Split.csv")
            if table is None:
                return [(portrait, portrait.scene in TEST_SCENES) for portrait in portraits]
            file, known, by_scene = table, read_scene_split(table, self.spare), True

        def tested(portrait: Portrait) -> tuple[Portrait, bool]:
            name = portrait.scene if by_scene else portrait.image
            if name not in known:
                raise DataError(f"{portrait.line.place}: {file.name} does not say where {name} belongs")
            return portrait, known[name]

        return usable(portraits, tested, self.spare)

    def _splits(self, portraits: list[Portrait], tested: list[bool]) -> list[Split]:
        """Train, validation or test of each portrait; images of the official test part are trained on in no case."""
        training = [portrait for portrait, test in zip(portraits, tested, strict=True) if not test]
        held: set[str] = set()
        if self.validation == "holdout" and self.split == "scene":
            # of each condition the same share, as in the official split
            for condition in sorted({_condition(portrait.scene) for portrait in training}):
                scenes = [portrait.scene for portrait in training if _condition(portrait.scene) == condition]
                held |= _held(scenes, self.holdout_seed)
            held = {portrait.image for portrait in training if portrait.scene in held}
        elif self.validation == "holdout":
            for scene in sorted({portrait.scene for portrait in training}):
                images = [portrait.image for portrait in training if portrait.scene == scene]
                held |= _held(images, self.holdout_seed)
        return [
            "test" if test else "val" if portrait.image in held else "train"
            for portrait, test in zip(portraits, tested, strict=True)
        ]

    def part(self, split: Split) -> Split:
        """The validation images are the test images, as in the released training, where ``validation`` is official."""
        return "test" if split == "val" and self.validation == "official" else split

    def prepare(self, source: Path, out: Path) -> None:
        """Writes ``pairs_<attribute>_<split>.csv``, the pairs that the plan ``csv`` draws, in the released columns.

        Args:
            source: Root of PIQ23.
            out: Where to write; take it as ``data.pairs_file``.
        """
        training = [photo for photo in self.photos(source) if photo.split == "train"]
        pairs = fixed_pairs([photo.scene for photo in training], self.seed, self.partners)
        if not len(pairs):
            raise InputError(f"{source}: no two training images are of one scene; nothing pairs")
        write_pairs(out / f"pairs_{self.attribute}_{self.split}.csv", training, pairs.tolist())

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        synthesize_piq23(root, self.seed)


def write_pairs(file: Path, photos: list[Photo], pairs: list[list[int]]) -> None:
    """Writes pairs with the columns of the released file that say something about the image.

    Args:
        file: The csv.
        photos: The images.
        pairs: ``(P, 2)`` indices of them.
    """
    header = ("IMAGE PATH", "JOD", "IMAGE", "SCENE", "CONDITION")

    def row(photo: Photo) -> list[object]:
        path = photo.name.replace("/", "\\")
        return [path, repr(photo.score), photo.file.name, photo.scene, _condition(photo.scene)]

    rows = ([*row(photos[one]), *row(photos[two])] for one, two in pairs)
    write_table(file, [*header, *(name + SECOND for name in header)], rows)


def _held(names: list[str], seed: int) -> set[str]:
    """The names that are held out: one at least, unless there is but one."""
    count = len(set(names))
    share = max(HOLDOUT, 1 / count) if count > 1 else 0.0
    return {name for name, split in split_by_seed(names, seed, share, 0).items() if split == "val"}


def _condition(scene: str) -> str:
    return scene.split("_")[0]


def _find(root: Path, *places: str) -> Path | None:
    """The first of some tables that is there."""
    return next((root / place for place in places if (root / place).is_file()), None)


def _require(root: Path, *places: str) -> Path:
    found = _find(root, *places)
    if found is None:
        raise DataError(f"{root}: there is no {places[0]}, nor {places[1]}; zoo data show piq23 says the layout")
    return found
